"""What production reports: what was served, what users made of it, how often it was fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, PrimaryKeyConstraint, String, Table, text
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.tables.row import Row, Utc, json_field, time_field
from optimizer.core.feedback.events import Arm, Event, FeedbackEvent, Interaction


def _event_table(name: str, event: type[Event], *indexes: Index) -> Table:
    """Columns as the class in core/feedback/events.py declares them, its arm's among them."""
    return Table(name, SQLModel.metadata, *_columns_of(event), PrimaryKeyConstraint("family", "id"), *indexes)


def _columns_of(event: type[Event] | type[Arm]) -> Iterator[Column[Any]]:
    for name, hint in get_type_hints(event).items():
        if hint is Arm:
            yield from _columns_of(Arm)
            continue
        choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kind = FamilyKey if name == "family" else _COLUMN_TYPES[get_origin(choices[0]) or choices[0]]
        yield Column(name, kind(), nullable=NoneType in choices)


_COLUMN_TYPES: Mapping[Any, Callable[[], TypeEngine[Any]]] = {
    str: String,
    Literal: String,
    bool: Boolean,
    int: Integer,
    float: Float,
    datetime: Utc,
    Mapping: lambda: JSON(none_as_null=True),
    Sequence: lambda: JSON(none_as_null=True),
}

_LABELLED = text("label IS NOT NULL")
_IN_CONVERSATION = text("conversation IS NOT NULL")
_FAILED = text("error IS NOT NULL")
# Every index ends in what grows with time or with the id, so that new rows go to its end: one in the order of units
# would write another page for each row (docs/adr/0034-events-have-no-unit-index.md). Conversations have one, which only
# events pay for that name theirs.
INTERACTIONS = _event_table(  # written by events.py
    "interactions",
    Interaction,
    Index("ix_interactions_family_received", "family", "received_at"),
    Index("ix_interactions_id", "id"),  # outcomes may name their interaction without its family
    Index("ix_interactions_rollout_occurred", "rollout", "occurred_at"),  # guardrail blocks
    Index("ix_interactions_rollout_cohort", "rollout", "cohort_start"),  # quality blocks
    Index("ix_interactions_conversation", "conversation", "family", "received_at", sqlite_where=_IN_CONVERSATION),
    Index("ix_interactions_failed", "family", "received_at", sqlite_where=_FAILED),
)
FEEDBACK_EVENTS = _event_table(  # written by events.py
    "feedback_events",
    FeedbackEvent,
    Index("ix_feedback_family_received", "family", "received_at"),
    Index("ix_feedback_rollout_cohort", "rollout", "cohort_start"),
    Index("ix_feedback_interaction", "family", "interaction"),
    Index("ix_feedback_labelled", "family", "received_at", "label", sqlite_where=_LABELLED),
)


class LaterPartsRow(Row):
    """Written by events.py. One row per interaction of which calls came after its answer."""

    __tablename__ = "later_parts"
    __table_args__ = (Index("ix_later_parts_family_received", "family", "received_at"),)
    family: str = Field(primary_key=True)
    interaction: str = Field(primary_key=True)
    parts: list[dict[str, Any]] = json_field()
    cost_usd: float
    received_at: datetime = time_field()


class IdempotencyKeyRow(Row):
    """Written by events.py, in the transaction of the events themselves."""

    __tablename__ = "idempotency_keys"
    key: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)  # who sent it: key name or address
    body_hash: str
    answer: dict[str, Any] = json_field()
    created_at: datetime = time_field(index=True)


class ExposureCountRow(Row):
    """Written by serving.py. Fetches per arm and 10 s; ``client`` is "api" or a client that decides in process."""

    __tablename__ = "exposure_counts"
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    rollout: str = Field(primary_key=True, default="")  # "" outside a rollout: NULL has no place in a key
    stage: str = Field(primary_key=True, default="")
    window_start: datetime = Field(sa_type=Utc, primary_key=True)
    client: str = Field(primary_key=True)
    n_exposed: int
    sent_by: str | None = None  # the key by which such a client reported


class ExposureSumRow(Row):
    """Written by serving.py, in the transaction of the windows: their sums by arm and the key that reported them."""

    __tablename__ = "exposure_sums"
    rollout: str = Field(primary_key=True, default="")  # "" outside a rollout
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    stage: str = Field(primary_key=True, default="")
    sent_by: str = Field(primary_key=True, default="")  # "" where the server counted itself
    n_exposed: int


class ExampleRenderingRow(Row):
    """Written by serving.py, in the transaction of the fetches: how many of a variant's showed nearest examples."""

    __tablename__ = "example_renderings"
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    n_nearest: int


class TruncatedInputRow(Row):
    """Written by serving.py: requests of which an input was longer than its ``max_chars``, and so was cut."""

    __tablename__ = "truncated_inputs"
    family: str = Field(primary_key=True)
    input: str = Field(primary_key=True)
    n_requests: int
    last_at: datetime = time_field()
