"""How far a long reading of blocks is, while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optimizer.cli.output import console, say

LINE_EVERY_S = 15.0


@contextmanager
def blocks_read() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line now and then elsewhere; on stderr, so that the result stays alone on stdout."""
    err = console(stderr=True)
    if err.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("Reading blocks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=err, transient=True) as bars:
            task = bars.add_task("", total=None)
            yield lambda n, of: bars.update(task, completed=n, total=of)
        return
    last = time.monotonic()

    def line(n: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            say(f"{n:,} of {of:,} blocks read")

    yield line
