"""What is read for pages is kept for a while: for who may read as much, as it is now, and of nobody forgotten."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from api.kept_reads import ENDED_S, MOST_KEPT, PAUSE_S, KeptReads, ReadKey
from optimizer.core.base.errors import Busy
from optimizer.core.serving.access import EVERYTHING, Access

KEY = ReadKey(subject="cp_1", access=EVERYTHING)


class Reads:
    """Counts how often something is read."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> int:
        self.n += 1
        return self.n


class Slow:
    """A read that ends when it is let."""

    def __init__(self) -> None:
        self.n, self.may_end = 0, Event()

    def __call__(self) -> str:
        self.n += 1
        assert self.may_end.wait(30)
        return "read"


@pytest.fixture
def time() -> list[float]:
    return [0.0]


@pytest.fixture
def kept(time: list[float]) -> KeptReads:
    return KeptReads(now=lambda: time[0], wait_s=30.0)


def of(kept: KeptReads, read: Callable[[], Any], version: object = None, key: ReadKey = KEY, **options: Any) -> Any:
    return kept.of(key, read, version=version, keep_s=ENDED_S, **options)


def test_who_asks_for_what_is_not_read_yet_is_told_so_at_once_and_nobody_has_it_read_twice() -> None:
    kept, slow = KeptReads(), Slow()
    assert [of(kept, slow) for _ in range(3)] == [None, None, None]
    slow.may_end.set()
    kept.wait_s = 30.0
    assert of(kept, slow) == "read"
    assert slow.n == 1


def test_what_was_read_is_kept_for_all_who_may_read_as_much(kept: KeptReads) -> None:
    reads = Reads()
    assert [of(kept, reads) for _ in range(3)] == [1, 1, 1]
    assert of(kept, reads, key=ReadKey(subject="cp_1", access=Access(roles=("read",)))) == 2
    assert of(kept, reads, key=ReadKey(subject="cp_2", access=EVERYTHING)) == 3


def test_it_is_read_again_for_another_version_and_after_its_time(kept: KeptReads, time: list[float]) -> None:
    reads = Reads()
    assert [of(kept, reads, version) for version in "aab"] == [1, 1, 2]
    time[0] = ENDED_S
    assert of(kept, reads, "b") == 3


def test_a_run_that_goes_on_is_read_again_as_it_goes_on_and_not_at_once(kept: KeptReads, time: list[float]) -> None:
    reads = Reads()
    assert [of(kept, reads, n, or_older=True) for n in (1, 1, 2)] == [1, 1, 1]
    time[0] = PAUSE_S
    assert [of(kept, reads, n, or_older=True) for n in (2, 2)] == [2, 2]
    assert of(kept, reads) == 3, "at its end at once"


def test_while_a_run_that_goes_on_is_read_what_was_read_before_is_shown(kept: KeptReads, time: list[float]) -> None:
    assert of(kept, Reads(), 1, or_older=True) == 1
    time[0], kept.wait_s, slow = PAUSE_S, 0.0, Slow()
    assert of(kept, slow, 2, or_older=True) == 1
    assert of(kept, slow, 3) is None, "its end alone will do"
    slow.may_end.set()


def test_what_a_read_raised_is_told_once_and_it_is_read_anew(kept: KeptReads) -> None:
    with pytest.raises(Busy):
        of(kept, busy)
    assert of(kept, Reads()) == 1


def test_where_a_run_that_goes_on_cannot_be_read_now_what_was_read_before_is_shown(
    kept: KeptReads, time: list[float]
) -> None:
    with pytest.raises(Busy):
        of(kept, busy, 1, or_older=True)
    assert of(kept, Reads(), 1, or_older=True) == 1
    time[0] = PAUSE_S
    assert of(kept, busy, 2, or_older=True) == 1
    with pytest.raises(Busy):
        of(kept, busy)


def test_nothing_is_kept_of_before_somebody_was_forgotten(kept: KeptReads) -> None:
    reads = Reads()
    of(kept, reads)
    kept.clear()

    def read_meanwhile() -> int:
        kept.clear()
        return reads()

    assert of(kept, read_meanwhile) is None
    assert of(kept, reads) == 3


def test_only_so_many_are_kept(kept: KeptReads) -> None:
    reads = Reads()
    keys = [ReadKey(subject=f"cp_{n}", access=EVERYTHING) for n in range(MOST_KEPT + 1)]
    assert [of(kept, reads, key=key) for key in keys] == list(range(1, MOST_KEPT + 2))
    assert of(kept, reads, key=keys[-1]) == MOST_KEPT + 1
    assert of(kept, reads, key=keys[0]) == MOST_KEPT + 2


def busy() -> Any:
    raise Busy("Another read is under way.")
