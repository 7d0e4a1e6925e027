"""The mean rating of a population of answers, of which a judge scored all and people rated a random few.

This is prediction-powered inference: the judge's scores of all answers, corrected by people's ratings of those that
were drawn. A bad judge widens the interval, and does not make it wrong; a good judge makes it narrower than the ratings
alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from optimizer.core.base.values import Interval

LEAST_RATINGS = 20  # with fewer there is no interval: on recorded judges the ratings alone give one as narrow
# The largest slope of rating on score. A judge that uses little of its scale has a steep one; without a bound few
# ratings overstate it, and on recorded judges the intervals cover less.
MOST_SLOPE = 1.5
LEVEL = 0.975  # of each end of an interval of .95
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedAnswer:
    """An answer that was drawn at random and rated by a person.

    ``score`` (the judge's) and ``rating`` lie in [0, 1]; ``inclusion`` is the probability with which it came to be
    rated, in (0, 1].
    """

    score: float
    rating: float
    inclusion: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredMean:
    """The mean rating of all judged answers, and of the traffic that they come from.

    ``slope``: how far the judge's scores are used, from 0, not at all, to ``MOST_SLOPE``. ``people``: the interval that
    the same ratings give without the judge.
    """

    mean: float
    interval: Interval
    people_mean: float
    people: Interval
    judge_mean: float  # of all judged answers, as the judge scored them
    slope: float
    n: int
    n_judged: int
    spread: float  # standard deviation of one rating around what the judge's score predicts
    rating_spread: float  # standard deviation of one rating

    def width_after(self, n_more: int) -> float:
        """The expected width of the interval once ``n_more`` further answers are rated, all else being equal."""
        n = self.n + n_more
        error = _standard_error(self.spread**2, self.rating_spread**2, n, max(self.n_judged, n))
        return min(1.0, 2 * t_quantile(LEVEL, n - 2) * error)


def powered_mean(judge_mean: float, n_judged: int, rated: Sequence[RatedAnswer]) -> PoweredMean | None:
    """The mean rating with its interval of .95; None with fewer than ``LEAST_RATINGS`` ratings.

    The regression of rating on score, its slope from 0 to ``MOST_SLOPE``, carries the correction, so the judge need not
    be calibrated: an offset or a wider scale costs nothing. Answers count by the inverse of their inclusion
    probability. Student's t with n - 2 degrees of freedom, the leverage of the drawn scores, and Hall's correction of
    the skewness make it hold for few ratings, most of which may be alike. Towards an end of the scale from which no
    rating came, the interval reaches as far as that many draws without one leave possible.

    Args:
        judge_mean: of the judge's scores of all answers, drawn ones included.
        n_judged: how many these are, at least as many as ``rated``.
        rated: drawn at random; nothing else may stand among them.
    Raises:
        ValueError: fewer judged than rated answers, or an inclusion probability outside (0, 1].
    Source:
        Angelopoulos, Bates, Fannjiang, Jordan, Zrnic (2023), Prediction-powered inference, Science 382, 669-674;
        Angelopoulos, Duchi, Zrnic (2023), PPI++, arXiv 2311.01453 (the slope); Cochran (1977), Sampling Techniques,
        7.3 (leverage and finite population); Hall (1992), JRSS B 54, 221-228 (skewness).
    """
    n = len(rated)
    if n_judged < n or any(not 0 < each.inclusion <= 1 for each in rated):
        raise ValueError(f"{n_judged} judged, {n} rated answers give no interval")
    if n < LEAST_RATINGS:
        return None
    # The inverse of the inclusion probabilities, with a mean of 1.
    total = math.fsum(1 / each.inclusion for each in rated)
    weights = [len(rated) / each.inclusion / total for each in rated]
    scores, ratings = [each.score for each in rated], [each.rating for each in rated]
    mean_score, mean_rating = _mean(weights, scores), _mean(weights, ratings)
    squares = math.fsum(w * (s - mean_score) ** 2 for w, s in zip(weights, scores, strict=True))
    products = math.fsum(
        w * (s - mean_score) * (r - mean_rating) for w, s, r in zip(weights, scores, ratings, strict=True)
    )
    slope = min(MOST_SLOPE, max(0.0, products / squares)) if squares > _SAME else 0.0
    leverage = (judge_mean - mean_score) ** 2 / squares if slope else 0.0
    off = [r - mean_rating - slope * (s - mean_score) for s, r in zip(scores, ratings, strict=True)]
    spread = _variance(weights, off, n - 2)
    plain = [r - mean_rating for r in ratings]
    rating_spread = _variance(weights, plain, n - 1)
    mean = mean_rating + slope * (judge_mean - mean_score)
    error = math.sqrt(_standard_error(spread, rating_spread, n, n_judged) ** 2 + leverage * spread)
    alone = math.sqrt(rating_spread / n)
    rest = 1 - (1 - LEVEL) ** (1 / n)  # the largest share of answers of which so many draws may have seen none
    below, above = rest * min(ratings), rest * (1 - max(ratings))
    powered = _skewed(mean, error, _skewness(weights, off), n, t_quantile(LEVEL, n - 2))
    people = _skewed(mean_rating, alone, _skewness(weights, plain), n, t_quantile(LEVEL, n - 1))
    return PoweredMean(
        mean=min(1.0, max(0.0, mean)),
        interval=_reaching(powered, mean - below, mean + above),
        people_mean=mean_rating,
        people=_reaching(people, mean_rating - below, mean_rating + above),
        judge_mean=judge_mean,
        slope=slope,
        n=n,
        n_judged=n_judged,
        spread=math.sqrt(spread),
        rating_spread=math.sqrt(rating_spread),
    )


def t_quantile(level: float, freedom: int) -> float:
    """Quantile of Student's t by Cornish and Fisher's expansion around the normal one; right to 1e-5 from 15 degrees
    on.

    Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    if freedom < 15:
        raise ValueError(f"the expansion needs at least 15 degrees of freedom, not {freedom}")
    z = NormalDist().inv_cdf(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _mean(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / len(weights)


def _variance(weights: Sequence[float], off: Sequence[float], freedom: int) -> float:
    return math.fsum((w * v) ** 2 for w, v in zip(weights, off, strict=True)) / freedom


def _standard_error(spread: float, rating_spread: float, n: int, n_judged: int) -> float:
    """The standard error from the two variances.

    People's ratings correct the share of the answers that they have seen; the rest of the error is that the judged
    answers are a sample themselves.
    """
    return math.sqrt(spread * (1 / n - 1 / n_judged) + rating_spread / n_judged)


def _skewness(weights: Sequence[float], off: Sequence[float]) -> float:
    n = len(off)
    second = _variance(weights, off, n - 2)
    if second <= _SAME:
        return 0.0
    third = math.fsum((w * v) ** 3 for w, v in zip(weights, off, strict=True)) * n / ((n - 1) * (n - 2))
    return third / math.pow(second, 1.5)


def _skewed(middle: float, error: float, skewness: float, n: int, t: float) -> Interval:
    """Hall's transformation inverted: the interval reaches further on the side of the long tail."""
    a = skewness / math.sqrt(n)

    def at(quantile: float) -> float:
        return quantile if abs(a) < 1e-9 else (math.cbrt(1 + a * (quantile - a / 6)) - 1) * 3 / a

    return Interval(lower=middle - error * at(t), upper=middle - error * at(-t))


def _reaching(interval: Interval, lower: float, upper: float) -> Interval:
    return Interval(lower=max(0.0, min(interval.lower, lower)), upper=min(1.0, max(interval.upper, upper)))
