"""Shows the progress of a long reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from optimizer.cli.output import console, say

LINE_EVERY_S = 15.0
BAR_EVERY = 500  # items between two looks at the bar
T = TypeVar("T")


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
