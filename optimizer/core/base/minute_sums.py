"""What was received in one minute, summed up: the one source of everything that looks further back than a minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from optimizer.core.base.histogram import Histogram, add


@dataclass(slots=True, kw_only=True)
class MinuteSums:
    """Sums of the events of one family, variant, model and source that were received in one minute.

    ``source`` is "" for interactions, whose errors, latency and cost are counted; for feedback it says who judged, and
    success and score are counted. ``variant`` and ``model`` are "" where the event names none; feedback has the model
    of its interaction.
    """

    family: str
    minute: datetime
    variant: str = ""
    model: str = ""
    source: str = ""
    n: int = 0
    n_errors: int = 0
    n_latency: int = 0
    latency_sum_ms: float = 0.0
    latency_histogram: Histogram = field(default_factory=dict)
    n_cost: int = 0
    cost_sum_usd: float = 0.0
    cost_histogram: Histogram = field(default_factory=dict)
    n_success: int = 0
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0

    def add_interaction(self, *, failed: bool, latency_ms: float | None, cost_usd: float | None) -> None:
        self.n += 1
        self.n_errors += failed
        if latency_ms is not None:
            self.n_latency += 1
            self.latency_sum_ms += latency_ms
            add(self.latency_histogram, latency_ms)
        if cost_usd is not None:
            self.n_cost += 1
            self.cost_sum_usd += cost_usd
            add(self.cost_histogram, cost_usd)

    def add_outcome(self, *, success: bool | None, score: float | None) -> None:
        self.n += 1
        if success is not None:
            self.n_success += 1
            self.success_sum += success
        if score is not None:
            self.n_score += 1
            self.score_sum += score
            self.score_squares += score * score


def minute_of(at: datetime) -> datetime:
    """The start of its minute."""
    return at.replace(second=0, microsecond=0)
