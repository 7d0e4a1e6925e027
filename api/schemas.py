"""Bodies of requests. Unknown members are refused: a misspelt option must not be taken for the default."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optimizer.jobs.request import Objects, StrictModel, Unit, from_validation

M = TypeVar("M", bound=BaseModel)


def read_body(model: type[M], value: Any, *, is_missing: bool) -> M:
    """The JSON value of a body as FastAPI reads one that it declares; raises InvalidInput with every fault."""
    if is_missing:
        raise from_validation([{"loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


class RenderBody(StrictModel, BaseModel):  # named again for the linter, which looks at this file alone
    unit: Unit | None = None
    variables: dict[str, Any]
    history: Annotated[
        Objects, Field(description="Earlier turns, oldest first, where the prompt has {role: history}")
    ] = []


class DetentFields(StrictModel):
    """What OpenAI's request has no word for; `extra_body` of the openai package."""

    variables: dict[str, Any] | None = None
    unit: Unit | None = None
    variant: (
        Annotated[str, Field(description="Answer with this variant, counted in no arm; needs role operate")] | None
    ) = None


class StreamOptions(BaseModel):
    """OpenAI's own."""

    model_config = ConfigDict(extra="allow", strict=True)

    include_usage: bool = False


class ChatBody(BaseModel):
    """OpenAI's request.

    With a family, settings such as `temperature` are its Variant's: what a request says of them is not used.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    model: Annotated[str, Field(description="The name of a family, else of a model in config/models.yaml")]
    messages: Objects
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    user: Unit | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    detent: DetentFields = Field(default_factory=DetentFields)  # which a default would be copied for, deeply


class EvaluationBody(BaseModel):
    """The protocol's; what else it holds is left unread."""

    context: Annotated[
        dict[str, Any] | None,
        Field(description="`targetingKey` is the unit, at most 512 characters; nothing else in it has a say"),
    ] = None
