"""Did a switch of champion that no evidence spoke for make things worse? Two sequential tests on one metric.

One compares with the champion before in its holdback, the other with what the champion before did in the same hours of
the weeks before. Outcomes stand beside outcomes of the same age, the time from being served to the outcome's receipt:
right after a switch only quick outcomes can have come, and bad news may be quicker than good. A unit counts once.

Both are e-processes of blocks (``core/statistics/block_evalue.py``), valid at every look.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import exp
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from optimizer.core.base.phrasing import count, when
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.traffic_sums import ALL, hash_of, limit_of
from optimizer.core.serving.champion import variant_reigning_at
from optimizer.core.serving.rollout import Champion
from optimizer.core.statistics.mixture import Evidence, Hypothesis, threshold
from optimizer.core.statistics.outcomes import Block, Outcomes, Sums, gather
from optimizer.core.statistics.plug_in import NOTHING, PlugIn
from optimizer.core.statistics.quality_gate import MIN_BLOCK, log_factors

LEVEL = 0.001  # false alarms per switch between equals, of both tests together
ALPHA = LEVEL / 2
MIN_DROP = 0.03  # a smaller one is never told
MIN_DROP_UNMATCHED = 0.10  # where other hours of the day, or days of the week, have to serve as a reference
GAPS, WEIGHTS = (-0.05, -0.15, -0.35), (0.4, 0.3, 0.3)  # beyond the smallest drop that is told
PERIOD = timedelta(days=7)  # for which a switch is watched
DAY, HOUR, SHORTEST = timedelta(days=1), timedelta(hours=2), timedelta(minutes=10)
MOST_WEEKS = 4
AGES_S = (60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)  # where one group of ages ends and the next begins
UNKNOWN_AGE = len(AGES_S) + 1
MOST_LATE = 0.05  # share of outcomes of the champion before, up to which those of unknown age have all ages
MOST_UNITS = 1 << 16
Against = Literal["holdback", "before"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOutcome:
    """One outcome of the watched metric, and where it belongs; ``served_at`` None where it names no interaction."""

    received_at: datetime
    served_at: datetime | None
    unit: str
    value: float
    variant: str
    role: str | None
    rollout: str | None

    @property
    def age_group(self) -> int:
        if self.served_at is None:
            return UNKNOWN_AGE
        return bisect_right(AGES_S, (self.received_at - self.served_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the champion before did ``period``, 2 ``period`` … ``times`` ``period`` before each moment."""

    period: timedelta
    times: int
    min_drop: float

    @property
    def shifts(self) -> tuple[timedelta, ...]:
        return tuple(self.period * k for k in range(1, self.times + 1))

    @property
    def text(self) -> str:
        if self.period == PERIOD:
            return "the same hours of the week before" if self.times == 1 else f"the same hours of {self.times} weeks"
        return "the same hours of the day before" if self.period == DAY else "the time just before the switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One of the two tests: the evidence that the mean fell by more than ``min_drop``, latched at its peak."""

    min_drop: float
    evidence: Evidence
    rates: tuple[tuple[PlugIn, PlugIn], ...]  # of the new champion and the one before, per age group
    pending: tuple[tuple[Block, int] | None, ...]  # per age group, with its number of late outcomes
    now: Sums = NOTHING  # of the blocks that were used
    before: Sums = NOTHING

    @classmethod
    def start(cls, min_drop: float, mean: float) -> Comparison:
        groups = UNKNOWN_AGE + 1
        prior = PlugIn(prior_mean=mean)
        return cls(
            min_drop=min_drop, evidence=Evidence.none(WEIGHTS), rates=((prior, prior),) * groups,
            pending=(None,) * groups,
        )  # fmt: skip

    @property
    def alarmed(self) -> bool:
        return self.evidence.peak >= threshold(ALPHA)

    def after(self, block: Block, n_late: int, kind: Literal["binary", "score"]) -> Comparison:
        """``n_late``: outcomes that came beside it from before the switch, which no block holds.

        While they are many, those of unknown age are younger than those they are compared with, and are left out.
        """
        group = block.stage
        waiting = self.pending[group]
        merged = gather(waiting[0] if waiting else None, block)
        n_late += waiting[1] if waiting else 0
        if merged.n < MIN_BLOCK or not merged.has_both_arms:
            return replace(self, pending=_with(self.pending, group, (merged, n_late)))
        pending = _with(self.pending, group, None)
        if n_late > MOST_LATE * merged.candidate.n:
            return replace(self, pending=pending)
        now, before = self.rates[group]
        hypothesis = Hypothesis(name="worse", boundary=-self.min_drop, gaps=GAPS, weights=WEIGHTS, alpha=ALPHA)
        return replace(
            self,
            evidence=self.evidence.after(log_factors(hypothesis, merged, before, now, kind)),
            rates=_with(self.rates, group, (now.after(merged.candidate), before.after(merged.champion))),
            pending=pending,
            now=self.now + merged.candidate.sums,
            before=self.before + merged.champion.sums,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchWatch:
    """What is known of one switch; a later switch begins another."""

    variant: str
    before: str  # the variant that reigned until then
    at: datetime
    by: str
    why: str
    metric: Metric
    judge: str | None = None  # where the metric is a judge's: the only one whose scores are read
    rollout: str | None = None  # whose holdback there is
    reference: Reference | None = None
    comparisons: Mapping[Against, Comparison] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, reign: Champion, history: Sequence[Champion], *, metric: Metric, mean: float,
        first_at: datetime | None, judge: str | None = None, rollout: str | None = None,
    ) -> SwitchWatch | None:  # fmt: skip
        """None where nothing can be told: neither a holdback, nor a time before the switch to compare with.

        Args:
            mean: of the champion before, as known before the switch.
            first_at: when its first outcome was received; None: there is none.
            rollout: the one whose holdback stands beside the new champion.
        """
        below = next((one for one in history if one.seq == reign.seq - 1), None)
        if below is None:
            return None
        reference = reference_of(history, reign, first_at)
        comparisons: dict[Against, Comparison] = {}
        if rollout is not None:
            comparisons["holdback"] = Comparison.start(MIN_DROP, mean)
        if reference is not None:
            comparisons["before"] = Comparison.start(reference.min_drop, mean)
        if not comparisons:
            return None
        return cls(
            variant=reign.variant, before=below.variant, at=reign.since, by=reign.by, why=reign.why, metric=metric,
            judge=judge, rollout=rollout, reference=reference, comparisons=comparisons,
        )  # fmt: skip

    @property
    def alarm(self) -> Against | None:
        """The comparison that was first to tell; latched for the rest of the reign."""
        return next((name for name, one in self.comparisons.items() if one.alarmed), None)

    def after(
        self, outcomes: Iterable[ServedOutcome], earlier: Iterable[tuple[timedelta, ServedOutcome]], units: SwitchUnits
    ) -> SwitchWatch:
        """One stretch of time later.

        Args:
            outcomes: received in it, of both variants.
            earlier: of the variant before, received ``shift`` before it, each with its shift.
            units: those that were counted before; the new ones are added.
        """
        if self.alarm is not None:
            return self
        beside, new, n_late = _Arms(), _Arms(), 0
        for one in outcomes:
            if self._is_new(one) and units.now.admit(one.unit):
                new.now(one)
                if self.rollout is not None and one.rollout == self.rollout:
                    beside.now(one)
            elif self._is_held_back(one) and units.now.admit(one.unit):
                beside.before(one)
            elif one.variant == self.before and one.role != "holdback" and one.served_at is None:
                n_late += 1
        for shift, one in earlier:
            if self._is_earlier(one, shift) and units.before.admit(one.unit):
                new.before(one)
        kind: Literal["binary", "score"] = "binary" if self.metric.field == "success" else "score"
        comparisons = dict(self.comparisons)
        compared: tuple[tuple[Against, _Arms, int], ...] = (("holdback", beside, 0), ("before", new, n_late))
        for name, arms, late in compared:
            for block in arms.blocks() if name in comparisons else ():
                n = late if block.stage == UNKNOWN_AGE else 0
                comparisons[name] = comparisons[name].after(block, n, kind)
        return replace(self, comparisons=comparisons)

    def _is_new(self, one: ServedOutcome) -> bool:
        """Served since the switch; the candidate of a rollout that the switch ended was served before it."""
        served = one.role != "candidate" if one.served_at is None else one.served_at >= self.at
        return one.variant == self.variant and served

    def _is_held_back(self, one: ServedOutcome) -> bool:
        in_time = one.served_at is None or one.served_at >= self.at
        return one.rollout is not None and one.rollout == self.rollout and one.role == "holdback" and in_time

    def _is_earlier(self, one: ServedOutcome, shift: timedelta) -> bool:
        """Of the champion before while it reigned, and no older than the new champion's can be by now."""
        served = one.served_at or one.received_at
        return one.variant == self.before and served < self.at <= served + shift


