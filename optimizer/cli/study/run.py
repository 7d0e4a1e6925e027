"""Begins a study, by the server's worker or in this process, and shows how it goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from optimizer.cli.output import console, dollars, say
from optimizer.cli.progress import poll
from optimizer.cli.session import Session
from optimizer.cli.study.view import MOST_LINES, trials_of
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.knob import is_whole
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import ENDED, ENOUGH, KEEP, REMARKS, Study, Trial, aimed_at, budget_options
from optimizer.host.run_files import ProcessLock
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.core.views.study_headline import StudyView
    from optimizer.jobs.studies.nominate import LookPrice
    from optimizer.jobs.studies.start_study import LookEstimate

POLL_S, POLL_SERVER_S = 0.5, 2.0
TOLD_EVERY_S = 30.0  # where no line moves
NAMES = ("strategy", "aim", "budget", "seed", "definition", "space", "proposer", "move_to")


def request_members(values: Mapping[str, Any], *, keep: Mapping[str, float | None], **options: Any) -> dict[str, Any]:
    """Members of the request: options beat the definition file (``values``), which beats the defaults of the job.

    ``keep``: by name; one of the two of ``KEEP``, typed, stands in the place of the file's.
    """
    for name, shown in (("budget", "{calls: 400}"), ("definition", "{n_dev: 40}")):
        if not isinstance(value := values.get(name) or {}, Mapping):
            raise InvalidInput(f"The definition's {name} is {value!r}; it holds names and values, such as {shown}.")
    caps = dict(values.get("budget") or {})
    if unknown := sorted(caps.keys() - {"usd", "calls", "minutes"}):
        raise InvalidInput(f"The definition's budget has {', '.join(unknown)}; it knows usd, calls and minutes.")
    caps |= {name: options[name] for name in ("usd", "calls", "minutes") if options[name] is not None}
    caps = {name: cap for name, cap in caps.items() if cap is not None}
    sizes = {name: size for name, size in values.items() if name not in (*NAMES, "family", "name", "description")}
    definition = {**sizes, **dict(values.get("definition") or {})}
    definition |= {name: values[name] for name in ("space", "proposer") if values.get(name)}
    if typed := {name: value for name, value in keep.items() if value is not None}:
        definition = {name: value for name, value in definition.items() if name not in KEEP} | typed
    seed = options["seed"] if options["seed"] is not None else values.get("seed") or 0
    if not is_whole(seed):
        raise InvalidInput(f"The definition's seed is {seed!r}; it takes a whole number of 0 or more.")
    move_to = options.get("move_to") or values.get("move_to")
    return {
        "strategy": options["strategy"] or values.get("strategy"),
        "aim": options["aim"] or values.get("aim"),
        **({"move_to": move_to} if move_to is not None else {}),
        **({"budget": caps} if caps else {}),
        "seed": seed,
        "definition": definition,
    }


def read_definition(path: Path | None) -> Mapping[str, Any]:
    """A study definition as YAML; empty without a file."""
    if path is None:
        return {}
    from optimizer.host.yaml_files import load_file

    if not path.is_file():
        raise NotFound(f"There is no study definition {path}. Those of this project stand in experiments/.")
    values = load_file(path, "Correct the file.")
    if not isinstance(values, dict):
        raise InvalidInput(f"{path} must hold `name: value` lines, such as `strategy: bootstrap` and `n_train: 80`.")
    return values


def price_of(outcome: object) -> LookPrice | Study:
    """What a look would cost; the study itself where it has confirmed the variant."""
    return outcome if isinstance(outcome, Study) else cast("LookEstimate", outcome).price


class StudyThread(threading.Thread):
    """Runs a study in this process. ``failure``: what ended it before its end.

    Args:
        lock: the right to be the store's worker, which is given back at the end.
    """

    def __init__(self, session: Session, study_id: str, lock: ProcessLock) -> None:
        super().__init__(name="study", daemon=True)
        self._session, self._study_id = session, study_id
        self.failure: BaseException | None = None
        with ExitStack() as undo:
            undo.callback(lock.release)
            self.models = wiring.open_models(session.settings)
            undo.callback(self.models.close)
            self._at_end = undo.pop_all()

    def start(self) -> None:
        try:
            super().start()
        except BaseException:
            self._at_end.close()
            raise

    def run(self) -> None:
        from optimizer.jobs.studies.run_study import run_study

        session = self._session
        try:
            run_study(
                self._study_id,
                wiring.job_context(
                    session.settings, session.store, session.clock, session.families, self.models, yields=False
                ),
                holdout=wiring.sealed_holdout(),
                strategies=wiring.strategy_for,
                classify=wiring.classify,
            )
        except BaseException as error:
            self.failure = error
        finally:
            self._at_end.close()


def follow_study(session: Session, study_id: str, *, follow: bool, quiet: bool) -> StudyView:
    """The study at its end, where it is waited for.

    Without a server this process is the worker for as long as the study takes;
    a worker that runs alone is left to do it.
    """
    study = read_study(session, study_id)
    if study.status in ENDED:
        return study
    if session.server is not None:
        return _by_worker(session, study_id, follow, quiet)
    lock = wiring.worker_lock(session.settings)
    if not lock.acquire():
        say(f"The worker with pid {lock.holder()} runs study {study_id}.")
        return _by_worker(session, study_id, follow, quiet)
    # The store's picture of the study is shown, which runs in a thread of this process.
    thread = StudyThread(session, study_id, lock)
    thread.start()
    try:
        study = _watch(session, study_id, quiet, thread.is_alive)
        thread.join()
    except KeyboardInterrupt:
        thread.models.close()
        say(f"Interrupted. Everything answered so far is kept; go on with: detent study resume {study_id}")
        os._exit(1)  # the search's threads cannot be stopped in the middle of a call
    if thread.failure is not None:
        raise thread.failure
    return study


def _by_worker(session: Session, study_id: str, follow: bool, quiet: bool) -> StudyView:
    if not follow:
        say(f"Study {study_id} is queued. Follow it: detent study show {study_id}")
        return read_study(session, study_id)
    try:
        return _watch(session, study_id, quiet, lambda: True)
    except KeyboardInterrupt:
        say(
            f"Study {study_id} goes on in the worker. Look: detent study show {study_id}. Stop it: detent study cancel"
            f" {study_id}"
        )
        return read_study(session, study_id)


def _watch(session: Session, study_id: str, quiet: bool, is_alive: Any) -> StudyView:
    """Prints a line per trial until the study has ended or no process runs it any more.

    Between trials it says how the study stands: on a terminal in a line that moves, elsewhere in one now and then.
    """
    out = console(stderr=True)
    began, told_at, first_calls = time.monotonic(), time.monotonic(), None
    trials_told: set[int] = set()
    status = out.status("starting") if out.is_terminal and not quiet else None
    if status:
        status.start()
    last: StudyView | None = None
    trials: Sequence[Trial] = ()

    def look() -> tuple[bool, StudyView]:
        nonlocal last, trials
        alive, study = is_alive(), read_study(session, study_id)
        if study != last or not alive:
            trials = trials_of(session, study_id)
        last = study
        return alive, study

    of_server = session.server is not None
    try:
        for alive, study in poll(look, POLL_SERVER_S if of_server else POLL_S, of_server=of_server):
            spend = study.spend
            if first_calls is None:
                first_calls = spend.n_calls
                for sentence in () if quiet else (study.findings or {}).get(REMARKS, ()):
                    out.print(sentence, markup=False)
                if not quiet and (enough := (study.findings or {}).get(ENOUGH)):
                    out.print(
                        f"The budget may cut this study short; enough for every part: {budget_options(enough)}",
                        markup=False,
                    )
            best = max((t.score for t in trials if t.status == "complete" and t.score is not None), default=None)
            if not quiet:
                ended = [t for t in trials if t.status != "running" and t.number not in trials_told]
                for trial in ended[: max(0, MOST_LINES - len(trials_told))]:
                    score = "no score" if trial.score is None else f"{trial.score:.3f}"
                    out.print(
                        f"trial {trial.number} ({trial.proposer}): {score} on"
                        f" {count(trial.n, 'dev example')}{aimed_at(study.aim, trial, is_replayed=study.is_replayed)},"
                        f" {trial.variant}",
                        markup=False,
                    )
                trials_told |= {t.number for t in ended}
            if study.status in ENDED or not alive:
                if len(trials_told) > MOST_LINES:
                    out.print(count(len(trials_told) - MOST_LINES, "more trial"), markup=False)
                return study
            line = _moving_line(study, len(trials), best, spend, time.monotonic() - began, spend.n_calls - first_calls)
            if status:
                status.update(line)
            elif not quiet and time.monotonic() - told_at >= TOLD_EVERY_S:
                told_at = time.monotonic()
                out.print(line, markup=False)
        raise AssertionError("it is asked until the study has ended")
    finally:
        if status:
            status.stop()


def _moving_line(study: Study, n_trials: int, best: float | None, spend: Any, elapsed_s: float, n_fresh: int) -> str:
    calls = f"{spend.n_calls}" + (f" of {study.budget.calls}" if study.budget.calls is not None else "") + " calls"
    parts = [
        study.status,
        count(n_trials, "trial"),
        "no score yet" if best is None else f"best {best:.3f}",
        calls,
        dollars(spend.usd),
    ]
    left_s = None
    if study.budget.calls is not None and n_fresh >= 5:
        left_s = (study.budget.calls - spend.n_calls) * elapsed_s / n_fresh
    if study.budget.minutes is not None:
        minutes_s = study.budget.minutes * 60 - elapsed_s
        left_s = minutes_s if left_s is None else min(left_s, minutes_s)
    if left_s is not None:
        parts.append(f"at most {max(0.0, left_s) / 60:.1f} min more")
    return " · ".join(parts)


def read_study(session: Session, study_id: str) -> StudyView:
    from optimizer.jobs.studies import read_studies

    return session.ask(read_studies.read_study, id=study_id)
