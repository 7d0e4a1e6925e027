"""What a family's users reported lately, as counts: the ground on which a rollout is forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

MIN_HOURS = 1 / 60  # one event a second ago is no rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTraffic:
    """Events of one family from the first one in the period asked for (``since``) to ``until``, both real time.

    A unit counts once per stage of a rollout however often it comes back, so units are counted here, not requests.
    """

    since: datetime
    until: datetime
    n_requests: int  # interactions, those without a unit included
    n_requests_with_unit: int
    n_units: int  # distinct, by interaction or feedback
    n_late_units: int  # of them, seen first in the second half of the period
    n_labelled_units: Mapping[tuple[str, str], int]  # by field and source: units with a label, in [0, n_units]

    @property
    def hours(self) -> float:
        """Real hours, at least one minute."""
        return max(MIN_HOURS, (self.until - self.since).total_seconds() / 3600)

    @property
    def units_per_hour(self) -> float:
        return self.n_units / self.hours

    @property
    def fresh_units_per_hour(self) -> float:
        """Units that had not been seen before, as the second half of the period tells:
        0 where the same ones always come back.
        """
        return self.n_late_units / (self.hours / 2)

    @property
    def requests_per_second(self) -> float:
        """Those with a unit: others stand in no arm."""
        return self.n_requests_with_unit / (self.hours * 3600)

    def label_rate(self, field: str, source: str) -> float:
        """Share of the units that gave a label of this field and source, in [0, 1]."""
        return min(1.0, self.n_labelled_units.get((field, source), 0) / self.n_units) if self.n_units else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """One interaction as a self-test replays it: when it started, and the values that guardrails read."""

    unit_hmac: str
    at: datetime
    failed: bool
    timed_out: bool = False
    latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLabel:
    """One outcome as a self-test replays it: when it was received, in [0, 1]."""

    unit_hmac: str
    at: datetime
    value: float
