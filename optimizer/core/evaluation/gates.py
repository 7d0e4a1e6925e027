"""The four gates before a rollout: improvement, confidence, risk, n.

Pure: means, p-values and counts in, verdicts out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, floor
from typing import Literal

from typing_extensions import TypedDict

from optimizer.core.base.answers import Text
from optimizer.core.base.phrasing import signed
from optimizer.core.base.values import Aim
from optimizer.core.statistics.noninferiority import NotLower

LOW_BASE = 0.10  # below it a relative gain means nothing, so the gate requires an absolute one
LOW_BASE_GAIN = 0.05
HIGH_BASE = 0.80  # above it the gain is measured against what is left to gain
CALLED_TESTS = {
    "exact": "an exact test",
    "tango": "Tango's score test",
    "gaffke": "Gaffke's test",
    "bootstrap": "a bootstrap",
}
IMPROVED = 0.95  # reports say "improved" only from this confidence on


class GateVerdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"  # cannot tell yet
    ERROR = "error"  # could not be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """``rollout.gates`` of a family, with the rollout's explicit ``margin`` (absolute quality) if it has one."""

    improvement: float = 0.15
    confidence: float = 0.8
    max_risk: float = 0.3
    n: int = 100
    margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """``value`` against ``required``; ``reason`` is the sentence for people."""

    name: str  # improvement, confidence, risk, n, quality, saving, measured
    verdict: GateVerdict
    value: float | None
    required: float
    reason: str


class JudgedRecord(TypedDict):
    """What scores by a judge are shown with, and what is ``said`` of it in a sentence or two.

    ``uncalibrated``: why people's ratings do not vouch for it; None where they do. Else ``agreement`` is how its scores
    follow the ratings, ``rated`` the mean rating that people would give, by what was asked for, and ``extrapolated``,
    of what was asked for besides, why its mean rating would be extrapolated, and so is not shown.
    """

    judge: str
    uncalibrated: str | None
    agreement: str
    rated: Mapping[str, float]
    extrapolated: Mapping[str, str]
    said: str


class GateRecord(TypedDict):
    """A gate as stored and shown."""

    name: str
    verdict: str
    value: int | float | None
    required: int | float | None
    reason: Text[str | None]


class WishedFloor(TypedDict):
    """What a study of a content pipeline was asked to keep, or what comes with it, as the sealed items show it.

    ``floor`` and ``measured`` are shares in [0, 1]; ``test``: of "it is lower than the floor by ``margin`` or more".
    None where no item says anything.
    """

    name: Literal["saving", "quality"]
    what: str
    floor: float
    margin: float
    measured: float | None
    test: NotLower | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationEvidence:
    """What a confirmation measured on the sealed holdout, for one aim.

    ``champion`` and ``candidate`` are holdout means of the aim: score in [0, 1], dollars per call, or p95 of fresh
    calls in ms. ``p`` is one-sided against "no gain" in the aim. For cost and latency ``not_lower`` is the test of
    "quality is lower by the margin or more", at ``quality_level`` of the same settings and looks.
    """

    aim: Aim = "quality"
    champion: float
    candidate: float
    champion_quality: float
    p: float
    looks: int  # including this one
    drops: Sequence[float]  # candidate score - champion score, per example
    not_lower: NotLower | None = None
    wished: Sequence[WishedFloor] = ()
    n_aim: int | None = None  # examples on which both were measured for the aim, where that is not quality
    is_move: bool = False  # to another model: quality is to be kept, and nothing has to be gained


def quality_margin(champion_quality: float, explicit: float | None = None) -> float:
    """h of the contract: the explicit margin, else max(.01, min(.05, .10 x the champion's quality))."""
    return explicit if explicit is not None else max(0.01, min(0.05, 0.10 * champion_quality))


def confidence_of(p: float, looks: int) -> float:
    """max(0, 1 - looks x p): each look at the same holdout costs confidence."""
    return max(0.0, 1.0 - looks * p)


def quality_level(settings: GateSettings, looks: int) -> float:
    """The level for the p of "not lower" at which its confidence is the required one; in (0, 1), also for
    none or all.
    """
    return min(0.999, max(1e-6, (1.0 - settings.confidence) / max(1, looks)))


