"""What a winner saves on the sealed holdout where the aim is cost or latency, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Aim, ExampleResult
from optimizer.core.evaluation.comparison import bootstrap_reduction_p
from optimizer.core.evaluation.gates import GateResult, GateVerdict
from optimizer.core.search.objective import MIN_TIMED, STATISTICS, is_told, mean, paired_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Dollars per call of both, or p95 in ms of the calls of both that were asked freshly;
    None where that could not be measured.

    ``is_replayed``: as the study says; then the cost is a share of the time of full processing, and no dollars.
    """

    aim: Aim
    n: int  # examples on which both were measured
    champion: float | None = None
    winner: float | None = None
    p: float = 1.0  # one-sided against "nothing is saved"
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


def _lost_counted(champion: Sequence[ExampleResult], winner: Sequence[ExampleResult]) -> list[ExampleResult]:
    """The winner's results; a call of it that failed where the champion's did not has saved nothing and took
    as long as the longest.
    """
    before = {r.example: r for r in champion if r.score is not None}
    longest = max((r.latency_ms for r in (*champion, *winner) if r.latency_ms is not None), default=None)
    return [
        (
            replace(r, score=0.0, cost_usd=max(r.cost_usd, before[r.example].cost_usd), latency_ms=longest)
            if r.score is None and r.example in before
            else r
        )
        for r in winner
    ]


def saving_of(
    aim: Aim,
    champion: Sequence[ExampleResult],
    winner: Sequence[ExampleResult],
    seed: int,
    *,
    is_replayed: bool = False,
) -> Saving | None:
    """None where quality is the aim."""
    if aim == "quality":
        return None
    before, after = paired_by(aim, champion, _lost_counted(champion, winner))
    if not is_told(aim, len(before)):
        return Saving(aim=aim, n=len(before))
    statistic = STATISTICS[aim]
    p = bootstrap_reduction_p(before, after, statistic=None if statistic is mean else statistic, seed=seed)
    return Saving(
        aim=aim, n=len(before), champion=statistic(before), winner=statistic(after), p=p, is_replayed=is_replayed
    )
