"""Did a switch of champion that no evidence spoke for make things worse? Sequential tests on one metric.

Some compare with the champion before in its holdback, the others with what the champion before did in the same hours of
the weeks before. Each has its own horizon: it compares what was reported within a minute, ten minutes, … of being
served, once those who were served have had that time. Bad news may be quicker than good, and right after a switch only
quick outcomes can have come: in order of arrival every switch would look like a collapse. A unit counts once since the
switch, and once in each of the weeks before since the same moment of that week.

All are e-processes of blocks (``core/statistics/outcomes.py``), valid at every look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import TypeAdapter

from optimizer.core.base.phrasing import count, span, when
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.traffic_sums import ALL, hash_of, limit_of
from optimizer.core.serving.champion import variant_at
from optimizer.core.serving.rollout import Champion
from optimizer.core.statistics.outcomes import (
    NOTHING,
    Block,
    Evidence,
    Hypothesis,
    Outcomes,
    PlugIn,
    Sums,
    gather,
    threshold,
)
from optimizer.core.statistics.quality_gate import MIN_BLOCK, log_factors

LEVEL = 0.001  # false alarms per switch between equals, of all tests together
HORIZONS_S: tuple[float | None, ...] = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, None)  # None: age unknown
SLOTS = 6  # into which a horizon is cut: who was served in one is compared once it is over by the horizon
ALPHA = LEVEL / (2 * len(HORIZONS_S))  # of one test: what they see overlaps, so their levels add up
MIN_DROP = 0.03  # beside the holdback; a smaller drop is never told
MIN_DROP_OF_WEEKS = 0.05  # one week is not like another
MIN_DROP_UNMATCHED = 0.10  # where other hours of the day, or days of the week, have to serve as a reference
GAPS, WEIGHTS = (-0.05, -0.15, -0.35), (0.4, 0.3, 0.3)  # beyond the smallest drop that is told
PERIOD = timedelta(days=7)  # for which a switch is watched
DAY, HOURS, SHORTEST = timedelta(days=1), timedelta(hours=2), timedelta(minutes=10)
MOST_WEEKS = 4
MOST_LATE = 0.05  # share of outcomes of the champion before, up to which those of unknown age have all ages
MOST_UNITS = 1 << 18  # of all stretches of time together
Against = Literal["holdback", "before"]
OutcomeKind = Literal["binary", "score"]


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
class ComparedOutcome:
    """One outcome of either side, as the tests need it."""

    is_new: bool  # of the new champion
    value: float
    served: float  # seconds since the switch, of the reference moved to the time that it is compared with
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowComparison:
    """One test: the evidence that the mean fell by more than ``min_drop``, latched at its peak."""

    against: Against
    horizon_s: float | None
    min_drop: float
    evidence: Evidence
    new_rate: PlugIn
    old_rate: PlugIn
    open: Mapping[int, Block] = field(default_factory=dict)  # by slot: who was served in it has not had the time yet
    pending: Block | None = None  # too few outcomes for a block
    n_late: int = 0  # beside ``pending``, of unknown age: outcomes that came from before the switch
    new: Sums = NOTHING  # of the blocks that were used
    old: Sums = NOTHING

    @classmethod
    def start(cls, against: Against, horizon_s: float | None, min_drop: float, mean: float) -> WindowComparison:
        prior = PlugIn(prior_mean=mean)
        return cls(
            against=against,
            horizon_s=horizon_s,
            min_drop=min_drop,
            evidence=Evidence.none(WEIGHTS),
            new_rate=prior,
            old_rate=prior,
        )

    @property
    def alarmed(self) -> bool:
        return self.evidence.peak >= threshold(ALPHA)

    def after(
        self, outcomes: Iterable[ComparedOutcome], until_s: float, n_late: int, kind: OutcomeKind
    ) -> WindowComparison:
        """``until_s``: seconds since the switch, up to when all that was received is known."""
        comparison, slots = self, dict(self.open)
        values: dict[int, tuple[list[float], list[float]]] = {}
        for outcome in outcomes:
            if self.horizon_s is None and outcome.age_s is None:
                slot = 0
            elif self.horizon_s is not None and outcome.age_s is not None and outcome.age_s <= self.horizon_s:
                slot = int(outcome.served * SLOTS // self.horizon_s)
            else:
                continue
            values.setdefault(slot, ([], []))[0 if outcome.is_new else 1].append(outcome.value)
        for slot, (new, old) in values.items():
            slots[slot] = gather(slots.get(slot), Block(stage=0, candidate=Outcomes.of(new), champion=Outcomes.of(old)))
        for slot in sorted(slots):
            if self.horizon_s is None or (slot + 1) * self.horizon_s / SLOTS + self.horizon_s <= until_s:
                comparison = comparison._closed(slots.pop(slot), n_late, kind)
        return replace(comparison, open=slots)

    def _closed(self, block: Block, n_late: int, kind: OutcomeKind) -> WindowComparison:
        """While many outcomes of unknown age still come from before the switch, those of the new champion are younger
        than those they are compared with, and are left out.
        """
        merged = gather(self.pending, block)
        n_late = self.n_late + n_late if self.horizon_s is None else 0
        if merged.n < MIN_BLOCK or not merged.has_both_arms:
            return replace(self, pending=merged, n_late=n_late)
        if self.against == "before" and n_late > MOST_LATE * merged.candidate.n:
            return replace(self, pending=None, n_late=0)
        hypothesis = Hypothesis(name="worse", boundary=-self.min_drop, gaps=GAPS, weights=WEIGHTS, alpha=ALPHA)
        return replace(
            self,
            evidence=self.evidence.after(log_factors(hypothesis, merged, self.old_rate, self.new_rate, kind)),
            new_rate=self.new_rate.after(merged.candidate),
            old_rate=self.old_rate.after(merged.champion),
            pending=None,
            n_late=0,
            new=self.new + merged.candidate.sums,
            old=self.old + merged.champion.sums,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchWatch:
    """What is known of one switch; a later switch begins another."""

    variant: str
    before: str  # the champion until then
    at: datetime
    by: str
    why: str
    metric: Metric
    judge: str | None = None  # where the metric is a judge's: the only one whose scores are read
    rollout: str | None = None  # whose holdback there is
    reference: Reference | None = None
    comparisons: tuple[WindowComparison, ...] = ()

    @classmethod
    def begin(
        cls,
        tenure: Champion,
        history: Sequence[Champion],
        *,
        metric: Metric,
        mean: float,
        first_at: datetime | None,
        judge: str | None = None,
        rollout: str | None = None,
    ) -> SwitchWatch:
        """Without comparisons where nothing can be told: neither a holdback, nor a time before the switch.

        Args:
            tenure: the new champion's, not the first of ``history``.
            mean: of the champion before, as known before the switch.
            first_at: when its first outcome was received; None: there is none.
            rollout: the one whose holdback stands beside the new champion.
        """
        below = next(each for each in history if each.seq == tenure.seq - 1)
        reference = reference_of(history, tenure, first_at)
        against: list[tuple[Against, float]] = [("holdback", MIN_DROP)] if rollout is not None else []
        against += [("before", reference.min_drop)] if reference is not None else []
        comparisons = tuple(
            WindowComparison.start(each, horizon_s, min_drop, mean)
            for each, min_drop in against
            for horizon_s in HORIZONS_S
        )
        return cls(
            variant=tenure.variant,
            before=below.variant,
            at=tenure.since,
            by=tenure.by,
            why=tenure.why,
            metric=metric,
            judge=judge,
            rollout=rollout,
            reference=reference,
            comparisons=comparisons,
        )

    @property
    def alarm(self) -> WindowComparison | None:
        """A comparison that tells, the one that knows most; latched for the rest of the tenure."""
        alarmed = [each for each in self.comparisons if each.alarmed]
        return max(alarmed, key=lambda each: each.new.n + each.old.n, default=None)

    def after(
        self,
        outcomes: Iterable[ServedOutcome],
        earlier: Iterable[tuple[timedelta, ServedOutcome]],
        until: datetime,
        units: UnitSample,
    ) -> SwitchWatch:
        """One stretch of time later.

        Args:
            outcomes: received in it, of all variants.
            earlier: received ``shift`` before it, each with its shift.
            until: its end.
            units: those that were counted before; the new ones are added.
        """
        if self.alarm is not None:
            return self
        beside, before = list[ComparedOutcome](), list[ComparedOutcome]()
        n_late = 0
        for outcome in outcomes:
            if not (self._is_in_stretch(outcome, timedelta()) and units.admit(outcome.unit, timedelta())):
                continue
            # The candidate of a rollout that the switch ended was served before it.
            if outcome.variant == self.variant and (outcome.served_at is not None or outcome.role != "candidate"):
                compared = self._compared(outcome, timedelta(), is_new=True)
                before.append(compared)
                if self.rollout is not None and outcome.rollout == self.rollout:
                    beside.append(compared)
            elif outcome.rollout is not None and outcome.rollout == self.rollout and outcome.role == "holdback":
                beside.append(self._compared(outcome, timedelta(), is_new=False))
            elif outcome.variant == self.before and outcome.role != "holdback" and outcome.served_at is None:
                n_late += 1
        for shift, outcome in earlier:
            counts = self._is_in_stretch(outcome, shift) and units.admit(outcome.unit, shift)
            if counts and outcome.variant == self.before:
                before.append(self._compared(outcome, shift, is_new=False))
        kind: OutcomeKind = "binary" if self.metric.field == "success" else "score"
        until_s = (until - self.at).total_seconds()
        comparisons = tuple(
            outcome.after(beside if outcome.against == "holdback" else before, until_s, n_late, kind)
            for outcome in self.comparisons
        )
        return self if comparisons == self.comparisons else replace(self, comparisons=comparisons)

    def _compared(self, outcome: ServedOutcome, shift: timedelta, *, is_new: bool) -> ComparedOutcome:
        served = outcome.served_at or outcome.received_at
        return ComparedOutcome(
            is_new=is_new,
            value=round(outcome.value, 3),
            served=(served + shift - self.at).total_seconds(),
            age_s=(outcome.received_at - served).total_seconds() if outcome.served_at is not None else None,
        )

    def _is_in_stretch(self, outcome: ServedOutcome, shift: timedelta) -> bool:
        """Served since the switch; with a shift: since that long before it, and while the champion before served.

        Who is served another variant first has been counted in that stretch: since then only the others are new in it.
        """
        served = outcome.served_at or outcome.received_at
        return served >= self.at if not shift else self.at - shift <= served < self.at


def reference_of(history: Sequence[Champion], tenure: Champion, first_at: datetime | None) -> Reference | None:
    """The weeks before where the champion before served and had outcomes then, else the day, else up to two hours
    before the switch; None where those are less than ten minutes.
    """
    below = next(each for each in history if each.seq == tenure.seq - 1)
    if first_at is None:
        return None
    for period, most, min_drop in ((PERIOD, MOST_WEEKS, MIN_DROP_OF_WEEKS), (DAY, 1, MIN_DROP_UNMATCHED)):
        times = 0
        while times < most and _served_then(below, history, tenure.since - period * (times + 1), first_at):
            times += 1
        if times:
            return Reference(period=period, times=times, min_drop=min_drop)
    length = min(HOURS, tenure.since - max(below.since, first_at))
    return Reference(period=length, times=1, min_drop=MIN_DROP_UNMATCHED) if length >= SHORTEST else None


def _served_then(below: Champion, history: Sequence[Champion], at: datetime, first_at: datetime) -> bool:
    return first_at <= at and variant_at(history, at) == below.variant


class UnitSample:
    """Units that were counted in each stretch of time: all of them up to ``most``, then those with the smallest hashes.

    A unit is admitted once per stretch. Were the weeks before one stretch, who comes every day would count once in all
    of them and who comes once counts in each. One limit for all stretches thins both sides of a block alike. Which
    units are known after some were shown does not depend on their order.
    """

    def __init__(self, most: int = MOST_UNITS) -> None:
        self._most, self._level, self._limit = most, 0, ALL
        self._hashes: dict[timedelta, set[str]] = {}

    def admit(self, unit: str, shift: timedelta) -> bool:
        """Whether the unit counts now: it did not before in this stretch, and it is in the sample."""
        name, known = hash_of(unit), self._hashes.setdefault(shift, set())
        if name >= self._limit or name in known:
            return False
        known.add(name)
        while sum(map(len, self._hashes.values())) > self._most:
            self._level += 1
            self._limit = limit_of(self._level)
            self._hashes = {of: {hash_ for hash_ in some if hash_ < self._limit} for of, some in self._hashes.items()}
        return True


def alarm_text(watch: SwitchWatch, family: str) -> str:
    """What an alarm says: from what to what, who switched and when, and the command that takes it back."""
    alarm = watch.alarm
    assert alarm is not None
    beside = (
        f"{watch.before}, which 5 % of the units still get,"
        if alarm.against == "holdback" or watch.reference is None
        else f"{watch.before} in {watch.reference.text}"
    )
    within = "" if alarm.horizon_s is None else f", reported within {span(alarm.horizon_s / 3600)} of being served"
    return (
        f"{watch.variant} of {family} does worse than the champion before it: {watch.metric.field} by"
        f" {watch.metric.source} is {alarm.new.mean or 0.0:.2f} (mean of {count(int(alarm.new.n), 'outcome')}), and"
        f" that of {beside} is {alarm.old.mean or 0.0:.2f} ({alarm.old.n:,.0f}){within}. Of equal champions it would be"
        f" said of one in {1 / LEVEL:,.0f}. {watch.by} made it champion at {when(watch.at)}: {watch.why.rstrip('.')}."
        f" Nothing was changed. Take it back: detent champion rollback {family}. Look: detent champion history {family}"
    )


STORED_SWITCH_WATCH: TypeAdapter[SwitchWatch] = TypeAdapter(SwitchWatch)  # as plain JSON values, floats in full
