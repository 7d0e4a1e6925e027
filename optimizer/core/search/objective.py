"""What a study searches for, by its aim: better scores, or cheaper or quicker answers that are not worse.

For cost and latency a Variant counts only while its score on dev is within the quality margin of the champion's. The
proof comes later, on the sealed holdout (``gates.py``); here the rule keeps the search from winning by bad answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.core.base.phrasing import count
from optimizer.core.base.values import MIN_TIMED, Aim, ExampleResult, mean_score, p95, scores_by_example, timed_ms
from optimizer.core.evaluation.comparison import bootstrap_reduction_p
from optimizer.core.evaluation.gates import GateResult, GateVerdict, quality_margin

ROUNDING = 1e-9  # of means of scores, which a lead of exactly the margin may miss it by
UNUSABLE = -1.0  # what strategies are told of a Variant beyond the margin, less the amount by which it is worse


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


STATISTICS: Mapping[Aim, Callable[[Sequence[float]], float]] = {"quality": mean, "cost": mean, "latency": p95}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Compares a Variant's dev results with the champion's under an aim.

    Args:
        champion: its results on dev.
        margin: absolute quality; None: the contract's.
    """

    aim: Aim
    champion: Sequence[ExampleResult]
    margin: float | None = None

    def gain(self, results: Sequence[ExampleResult]) -> float | None:
        """What the Variant gains over the champion: the mean lead in score, or the share of dollars or of p95 that it
        saves.

        None where it cannot win: it has no score where the champion has one, is worse by more than the margin, or
        cannot be compared.
        """
        lead = self._lead(results)
        if lead is None or self.aim == "quality":
            return lead
        return self._saving(results) if self._is_within(lead) else None

    def figure(self, results: Sequence[ExampleResult]) -> float | None:
        """The figure that strategies maximize; None where nothing could be measured.

        It is the mean score. For cost and latency it is the gain; beyond the margin it lies below every useful gain,
        and falls further with the quality.
        """
        if self.aim == "quality":
            return mean_score(results)
        lead, saving = self._lead(results), self._saving(results)
        if lead is None or saving is None:
            return None
        return max(UNUSABLE, saving) if self._is_within(lead) else UNUSABLE + lead

    def _lead(self, results: Sequence[ExampleResult]) -> float | None:
        champion, own = scores_by_example(self.champion), scores_by_example(results)
        if not champion or not champion.keys() <= own.keys():
            return None
        return sum(own[e] - score for e, score in champion.items()) / len(champion)

    def _is_within(self, lead: float) -> bool:
        return lead >= -quality_margin(mean_score(self.champion) or 0.0, self.margin) - ROUNDING

    def _saving(self, results: Sequence[ExampleResult]) -> float | None:
        before, after, _ = paired_by(self.aim, self.champion, results)
        if not is_told(self.aim, len(before)):
            return None
        statistic = STATISTICS[self.aim]
        return 1 - statistic(after) / statistic(before) if statistic(before) > 0 else None


def is_told(aim: Aim, n: int) -> bool:
    """Whether ``n`` examples that were measured for both say anything of the aim."""
    return n >= (MIN_TIMED if aim == "latency" else 1)


def paired_by(
    aim: Aim, champion: Sequence[ExampleResult], other: Sequence[ExampleResult]
) -> tuple[list[float], list[float], list[str]]:
    """The aim's figure of both, on the examples where both have it: score, dollars of the call, or ms of
    fresh calls. With those examples' ids.
    """
    before = _figures(aim, champion)
    # Whether all of a cascade's answers are timed is asked of these alone.
    after = _figures(aim, [r for r in other if r.example in before])
    paired_results = [example for example in before if example in after]
    return [before[e] for e in paired_results], [after[e] for e in paired_results], paired_results


def _figures(aim: Aim, results: Sequence[ExampleResult]) -> Mapping[str, float]:
    if aim == "quality":
        return scores_by_example(results)
    scored = [r for r in results if r.score is not None]  # a failed call is neither cheap nor quick
    return timed_ms(scored) if aim == "latency" else {r.example: r.cost_usd for r in scored}


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Dollars per call of both, or p95 in ms of the fresh calls of both; None where that could not be measured.

    ``is_replayed``: as the study says; then the cost is a share of the time of full processing, and no dollars.
    """

    aim: Aim
    n: int  # examples on which both were measured
    champion: float | None = None
    winner: float | None = None
    p: float = 1.0  # one-sided, against "nothing is saved"
    is_replayed: bool = False

    @property
    def share(self) -> float | None:
        return None if not self.champion or self.winner is None else 1 - self.winner / self.champion

    @property
    def text(self) -> str:
        if self.share is None:
            return f"{self.aim} not measured"
        before, after = (self._amount(value or 0.0) for value in (self.champion, self.winner))
        return f"{before} to {after} ({-self.share:+.0%}, p {self.p:.3g})"

    def _amount(self, value: float) -> str:
        if self.aim != "cost":
            return f"p95 {value:.0f} ms"
        return f"{value:.1%} of the time" if self.is_replayed else f"${value:.6f} a call"

    @property
    def unmeasured(self) -> GateResult:
        """The gate that says so where nothing could be measured."""
        reason = (
            f"{self.aim} was measured for both on {count(self.n, 'holdout example')}, and fewer than {MIN_TIMED} say"
            " nothing. What was asked before is answered by the journal, which takes no time: this can be measured on"
            " examples that no study has looked at"
        )
        return GateResult(
            name=self.aim, verdict=GateVerdict.ERROR, value=float(self.n), required=float(MIN_TIMED), reason=reason
        )


def saving_of(
    aim: Aim,
    champion: Sequence[ExampleResult],
    winner: Sequence[ExampleResult],
    seed: int,
    *,
    is_replayed: bool = False,
    groups: Mapping[str, str] | None = None,
) -> Saving | None:
    """The saving of the winner; None where quality is the aim.

    ``groups``: of each example by its id; None: every example is independent of the others.
    """
    if aim == "quality":
        return None
    # Where a call of the winner failed and the champion's did not, it saved nothing and took as long as the longest.
    of_champion = {r.example: r for r in champion if r.score is not None}
    longest = max((r.latency_ms for r in (*champion, *winner) if r.latency_ms is not None), default=None)
    before, after, examples = paired_by(
        aim,
        champion,
        [
            replace(r, score=0.0, cost_usd=max(r.cost_usd, of_champion[r.example].cost_usd), latency_ms=longest)
            if r.score is None and r.example in of_champion
            else r
            for r in winner
        ],
    )
    if not is_told(aim, len(before)):
        return Saving(aim=aim, n=len(before))
    statistic = STATISTICS[aim]
    p = bootstrap_reduction_p(
        before,
        after,
        statistic=None if statistic is mean else statistic,
        seed=seed,
        groups=None if groups is None else [groups[example] for example in examples],
    )
    return Saving(
        aim=aim, n=len(before), champion=statistic(before), winner=statistic(after), p=p, is_replayed=is_replayed
    )
