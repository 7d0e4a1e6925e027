"""What is known of a cascade, as values: they are shown where numpy, which computes them, is not loaded."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.base.knob import Knob
from optimizer.core.base.phrasing import dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A weighted mean as observed, with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCost:
    """What asking all tiers for ``audit_share`` of the requests adds to the mean cost of one,
    in dollars and as a share of the setting's cost.
    """

    audit_share: float
    extra_usd: Figure
    extra_share: float

    @property
    def in_words(self) -> str:
        low, high = (dollars(1000 * max(0.0, usd)) for usd in (self.extra_usd.low, self.extra_usd.high))
        return (
            f"Asking all tiers for {100 * self.audit_share:g} % of the requests (audit_share) adds"
            f" {dollars(1000 * self.extra_usd.mean)} to 1,000 requests ({low} to {high}), {100 * self.extra_share:.2g}"
            " % of what these cost without it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdPoint:
    """One value and what the cascade then does; ``escalated_share``: of the requests that go on to the tier behind."""

    value: float
    quality: Figure
    loss: Figure
    cost_usd: Figure
    escalated_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCurve:
    """``knob`` of ``tier``; ``present``: its value in the variant, where the other thresholds stand still; None without
    a variant.

    Values ascend.
    """

    knob: Knob
    tier: str
    present: float | None
    points: tuple[ThresholdPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeCurves:
    """``tiers``: those that are asked.

    ``margin``: the loss that the search allowed. ``not_replayed``: knobs that have no curve, and why.

    ``variant``: whose thresholds they are; None: there is no cascade yet, and ``audit_cost`` is not known.
    ``is_found``: the search found them; else they are the champion's.
    """

    tiers: tuple[str, ...]
    variant: str | None
    is_found: bool
    n_records: int
    n_incomplete: int
    margin: float
    curves: tuple[ThresholdCurve, ...]
    not_replayed: tuple[tuple[Knob, str], ...]
    audit_cost: AuditCost | None
