"""What a rollout still needs is read beside the pages: a page waits a moment, and shows what was read before."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from api import kept_outlooks
from api.kept_outlooks import KEPT_S, KeptOutlooks
from tests.clock import until


@pytest.fixture
def time() -> list[float]:
    return [1.0]


@pytest.fixture
def outlooks(time: list[float], monkeypatch: pytest.MonkeyPatch) -> KeptOutlooks:
    monkeypatch.setattr(kept_outlooks, "WAIT_S", 15.0)  # a machine may be slow
    return KeptOutlooks(now=lambda: time[0])


def test_an_outlook_is_read_again_after_a_minute(outlooks: KeptOutlooks, time: list[float]) -> None:
    figures = iter(range(9))
    reads = {"ro_1": lambda: next(figures)}
    assert [outlooks.of(reads) for _ in range(2)] == [{"ro_1": 0}, {"ro_1": 0}]
    time[0] += KEPT_S
    assert outlooks.of(reads) == {"ro_1": 1}


def test_a_page_waits_for_no_slow_read_and_shows_what_was_read_before(
    outlooks: KeptOutlooks, time: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outlooks.of({"ro_1": lambda: "before"}) == {"ro_1": "before"}
    time[0] += KEPT_S
    monkeypatch.setattr(kept_outlooks, "WAIT_S", 0.0)
    goes_on, n_reads = Event(), list[int]()

    def slow() -> Any:
        n_reads.append(1)
        goes_on.wait(15)
        return "after"

    reads = {"ro_1": slow, "ro_2": lambda: "new"}
    assert [outlooks.of(reads) for _ in range(3)] == [{"ro_1": "before"}] * 3
    goes_on.set()
    assert until(lambda: outlooks.of(reads) == {"ro_1": "after", "ro_2": "new"})
    assert len(n_reads) == 1, "what is being read is not read a second time"


def test_what_cannot_be_read_is_left_out(outlooks: KeptOutlooks) -> None:
    def fails() -> Any:
        raise KeyError("gone")

    assert outlooks.of({"ro_1": fails, "ro_2": lambda: 2}) == {"ro_2": 2}
