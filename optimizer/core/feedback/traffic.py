"""What a family's users reported lately, as counts: the ground on which a rollout is forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.feedback.traffic_sums import NO_UNIT, PLACES, TrafficSum, UnitOutcomes, limit_of, summed_by

MIN_HOURS = 1 / 60  # one event a second ago is no rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTraffic:
    """Events of one family from the first one in the period asked for (``since``) to ``until``, both real time.

    A unit counts once per stage of a rollout however often it comes back, so units are counted here, not requests.
    Their numbers are estimated where the sums they come from hold a share of the units only.
    """

    since: datetime
    until: datetime
    n_requests: int  # interactions, those without a unit included
    n_requests_with_unit: int
    n_units: int  # distinct, by interaction or feedback
    n_late_units: int  # those first seen in the second half of the period
    n_labelled_units: Mapping[tuple[str, str], int]  # (field, source) -> units with a label, in [0, n_units]

    @property
    def hours(self) -> float:
        """Real hours, at least one minute."""
        return max(MIN_HOURS, (self.until - self.since).total_seconds() / 3600)

    @property
    def units_per_hour(self) -> float:
        return self.n_units / self.hours

    @property
    def requests_per_second(self) -> float:
        """Requests with a unit a second; others are in no arm."""
        return self.n_requests_with_unit / (self.hours * 3600)

    def label_rate(self, field: str, source: str) -> float:
        """Share of the units that gave a label of this field and source, in [0, 1]."""
        return min(1.0, self.n_labelled_units.get((field, source), 0) / self.n_units) if self.n_units else 0.0


def recorded_traffic(
    since: datetime, until: datetime, first_half: Iterable[TrafficSum], second_half: Iterable[TrafficSum]
) -> RecordedTraffic:
    """The traffic from the sums of both halves of the period; numbers of units are estimated where not
    all are stored.
    """
    nothing = TrafficSum(family="", start=since, minutes=1)
    halves = [summed_by(half, "source").values() for half in (first_half, second_half)]
    earlier, later = (summed_by(half).get((), nothing) for half in halves)
    both = max(earlier.level, later.level)
    before, after = ({name for name in _units(half) if name < limit_of(both)} for half in (earlier, later))
    by_source = summed_by([*halves[0], *halves[1]], "source")
    requests = by_source.get(("",), nothing)
    labelled: dict[tuple[str, str], int] = {}
    for (source,), source_sums in by_source.items():
        outcomes_of_units = [outcomes for outcomes in _units(source_sums).values() if outcomes]
        for field, place in PLACES.items():
            if n := sum(1 for outcomes in outcomes_of_units if outcomes[place]):
                labelled[field, source] = n << source_sums.level
    return RecordedTraffic(
        since=since,
        until=until,
        n_requests=requests.n,
        n_requests_with_unit=requests.n_with_unit,
        n_units=len(before | after) << both,
        n_late_units=len(after - before) << both,
        n_labelled_units=labelled,
    )


def _units(sums: TrafficSum) -> dict[str, UnitOutcomes]:
    return {name: outcomes for name, outcomes in sums.units.items() if not name.endswith(NO_UNIT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """One interaction: when it started, and the values that guardrails read; a self-test replays it."""

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
