"""Declares the answers of the routes in front of FastAPI for OpenAPI: they write their JSON themselves, from memory;
and those that api and gateway give alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from optimizer.content.core.policy.pipeline import ItemDecision
from optimizer.core.base.answers import Json
from optimizer.core.family.variant import Message
from optimizer.core.models.injection import Sign
from optimizer.core.policy.tier_costs import TierCost
from optimizer.core.serving.assignment import ServedRole
from optimizer.core.views.family import EnvironmentView
from optimizer.jobs.feedback.keep_events import EventsTaken


class Bounds(TypedDict):
    """Of one input; ``too_long`` where ``max_chars`` bounds it."""

    type: Literal["text", "number", "boolean", "json"]
    max_chars: int | None
    too_long: NotRequired[Literal["cut", "refuse"]]


# Of a prompt of nearest examples: an open one has its fixed examples; a filled one says which it has.
Rendered = Literal["required", "nearest", "fixed"]


class ServedVariant(TypedDict):
    """``reason``, ``overridden``: where the environment changes the champion's policy."""

    family: str
    variant: str
    role: ServedRole
    rollout: str | None
    stage: float | None
    lease_expires_at: datetime | None
    messages: Sequence[Message]
    example_ids: Sequence[str]
    variables: Sequence[str]
    inputs: Mapping[str, Bounds]
    model: Mapping[str, Json]
    tools: Sequence[Mapping[str, Json]] | None
    response_format: Mapping[str, Json] | None
    policy: Mapping[str, Json]
    render: NotRequired[Rendered]
    reason: NotRequired[str]
    overridden: NotRequired[EnvironmentView]


class OpenPrompt(ServedVariant):
    assignment: str


class FilledPrompt(OpenPrompt):
    """``injection``: signs of it in what was filled in; ``truncated``: inputs that were cut; ``decision``: of a policy
    on content.
    """

    injection: NotRequired[Sequence[Sign]]
    truncated: NotRequired[Sequence[str]]
    decision: NotRequired[ItemDecision]


class EvaluatedPrompt(ServedVariant):
    """``assignment`` where the context has a targeting key."""

    assignment: NotRequired[str]


class EvaluationMetadata(TypedDict):
    """``assignment`` as in the value; ``lease_expires_at`` within a rollout."""

    assignment: NotRequired[str]
    lease_expires_at: NotRequired[datetime]


class Evaluation(TypedDict):
    """``reason``: `SPLIT` (drawn by a rollout or its holdback), `STATIC` (the same for everyone, or no targeting key),
    `TARGETING_MATCH` (an override of this unit), `DISABLED` (frozen), `DEFAULT` (the rollout's lease ran out, so the
    champion is served).
    """

    key: str
    reason: Literal["SPLIT", "STATIC", "TARGETING_MATCH", "DISABLED", "DEFAULT"]
    variant: str
    metadata: EvaluationMetadata
    value: EvaluatedPrompt


class Evaluations(TypedDict):
    flags: Sequence[Evaluation]


class RolloutSnapshot(TypedDict):
    id: str
    salt: str
    share: float
    lease_expires_at: datetime
    cohort_minutes: float | None
    candidate: ServedVariant


class HoldbackSnapshot(TypedDict):
    rollout: str
    variant: str
    salt: str
    share: float
    until: datetime
    cohort_minutes: float
    prompt: ServedVariant


class OverrideSnapshot(TypedDict):
    variant: str
    until: datetime


class OverridesSnapshot(TypedDict):
    """``units``: by the hex digits of SHA-256(salt + 0x00 + unit); ``prompts``: by variant."""

    salt: str
    units: Mapping[str, OverrideSnapshot]
    prompts: Mapping[str, ServedVariant]


class PrivacySnapshot(TypedDict):
    store: Literal["full", "masked", "metadata"]


class FamilySnapshot(TypedDict):
    """``overrides``: before a rollout or a holdback has its say."""

    champion: ServedVariant
    rollout: RolloutSnapshot | None
    holdback: HoldbackSnapshot | None
    overrides: OverridesSnapshot | None
    privacy: PrivacySnapshot


class Snapshot(TypedDict):
    families: Mapping[str, FamilySnapshot]


class EventsImported(EventsTaken):
    """``rejected_more``: how many there are beyond those that are named."""

    rejected_more: NotRequired[int]


class PartialSuccess(TypedDict):
    """How many spans or log records of families were not kept, and why; a message alone is a warning."""

    rejectedSpans: NotRequired[str]
    rejectedLogRecords: NotRequired[str]
    errorMessage: NotRequired[str]


class TelemetryTaken(TypedDict):
    """OTLP's own answer, in JSON or protobuf as the request is."""

    partialSuccess: NotRequired[PartialSuccess]


class ChatChoice(TypedDict):
    """``message``: as the provider sent it."""

    index: int
    message: Mapping[str, Json]
    finish_reason: str
    logprobs: None


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatFacts(TypedDict):
    """What OpenAI has no word for. ``limited``: the cheapest model alone was asked, since the hour's money is spent;
    ``why``: of a policy of several calls; ``tier`` gave the answer, and ``others`` are the cascade's other tiers;
    ``refused``: there is none, since a student that answers alone was not sure enough.
    """

    assignment: str | None
    family: str | None
    variant: str | None
    role: ServedRole | None
    tiers: Sequence[str]
    confidence: float | None
    cost_usd: float | None
    sticky: bool
    cached: bool
    limited: NotRequired[Literal["usd_per_hour"]]
    injection: NotRequired[Sequence[Sign]]
    truncated: NotRequired[Sequence[str]]
    render: NotRequired[Rendered]
    why: NotRequired[str]
    refused: NotRequired[Literal[True]]
    tier: NotRequired[str]
    others: NotRequired[Sequence[TierCost]]


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Sequence[ChatChoice]
    usage: Usage
    detent: ChatFacts


class ModelName(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["detent"]


class ModelNames(TypedDict):
    object: Literal["list"]
    data: Sequence[ModelName]


class Health(TypedDict):
    status: Literal["ok"]
