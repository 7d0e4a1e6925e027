"""Guardrails: errors, latency and cost of the candidate against the champion, on every reported request.

Each unit gives one outcome per block of ten seconds, the mean over its requests. The champion of the same seconds is
the reference, so an outage that hits both arms moves nothing. Each guardrail is an e-value process against "not worse
than the champion by more than it may be". One guardrail needs no statistics: ten failures of the candidate in a row,
from several units, while the champion works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optimizer.core.statistics.outcomes import (
    RATE_FLOOR,
    Block,
    Evidence,
    PlugIn,
    bernoulli_bet,
    clip_rate,
    log_e,
    ratio_bet,
    threshold,
    with_pending,
)

GuardrailKind = Literal["errors", "latency", "cost"]

ALPHA: dict[GuardrailKind, float] = {"errors": 0.008, "latency": 0.006, "cost": 0.006}  # together .02
MARGIN: dict[GuardrailKind, float] = {"errors": 0.01, "latency": 0.025, "cost": 1.10}
GAPS: dict[GuardrailKind, tuple[float, ...]] = {  # beyond the margin; for cost, factors of the allowed ratio
    "errors": (0.02, 0.07, 0.19, 0.49),
    "latency": (0.035, 0.095, 0.275),
    "cost": (1.3 / 1.1, 1.7 / 1.1, 2.5 / 1.1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """The evidence on one metric.

    Outcomes lie in [0, 1]: for errors 1 = failed; for latency 1 = slower than the limit, or timed out; for cost
    min(cost / cap, 1). ``margin`` is absolute for errors and latency; for cost it is the allowed ratio of the means, >=
    1.
    """

    kind: GuardrailKind
    margin: float
    alpha: float
    champion: PlugIn
    candidate: PlugIn
    evidence: Evidence
    pending: Block | None = None
    n_blocks: int = 0
    n_candidate: int = 0

    @classmethod
    def start(
        cls,
        kind: GuardrailKind,
        *,
        champion_mean: float,
        champion_variance: float | None = None,
        margin: float | None = None,
        alpha: float | None = None,
    ) -> Guardrail:
        """Args:
        champion_mean, champion_variance: of the outcome before the rollout.
        margin: where the confirmation raised it.
        """
        gaps = GAPS[kind]
        prior = PlugIn(prior_mean=champion_mean, prior_variance=champion_variance)
        return cls(
            kind=kind,
            margin=MARGIN[kind] if margin is None else margin,
            alpha=ALPHA[kind] if alpha is None else alpha,
            champion=prior,
            candidate=prior,
            evidence=Evidence.none((1 / len(gaps),) * len(gaps)),
        )

    def after(self, block: Block) -> Guardrail:
        """The guardrail one block later. A block without outcomes of one arm is carried over within its stage.

        After a step up, tokens of the earlier stage still come in. Their blocks count by themselves, and what is
        carried over stays.
        """
        is_earlier = self.pending is not None and block.stage < self.pending.stage
        merged = block if is_earlier else with_pending(self.pending, block)
        if not merged.has_both_arms:
            return self if is_earlier else replace(self, pending=merged)
        return Guardrail(
            kind=self.kind,
            margin=self.margin,
            alpha=self.alpha,
            evidence=self.evidence.after(self._log_factors(merged)),
            champion=self.champion.after(merged.champion),
            candidate=self.candidate.after(merged.candidate),
            pending=self.pending if is_earlier else None,
            n_blocks=self.n_blocks + 1,
            n_candidate=self.n_candidate + merged.candidate.n,
        )

    @property
    def alarmed(self) -> bool:
        """Whether an alarm was raised; it is never taken back."""
        return self.evidence.peak >= threshold(self.alpha)

    def _log_factors(self, block: Block) -> list[float]:
        w, theta_b = block.candidate.n / block.n, self.champion.mean
        if self.kind == "cost":
            return [self._cost_factor(q * self.margin, theta_b, w, block) for q in GAPS["cost"]]
        factors = []
        for gap in GAPS[self.kind]:
            theta_c = clip_rate(theta_b + self.margin + gap)
            beyond = theta_c - theta_b > self.margin
            bet = bernoulli_bet(theta_c=theta_c, theta_b=theta_b, w=w, d0=self.margin) if beyond else None
            factors.append(log_e(bet, block) if bet else 0.0)
        return factors

    def _cost_factor(self, q: float, theta_b: float, w: float, block: Block) -> float:
        q = min(q, (1 - RATE_FLOOR) / theta_b)
        if q <= self.margin:
            return 0.0
        bet = ratio_bet(
            mu_b=theta_b, q=q, k=self.margin, w=w, var_c=self.candidate.variance, var_b=self.champion.variance
        )
        return log_e(bet, block)


RUN = 10
MIN_UNITS = 3
CHAMPION_FAILURES = 5  # of its last ten requests, from which on the incident is shared

FailureFinding = Literal["none", "failing", "alone", "shared_incident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRequest:
    """One request of the candidate.

    ``champion_n`` and ``champion_failed``: the champion's requests between the candidate's request before and this one.
    """

    unit: str
    failed: bool
    champion_n: int = 0
    champion_failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRun:
    """The last ten requests of each arm, in the order in which they ended, and the finding at the candidate's last one.

    Only a request of the candidate changes ``finding``. When both arms recover, the champion, which has more traffic,
    shows it first, and the candidate's earlier failures say nothing about now.

    failing          ten in a row while the champion works: roll back
    alone            ten in a row, and the champion, which worked before, was not asked meanwhile
    shared_incident  the champion fails as well: hold and alert
    """

    candidate: tuple[CandidateRequest, ...] = ()
    champion: tuple[bool, ...] = ()  # failed
    champion_n: int = 0  # since the candidate's last request
    champion_failed: int = 0
    finding: FailureFinding = "none"

    def after_candidate(self, unit: str, *, failed: bool) -> FailureRun:
        request = CandidateRequest(
            unit=unit, failed=failed, champion_n=self.champion_n, champion_failed=self.champion_failed
        )
        last = (*self.candidate, request)[-RUN:]
        return FailureRun(
            candidate=last,
            champion=self.champion,
            finding=_finding(last, self.champion, self.finding) if failed else "none",
        )

    def after_champion(self, failed: Sequence[bool]) -> FailureRun:
        """Args:
        failed: whether each of the champion's next requests failed, in order.
        """
        return FailureRun(
            candidate=self.candidate,
            champion=(*self.champion, *failed)[-RUN:],
            champion_n=self.champion_n + len(failed),
            champion_failed=self.champion_failed + sum(failed),
            finding=self.finding,
        )

    @property
    def n_units(self) -> int:
        return len({request.unit for request in self.candidate})


def _finding(candidate: Sequence[CandidateRequest], champion: Sequence[bool], before: FailureFinding) -> FailureFinding:
    """The incident is also shared where most of the champion's requests meanwhile failed, however few they are."""
    if len(candidate) < RUN or not all(r.failed for r in candidate) or len({r.unit for r in candidate}) < MIN_UNITS:
        return "none"
    n, failed = sum(r.champion_n for r in candidate[1:]), sum(r.champion_failed for r in candidate[1:])
    if sum(champion) >= CHAMPION_FAILURES or (n > 0 and 2 * failed >= n):
        return "shared_incident"
    if n == 0:
        return "shared_incident" if before == "shared_incident" else "alone"
    return "failing"
