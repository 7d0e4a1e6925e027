"""What is read for pages is kept for a while: for who may read as much, as it is now, and of nobody forgotten."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from api.kept_reads import CHANGING_S, ENDED_S, MOST_KEPT, PAUSE_S, KeptReads, ReadKey
from optimizer.core.base.errors import Busy
from optimizer.core.serving.access import EVERYTHING, Access
from tests.clock import until

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


def of(kept: KeptReads, read: Callable[[], Any], key: ReadKey = KEY, **options: Any) -> Any:
    """The answer, and at which progress it was read."""
    entry = kept.of(key, read, keep_s=ENDED_S, **options)
    return None if entry is None else (entry.answer, entry.progress)


def test_who_asks_for_what_is_not_read_yet_is_told_so_at_once_and_nobody_has_it_read_twice() -> None:
    kept, slow = KeptReads(), Slow()
    assert [of(kept, slow) for _ in range(3)] == [None, None, None]
    slow.may_end.set()
    kept.wait_s = 30.0
    assert of(kept, slow) == ("read", None)
    assert slow.n == 1


def test_what_was_read_is_kept_for_all_who_may_read_as_much(kept: KeptReads) -> None:
    reads = Reads()
    assert [of(kept, reads)[0] for _ in range(3)] == [1, 1, 1]
    assert of(kept, reads, ReadKey(subject="cp_1", access=Access(roles=("read",))))[0] == 2
    assert of(kept, reads, ReadKey(subject="cp_2", access=EVERYTHING))[0] == 3


def test_it_is_read_again_for_another_version_and_after_its_time(kept: KeptReads, time: list[float]) -> None:
    reads = Reads()
    assert [of(kept, reads, version=version)[0] for version in "aab"] == [1, 1, 2]
    time[0] = ENDED_S
    assert of(kept, reads, version="b")[0] == 3


def test_a_run_that_goes_on_is_read_again_as_it_goes_on_and_not_at_once(kept: KeptReads, time: list[float]) -> None:
    reads = Reads()
    assert [of(kept, reads, progress=n) for n in (1, 1, 2)] == [(1, 1)] * 3
    time[0] = PAUSE_S
    assert [of(kept, reads, progress=n) for n in (2, 2)] == [(2, 2)] * 2
    assert of(kept, reads) == (3, None), "at its end at once"


def test_until_a_run_is_read_again_what_was_read_before_is_shown_of_the_same_version(
    kept: KeptReads, time: list[float]
) -> None:
    assert of(kept, Reads(), version="a", progress=1) == (1, 1)
    time[0], kept.wait_s, slow = PAUSE_S, 0.0, Slow()
    assert of(kept, slow, version="a", progress=2) == (1, 1)
    assert of(kept, slow, version="a") == (1, 1), "also once it has ended"
    assert of(kept, slow, version="b") is None
    time[0] = ENDED_S
    assert of(kept, slow, version="a") is None
    slow.may_end.set()


def test_what_a_read_raised_is_told_once_and_not_to_who_comes_much_later(kept: KeptReads, time: list[float]) -> None:
    with pytest.raises(Busy):
        of(kept, busy)
    assert of(kept, Reads())[0] == 1
    kept.clear()
    kept.wait_s, may_end = 0.0, Event()

    def busy_later() -> Any:
        assert may_end.wait(30)
        return busy()

    assert of(kept, busy_later) is None
    may_end.set()
    until(lambda: not kept._under_way, "the read to end")
    time[0], kept.wait_s = CHANGING_S, 30.0
    assert of(kept, Reads())[0] == 1


def test_where_it_cannot_be_read_now_what_was_read_before_is_shown_and_another_fault_is_told(
    kept: KeptReads, time: list[float]
) -> None:
    assert of(kept, Reads(), progress=1) == (1, 1)
    time[0] = PAUSE_S
    assert of(kept, busy, progress=2) == (1, 1)
    assert of(kept, busy) == (1, 1)
    with pytest.raises(Busy, match="too long"):
        of(kept, failing)
    assert of(kept, Reads(), progress=1) == (1, 1)
    with pytest.raises(ValueError, match="a fault"):
        of(kept, faulty)
    assert of(kept, Reads()) == (1, None)


def test_where_no_thread_can_be_started_the_next_who_asks_tries_again(
    kept: KeptReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", lambda self: faulty())
        with pytest.raises(ValueError, match="a fault"):
            of(kept, Reads())
    assert of(kept, Reads())[0] == 1


def test_nothing_is_kept_of_before_somebody_was_forgotten(kept: KeptReads) -> None:
    reads = Reads()
    of(kept, reads)
    kept.clear()

    def read_meanwhile() -> int:
        kept.clear()
        return reads()

    assert of(kept, read_meanwhile) is None
    assert of(kept, reads)[0] == 3


def test_only_so_many_are_kept_and_those_first_that_are_good_still(kept: KeptReads, time: list[float]) -> None:
    reads = Reads()
    keys = [ReadKey(subject=f"cp_{n}", access=EVERYTHING) for n in range(MOST_KEPT + 1)]
    assert [of(kept, reads, key)[0] for key in keys] == list(range(1, MOST_KEPT + 2))
    assert of(kept, reads, keys[-1])[0] == MOST_KEPT + 1
    assert of(kept, reads, keys[0])[0] == MOST_KEPT + 2
    kept.clear()
    lasting = ReadKey(subject="lasting", access=EVERYTHING)
    of(kept, Reads(), lasting)
    for key in keys[1:]:
        kept.of(key, Reads(), keep_s=CHANGING_S)
        time[0] += CHANGING_S
    assert of(kept, busy, lasting)[0] == 1


def busy() -> Any:
    raise Busy("Another read is under way.")


def failing() -> Any:
    raise Busy("It took too long.", passes=False)


def faulty() -> Any:
    raise ValueError("a fault")
