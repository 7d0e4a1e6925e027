"""Has the champion become worse? A detector that never stops, and that raises few false alarms however long it runs.

For each tenure of a champion it keeps a reference, a detector, and the time since when outcomes look lower. Outcomes
come in order of receipt, one per unit and hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import exp, fsum, inf, log, log1p, sqrt
from statistics import NormalDist
from typing import Annotated

from pydantic import Field, TypeAdapter

from optimizer.core.base.phrasing import when
from optimizer.core.family.settings import Metric
from optimizer.core.statistics.outcomes import RATE_FLOOR, Sums, clip_rate, log_sum_exp

DROPS = (0.05, 0.10, 0.20)
WEIGHTS = (0.4, 0.35, 0.25)
RUN_LENGTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDetector:
    """Shiryaev-Roberts e-detector: M <- (M + 1) L(y), with an alarm when the weighted M reaches the run length.

    While the mean is at least ``reference``, a false alarm takes at least ``run_length`` outcomes in expectation.

    Source:
        Shin, Ramdas and Rinaldo (2023), New England Journal of Statistics in Data Science (e-detectors).
    """

    reference: float  # the mean that counts as unchanged, in (0, 1)
    drops: tuple[float, ...] = DROPS
    weights: tuple[float, ...] = WEIGHTS
    run_length: float = RUN_LENGTH
    log_m: tuple[float, ...] = ()  # per drop; empty before the first outcome
    alarmed: bool = False

    def after(self, y: float) -> DriftDetector:
        """The detector after one more outcome, in [0, 1]. A reference at the floor leaves no room for a drop."""
        p0 = clip_rate(self.reference)
        if p0 <= RATE_FLOOR:
            return self
        rates = [max(RATE_FLOOR, p0 - drop) for drop in self.drops]
        ratios = [log(y * p / p0 + (1 - y) * (1 - p) / (1 - p0)) for p in rates]
        before = self.log_m or (-inf,) * len(rates)
        following = replace(
            self, log_m=tuple((log1p(exp(m)) if m < 30 else m) + r for m, r in zip(before, ratios, strict=True))
        )
        return replace(following, alarmed=self.alarmed or following.log_value >= log(self.run_length))

    @property
    def log_value(self) -> float:
        """Log of the weighted M, which is compared with log(run_length). Read it only after a first outcome."""
        return log_sum_exp([log(w) + m for w, m in zip(self.weights, self.log_m, strict=True)])


def reference_mean(earlier: Sums, *, weekly_dip: float = 0.0) -> float:
    """The lower bound of the reference period's mean, less the usual dip on the weakest day of the week.

    Source: Wilson (1927), JASA 22(158), one-sided. For scores it errs on the cautious side, since their variance is at
    most p (1 - p).
    """
    z, p, n = NormalDist().inv_cdf(0.90), earlier.total / earlier.n, earlier.n
    lower = (p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return clip_rate(lower - weekly_dip)


MIN_REFERENCE = 200  # outcomes
MIN_OF_WEEKDAY = 30  # outcomes that each day of the week needs before the days' means are compared
WEEK = timedelta(days=7)
WEAKEST_OF_SEVEN = 1.352  # expected minimum of seven standard normal values, Harter (1961), Biometrika 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """The outcomes since the last moment at which nothing spoke for a drop.

    That moment is the zero of a CUSUM (Page 1954, Biometrika 41).
    """

    log_ratio: float
    since: datetime
    outcomes: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionWatch:
    """One champion's tenure, compared with the 30 days before it and with its own first outcomes.

    The first 200 outcomes, or the first week, serve as a reference. A reference younger than a week is provisional,
    since it does not know the weak days of the week; after a week a new one takes its place. What the provisional one
    could find in that week, it has found by then.
    """

    variant: str
    metric: Metric
    tenure_since: Annotated[datetime, Field(alias="reigns_since")]  # aliases: as they are called where they are stored
    judge: str | None = None  # where a judge's scores are the metric: only this judge's count; None: any judge's
    first_at: datetime | None = None  # of the reference's outcomes
    weekdays: tuple[Sums, ...] = (Sums(),) * 7  # the reference, Monday first, UTC
    is_settled: bool = False  # the reference is final
    usual: float | None = None  # the reference mean that the detector uses
    detector: DriftDetector | None = None  # None while the reference is too short
    # Per drop that the detector looks for; None where nothing speaks for it.
    declines: Annotated[tuple[Decline | None, ...], Field(alias="slumps")] = (None,) * len(DROPS)

    @property
    def reference(self) -> Sums:
        return sum(self.weekdays, start=Sums())

    @property
    def decline(self) -> Decline | None:
        """The decline that is most likely a drop; None while no outcome speaks for one."""
        return max((each for each in self.declines if each is not None), key=lambda each: each.log_ratio, default=None)

    @property
    def alarmed(self) -> bool:
        """Whether an alarm was raised, which stands for the rest of the tenure."""
        return self.detector is not None and self.detector.alarmed

    def after(self, at: datetime, y: float) -> ChampionWatch:
        """The watch after one more outcome, in [0, 1], received at ``at``."""
        if self.alarmed:
            return self
        watch = self._with_reference(at)
        if not watch.is_settled:
            own = Sums(n=1, total=y, squares=y * y)
            weekdays = tuple(sums + own if day == at.weekday() else sums for day, sums in enumerate(watch.weekdays))
            watch = replace(watch, first_at=watch.first_at or at, weekdays=weekdays)
        if watch.detector is None:
            return watch
        declines = tuple(
            _after(decline, at, y, reference=watch.detector.reference, drop=drop)
            for decline, drop in zip(watch.declines, DROPS, strict=True)
        )
        return replace(watch, detector=watch.detector.after(y), declines=declines)

    def _with_reference(self, at: datetime) -> ChampionWatch:
        """The watch with a detector, where the outcomes so far are enough for a reference."""
        if self.is_settled or self.first_at is None or at < self.tenure_since or self.reference.n < MIN_REFERENCE:
            return self
        is_over = at >= self.first_at + WEEK
        if self.detector is not None and not is_over:
            return self
        return replace(
            self,
            is_settled=is_over,
            usual=self.reference.mean,
            detector=DriftDetector(reference=reference_mean(self.reference, weekly_dip=usual_dip(self.weekdays))),
            declines=(None,) * len(DROPS),
        )


def _after(decline: Decline | None, at: datetime, y: float, *, reference: float, drop: float) -> Decline | None:
    """The decline after one more outcome; None where it is over."""
    p0 = clip_rate(reference)
    p1 = max(RATE_FLOOR, p0 - drop)
    before = decline or Decline(log_ratio=0.0, since=at, outcomes=Sums())
    log_ratio = before.log_ratio + log(y * p1 / p0 + (1 - y) * (1 - p1) / (1 - p0))
    own = Sums(n=1, total=y, squares=y * y)
    return Decline(log_ratio=log_ratio, since=before.since, outcomes=before.outcomes + own) if log_ratio > 0 else None


def usual_dip(weekdays: Sequence[Sums]) -> float:
    """How far the weakest day of the week lies below the week's mean, beyond what chance explains.

    Even of seven equal days one is the weakest, and its expected distance is subtracted. 0 while a day has fewer than
    30 outcomes.
    """
    if min(day.n for day in weekdays) < MIN_OF_WEEKDAY:
        return 0.0
    means = [day.total / day.n for day in weekdays]
    error = sqrt(fsum((day.variance or 0.0) / day.n for day in weekdays) / len(weekdays))
    return max(0.0, sum(means) / len(means) - min(means) - WEAKEST_OF_SEVEN * error)


def alarm_text(watch: ChampionWatch, *, family: str, has_way_back: bool) -> str:
    """The alarm's sentence: from which mean to which, since when, and what a person may do."""
    what = f"{watch.metric.field} by {watch.metric.source}"
    went = f"has gone below its usual {watch.usual or 0.0:.2f}"
    if watch.decline is not None:
        now = watch.decline.outcomes
        went = (
            f"went from about {watch.usual or 0.0:.2f} to about {now.mean or 0.0:.2f} (mean of the last {now.n:.0f}"
            f" outcomes, since about {when(watch.decline.since)})"
        )
    ways = f"look for a better variant (detent study run {family})"
    if has_way_back:
        ways = f"go back to the champion before it (detent champion rollback {family}), or {ways}"
    return (
        f"The champion {watch.variant} of {family} does worse than it did: {what} {went}. Nothing was changed. You may"
        f" {ways}."
    )


STORED_CHAMPION_WATCH: TypeAdapter[ChampionWatch] = TypeAdapter(ChampionWatch)  # plain JSON, all digits of each float
