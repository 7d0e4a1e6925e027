"""What the champion usually does.

It gives the guardrails their limits and starting points, and is fixed so that a candidate cannot move it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from optimizer.core.base.minute_sums import MinuteSums, capped_moments, merge, quantile, share_above

RECENT = timedelta(hours=24)
HISTORY = timedelta(days=30)
ENOUGH = 500  # requests within RECENT that suffice; with fewer, those of HISTORY are read
UNKNOWN_RATE = 0.5


def baseline_of(minutes: Iterable[MinuteSums]) -> dict[str, Any]:
    """The baseline of the interactions among these minutes, as plain JSON. The caller chooses their age and variant.

    None means not measured; a cost that is always 0 counts as not measured. ``latency_limit_ms`` and ``cost_cap_usd``
    are edges of histogram buckets, so the shares above them are exact.
    """
    requests = [m for m in minutes if m.source == ""]
    n = sum(m.n for m in requests)
    latency = merge(m.latency_histogram for m in requests)
    cost = merge(m.cost_histogram for m in requests)
    limit = quantile(latency, 0.95)
    cap = quantile(cost, 0.995) or None  # None where requests cost nothing
    moments = capped_moments(cost, cap) if cap is not None else None
    return {
        "n": n,
        "error_rate": sum(m.n_errors for m in requests) / n if n else UNKNOWN_RATE,
        "latency_limit_ms": limit,  # p95
        "latency_exceed": share_above(latency, limit) if limit is not None else None,  # at most .05
        "cost_cap_usd": cap,  # p99.5
        "cost_mean": moments[0] if moments else None,  # of min(cost / cap, 1)
        "cost_variance": moments[1] if moments else None,
    }
