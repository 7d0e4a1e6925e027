"""What is kept of an evaluation outside a study: the sums of its results, and how each target of its suite was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# undecided: measured, and the figures cannot tell
TargetVerdict = Literal["met", "missed", "unmeasured", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One target.

    ``found`` and ``wanted`` in the unit of ``name``: scores, shares, dollars, milliseconds, or a relative change.
    """

    name: str
    wanted: float
    found: float | None
    verdict: TargetVerdict
    said: str
    evidence: Mapping[str, Any] | None = None  # of latency: what was timed, for evaluations to come


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationBatch:
    """Scores in [0, 1] with a 95 % interval, None where no example was scored; dollars and calls of the Variant's own
    answers.

    Args:
        split: train, dev, or golden.
        p95_latency_ms: of fresh calls; None: there was none.
        suite: ``suite_id`` of what was asked. ``checks``: its targets. Both None where nothing was checked.
    """

    id: str
    family: str
    variant: str
    model: str
    dataset_hash: str
    split: str
    scorer_version: str
    n: int
    n_errors: int
    mean_score: float | None
    score_low: float | None
    score_high: float | None
    cost_usd: float
    p95_latency_ms: float | None
    n_calls: int
    created_by: str
    created_at: datetime
    suite: str | None = None
    checks: Sequence[Check] | None = None
