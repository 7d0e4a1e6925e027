"""Events as rows: a value for each stored column, in the order in which ``events.py`` declares them.

Reports that come with every answer of a model go straight into a row: an object between them, with thirty attributes,
would cost more than the row does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, get_type_hints

from optimizer.core.feedback.events import Arm, Event, FeedbackEvent, Interaction
from optimizer.core.feedback.reported import Report

EventRow = tuple[Any, ...]


def columns_of(event: type[Event]) -> tuple[str, ...]:
    """The names of its stored columns; those of its arm take the place of ``arm``."""
    return tuple(
        column for name, hint in get_type_hints(event).items() for column in (ARM_COLUMNS if hint is Arm else (name,))
    )


ARM_COLUMNS = tuple(Arm.__dataclass_fields__)
INTERACTION_COLUMNS, FEEDBACK_COLUMNS = columns_of(Interaction), columns_of(FeedbackEvent)
_BEGIN = ("id", *ARM_COLUMNS, "occurred_at", "received_at", "content_hash", "sent_by", "tags")
_OF_INTERACTION = INTERACTION_COLUMNS[len(_BEGIN) : -1]
_OF_FEEDBACK = FEEDBACK_COLUMNS[len(_BEGIN) + 2 :]
assert (*_BEGIN, *_OF_INTERACTION, "by_gateway") == INTERACTION_COLUMNS
assert (*_BEGIN, "source", "interaction", *_OF_FEEDBACK) == FEEDBACK_COLUMNS
_of_arm: Callable[[Arm], EventRow] = attrgetter(*ARM_COLUMNS)


def interaction_row(
    report: Report,
    arm: Arm,
    id: str,
    content_hash: str,
    received_at: datetime,
    sent_by: str | None,
    *,
    by_gateway: bool = False,
) -> EventRow:
    """The row of an interaction. It began when it says so, else its latency before the report."""
    get = report.values.get
    return (
        id,
        *_of_arm(arm),
        get("occurred_at") or received_at - timedelta(milliseconds=get("latency_ms") or 0),
        received_at,
        content_hash,
        sent_by,
        get("tags") or {},
        *map(get, _OF_INTERACTION),
        by_gateway,
    )


def feedback_row(
    report: Report, arm: Arm, id: str, content_hash: str, received_at: datetime, sent_by: str | None
) -> EventRow:
    """The row of an outcome. One that comes with its interaction belongs to it by the shared id."""
    get = report.values.get
    return (
        id,
        *_of_arm(arm),
        get("occurred_at") or received_at,
        received_at,
        content_hash,
        sent_by,
        get("tags") or {},
        get("source") or "user",
        get("interaction") or (id if report.is_interaction else None),
        *map(get, _OF_FEEDBACK),
    )


def feedback_of(row: EventRow) -> FeedbackEvent:
    values = dict(zip(FEEDBACK_COLUMNS, row, strict=True))
    return FeedbackEvent(arm=Arm(**{name: values.pop(name) for name in ARM_COLUMNS}), **values)


KEY = ("family", "rollout", "variant", "role")
SUMS = (
    "n_interactions",
    "n_errors",
    "n_latency",  # interactions that say their latency
    "latency_sum_ms",
    "cost_usd",
    "n_labelled",  # outcomes with ``success``
    "n_success",
    "n_scored",
    "score_sum",
)
_arm_of_interaction = itemgetter(*map(INTERACTION_COLUMNS.index, KEY))
_arm_of_feedback = itemgetter(*map(FEEDBACK_COLUMNS.index, KEY))
_of_interaction = itemgetter(*map(INTERACTION_COLUMNS.index, ("error", "latency_ms", "cost_usd")))
_of_feedback = itemgetter(*map(FEEDBACK_COLUMNS.index, ("success", "score")))


def sums_by_arm(
    interactions: Sequence[EventRow], feedback: Sequence[EventRow]
) -> dict[tuple[str | None, ...], list[float]]:
    """``KEY`` -> the values of ``SUMS`` over rows of this module; the hot path has no time to name them."""
    sums: dict[tuple[str | None, ...], list[float]] = {}
    for row in interactions:
        arm = _arm_of_interaction(row)
        if (own := sums.get(arm)) is None:
            own = sums[arm] = [0] * len(SUMS)
        error, latency_ms, cost_usd = _of_interaction(row)
        own[0] += 1
        if error is not None:
            own[1] += 1
        if latency_ms is not None:
            own[2] += 1
            own[3] += latency_ms
        if cost_usd is not None:
            own[4] += cost_usd
    for row in feedback:
        arm = _arm_of_feedback(row)
        if (own := sums.get(arm)) is None:
            own = sums[arm] = [0] * len(SUMS)
        success, score = _of_feedback(row)
        if success is not None:
            own[5] += 1
            own[6] += success
        if score is not None:
            own[7] += 1
            own[8] += score
    return sums
