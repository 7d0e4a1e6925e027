"""What people see of a Rollout, as values: evidence against thresholds, arms, stages, what is missing.

``rollout_evidence.py`` makes them.

Nothing here decides. The word better is said only where the gate has refuted "not better".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from optimizer.core.base.answers import ActOffer, Text
from optimizer.core.forecast.forecast import RolloutForecast
from optimizer.core.rollout.blocks import ArmName, KeyShare
from optimizer.core.rollout.transitions import OperatorAct
from optimizer.core.serving.assignment import Holdback
from optimizer.core.serving.rollout import Champion, Decision, Freeze, Rollout
from optimizer.core.statistics.quality_gate import ALPHA_ROLL, ALPHA_SHIP

State = Literal["done", "now", "ahead", "passed over"]  # the last: it was promoted from an earlier one
WITHIN_BLOCKS = "compared within each block, so not the difference of the two means"  # wherever both are shown
CONFIDENCE = 1 - ALPHA_SHIP - ALPHA_ROLL


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """One game: the claim under attack, its largest e-value so far, and the one that refutes it."""

    name: str  # ship3, ship2, ship1, sup, roll, roll2; errors, latency, cost
    claim: str
    e_value: float
    log_e: float  # natural log of the same
    log_e_now: float  # after the last block; a verdict is read from the largest
    threshold: float
    share_of_way: float  # in [0, 1], on the log scale
    passed: bool
    text: str  # "41.2 of 20"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailView(EvidenceView):
    """``passed`` = alarmed. Means are recent ones, older outcomes weigh less; of cost they are shares of the cap. Those
    observed leave out what was known before the rollout, from which evidence starts.
    """

    margin: float
    allowed: str  # the margin in words
    n_candidate: int
    n_blocks: int
    champion_mean: float
    candidate_mean: float
    champion_observed: float | None
    candidate_observed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmView:
    """Matured units of one arm.

    ``mean`` is of the units' outcomes, in [0, 1]; ``late`` counts feedback that is shown, not used.
    """

    arm: ArmName
    variant: str
    units: int
    labelled: int
    label_rate: float | None
    mean: float | None
    late: int
    late_of: int  # feedback of cohorts that are closed
    late_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifference:
    """Candidate - champion, compared within each block, so that neither a growing share nor a moving day counts
    for it; of the blocks that the gate has counted.
    """

    observed: float | None  # within [lower, upper]; None before the first counted block
    lower: float
    upper: float
    confidence: float = CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One step of the ladder, or the holdback after it.

    ``asks`` names the evidence that lets it go on, of the holdback the one that would end it.
    """

    share: float
    state: State
    asks: str
    since: datetime | None  # real time
    until: datetime | None
    units: Mapping[ArmName, int]
    labelled: Mapping[ArmName, int]
    candidate_share: float | None  # of its units, as measured
    sample_ratio: EvidenceView
    rates_differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labelled units of both arms. ``waiting``: matured, in a block that is too small to be used yet.

    ``counted``: against those allowed, which is asked where whole days end.
    """

    used: int
    counted: int
    in_stage: int
    needed_in_stage: int
    waiting: int
    allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """On the rollout clock. ``running``: while served; in rollouts without ``max_days_served`` since the start."""

    running: float
    least: float
    allowed: float
    window: float  # until a cohort's feedback counts as complete


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """Reports per fetch since ``since``; ``found_at``: since when the candidate reports less than half as often."""

    since: datetime | None
    fetches: Mapping[ArmName, int]
    reports: Mapping[ArmName, int]
    found_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    act: Literal["advance", "promote"]
    share: float
    asks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAlert:
    """An alert of this rollout that is open."""

    kind: str
    level: str
    detail: Text[str]
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """``verdict`` says in words what the evidence allows to say; ``difference`` is candidate less champion.

    ``not_guarded``: guardrail > why it does not look yet. ``waits_for``, ``next_step``: what is missing before the next
    step, and which that is. ``left_out``: units served both variants because the rollout lapsed within their window;
    ``beyond_exposures``: units without a token that do not count, since their key reported too few exposures; ``keys``:
    who brought the labelled units, the largest share first. ``looked_at``: when the tick last wrote what it knows.
    ``followed_by``: the term after the one that the promotion began, where that is over. ``versions``: variant > its
    name in the family's file. ``n_blocks`` and ``head`` tie it to the chain of blocks.
    """

    verdict: str
    n_blocks: int
    head: str
    metric: str
    margin: float
    gates: tuple[EvidenceView, ...]
    guardrails: tuple[GuardrailView, ...]
    not_guarded: Mapping[str, str]
    difference: MeanDifference
    arms: tuple[ArmView, ...]
    left_out: int
    late_alert: str | None
    stages: tuple[StageView, ...]
    labels: Labels
    hours: Hours
    silence: SilenceView
    waits_for: tuple[str, ...]
    next_step: NextStep | None
    lease_expires_at: datetime | None
    served: bool
    freeze: Freeze | None
    holdback: Holdback | None
    alerts: tuple[OpenAlert, ...]
    looked_at: datetime | None
    followed_by: Champion | None
    keys: tuple[KeyShare, ...] = ()
    max_share_per_key: float = 1.0
    versions: Mapping[str, str] = field(default_factory=dict)
    beyond_exposures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastView(RolloutView):
    """The view with what an active rollout still needs; None where it has ended, or changed while that was made."""

    forecast: RolloutForecast | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSums:
    """Of one variant. ``n_labelled`` counts events with ``success``; a mean without any value is None."""

    variant: str | None
    n_interactions: int
    n_errors: int
    n_labelled: int
    n_success: int
    n_scored: int
    mean_score: float | None
    mean_latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTotals(ReportedSums):
    """What was reported by every user of an arm, matured or not."""

    role: str | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmExposures:
    """How often an arm was fetched at a stage."""

    variant: str
    rollout: str | None
    stage: float | None
    n_exposed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutWithEvidence(Rollout):
    arms: Sequence[ArmTotals]
    exposures: Sequence[ArmExposures]
    evidence: RolloutView


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStanding:
    """Where a rollout stands, in a sentence without a full stop. ``until``: the act that ends that, which the text
    leaves out, since a page names its button and a terminal its command.
    """

    text: str
    until: ActOffer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRollout:
    """Everything that the picture of a family's rollout shows, the active one or the last.

    ``headline``: ``standing`` with the command; ``undo``, ``next``: commands; ``possible``: what an operator may do
    now; ``by_itself``: what a study does or may do by itself.
    """

    family: str
    at: datetime
    headline: str
    standing: RolloutStanding
    freeze: Freeze | None
    holdback: Holdback | None
    champion: Champion | None
    rollout: Rollout | None
    share: float | None
    is_active: bool
    served: bool
    arms: Sequence[ArmTotals]
    by_itself: str | None
    last_tick_at: datetime | None
    last_decision: Decision | None
    evidence: ForecastView | None
    undo: str | None
    next: str
    possible: Sequence[OperatorAct]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision(Decision):
    """``evidence``: what the decision turned on; ``blocks``: how many that rests on."""

    evidence: str | None
    blocks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLog:
    rollout: Rollout
    items: Sequence[LoggedDecision]
