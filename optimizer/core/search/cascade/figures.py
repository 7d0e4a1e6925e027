"""What is known of a cascade, as values: they are shown where numpy, which computes them, is not loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.core.base.answers import Json
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
    """What it adds to a request's mean cost to ask all tiers for ``audit_share`` of the requests.

    In dollars, and as a share of the setting's cost.
    """

    audit_share: float
    extra_usd: Figure
    extra_share: float

    @property
    def in_words(self) -> str:
        low, high = (dollars(1000 * max(0.0, usd)) for usd in (self.extra_usd.low, self.extra_usd.high))
        share = f", {100 * self.extra_share:.2g} % of what these cost without it" if self.extra_share else ""
        return (
            f"Asking all tiers for {100 * self.audit_share:g} % of the requests (audit_share) adds"
            f" {dollars(1000 * self.extra_usd.mean)} to 1,000 requests ({low} to {high}){share}."
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
    """What the values of ``knob`` of ``tier`` do; they ascend.

    ``present``: its value in the variant, whose other thresholds stay as they are; None without a variant.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSetting:
    """Tiers, cheapest first, and the confidence from which the answer of each but the last is taken (all in [0, 1])."""

    tiers: tuple[str, ...]
    accept: tuple[float, ...]
    refine: float | None = None  # executed, not replayed: an improved answer has no record
    skip: float | None = None

    def policy(self) -> dict[str, Any]:
        """The knobs of ``Variant.policy`` that say the same."""
        names = ["accept", *(f"accept.{place}" for place in range(2, len(self.accept) + 1))]
        knobs: dict[str, Any] = {"tiers": list(self.tiers), **dict(zip(names, self.accept, strict=True))}
        return knobs | {
            name: value for name, value in (("refine", self.refine), ("skip", self.skip)) if value is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedEstimate:
    """The estimate of one setting, per request, with 95 % intervals.

    ``n_known``: of ``n_records``, those on which its score is known. ``loss``: against the strongest tier; None where
    its answers are known on none of them. The plain means are Hajek's; ``*_unbiased`` are Horvitz and Thompson's,
    unbiased for any number of records but wider.
    """

    n_records: int
    n_known: int
    quality: Figure
    cost_usd: Figure
    loss: Figure | None
    quality_unbiased: Figure
    cost_usd_unbiased: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCount:
    """Audits: ``drawn`` for requests that had not asked all tiers by themselves; ``complete`` of these have every
    answer.

    ``failed`` left a reason, ``lost`` left nothing. ``paid_usd``: for all calls that were made because of audits.
    """

    drawn: int = 0
    complete: int = 0
    failed: int = 0
    lost: int = 0
    paid_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StrongestAlone:
    """The strongest tier asked for every request."""

    quality: Figure
    cost_usd: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeAdvice:
    """``present`` and ``recommended`` with their estimates; None: not known.

    ``policy`` holds the knobs to be changed, ``reason`` says why in words.

    ``margin``: the loss against the strongest tier that the search allows, in [0, 1]. ``audits_missing``: about how
    many more complete audits would tell, ``requests_missing`` how many requests bring those; None: nothing is missing,
    or nothing is audited.
    """

    verdict: Literal["change", "keep", "do_not_cascade", "cannot_tell"]
    reason: str
    present: CascadeSetting
    estimated: WeightedEstimate | None = None
    strongest: StrongestAlone | None = None
    recommended: CascadeSetting | None = None
    estimated_recommended: WeightedEstimate | None = None
    policy: Mapping[str, Json] | None = None
    audit_cost: AuditCost | None = None
    margin: float | None = None
    audits_missing: int | None = None
    requests_missing: int | None = None
    not_replayed: Mapping[str, str] | None = None
