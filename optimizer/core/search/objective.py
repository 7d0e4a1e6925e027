"""What a study searches for, by its aim: better scores, or cheaper or quicker answers that are not worse.

Pure: results in, numbers out.

For cost and latency a Variant counts only while its score on dev is not lower than the champion's by the quality margin
or more. Whether that holds is proved on the sealed holdout alone (``gates.py``); here it keeps the search from winning
by answering badly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optimizer.core.base.values import Aim, ExampleResult, mean_score, measured, p95
from optimizer.core.evaluation.gates import quality_margin

MIN_TIMED = 20  # fresh calls below which a 95th percentile says nothing
UNUSABLE = -1.0  # what strategies are told of a Variant that is worse by the margin, less by how much it is worse


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


STATISTICS: Mapping[Aim, Callable[[Sequence[float]], float]] = {"quality": mean, "cost": mean, "latency": p95}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How a Variant's dev results compare with the champion's under an aim.

    Args:
        champion: its results on dev.
        margin: absolute quality; None = that of the contract.
    """

    aim: Aim
    champion: Sequence[ExampleResult]
    margin: float | None = None

    def gain(self, results: Sequence[ExampleResult]) -> float | None:
        """What the Variant gains over the champion: mean lead in score,
        or the share of dollars a call or of p95 that it saves.

        None where it cannot win: no score where the champion has one, worse by the margin, or nothing to compare.
        """
        lead = self._lead(results)
        if lead is None or self.aim == "quality":
            return lead
        return self._saving(results) if lead > -self._margin() else None

    def told(self, results: Sequence[ExampleResult]) -> float | None:
        """The figure that strategies maximize; None where nothing could be measured.

        The mean score; for cost and latency the gain,
        and below every gain that is worth having how far the quality is gone.
        """
        if self.aim == "quality":
            return mean_score(results)
        lead, saving = self._lead(results), self._saving(results)
        if lead is None or saving is None:
            return None
        return max(UNUSABLE, saving) if lead > -self._margin() else UNUSABLE + lead

    def _lead(self, results: Sequence[ExampleResult]) -> float | None:
        champion, own = measured(self.champion), measured(results)
        if not champion or not champion.keys() <= own.keys():
            return None
        return sum(own[e] - score for e, score in champion.items()) / len(champion)

    def _margin(self) -> float:
        return quality_margin(mean_score(self.champion) or 0.0, self.margin)

    def _saving(self, results: Sequence[ExampleResult]) -> float | None:
        before, after = paired_by(self.aim, self.champion, results)
        if not is_told(self.aim, len(before)):
            return None
        statistic = STATISTICS[self.aim]
        return 1 - statistic(after) / statistic(before) if statistic(before) > 0 else None


def is_told(aim: Aim, n: int) -> bool:
    """Whether ``n`` examples measured for both say anything of the aim."""
    return n >= (MIN_TIMED if aim == "latency" else 1)


def paired_by(
    aim: Aim, champion: Sequence[ExampleResult], other: Sequence[ExampleResult]
) -> tuple[list[float], list[float]]:
    """The aim's figure of both, on the examples where both have it: score, dollars of the call,
    or ms where the call was asked freshly.
    """
    before, after = (
        {r.example: value for r in results if (value := _figure(aim, r)) is not None} for results in (champion, other)
    )
    both = [example for example in before if example in after]
    return [before[e] for e in both], [after[e] for e in both]


def _figure(aim: Aim, result: ExampleResult) -> float | None:
    if aim == "quality" or result.score is None:  # a call that failed is neither cheap nor quick
        return result.score
    return result.cost_usd if aim == "cost" else result.latency_ms
