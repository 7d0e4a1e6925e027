"""The search for a better prompt: queued by command, run by the worker, and watched in the store."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from optimizer.cli.study.run import read_definition
from optimizer.core.search.study import ENDED, Study, Trial
from optimizer.demo.place import FAMILY
from optimizer.demo.screen import Screen
from optimizer.ports import Store

POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedStudy:
    """An ended study with its trials, and the variant that a rollout may serve."""

    study: Study
    trials: list[Trial]

    @property
    def is_nominated(self) -> bool:
        return self.study.outcome == "nominated"

    @property
    def candidate(self) -> str | None:
        """The nominated winner; else the best trial beside the champion,
        to be started as forced and called so; None without any.
        """
        if self.is_nominated:
            return self.study.winner
        rivals = [t for t in self.trials if t.variant != self.study.champion and t.score is not None]
        return max(rivals, key=lambda t: (t.score or 0.0, -t.number)).variant if rivals else None


def queue_study(screen: Screen, family: str, definition: Path, home: Path) -> str:
    """The id of the queued study."""
    answer = json.loads(
        screen.command(
            "study",
            "run",
            family,
            "--definition",
            str(definition.relative_to(home)),
            "--no-follow",
            "--json",
            show=lambda line: False,
        )
    )
    id = str(answer.get("study", answer)["id"])
    screen.say(f"  queued: {id}")
    return id


def say_plan(screen: Screen, definition: Path) -> None:
    values = read_definition(definition)
    n = int(values["n_holdout"])
    most, n_calls = values["max_examples"], int(values["budget"]["calls"]) - 2 * n
    screen.say(
        f"The search for {FAMILY} tries sets of training examples by similarity, coverage and difficulty, at most"
        f" {most} in a prompt and {n_calls} calls. Then present prompt and winner meet once on {n} sealed examples"
        f" ({2 * n} calls), which are fixed by hash before the first call."
    )


def watch_study(
    screen: Screen, id: str, definition: Path, *, store: Store, within_s: float | None = None
) -> EndedStudy:
    """The study's end, one line of progress meanwhile; after ``within_s`` the study as it is then.

    Raises RuntimeError when it failed.
    """
    most = int(read_definition(definition)["budget"]["calls"])
    deadline = None if within_s is None else time.monotonic() + within_s
    with screen.bars() as bars:
        while True:
            with store.read() as tx:
                stored = store.studies.get(tx, id)
                assert stored is not None
                searched = EndedStudy(study=stored, trials=store.studies.trials(tx, id))
                n_calls = store.journal.spend(tx, id).n_calls
            words: Mapping[str, str] = {
                "queued": "waiting for the worker",
                "running": "searching",
                "confirming": "confirming on sealed examples",
            }
            is_over = searched.study.status in ENDED
            doing = words.get(
                searched.study.status, (searched.study.outcome or searched.study.status).replace("_", " ")
            )
            text = (
                f"{doing}, {n_calls} calls"
                if is_over
                else f"{doing}, {n_calls} of at most {most} calls{_time_left(searched.study, n_calls, most)}"
            )
            bars.show(searched.study.family, most if is_over else min(n_calls, most - 1), most, text)
            if is_over or (deadline is not None and time.monotonic() > deadline):
                break
            time.sleep(POLL_S)
    study = searched.study
    if study.status in ("failed", "cancelled"):
        raise RuntimeError(
            f"the study of {study.family} {study.status}: {study.error}. See `detent study show {study.id}`."
        )
    return searched


def outcome_lines(searched: EndedStudy) -> list[str]:
    """What came out, in words and figures."""
    study = searched.study
    calls = f"{study.spend.n_calls} calls, {study.spend.n_from_journal} more answered by the journal"
    head = (
        f"  {study.family}: {(study.outcome or study.status).replace('_', ' ')} ({len(searched.trials)} trials,"
        f" {calls})"
    )
    summary = str((study.confirmation or {}).get("summary") or "")
    if not summary:
        summary = "nothing was better than the champion on the dev examples, so the sealed ones were not looked at"
    return [head, f"    {summary}"]


def _time_left(study: Study, n_calls: int, most: int) -> str:
    """At the pace so far; nothing before there is a pace."""
    if study.started_at is None or n_calls < 10:
        return ""
    minutes = (datetime.now(UTC) - study.started_at).total_seconds() / 60 / n_calls * (most - n_calls)
    return f", at most about {max(1, round(minutes))} min left at the pace so far"
