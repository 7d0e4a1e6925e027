"""Guardrails: errors, latency and cost of the candidate against the champion at the same time,
on every reported request.

One outcome per unit and block of ten seconds, the mean over the unit's requests. Compared with the concurrent champion,
so an outage that hits both arms moves nothing. Each guardrail is an e-value process against "not worse than the
champion by more than it may be".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from optimizer.core.statistics.block_evalue import RATE_FLOOR, bernoulli_bet, clip_rate, log_e, ratio_bet
from optimizer.core.statistics.mixture import Evidence, threshold
from optimizer.core.statistics.outcomes import Block, gather
from optimizer.core.statistics.plug_in import PlugIn

GuardrailKind = Literal["errors", "latency", "cost"]

ALPHA: dict[GuardrailKind, float] = {"errors": 0.008, "latency": 0.006, "cost": 0.006}  # together .02
MARGIN: dict[GuardrailKind, float] = {"errors": 0.01, "latency": 0.025, "cost": 1.10}
GAPS: dict[GuardrailKind, tuple[float, ...]] = {  # beyond the margin; cost: factors of the allowed ratio
    "errors": (0.02, 0.07, 0.19, 0.49),
    "latency": (0.035, 0.095, 0.275),
    "cost": (1.3 / 1.1, 1.7 / 1.1, 2.5 / 1.1),
}
HALF_LIFE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One metric.

    Outcomes in [0, 1]: 1 = failed (errors), 1 = slower than L or timed out (latency), min(cost / cap, 1) (cost).

    ``margin``: absolute for errors and latency; for cost the allowed ratio of the means, >= 1.
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
        half_life: float | None = HALF_LIFE,
    ) -> Guardrail:
        """Args: ``champion_mean`` and ``champion_variance`` of the outcome before the rollout;
        a margin raised at nomination.
        """
        gaps = GAPS[kind]
        prior = PlugIn(prior_mean=champion_mean, prior_variance=champion_variance, half_life=half_life)
        return cls(
            kind=kind,
            margin=MARGIN[kind] if margin is None else margin,
            alpha=ALPHA[kind] if alpha is None else alpha,
            champion=prior,
            candidate=prior,
            evidence=Evidence.none((1 / len(gaps),) * len(gaps)),
        )

    def after(self, block: Block) -> Guardrail:
        """The guardrail one block later; a block with one arm empty is carried within its stage.

        Tokens of an earlier stage come in for a while after a step up: they stand for themselves, and what is carried
        is not lost to them.
        """
        is_earlier = self.pending is not None and block.stage < self.pending.stage
        merged = block if is_earlier else gather(self.pending, block)
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
        """Latched: an alarm is never taken back."""
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
