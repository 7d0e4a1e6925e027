"""What the evidence says where whole days of assignment end.

Where the difference between the arms swings with the hour, evidence is at its largest after the best hours, and its
peak says more about them than about the day. Over a whole day the swing cancels: at the ends of days alone, evidence is
valid for the mean over the days' labelled outcomes (docs/adr/0038-promises-hold-over-whole-days.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from optimizer.core.statistics.quality_gate import QualityGate


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDays:
    """Largest log e-values at the ends of whole days; ``labelled``: outcomes used until the last of them."""

    ends_at: datetime | None = None  # of the day under way; cohorts from here on are the next day's
    n: int = 0
    labelled: int = 0
    ship1: float = 0.0
    roll: float = 0.0

    def until(self, start: datetime, gate: QualityGate, *, day: timedelta, cohort: timedelta) -> WholeDays:
        """Before the outcomes of the cohort that begins at ``start`` are added: if they are another day's, the day
        under way is over, with what ``gate`` knows.

        The first cohort is usually a broken one, and counts beside the first day.
        """
        if self.ends_at is None:
            return WholeDays(ends_at=start + cohort + day)
        if start < self.ends_at:
            return self
        return WholeDays(
            ends_at=self.ends_at + ((start - self.ends_at) // day + 1) * day,
            n=self.n + 1,
            labelled=gate.labelled,
            ship1=max(self.ship1, gate.of("ship1").log_e),
            roll=max(self.roll, gate.of("roll").log_e),
        )
