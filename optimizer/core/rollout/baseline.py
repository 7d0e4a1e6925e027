"""What the champion usually does.

It gives the guardrails their limits and starting points, and is fixed so that a candidate cannot move it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from optimizer.core.base.minute_sums import MinuteSums, capped_moments, merge, quantile, share_above
from optimizer.core.serving.rollout import iso

RECENT = timedelta(hours=24)
HISTORY = timedelta(days=30)
ENOUGH = 500  # requests within RECENT that suffice; with fewer, those of HISTORY are read
UNKNOWN_RATE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The champion's requests as reported, in a stretch before ``frozen_at``.

    None means not measured; a cost that is always 0 counts as not measured. ``latency_limit_ms`` and ``cost_cap_usd``
    are edges of histogram buckets, so the shares above them are exact.
    """

    n: int  # requests
    error_rate: float  # share in [0, 1]; .5 while nothing is known
    latency_limit_ms: float | None  # p95
    latency_exceed: float | None  # share of requests slower than that, at most .05
    cost_cap_usd: float | None  # p99.5
    cost_mean: float | None  # of min(cost / cap, 1)
    cost_variance: float | None
    frozen_at: datetime

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "frozen_at": iso(self.frozen_at)}


def baseline_of(minutes: Iterable[MinuteSums], *, now: datetime) -> Baseline:
    """The baseline of the interactions among these minutes. The caller chooses their age and variant."""
    requests = [m for m in minutes if m.source == ""]
    n = sum(m.n for m in requests)
    latency = merge(m.latency_histogram for m in requests)
    cost = merge(m.cost_histogram for m in requests)
    limit = quantile(latency, 0.95)
    cap = quantile(cost, 0.995) or None  # None where requests cost nothing
    moments = capped_moments(cost, cap) if cap is not None else None
    return Baseline(
        n=n,
        error_rate=sum(m.n_errors for m in requests) / n if n else UNKNOWN_RATE,
        latency_limit_ms=limit,
        latency_exceed=share_above(latency, limit) if limit is not None else None,
        cost_cap_usd=cap,
        cost_mean=moments[0] if moments else None,
        cost_variance=moments[1] if moments else None,
        frozen_at=now,
    )
