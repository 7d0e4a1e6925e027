"""Do labels come later in one arm? Then the labels that came in time are another sample of its users than the other's.

Each closed cohort is counted once its feedback window has passed a second time: a unit counts 1 where its first label
came after the window, 0 where it came within it. Each arm has an e-process against "its share of late labels is at most
a point above the other's". A point is allowed, since a window that holds 99 % of the labels is long enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import expm1, log

from optimizer.core.statistics.outcomes import Block, Evidence, Hypothesis, Outcomes, PlugIn, threshold, with_pending
from optimizer.core.statistics.quality_gate import MIN_BLOCK, log_factors

ALPHA_LATE = 0.01  # of one rollout, both arms together
ALLOWED = 0.01  # share of labels
GAPS = (0.02, 0.07, 0.19, 0.49)
WEIGHTS = (0.25,) * len(GAPS)
LATER = (
    Hypothesis(name="candidate_later", boundary=ALLOWED, gaps=GAPS, weights=WEIGHTS, alpha=ALPHA_LATE / 2),
    Hypothesis(
        name="champion_later", boundary=-ALLOWED, gaps=tuple(-g for g in GAPS), weights=WEIGHTS, alpha=ALPHA_LATE / 2
    ),
)
NOTHING_USUAL = PlugIn(prior_mean=ALLOWED)
NO_EVIDENCE = tuple(Evidence.none(h.weights) for h in LATER)
SUSPECTED = log(2)  # from this present log e-value on, a promotion waits
COUNTED = 0.5  # share of the gate's labelled units whose late labels a promotion needs counted
LEAST_WINDOWS = 3  # before a promotion: two until the first late labels count, one for half of all labels
LONGEST = 50.0  # windows; a longer mean delay looks like labels that never stop coming


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDelays:
    """Units of one arm whose first label came within two windows.

    ``hours``: how far into the second window the late ones were, added up.
    """

    labelled: int = 0
    late: int = 0
    hours: float = 0.0

    def after(self, outcomes: Outcomes, hours: float) -> ArmDelays:
        return ArmDelays(
            labelled=self.labelled + outcomes.n, late=self.late + round(outcomes.sums.total), hours=self.hours + hours
        )

    def window_needed(self, window_h: float) -> float | None:
        """Hours within which 99 % of the labels would come, if they dwindle further as they do in the second window.

        None where they do not dwindle. The tail is taken as exponential and cut off at two windows; its mean is fitted
        to the mean of the late labels.
        """
        if not self.late:
            return window_h
        mean, low, high = self.hours / self.late, window_h * 1e-3, window_h * LONGEST
        if mean >= _cut_mean(high, window_h):
            return None
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _cut_mean(middle, window_h) < mean else (low, middle)
        ever = self.late / -expm1(-window_h / high)
        share = ever / (self.labelled - self.late + ever)
        return window_h + max(0.0, high * log(share / ALLOWED))


@dataclass(frozen=True, slots=True, kw_only=True)
class LateLabels:
    """What is known of late labels after some blocks. ``peaks`` never fall, like all verdicts."""

    candidate: ArmDelays = ArmDelays()
    champion: ArmDelays = ArmDelays()
    usual: PlugIn = NOTHING_USUAL  # the champion's share of late labels
    evidence: tuple[Evidence, ...] = NO_EVIDENCE  # in the order of LATER
    pending: Block | None = None

    def after(self, block: Block, hours: Mapping[str, float]) -> LateLabels:
        """Args:
        block: per unit, 1 = late, 0 = in time.
        hours: arm -> how late its late labels were, added up.
        """
        counted = replace(
            self,
            candidate=self.candidate.after(block.candidate, hours["candidate"]),
            champion=self.champion.after(block.champion, hours["champion"]),
        )
        merged = with_pending(self.pending, block)
        if merged.n < MIN_BLOCK or not merged.has_both_arms:
            return replace(counted, pending=merged)
        return replace(
            counted,
            evidence=tuple(
                e.after(log_factors(h, merged, self.usual, self.usual, "binary"))
                for h, e in zip(LATER, self.evidence, strict=True)
            ),
            usual=self.usual.after(merged.champion),
            pending=None,
        )

    @property
    def labelled(self) -> int:
        return self.candidate.labelled + self.champion.labelled

    @property
    def peaks(self) -> dict[str, float]:
        return {h.name: e.peak for h, e in zip(LATER, self.evidence, strict=True)}

    @property
    def later(self) -> Hypothesis | None:
        """The arm's hypothesis that is proven: its labels come later; None where nothing shows it."""
        proven = [h for h, e in zip(LATER, self.evidence, strict=True) if e.peak >= threshold(h.alpha)]
        return max(proven, key=lambda h: self.peaks[h.name], default=None)

    @property
    def suspected(self) -> Hypothesis | None:
        """The arm's hypothesis that the evidence now speaks for. The evidence falls again where the arms are alike."""
        name, log_e = max(((h, e.log_e) for h, e in zip(LATER, self.evidence, strict=True)), key=lambda pair: pair[1])
        return name if log_e >= SUSPECTED else None

    def of(self, name: str) -> Evidence:
        return dict(zip((h.name for h in LATER), self.evidence, strict=True))[name]


def _cut_mean(mean: float, end: float) -> float:
    """The mean of an exponential distribution that is cut off at ``end``; it grows with ``mean`` from 0 to half of
    ``end``.
    """
    return mean - end / expm1(min(end / mean, 700.0))  # a float ends at exp(709), where nothing is left of the cut part