def reference_of(history: Sequence[Champion], reign: Champion, first_at: datetime | None) -> Reference | None:
    """The weeks before where the champion before reigned and had outcomes then, else the day, else up to two hours
    before the switch; None where those are less than ten minutes.
    """
    below = next(one for one in history if one.seq == reign.seq - 1)
    if first_at is None:
        return None
    for period, most, min_drop in ((PERIOD, MOST_WEEKS, MIN_DROP), (DAY, 1, MIN_DROP_UNMATCHED)):
        times = 0
        while times < most and _served_then(below, history, reign.since - period * (times + 1), first_at):
            times += 1
        if times:
            return Reference(period=period, times=times, min_drop=min_drop)
    reigned = min(HOUR, reign.since - max(below.since, first_at))
    return Reference(period=reigned, times=1, min_drop=MIN_DROP_UNMATCHED) if reigned >= SHORTEST else None


def _served_then(below: Champion, history: Sequence[Champion], at: datetime, first_at: datetime) -> bool:
    return first_at <= at and variant_reigning_at(history, at) == below.variant


class UnitSample:
    """Units that were counted: all of them up to ``most``, then those with the smallest hashes.

    A unit is admitted once. Which units are known after some were shown does not depend on their order.
    """

    def __init__(self, most: int = MOST_UNITS) -> None:
        self._most, self._level, self._limit = most, 0, ALL
        self._hashes: set[str] = set()

    def admit(self, unit: str) -> bool:
        """Whether the unit counts now: it did not before, and it is in the sample."""
        name = hash_of(unit)
        if name >= self._limit or name in self._hashes:
            return False
        self._hashes.add(name)
        while len(self._hashes) > self._most:
            self._level += 1
            self._limit = limit_of(self._level)
            self._hashes = {one for one in self._hashes if one < self._limit}
        return True