def improvement_of(aim: Aim, champion: float, candidate: float) -> float | None:
    """The gain that the improvement gate reads; None where it cannot be expressed (nothing to save, or nothing left
    to gain).
    """
    if aim != "quality":
        return 1 - candidate / champion if champion > 0 else None
    return (candidate - champion) / improvement_unit(champion) if champion < 1 else None


def improvement_unit(champion: float) -> float:
    """How much quality an improvement of 1 is; above 0 but for a champion of 1."""
    if champion < LOW_BASE:
        return 1.0
    return champion if champion < HIGH_BASE else 1 - champion


def risk_of(drops: Sequence[float], margin: float) -> float:
    """Share of examples whose quality is lower by more than max(margin, .10)."""
    limit = max(margin, 0.10) + 1e-9  # 0.8 - 0.7 is a little more than 0.1 in binary
    return sum(-d > limit for d in drops) / len(drops) if drops else 0.0


def evaluate_gates(evidence: ConfirmationEvidence, settings: GateSettings) -> tuple[GateResult, ...]:
    """Improvement, confidence, risk and n; for aims cost and latency also quality. All must pass.

    Where something was wished, its floors are tested in the place of quality and risk, and any improvement is enough.
    A move to another model is asked for quality, risk and n.
    """
    if evidence.wished:
        settings = replace(settings, improvement=0.0)
    margin = quality_margin(evidence.champion_quality, settings.margin)
    confidence = confidence_of(evidence.p, evidence.looks)
    risk = risk_of(evidence.drops, margin)
    n = len(evidence.drops) if evidence.n_aim is None else min(len(evidence.drops), evidence.n_aim)
    gates = [
        _improvement_gate(evidence, settings),
        _at_least("confidence", confidence, settings.confidence, f"p {evidence.p:.4g} at look {evidence.looks}"),
        _risk_gate(risk, margin, settings, is_off=bool(evidence.wished)),
        _at_least(
            "n",
            n,
            settings.n,
            "holdout examples scored" if n == len(evidence.drops) else f"holdout examples measured for {evidence.aim}",
        ),
    ]
    if evidence.is_move:
        gates[:2] = [_quality_gate(evidence, settings, margin)]
    elif evidence.wished:
        gates[1:1] = [_wished_gate(floor, settings, evidence.looks) for floor in evidence.wished]
    elif evidence.aim != "quality":
        gates.insert(1, _quality_gate(evidence, settings, margin))
    return tuple(gates)


def unmeasured_gate(n_lost: int, worst: Sequence[GateResult]) -> GateResult:
    """The gate for a winner without a score where the champion has one: left out, those examples would hide its
    failures.

    Args:
        worst: the gates with every such example counted as lost; if none of them fails, this gate has nothing to say.
    """
    failing = ", ".join(g.name for g in worst if g.verdict is not GateVerdict.PASS)
    reason = (
        f"{n_lost} examples could be scored for the champion only; if the winner loses them all, these gates are not"
        f" met: {failing}"
    )
    return GateResult(name="measured", verdict=GateVerdict.ERROR, value=float(n_lost), required=0.0, reason=reason)


def all_passed(gates: Sequence[GateResult]) -> bool:
    """Silence is not consent: no gate evaluated is not a pass."""
    return bool(gates) and all(g.verdict is GateVerdict.PASS for g in gates)


def as_record(gate: GateResult) -> GateRecord:
    return {
        "name": gate.name,
        "verdict": gate.verdict.value,
        "value": gate.value,
        "required": gate.required,
        "reason": gate.reason,
    }


def missed_gates(gates: Sequence[GateRecord]) -> list[GateRecord]:
    """The recorded gates that have not passed. An empty record is no pass: callers must check for it."""
    return [g for g in gates if g["verdict"] != "pass"]


