"""Waits for what a judge was asked to do, by the server's worker or in this process, and shows how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from optimizer.cli.family.evaluate_view import NO_PRICE
from optimizer.cli.output import console, dollars, say
from optimizer.cli.session import Session
from optimizer.cli.study.polling import polled
from optimizer.core.base.errors import Busy, DetentError

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate

POLL_S = 2.0


def follow_judge_run(session: Session, id: str, *, quiet: bool) -> JudgeRun:
    """The run at its end; raises the error with which it failed.

    Without a server this process does it; a worker that runs alone is left to do it.
    """
    from optimizer.host import run_files
    from optimizer.runtime.api_client import BY_SLUG

    if session.server is None and (lock := run_files.ProcessLock(session.settings, "worker")).acquire():
        try:
            run = _here(session, id, quiet)
        finally:
            lock.release()
    else:
        run = _by_worker(session, id, quiet)
    if run.status == "failed":
        raise BY_SLUG.get(run.error_type or "", DetentError)(run.error or "")
    return run


def told_estimate(out: Console, estimate: JudgeRunEstimate, head: str) -> None:
    calls, usd = estimate.calls, estimate.usd
    cap = f"with retries at most {estimate.calls_at_most:,}, the cap where no budget is given"
    out.print(head, markup=False)
    out.print(f"Calls     {calls.expected:,} expected, at most {calls.high:,}; {cap}", markup=False)
    money = NO_PRICE if usd is None else f"{dollars(usd.expected)} expected, at most {dollars(usd.high)}"
    out.print(f"Dollars   {money}", markup=False)


def _by_worker(session: Session, id: str, quiet: bool) -> JudgeRun:
    from optimizer.jobs.studies.evaluations.create_judge_run import JudgeRunReadRequest, read_judge_run

    request = JudgeRunReadRequest(id=id)
    try:
        with _line(quiet) as tell:
            answers = polled(
                lambda: session.client.ask(read_judge_run, request), POLL_S, of_server=session.server is not None
            )
            while not (run := next(answers)).has_ended:
                tell(run)
    except KeyboardInterrupt:
        say(f"Run {id} goes on in the worker. Stop it: detent judge cancel {id}")
        raise
    return run


def _here(session: Session, id: str, quiet: bool) -> JudgeRun:
    from optimizer.jobs.studies.evaluations.run_judge_run import run_judge_run
    from optimizer.runtime import wiring

    settings = session.settings
    models = wiring.open_models(settings)
    try:
        with _line(quiet) as tell:
            return run_judge_run(
                id,
                wiring.job_context(settings, session.store, session.clock, session.families, models, yields=False),
                intake_of=lambda actor: wiring.open_intake(
                    settings, session.store, session.clock, session.families, actor=actor
                ),
                watched=tell,
            )
    except (KeyboardInterrupt, Busy):
        say(f"Interrupted. What was answered is kept; the next worker goes on, or stop it: detent judge cancel {id}")
        raise
    finally:
        models.close()


def _line(quiet: bool) -> AbstractContextManager[Callable[[JudgeRun], None]]:
    """A line that moves on a terminal; nothing elsewhere."""
    out = console(stderr=True)
    return nullcontext(lambda run: None) if quiet or not out.is_terminal else _Moving(out)


class _Moving(AbstractContextManager["_Moving"]):
    def __init__(self, out: Console) -> None:
        self._status = out.status("starting")

    def __enter__(self) -> _Moving:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, run: JudgeRun) -> None:
        self._status.update(f"{run.status} · {run.n_done} of at most {run.n}")
