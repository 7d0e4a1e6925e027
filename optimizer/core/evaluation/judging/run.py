"""What a judge was asked to do in the background: score answers that users were given, or be checked for biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypedDict

from optimizer.core.base.values import Spread
from optimizer.core.evaluation.judging.bias import BiasFound
from optimizer.core.evaluation.run import QueuedRun

RunKind = Literal["score", "check"]


class JudgeRequest(TypedDict, total=False):
    """What a judge run was asked for.

    A score has ``interactions``, the ids of the answers; a check has ``n`` examples and the model ``beside`` the judge,
    or None. ``is_priced``: whether every model has a known price. ``why_none``: why there is nothing to do.
    """

    interactions: Sequence[str]
    n: int
    beside: str | None
    is_priced: bool
    why_none: str | None


class JudgeResult(TypedDict, total=False):
    """What a judge run found.

    A score has the number of answers judged and the reviews opened; a check has the biases by member of the judge.
    ``usd`` None: a model has no known price. ``stopped``: why not all was asked.
    """

    n: int
    n_judged: int
    n_unmeasured: int
    reviews: Sequence[str]
    usd: float | None
    stopped: str | None
    family: str
    judge: str
    biases: Mapping[str, Sequence[BiasFound]]
    n_calls: int
    is_biased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun(QueuedRun):
    """Its calls are journaled under ``id``, so the caps of ``budget`` hold over a restart.

    Args:
        judge: ``judge_identity`` of the judge that was meant.
        n: answers, or questions to the judge at most. ``n_done``: of those, what has been asked.
        result: what was found; of a run that was stopped or ran out of budget, as far as it came.
        error_type: slug of the error's class.
    """

    kind: RunKind
    request: JudgeRequest
    result: JudgeResult | None = None


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
    dry_run: Literal[True] = True
