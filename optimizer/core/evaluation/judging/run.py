"""What a judge was asked to do in the background: score answers that users were given, or be checked for biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from optimizer.core.base.spread import Spread
from optimizer.core.base.values import Budget

RunKind = Literal["score", "check"]
RunStatus = Literal["queued", "running", "finished", "failed", "cancelled"]
UNFINISHED: tuple[RunStatus, ...] = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun:
    """Its calls are journaled under ``id``, so the caps of ``budget`` hold over a restart.

    Args:
        judge: ``judge_identity`` of the judge that was meant.
        request: of a score ``interactions``, the ids of the answers; of a check ``n`` examples and the model
            ``beside`` the judge, or None. ``is_priced``: whether every model has a known price.
        n: answers, or questions to the judge at most. ``n_done``: of those, what has been asked.
        result: what was found; of a run that was stopped or ran out of budget, as far as it came.
        error_type: slug of the error's class.
    """

    id: str
    family: str
    kind: RunKind
    judge: str
    request: Mapping[str, Any]
    budget: Budget
    status: RunStatus
    n: int
    created_by: str
    created_at: datetime
    n_done: int = 0
    stop_requested: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status not in UNFINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRunEstimate:
    """What a run would take: ``n`` answers or examples, calls, and dollars (None: no known price).

    ``calls_at_most``: the cap where none is given. ``why_none``: a sentence where ``n`` is 0.
    """

    family: str
    kind: RunKind
    members: Sequence[str]
    n: int
    calls: Spread
    usd: Spread | None
    calls_at_most: int
    why_none: str | None = None
