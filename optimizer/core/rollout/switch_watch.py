"""Did a switch of champion for which no evidence spoke make things worse? Sequential tests on one metric.

Some tests compare with the champion before, in its holdback; the others with what the champion before did in the same
hours of the weeks before. Each test has a horizon: it compares what was reported within a minute, ten minutes, … of
being served, once those who were served have had that time. Without horizons every switch would look like a collapse,
since bad news may be quicker than good, and right after a switch only quick outcomes can have come. A unit counts once
since the switch, and once in each of the weeks before.

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
    threshold,
    with_pending,
)
from optimizer.core.statistics.quality_gate import MIN_BLOCK, OutcomeKind, log_factors

LEVEL = 0.001  # false alarms per switch between equals, of all tests together
HORIZONS_S: tuple[float | None, ...] = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, None)  # None: age unknown
SLOTS = 6  # parts of a horizon; units served in one part are compared a horizon after its end
ALPHA = LEVEL / (2 * len(HORIZONS_S))  # of one test; the tests overlap, so their levels add up
MIN_DROP = 0.03  # against the holdback; a smaller drop raises no alarm
MIN_DROP_OF_WEEKS = 0.05  # one week is not like another
MIN_DROP_UNMATCHED = 0.10  # where the reference is of other hours of the day, or of other days of the week
GAPS, WEIGHTS = (-0.05, -0.15, -0.35), (0.4, 0.3, 0.3)  # beyond the smallest drop that raises an alarm
PERIOD = timedelta(days=7)  # for which a switch is watched
DAY, HOURS, SHORTEST = timedelta(days=1), timedelta(hours=2), timedelta(minutes=10)
MOST_WEEKS = 4
MOST_LATE = 0.05  # while more outcomes than this share come from the champion before, the new one's are younger
MOST_UNITS = 1 << 18  # of all stretches of time together
Against = Literal["holdback", "before"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOutcome:
    """One outcome of the watched metric, and where it belongs. ``served_at`` is None where it names no interaction."""

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
    """One outcome of either side, as the tests read it."""

    is_new: bool  # of the new champion
    value: float
    served: float  # seconds since the switch; the reference's are moved forward by their shift
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowComparison:
    """One test: the evidence that the mean fell by more than ``min_drop``. Its peak counts."""

    against: Against
    horizon_s: float | None
    min_drop: float
    evidence: Evidence
    new_rate: PlugIn
    old_rate: PlugIn
    open: Mapping[int, Block] = field(default_factory=dict)  # by slot: units whose horizon is not over yet
    pending: Block | None = None  # too few outcomes for a block
    n_late: int = 0  # outcomes of unknown age that came, while ``pending`` grew, from before the switch
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
        """The test after more outcomes.

        Args:
            until_s: everything that was received up to so many seconds after the switch is known.
        """
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
            slots[slot] = with_pending(
                slots.get(slot), Block(stage=0, candidate=Outcomes.of(new), champion=Outcomes.of(old))
            )
        for slot in sorted(slots):
            if self.horizon_s is None or (slot + 1) * self.horizon_s / SLOTS + self.horizon_s <= until_s:
                comparison = comparison._closed(slots.pop(slot), n_late, kind)
        return replace(comparison, open=slots)

    def _closed(self, block: Block, n_late: int, kind: OutcomeKind) -> WindowComparison:
        """The test after a closed block.

        While many outcomes of unknown age still come from before the switch, the new champion's outcomes are younger
        than those they are compared with, so the block is left out.
        """
        block_with_pending = with_pending(self.pending, block)
        n_late = self.n_late + n_late if self.horizon_s is None else 0
        if block_with_pending.n < MIN_BLOCK or not block_with_pending.has_both_arms:
            return replace(self, pending=block_with_pending, n_late=n_late)
        if self.against == "before" and n_late > MOST_LATE * block_with_pending.candidate.n:
            return replace(self, pending=None, n_late=0)
        hypothesis = Hypothesis(name="worse", boundary=-self.min_drop, gaps=GAPS, weights=WEIGHTS, alpha=ALPHA)
        return replace(
            self,
            evidence=self.evidence.after(
                log_factors(hypothesis, block_with_pending, self.old_rate, self.new_rate, kind)
            ),
            new_rate=self.new_rate.after(block_with_pending.candidate),
            old_rate=self.old_rate.after(block_with_pending.champion),
            pending=None,
            n_late=0,
            new=self.new + block_with_pending.candidate.sums,
            old=self.old + block_with_pending.champion.sums,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchWatch:
    """What is known of one switch. A later switch begins a watch of its own."""

    variant: str
    before: str  # the champion until then
    at: datetime
    by: str
    why: str
    metric: Metric
    judge: str | None = None  # where a judge's scores are the metric: only this judge's count
    rollout: str | None = None  # the rollout whose holdback stands beside the new champion
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
        """The watch at the switch. It has no comparisons where there is neither a holdback nor a time before the
        switch.

        Args:
            tenure: the new champion's, not the first of ``history``.
            mean: of the champion before, as known before the switch.
            first_at: when its first outcome was received; None where there is none.
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
        """The comparison that raised an alarm, of several the one with most outcomes. It stands for the rest of the
        tenure.
        """
        alarmed = [each for each in self.comparisons if each.alarmed]
        return max(alarmed, key=lambda each: each.new.n + each.old.n, default=None)

    def after(
        self,
        outcomes: Iterable[ServedOutcome],
        earlier: Iterable[tuple[timedelta, ServedOutcome]],
        until: datetime,
        units: UnitSample,
    ) -> SwitchWatch:
        """The watch one stretch of time later.

        Args:
            outcomes: received in the stretch, of all variants.
            earlier: received ``shift`` before the stretch, each with its shift.
            until: the end of the stretch.
            units: those that were counted before; new ones are added.
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
        """Whether the outcome was served since the switch or, with a shift, in that time before it and before the
        switch.

        A unit whose first outcome in a stretch is another variant's does not count in it later.
        """
        served = outcome.served_at or outcome.received_at
        return served >= self.at if not shift else self.at - shift <= served < self.at


def reference_of(history: Sequence[Champion], tenure: Champion, first_at: datetime | None) -> Reference | None:
    """The weeks before in which the champion before served and had outcomes at these hours.

    Without them the day before, else up to two hours before the switch; None where those are less than ten minutes.
    """
    below = next(each for each in history if each.seq == tenure.seq - 1)
    if first_at is None:
        return None
    for period, most, min_drop in ((PERIOD, MOST_WEEKS, MIN_DROP_OF_WEEKS), (DAY, 1, MIN_DROP_UNMATCHED)):
        times = 0
        while times < most:
            at = tenure.since - period * (times + 1)
            if at < first_at or variant_at(history, at) != below.variant:
                break
            times += 1
        if times:
            return Reference(period=period, times=times, min_drop=min_drop)
    length = min(HOURS, tenure.since - max(below.since, first_at))
    return Reference(period=length, times=1, min_drop=MIN_DROP_UNMATCHED) if length >= SHORTEST else None


class UnitSample:
    """The units that were counted in each stretch: all of them up to ``most``, then those with the smallest hashes.

    A unit counts once per stretch. If the weeks before were one stretch, a unit that comes every day would count once
    in all of them, and one that comes once would count in each. One limit for all stretches thins both sides of a block
    alike. The sample does not depend on the order in which units come.
    """

    def __init__(self, most: int = MOST_UNITS) -> None:
        self._most, self._level, self._limit = most, 0, ALL
        self._hashes: dict[timedelta, set[str]] = {}

    def admit(self, unit: str, shift: timedelta) -> bool:
        """Whether the unit counts now: it is in the sample, and did not count before in this stretch."""
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
    """The alarm's sentence: from which mean to which, who switched and when, and the command that takes it back."""
    alarm = watch.alarm
    assert alarm is not None
    beside = (
        f"{watch.before}, which 5 % of the users still get,"
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


STORED_SWITCH_WATCH: TypeAdapter[SwitchWatch] = TypeAdapter(SwitchWatch)  # plain JSON, all digits of each float
