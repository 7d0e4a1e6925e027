"""Waits for a run in the background, by the server's worker or in this process, and shows how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from optimizer.cli.output import console
from optimizer.cli.progress.polling import polled
from optimizer.cli.session import Session
from optimizer.core.base.errors import Busy, DetentError

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.evaluation.run import QueuedRun
    from optimizer.jobs.context import Context
    from optimizer.jobs.request import ItemRequest

R = TypeVar("R", bound="QueuedRun")
POLL_S = 2.0


def follow_run(
    session: Session,
    id: str,
    read: Callable[[Context, ItemRequest], R],
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
    from optimizer.jobs.request import ItemRequest
    from optimizer.runtime.api_client import error_of

    def asked() -> R:
        return session.client.ask(read, ItemRequest(id=id))

    is_here = session.server is None and (lock := run_files.ProcessLock(session.settings, "worker")).acquire()
    try:
        with _line(quiet) as tell:
            if is_here:
                try:
                    _carry_out(session, id, tell)
                finally:
                    lock.release()
            answers = polled(asked, POLL_S, of_server=session.server is not None)
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


def _carry_out(session: Session, id: str, tell: Callable[[QueuedRun], None]) -> None:
    from optimizer.jobs.runs.carry_out_run import carry_out_run
    from optimizer.runtime import wiring

    settings = session.settings
    models = wiring.open_models(settings)
    try:
        carry_out_run(
            id,
            wiring.job_context(settings, session.store, session.clock, session.families, models, yields=False),
            intake_of=lambda actor: wiring.open_intake(
                settings, session.store, session.clock, session.families, actor=actor
            ),
            classify=wiring.classify,
            watched=tell,
        )
    finally:
        models.close()


def _line(quiet: bool) -> AbstractContextManager[Callable[[QueuedRun], None]]:
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

    def __call__(self, run: QueuedRun) -> None:
        self._status.update(f"{run.status} · {run.n_done} of at most {run.n}")
