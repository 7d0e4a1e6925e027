"""Shows how far work is: a run in the background, which it waits for, or a long read of this command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
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
LINE_EVERY_S = 15.0
BAR_EVERY = 500  # items between two looks at the bar
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
    from optimizer.runtime.api_client import error_of

    is_here = session.server is None and (lock := wiring.worker_lock(session.settings)).acquire()
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


@contextmanager
def told_while(items: Iterable[T], what: str, *, of: int | None) -> Iterator[Iterator[T]]:
    """``items``, while it is told how many of them were taken."""
    with counting(what) as tell:

        def pass_on() -> Iterator[T]:
            for n, item in enumerate(items, start=1):
                yield item
                if n % BAR_EVERY == 0:
                    tell(n, of)

        yield pass_on()


@contextmanager
def counting(what: str = "blocks read") -> Iterator[Callable[[int, int | None], None]]:
    """Call it with (how many, of how many).

    It shows a bar on a terminal, a line now and then elsewhere; on stderr, so that the result stays alone on stdout.
    """
    err = console(stderr=True)
    if err.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn(what.capitalize()), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=err, transient=True) as bars:
            task = bars.add_task("", total=None)
            yield lambda n, of: bars.update(task, completed=n, total=of)
        return
    last = time.monotonic()

    def line(n: int, of: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            say(f"{n:,} of {of:,} {what}" if of is not None else f"{n:,} {what}")

    yield line
