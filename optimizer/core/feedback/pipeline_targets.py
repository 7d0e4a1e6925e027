"""What the pipeline's figures should be, and when they are worth a warning: the levels of monitoring.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

LEVELS = ("target", "warning_low", "critical_low", "warning_high")
Colour = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Levels of one figure; None: none of that kind. Shares from 0 to 1."""

    target: float | None = None
    warning_low: float | None = None
    critical_low: float | None = None
    warning_high: float | None = None

    def colour(self, value: float) -> Colour:
        """red below critical_low, yellow below warning_low or above warning_high, else green."""
        if self.critical_low is not None and value < self.critical_low:
            return "red"
        too_low = self.warning_low is not None and value < self.warning_low
        too_high = self.warning_high is not None and value > self.warning_high
        return "yellow" if too_low or too_high else "green"

    def fault(self) -> str | None:
        """Why the levels contradict one another; None where they rise."""
        named = [(name, getattr(self, name)) for name in ("critical_low", "warning_low", "target", "warning_high")]
        limits = [(name, value) for name, value in named if value is not None]
        for (low, a), (high, b) in pairwise(limits):
            if a > b:
                return (
                    f"{low} ({a:g}) lies above {high} ({b:g}); the levels rise from critical_low over warning_low and"
                    " target to warning_high"
                )
        return None


TARGETS: Mapping[str, Target] = {
    "bypass_rate": Target(target=0.60, warning_low=0.50, critical_low=0.40, warning_high=0.80),
    "early_exit_rate": Target(target=0.40, warning_low=0.30, critical_low=0.20, warning_high=0.60),
    "avg_time_savings": Target(target=0.70, warning_low=0.60, critical_low=0.50),
    "quality_score_avg": Target(target=0.75, warning_low=0.70, critical_low=0.65),
}
