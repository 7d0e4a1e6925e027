"""Waits for a run in the background, by the server's worker or in this process, and shows how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from optimizer.cli.output import console, say
from optimizer.cli.session import Session
from optimizer.core.base.errors import Busy, DetentError, TooMany
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.core.evaluation.run import QueuedRun
    from optimizer.jobs.context import Context

R = TypeVar("R", bound="QueuedRun")
T = TypeVar("T")
POLL_S = 2.0
PASSING = (Busy, TooMany, DetentError)  # the last as such: the server did not answer


def follow_run(
    session: Session,
    id: str,
    read: Callable[[Context, Any], R],
    *,
    quiet: bool,
    left: Callable[[bool], object],
) -> R:
    """The run at its end; raises the error with which it failed.

    Without a server this process does it; a worker that runs alone is left to do it.

    Args:
        read: the use case that says how far it is.
        left: called where it is waited for no longer, with whether this process did it.
    """
    from optimizer.host import run_files
    from optimizer.runtime.api_client import error_of

    is_here = session.server is None and (lock := run_files.ProcessLock(session.settings, "worker")).acquire()
    try:
        with _line(quiet) as tell:
            if is_here:
                try:
                    _carry_out(session, session.ask(read, id=id), tell)
                finally:
                    lock.release()
            answers = poll(lambda: session.ask(read, id=id), POLL_S, of_server=session.server is not None)
            while not (run := next(answers)).has_ended:
                tell(run)
    except KeyboardInterrupt:
        left(is_here)
        raise
    except Busy:
        if is_here:
            left(is_here)
        raise
    if run.status == "failed":
        raise error_of({"type": run.error_type or DetentError.slug, "detail": run.error or ""})
    return run


def _carry_out(session: Session, run: QueuedRun, tell: Callable[[QueuedRun], None]) -> None:
    from optimizer.core.views.forgetting import ForgetRun
    from optimizer.jobs.runs.carry_out_run import carry_out_run
    from optimizer.jobs.upkeep.forget_person import carry_out_forgetting
    from optimizer.runtime.personal_home import forgetting_home

    settings = session.settings
    if isinstance(run, ForgetRun):
        home = forgetting_home(settings, session.store, session.clock, session.families, is_alone=True)
        carry_out_forgetting(run.id, home, watched=tell)
        return
    models = wiring.open_models(settings)
    try:
        carry_out_run(
            run.id,
            wiring.job_context(settings, session.store, session.clock, session.families, models, yields=False),
            intake_of=lambda actor: wiring.open_intake(
                settings, session.store, session.clock, session.families, actor=actor
            ),
            classify=wiring.classify,
            watched=tell,
        )
    finally:
        models.close()


@contextmanager
def _line(quiet: bool) -> Iterator[Callable[[QueuedRun], None]]:
    """A line that moves on a terminal; nothing elsewhere."""
    out = console(stderr=True)
    if quiet or not out.is_terminal:
        yield lambda run: None
        return
    with out.status("starting") as status:
        yield lambda run: status.update(f"{run.status} · {run.n_done} of at most {run.n}")


def poll(ask: Callable[[], T], seconds: float, *, of_server: bool) -> Iterator[T]:
    """Each answer. A server that is busy or does not answer is asked again, and that is said once: what it does goes
    on.
    """
    is_told = False
    while True:
        try:
            answer = ask()
        except DetentError as error:
            if not of_server or type(error) not in PASSING:
                raise
            if not is_told:
                say(f"{error.detail} What was asked for goes on there; it is looked at again.", "yellow")
            is_told = True
        else:
            yield answer
        time.sleep(seconds)
