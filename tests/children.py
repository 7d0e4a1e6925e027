"""Processes that a test ends: forked from that of the tests, which has loaded every module already.

What SQLite knows of a file goes with the fork: a child may not open one that its parent has open.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from optimizer.jobs.calls import blocking

PATIENCE_S = 60.0


def fork(do: Callable[..., object], *given: Any) -> BaseProcess:
    def run() -> None:
        blocking._LOOP = blocking._Loop()  # threads stay with the parent
        do(*given)

    child = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    child.start()
    return child


def exit_code(do: Callable[..., object], *given: Any) -> int | None:
    """Of a child that does this; negative where a signal ended it."""
    child = fork(do, *given)
    child.join(PATIENCE_S)
    assert not child.is_alive(), "the child hangs"
    return child.exitcode


def die_at(owner: Any, name: str, number: int = 1, *, after: bool) -> None:
    """This process is killed at that call of ``owner.name``: before the call, or after it."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = real(*args, **more)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    setattr(owner, name, dying)


@contextmanager
def telling(do: Callable[..., object], *given: Any) -> Iterator[tuple[BaseProcess, Iterator[str]]]:
    """A child that does this with what tells its parent a line, and the lines that it tells; killed at the end."""
    read, write = os.pipe()
    child = fork(do, lambda line: os.write(write, f"{line}\n".encode()), *given)
    os.close(write)
    with os.fdopen(read) as told:
        try:
            yield child, told
        finally:
            child.kill()
            child.join()
