"""The two clocks: of the world, and of rollouts."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    scale: float  # how much faster rollout_now runs than now; 1.0 = both are real time

    def now(self) -> datetime:
        """Real time, UTC: leases, ticks, timeouts, tokens."""

    def rollout_now(self) -> datetime:
        """The clock of rollout durations: real time, or scaled under profile demo."""