def _improvement_gate(evidence: ConfirmationEvidence, settings: GateSettings) -> GateResult:
    is_low = evidence.aim == "quality" and evidence.champion < LOW_BASE and not evidence.wished
    required = LOW_BASE_GAIN if is_low else settings.improvement
    value = improvement_of(evidence.aim, evidence.champion, evidence.candidate)
    if value is None:
        reason = f"the champion is at {evidence.champion:.4g}: no {evidence.aim} is left to gain"
        return GateResult(name="improvement", verdict=GateVerdict.FAIL, value=None, required=required, reason=reason)
    what = f"{evidence.aim} {evidence.champion:.4g} to {evidence.candidate:.4g}"
    gate = _at_least("improvement", value, required, what)
    if evidence.aim == "quality":
        unit = improvement_unit(evidence.champion)
        shown = f"{points_text(value * unit)}, at least {points_text(required * unit)} needed"
    elif value < 0:
        shown = (
            f"none: {evidence.candidate / evidence.champion:.3g} times the champion's {evidence.aim}, at most"
            f" {1 - required:.3g} times allowed"
        )
    else:
        return gate
    return replace(gate, reason=f"improvement {shown} ({what})")


def points_text(share: float) -> str:
    """``+1.25 points``: a ratio misleads where little is left to gain, or little is there."""
    return f"{signed(100 * share, 2)} points"


def _risk_gate(risk: float, margin: float, settings: GateSettings, *, is_off: bool) -> GateResult:
    # Rounded up, so that what fails is never printed as what is allowed.
    losses = f"{ceil(100 * risk - 1e-9)}% of the examples lose more than {max(margin, 0.10):.2f}"
    if is_off:
        reason = (
            "off, since an item that is not processed counts as .5, and so as a loss where it is worth more, while"
            f" leaving items out is what was wished ({losses})"
        )
        return GateResult(name="risk", verdict=GateVerdict.PASS, value=risk, required=1.0, reason=reason)
    return GateResult(
        name="risk",
        verdict=GateVerdict.PASS if risk <= settings.max_risk else GateVerdict.FAIL,
        value=risk,
        required=settings.max_risk,
        reason=f"{losses}, at most {settings.max_risk:.0%} may",
    )


def _wished_gate(wished: WishedFloor, settings: GateSettings, looks: int) -> GateResult:
    what, least, measured, test = wished["what"], wished["floor"], wished["measured"], wished["test"]
    if test is None or measured is None:
        return GateResult(
            name=wished["name"],
            verdict=GateVerdict.INCONCLUSIVE,
            value=None,
            required=settings.confidence,
            reason=f"{what} cannot be told: no item was processed in full, and {least:.3f} is the floor",
        )
    reason = (
        f"confidence that {what} is not lower than {least:.3f} by {wished['margin']:.3f}; it is"
        f" {measured:.3f}, {CALLED_TESTS[test['test']]} on {test['n']} groups of items"
    )
    return _at_least(wished["name"], confidence_of(test["p"], looks), settings.confidence, reason)


def _quality_gate(evidence: ConfirmationEvidence, settings: GateSettings, margin: float) -> GateResult:
    test = evidence.not_lower
    if test is None:
        return GateResult(
            name="quality",
            verdict=GateVerdict.ERROR,
            value=None,
            required=settings.confidence,
            reason=f"quality was not compared, so a loss of {margin:.3f} cannot be ruled out",
        )
    what = (
        f"confidence that quality is not lower by {margin:.3f}, {CALLED_TESTS[test['test']]} on {test['n']} independent"
        " examples"
    )
    if test["n"] < test["fewest"]:
        what += f"; fewer than {test['fewest']} can show it only where the candidate is better now and then"
    return _at_least("quality", confidence_of(test["p"], evidence.looks), settings.confidence, what)


def _at_least(name: str, value: float, required: float, what: str) -> GateResult:
    passed = value >= required - 1e-12
    digits = 0 if name == "n" else 3
    scale = 10**digits
    # What fails is rounded down, so that it is never printed as what is needed.
    shown_value = value if passed else floor(value * scale) / scale
    shown = f"{shown_value:.{digits}f}, at least {required:.{digits}f} needed"
    return GateResult(
        name=name,
        verdict=GateVerdict.PASS if passed else GateVerdict.FAIL,
        value=value,
        required=required,
        reason=f"{name} {shown} ({what})",
    )
