"""Has the champion become worse than it was?

A detector that runs for good and raises few false alarms however long it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, log1p, sqrt
from statistics import NormalDist

from optimizer.core.statistics.block_evalue import RATE_FLOOR, clip_rate
from optimizer.core.statistics.mixture import log_sum_exp
from optimizer.core.statistics.outcomes import Sums

DROPS = (0.05, 0.10, 0.20)
WEIGHTS = (0.4, 0.35, 0.25)
RUN_LENGTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDetector:
    """Shiryaev-Roberts e-detector: M <- (M + 1) L(y), an alarm when the weighted M reaches the run length.

    While the mean is at least ``reference`` the expected number of outcomes
    until a false alarm is at least ``run_length``.

    Source:
        Shin, Ramdas and Rinaldo (2023), New England Journal of Statistics in Data Science (e-detectors).
    """

    reference: float  # the mean that counts as unchanged, in (0, 1)
    drops: tuple[float, ...] = DROPS
    weights: tuple[float, ...] = WEIGHTS
    run_length: float = RUN_LENGTH
    log_m: tuple[float, ...] = ()  # per drop; nothing before the first outcome
    alarmed: bool = False

    def after(self, y: float) -> DriftDetector:
        """One outcome in [0, 1] later."""
        p0 = clip_rate(self.reference)
        rates = [max(RATE_FLOOR, p0 - drop) for drop in self.drops]
        ratios = [log(y * p / p0 + (1 - y) * (1 - p) / (1 - p0)) for p in rates]
        before = self.log_m or (-inf,) * len(rates)
        log_m = tuple((log1p(exp(m)) if m < 30 else m) + r for m, r in zip(before, ratios, strict=True))
        following = replace(self, log_m=log_m)
        return replace(following, alarmed=self.alarmed or following.log_value >= log(self.run_length))

    @property
    def log_value(self) -> float:
        """Log of the weighted M, to be compared with log(run_length); only after a first outcome."""
        return log_sum_exp([log(w) + m for w, m in zip(self.weights, self.log_m, strict=True)])


def reference_mean(earlier: Sums, *, weekly_dip: float = 0.0, confidence: float = 0.90) -> float:
    """The lower bound of the reference period's mean, minus the usual dip of a weak day of the week.

    Wilson (1927), JASA 22(158), one-sided; for scores it errs on the cautious side, since their variance is at most p
    (1 - p).
    """
    if not earlier.n:
        raise ValueError("a reference needs outcomes of the champion; wait until some have come")
    z, p, n = NormalDist().inv_cdf(confidence), earlier.total / earlier.n, earlier.n
    lower = (p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return clip_rate(lower - weekly_dip)


def weekly_dip(means_by_weekday: Sequence[float]) -> float:
    """How far the weakest day of the week usually lies below the week's mean; 0 with fewer than seven days."""
    return sum(means_by_weekday) / 7 - min(means_by_weekday) if len(means_by_weekday) == 7 else 0.0
