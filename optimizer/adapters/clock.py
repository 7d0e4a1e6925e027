"""Time as the system tells it, and the clock of rollout durations, which profile demo runs faster."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """ports.Clock.

    With ``scale`` 60 a rollout's hour passes in a minute, counted from ``anchor``; leases and tokens stay on real time.
    """

    def __init__(self, scale: float = 1.0, anchor: datetime | None = None) -> None:
        if not scale > 0:
            raise ValueError(f"a clock scale must be above 0, not {scale}")
        if scale != 1.0 and anchor is None:
            raise ValueError("a scaled clock needs an anchor that all processes share and that survives a restart")
        self.scale = scale
        self._anchor = anchor

    def now(self) -> datetime:
        return datetime.now(UTC)

    def rollout_now(self) -> datetime:
        now = self.now()
        return now if self._anchor is None else self._anchor + (now - self._anchor) * self.scale
