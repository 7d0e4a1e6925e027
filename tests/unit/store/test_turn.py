"""Processes that write to one SQLite file take turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep, time

from optimizer.adapters.store.writer import Turn
from tests.children import telling


def write_all_the_time(tell: Callable[[object], object], file: Path, begins_at: float) -> None:
    turn, times = Turn(file, 10), list[float]()
    sleep(max(0.0, begins_at - time()))
    while len(times) < 2 or time() < begins_at + 1.0:
        with turn.mine():
            times.append(time())
            sleep(0.005)
    tell(json.dumps(times))


def hold(tell: Callable[[object], object], file: Path) -> None:
    with Turn(file, 10).mine():
        tell("held")
        sleep(60)


def test_of_two_that_write_all_the_time_each_gets_its_turn(tmp_path: Path) -> None:
    file, begins_at = tmp_path / "turn", time() + 0.5
    with (
        telling(write_all_the_time, file, begins_at) as (_, one),
        telling(write_all_the_time, file, begins_at) as (_, other),
    ):
        times = [json.loads(next(one)), json.loads(next(other))]
    # One may have started late: only while both wrote had each to wait for the other.
    begin, end = max(own[0] for own in times), min(own[-1] for own in times)
    turns = [sum(begin <= at <= end for at in own) for own in times]
    assert min(turns) > 0.3 * max(turns) > 0, turns


def test_who_has_waited_long_goes_on_and_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "turn"
    with telling(hold, file) as (_, told):
        assert next(told) == "held\n"
        began = monotonic()
        with Turn(file, patience_s=0.2).mine():
            assert monotonic() - began >= 0.2
    began = monotonic()
    with Turn(file, patience_s=60).mine():
        assert monotonic() - began < 30


def test_without_a_file_to_lock_there_are_no_turns(tmp_path: Path) -> None:
    with Turn(tmp_path / "no such folder" / "turn", patience_s=5).mine():
        pass