class SwitchUnits:
    """The units that one watch has counted since the switch, and those of its reference."""

    def __init__(self) -> None:
        self.now, self.before = UnitSample(), UnitSample()


class _Arms:
    """Outcomes of both sides by age group."""

    def __init__(self) -> None:
        self._now: dict[int, list[float]] = {}
        self._before: dict[int, list[float]] = {}

    def now(self, one: ServedOutcome) -> None:
        self._now.setdefault(one.age_group, []).append(one.value)

    def before(self, one: ServedOutcome) -> None:
        self._before.setdefault(one.age_group, []).append(one.value)

    def blocks(self) -> list[Block]:
        return [
            Block(
                stage=group,
                candidate=Outcomes.of(self._now.get(group, ())),
                champion=Outcomes.of(self._before.get(group, ())),
            )
            for group in sorted({*self._now, *self._before})
        ]


def alarm_text(watch: SwitchWatch, family: str) -> str:
    """What an alarm says: from what to what, who switched and when, and the command that takes it back."""
    against = watch.alarm
    assert against is not None
    found = watch.comparisons[against]
    beside = (
        f"{watch.before}, which 5 % of the units still get,"
        if against == "holdback" or watch.reference is None
        else f"{watch.before} in {watch.reference.text}"
    )
    return (
        f"{watch.variant} of {family} does worse than the champion before it: {watch.metric.field} by"
        f" {watch.metric.source} is {found.now.mean or 0.0:.2f} so far (mean of {count(int(found.now.n), 'outcome')}),"
        f" and that of {beside} is {found.before.mean or 0.0:.2f} ({found.before.n:,.0f}), of outcomes of the same age."
        f" Chance shows as much once in {exp(min(found.evidence.peak, 27.6)):,.0f} switches at most. {watch.by} made it"
        f" champion at {when(watch.at)}: {watch.why.rstrip('.')}. Nothing was changed. Take it back: detent champion"
        f" rollback {family}. Look: detent champion history {family}"
    )


def _with(values: tuple[_T, ...], place: int, value: _T) -> tuple[_T, ...]:
    return (*values[:place], value, *values[place + 1 :])


def as_record(watch: SwitchWatch) -> dict[str, Any]:
    """Plain JSON values, floats in full."""
    record: dict[str, Any] = _WATCH.dump_python(watch, mode="json")
    return record


def from_record(record: Any) -> SwitchWatch:
    """The inverse of ``as_record``; raises pydantic's ValidationError where it is damaged."""
    watch: SwitchWatch = _WATCH.validate_python(record)
    return watch


_WATCH: TypeAdapter[Any] = TypeAdapter(SwitchWatch)
