"""Interactions (one served request as reported) and FeedbackEvents (one observed outcome), as stored.

``reported.py`` reads what clients send.

Each field that clients may send is declared here and nowhere else: its annotation says what it holds
(``event_kinds.py``), what it means, what it reports and how private it is. A new one is one line, and a migration that
adds its column (tests/unit/feedback/test_event_fields.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict, get_args

from optimizer.core.feedback.event_kinds import (
    AMOUNT,
    COUNT,
    FILLED_OBJECT,
    FLAG,
    NAME,
    OBJECT,
    SHARE,
    SOME_TEXT,
    TEXT,
    TIME,
    EventField,
    fields_in,
    list_of,
    one_of,
    parts_of,
)

NO_FAMILY = ""  # the family of an interaction with a model that was asked by its own name

FeedbackSource = Literal["user", "person", "judge", "system"]


class Address(TypedDict, total=False):
    """How a sender says where an event belongs; turned into its Arm and not kept."""

    assignment: Annotated[str, EventField(SOME_TEXT, "the token that came with the prompt: says which arm this was")]
    unit: Annotated[
        str, EventField(NAME, "the user, session or conversation that it was assigned by; kept as its HMAC")
    ]
    assigned_at: Annotated[datetime, EventField(TIME, "when, of an assignment without a token; only beside `rollout`")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The Variant, Rollout and stage to which an event belongs, by its assignment."""

    family: Annotated[str, EventField(NAME, "the family, where no token says it")]
    variant: Annotated[str | None, EventField(NAME, "the variant that was served, where no token says it")] = None
    rollout: Annotated[str | None, EventField(NAME, "the rollout that it was served in, where no token says it")] = None
    role: str | None = None
    stage: float | None = None
    cohort_start: datetime | None = None
    unit_hmac: str | None = None
    recomputed: bool = False  # from unit, rollout and time, since no token says it


class Part(TypedDict, total=False):
    """One of the calls of an interaction."""

    tier: Annotated[int, EventField(COUNT, "the tier that was asked, from 0")]
    model: Annotated[str, EventField(NAME, "the model that was asked")]
    purpose: Annotated[str, EventField(NAME, "what it was asked for, such as answer, vote or audit")]
    taken: Annotated[bool, EventField(FLAG, "whether its answer was the one given")]
    confidence: Annotated[float, EventField(SHARE, "how sure the policy was of it")]
    unknown: Annotated[float, EventField(SHARE, "of a student: the share of the request's words that it does not know")]
    score: Annotated[float, EventField(SHARE, "how good the policy found it")]
    issues: Annotated[Sequence[str], EventField(list_of(NAME), "what its checks found, as words")]
    unmeasured: Annotated[Sequence[str], EventField(list_of(NAME), "what a check could not tell, as words")]
    cost_usd: Annotated[float, EventField(AMOUNT, "its dollars")]
    latency_ms: Annotated[float, EventField(AMOUNT, "its milliseconds")]
    input_tokens: Annotated[int, EventField(COUNT, "tokens of its prompt")]
    output_tokens: Annotated[int, EventField(COUNT, "tokens of its answer")]
    error: Annotated[str, EventField(SOME_TEXT, "why it failed", private="replaced")]
    output: Annotated[str, EventField(TEXT, "its answer", private="dropped")]


PARTS = parts_of(fields_in(Part))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has."""

    id: Annotated[str, EventField(NAME, "your own name of it: sent again it counts once")]
    arm: Arm
    occurred_at: Annotated[
        datetime,
        EventField(
            TIME,
            "when it happened, of an interaction when the request began; by default the time of receipt, less"
            " `latency_ms`",
        ),
    ]
    received_at: datetime
    content_hash: str
    sent_by: str | None = None  # the key that it came by; the gateway's own records carry the key that asked
    tags: Annotated[
        Mapping[str, Any],
        EventField(
            OBJECT,
            "anything else, by name; kept, retried, edited, escalated make an outcome where the family says so",
            private="dropped",
        ),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction(Event):
    input: Annotated[
        Mapping[str, Any] | None, EventField(OBJECT, "the variables of the prompt, by name", private="dropped")
    ] = None
    output: Annotated[str | None, EventField(TEXT, "the answer", "interaction", "dropped")] = None
    model: Annotated[str | None, EventField(NAME, "the model that answered")] = None
    latency_ms: Annotated[
        float | None, EventField(AMOUNT, "milliseconds until the whole answer was there", "interaction")
    ] = None
    time_to_first_token_ms: Annotated[
        float | None, EventField(AMOUNT, "milliseconds until its first piece was there", "interaction")
    ] = None
    cost_usd: Annotated[float | None, EventField(AMOUNT, "dollars", "interaction")] = None
    input_tokens: Annotated[int | None, EventField(COUNT, "tokens of the prompt", "interaction")] = None
    output_tokens: Annotated[int | None, EventField(COUNT, "tokens of the answer", "interaction")] = None
    error: Annotated[
        str | None, EventField(SOME_TEXT, "why the request failed; left out when it did not", "interaction", "replaced")
    ] = None
    conversation: Annotated[str | None, EventField(NAME, "the conversation that it is a turn of", private="masked")] = (
        None
    )
    parts: Annotated[
        Sequence[Mapping[str, Any]] | None, EventField(PARTS, "the calls it was made of, where a policy made several")
    ] = None
    by_gateway: bool = False  # recorded by the gateway: its cost was paid, not merely reported by an application


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterParts:
    """Calls of an interaction that came after its answer: those of an audit, and those that were still in work."""

    family: str
    interaction: str
    parts: Sequence[Mapping[str, Any]]
    cost_usd: float
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent(Event):
    source: Annotated[FeedbackSource, EventField(one_of(*get_args(FeedbackSource)), "who says so; by default user")]
    interaction: Annotated[str | None, EventField(NAME, "the id of the interaction that it is the outcome of")] = None
    score: Annotated[float | None, EventField(SHARE, "how good it was", "outcome")] = None
    success: Annotated[bool | None, EventField(FLAG, "whether it was good", "outcome")] = None
    label: Annotated[str | None, EventField(NAME, "what it was, in a word", "outcome", "dropped")] = None
    expected: Annotated[
        Mapping[str, Any] | None, EventField(FILLED_OBJECT, "the corrected output", "outcome", "dropped")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """How many labels of one field and source a Variant has had, and their mean in [0, 1]."""

    variant: str | None
    field: Literal["success", "score"]
    source: FeedbackSource
    n: int
    mean: float
