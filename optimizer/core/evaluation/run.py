"""What a worker was asked to measure outside a study: its calls are journaled under its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict

from optimizer.core.base.answers import Text
from optimizer.core.base.values import Budget

RunStatus = Literal["queued", "running", "finished", "failed", "cancelled"]
UNFINISHED: tuple[RunStatus, ...] = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run without what was asked and what was found: ``kind`` is compare, evaluate, or a judge's score or check.

    ``n``: answers, or questions to the judge at most. ``n_done``: of those, what has been asked.
    """

    id: str
    family: str
    kind: str
    status: RunStatus
    n: int
    n_done: int = 0
    stop_requested: bool = False
    created_by: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Text[str | None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun(RunSummary):
    """Its calls are journaled under ``id``, so the caps of ``budget`` hold over a restart.

    Args:
        judge: ``judge_identity`` of the judge that was meant; empty where none was.
        result: what was found; of a run that was stopped or ran out of budget, as far as it came.
        error_type: slug of the error's class.
    """

    judge: str = ""
    request: Mapping[str, object]
    budget: Budget
    result: object = None
    error_type: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status not in UNFINISHED


class ComparisonRequest(TypedDict):
    """``variants``: ids; the others are held against the first. ``example_ids``: of the dev examples. ``is_priced``:
    whether every model has a known price.
    """

    variants: Sequence[str]
    example_ids: Sequence[str]
    is_priced: bool


class ComparisonResult(TypedDict):
    """``usd`` None: no known price. ``revisions``: by name of a model. ``stopped``: why not all was asked."""

    n_calls: int
    usd: float | None
    revisions: Mapping[str, str]
    stopped: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRun(QueuedRun):
    """Variants on the same dev examples. It holds no text: answers stand in the journal, inputs among the examples."""

    kind: Literal["compare"] = "compare"
    request: ComparisonRequest
    result: ComparisonResult | None = None
