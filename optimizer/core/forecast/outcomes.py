"""A family's signals beside its thumbs: how long a rollout takes with each as its metric, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from optimizer.core.family.settings import Signal, metric_of_signals
from optimizer.core.feedback.signals import signals_of
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import missing_of, rates_of
from optimizer.core.forecast.plan import NOT_BEGUN, ForecastPlan, Need, needs_of, total_of
from optimizer.core.statistics.forecast import KAPPA_90
from optimizer.core.statistics.outcomes import clip_rate

THUMBS, TOGETHER = "thumbs", "together"
UNKNOWN = Need(labelled=None, units=None, hours=None)
HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalledAnswer:
    """``tags`` of its outcome; ``thumb``: what its user said, in [0, 1]."""

    tags: Mapping[str, object]
    thumb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeForecast:
    """One outcome as if it were the metric of a rollout of an equal candidate.

    ``outcome``: thumbs, a signal, or together: the rule's weighted mean. ``label_rate``: the share of the units that
    give it. ``mean``: how good it is on average. ``nine_in_ten``: what 90 % of such rollouts need. Of ``n_beside``
    answers that a user judged too, ``agreement`` is the share that both find good, from .5 on, or both find bad;
    ``by_chance``: what two would reach that have nothing to do with each other.
    """

    outcome: str
    label_rate: float | None
    mean: float | None
    nine_in_ten: Need
    n_beside: int | None
    agreement: float | None
    by_chance: float | None


def compare_outcomes(
    plan: ForecastPlan,
    traffic: RecordedTraffic | None,
    rule: Mapping[Signal, float],
    answers: Sequence[SignalledAnswer],
) -> tuple[OutcomeForecast, ...]:
    """Thumbs first, then each signal of the rule, then all together where there are several."""
    n_labelled = traffic.n_labelled_units if traffic is not None else {}
    field = max(("success", "score"), key=lambda field: n_labelled.get((field, "user"), 0))
    thumbs = [answer.thumb for answer in answers if answer.thumb is not None]
    forecasts = [_forecast(THUMBS, replace(plan, field=field, source="user"), traffic, thumbs, None)]
    metric = metric_of_signals(rule)
    of_rule = replace(plan, field=metric.field, source=metric.source)
    read = [(signals_of(answer.tags), answer.thumb) for answer in answers]
    whole = [(signals, thumb) for signals, thumb in read if rule.keys() <= signals.keys()]
    goodness: dict[str, list[tuple[float, float | None]]] = {
        name: [(signals[name], thumb) for signals, thumb in whole] for name in rule
    }
    if len(rule) > 1:
        total = sum(rule.values())
        goodness[TOGETHER] = [
            (sum(weight * signals[name] for name, weight in rule.items()) / total, thumb) for signals, thumb in whole
        ]
    for name, values in goodness.items():
        pairs = [(good, thumb) for good, thumb in values if thumb is not None]
        forecasts.append(_forecast(name, of_rule, traffic, [good for good, _ in values], pairs))
    return tuple(forecasts)


def _forecast(
    outcome: str,
    plan: ForecastPlan,
    traffic: RecordedTraffic | None,
    values: Sequence[float],
    beside: Sequence[tuple[float, float]] | None,
) -> OutcomeForecast:
    """``beside``: goodness and thumb of one answer; None of the thumbs themselves."""
    need, mean = UNKNOWN, fmean(values) if values else None
    if traffic is not None and not missing_of(plan, traffic):
        base = clip_rate(mean if mean is not None else HALF)
        own = replace(plan, base=base, lift=replace(plan.lift, value=min(plan.lift.value, 1 - base)))
        need = total_of(own, needs_of(own, rates_of(own, traffic), NOT_BEGUN, KAPPA_90), NOT_BEGUN)
    agreement = by_chance = None
    if beside:
        agreement = fmean((good >= HALF) == (thumb >= HALF) for good, thumb in beside)
        good, up = (fmean(pair[place] >= HALF for pair in beside) for place in (0, 1))
        by_chance = good * up + (1 - good) * (1 - up)
    return OutcomeForecast(
        outcome=outcome,
        label_rate=traffic.label_rate(plan.field, plan.source) if traffic is not None and traffic.n_units else None,
        mean=mean,
        nine_in_ten=need,
        n_beside=None if beside is None else len(beside),
        agreement=agreement,
        by_chance=by_chance,
    )
