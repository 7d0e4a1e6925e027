"""How many labelled outcomes, units and hours a rollout will take, before it starts and while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, log, sqrt

from optimizer.core.statistics.outcomes import clip_rate
from optimizer.core.statistics.projection import null_projection
from optimizer.core.statistics.quality_gate import ALPHA_SHIP, LARGEST_DROP, NESTED, margin_needed

KAPPA_MEAN = 0.5
KAPPA_90 = 4.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    share: float
    labelled: float
    units: float  # distinct, both arms
    hours: float  # the feedback window included


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What it takes until promotion, at one level of caution (``kappa``); infinite where a gate would never pass."""

    stages: tuple[StageForecast, ...]
    labelled: float
    units: float
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRate:
    """``units_per_hour``: new distinct units. ``label_rate``: labelled outcomes per unit, in (0, 1]. ``window_hours``:
    W.
    """

    units_per_hour: float
    label_rate: float
    window_hours: float = 0.0

    @property
    def labelled_per_hour(self) -> float:
        return self.units_per_hour * self.label_rate


@lru_cache(maxsize=4096)  # the margins and ladders of one forecast ask for the same few hundred over and over
def gate_growth(base: float, lift: float, *, w: float, m: int, margin: float) -> float:
    """Expected log evidence per labelled outcome of ship-m at share ``w``, if the rates were known.

    0 where the rates lie on the null's side.
    """
    theta_b, theta_c = clip_rate(base), clip_rate(base + lift)
    if theta_c - theta_b <= -m * margin:
        return 0.0
    return null_projection(theta_c, theta_b, w=w, d0=-min(m * margin, LARGEST_DROP)).growth


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDesign:
    """How a comparison is laid out, and the difference that is assumed in it.

    ``base``: the champion's mean, in (0, 1). ``lift``: what the candidate is assumed to add, absolute. ``ladder``: the
    shares that are still to come, the present one included. ``min_labelled``: outcomes per stage, both arms.
    """

    base: float
    lift: float
    margin: float
    ladder: Sequence[float]
    min_labelled: int = 200


def forecast(
    design: RolloutDesign,
    traffic: TrafficRate,
    *,
    kappa: float = KAPPA_MEAN,
    grown: Mapping[int, float] | None = None,
    labelled: int = 0,
) -> Forecast:
    """The exact growth form: a gate passes when its growth over the stages adds up to log(1 / ALPHA_SHIP) + kappa.

    Args:
        kappa: .5 for the mean, 4.5 for 90 % of rollouts.
        grown: m -> log evidence so far, of a rollout that runs; infinite where the gate has passed.
        labelled: outcomes that count in the present stage already.
    """
    needed = log(1 / ALPHA_SHIP) + kappa
    grown = {m: (grown or {}).get(m, 0.0) for m in NESTED}
    stages = []
    for i, share in enumerate(design.ladder):
        m = margin_needed(share, is_last=i == len(design.ladder) - 1)
        rates = {k: gate_growth(design.base, design.lift, w=share, m=k, margin=design.margin) for k in grown}
        missing = max(0.0, needed - grown[m])
        least = max(0, design.min_labelled - (labelled if i == 0 else 0))
        n = max(float(least), missing / rates[m] if rates[m] > 0 else (inf if missing else 0.0))
        grown = {k: grown[k] + (n * rates[k] if n < inf else 0.0) for k in grown}
        hours = n / traffic.labelled_per_hour + traffic.window_hours
        stages.append(StageForecast(share=share, labelled=n, units=n / traffic.label_rate, hours=hours))
    return Forecast(
        stages=tuple(stages),
        labelled=sum(s.labelled for s in stages),
        units=sum(s.units for s in stages),
        hours=sum(s.hours for s in stages),
    )


def smallest_feasible_margin(
    design: RolloutDesign, traffic: TrafficRate, *, max_labelled: float, max_hours: float, max_units: float = inf
) -> float | None:
    """The smallest margin at which 90 % of rollouts end within the limits; None if there is none.

    It is searched in steps of .005 up to .2, and takes the place of the design's margin.

    Args:
        max_units: the most distinct units that one stage can have.
    """
    for i in range(2, 41):
        prediction = forecast(replace(design, margin=i * 0.005), traffic, kappa=KAPPA_90)
        if (
            prediction.labelled <= max_labelled
            and prediction.hours <= max_hours
            and all(s.units <= max_units for s in prediction.stages)
        ):
            return i * 0.005
    return None


def detectable_drop(*, base: float, w: float, traffic: TrafficRate, hours: float, alpha: float, kappa: float) -> float:
    """The smallest absolute drop that ``hours`` at share ``w`` would show, by the variance alone.

    n labelled outcomes show a drop of sqrt(2 p (1 - p)(1 / w + 1 / (1 - w))(log(1 / alpha) + kappa) / n).
    """
    spread = 2 * base * (1 - base) * (1 / w + 1 / (1 - w))
    return sqrt(spread * (log(1 / alpha) + kappa) / (traffic.labelled_per_hour * hours))


def candidate_requests_to_alarm(
    *, base: float, bad: float, w: float, margin: float, alpha: float, kappa: float = KAPPA_MEAN
) -> float:
    """Candidate requests until a guardrail on errors or latency alarms, at rate ``bad`` instead of ``base``."""
    theta_b, theta_c = clip_rate(base), clip_rate(bad)
    if theta_c - theta_b <= margin:
        return inf
    return w * (log(1 / alpha) + kappa) / null_projection(theta_c, theta_b, w=w, d0=margin).growth
