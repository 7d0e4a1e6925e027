"""The tests' clock, and the wait for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

PROCESSES_S = 240.0  # patience with processes that start or end: seconds of CPU each, on a machine that may be busy
T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@dataclass
class Clock:
    """ports.Clock that stands still until it is told to go on; with ``step_s`` it moves by so much at every look."""

    at: datetime = T0
    scale: float = 1.0
    anchor: datetime | None = None  # where rollouts' time is real time; without one, where the clock began
    step_s: float = 0.0

    def __post_init__(self) -> None:
        self.anchor = self.anchor or self.at

    def now(self) -> datetime:
        self.at += timedelta(seconds=self.step_s)
        return self.at

    def rollout_now(self) -> datetime:
        return self.anchor + (self.at - self.anchor) * self.scale

    def pass_time(self, by: timedelta) -> datetime:
        self.at += by
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def pass_hours(self, hours: float) -> None:
        self.at += timedelta(hours=hours)


def until(met: Callable[[], Any], what: str = "what another thread or process does", patience_s: float = 15.0) -> Any:
    """The first true answer of ``met``; a machine may be slow, so patience is long and success is seen at once.

    Processes that take seconds are asked less often than threads: to answer takes the CPU that they need.
    """
    end, pause_s, longest_s = time.monotonic() + patience_s, 0.001, 0.05 if patience_s < PROCESSES_S else 0.2
    while not (found := met()):
        assert time.monotonic() < end, f"waited {patience_s:g} s for {what}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)
    return found
