"""Code that blocks waits for coroutines in one place, and an interrupt loses nothing that was paid for."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from optimizer.core.search.prefix_queue import Rows
from optimizer.jobs.calls.ask_together import Share, ask_together
from optimizer.jobs.calls.blocking import wait_for

ON_MAIN = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals come to the main thread alone"
)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that starts the tests in the background lets them ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    ident = threading.main_thread().ident
    signal.pthread_kill(ident, signal.SIGINT)


def test_the_result_and_every_kind_of_fault_come_to_who_waits() -> None:
    async def answer() -> int:
        return 1

    async def end() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        wait_for(end())
    assert wait_for(answer()) == 1, "the loop outlives it"


def test_a_wait_within_the_loop_is_refused() -> None:
    async def never() -> None: ...

    async def waits() -> None:
        coroutine = never()
        try:
            wait_for(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(RuntimeError, match="wait for itself"):
        wait_for(waits())


@ON_MAIN
def test_an_interrupt_is_raised_when_the_coroutine_has_come_to_its_end(interruptible: None) -> None:
    ended = list[str]()

    async def call() -> None:
        asyncio.get_running_loop().call_soon(press_ctrl_c)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append("settled")

    with pytest.raises(KeyboardInterrupt):
        wait_for(call())
    assert ended == ["settled"]


@ON_MAIN
def test_an_interrupt_begins_nothing_more_and_keeps_what_was_in_flight(interruptible: None) -> None:
    begun, kept = list[int](), list[int]()

    async def ask(question: int) -> int:
        begun.append(question)
        if len(begun) == 2:
            press_ctrl_c()
        await asyncio.sleep(0.2)
        return question

    share = Share(rows=Rows(("", n) for n in range(10)), n_at_once=2)
    with pytest.raises(KeyboardInterrupt):
        wait_for(ask_together([share], ask, lambda question, answer: kept.append(answer)))
    assert begun == [0, 1]
    assert sorted(kept) == [0, 1]
