"""The body of a chat request: OpenAI's own, and under ``detent`` what OpenAI has no word for."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optimizer.core.base.errors import MAX_FAULTS, InvalidInput
from optimizer.core.models.wire import chat_faults
from optimizer.jobs.request import Objects, StrictModel, from_validation


class DetentFields(StrictModel):
    """What OpenAI's request has no word for; `extra_body` of the openai package."""

    variables: dict[str, Any] | None = None
    unit: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    variant: (
        Annotated[str, Field(description="Answer with this variant, counted in no arm; needs role operate")] | None
    ) = None


class StreamOptions(BaseModel):
    """OpenAI's own."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool = False


class ChatBody(BaseModel):
    """OpenAI's request.

    With a family, settings such as `temperature` are its Variant's: what a request says of them is not used.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: Annotated[str, Field(description="The name of a family, else of a model in config/models.yaml")]
    messages: Objects
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    user: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    detent: DetentFields = Field(default_factory=DetentFields)  # which a default would be copied for, deeply


def read_chat(value: Any) -> ChatBody:
    """Raises InvalidInput with every fault, as for any other body; ``value`` is None for none."""
    if value is None:
        raise from_validation([{"loc": ("body",), "msg": "Field required"}])
    try:
        return ChatBody.model_validate(value, from_attributes=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


def sent_on(body: ChatBody) -> dict[str, Any]:
    """tools, tool_choice and response_format.

    Raises:
        InvalidInput: a part, or a message, would make a provider fetch an address; it holds the first hundred faults.
    """
    passed_on = {"tools": body.tools, "tool_choice": body.tool_choice, "response_format": body.response_format}
    if faults := list(islice(chat_faults(body.messages, passed_on), MAX_FAULTS)):
        raise InvalidInput(
            "This request cannot be sent on: " + "; ".join(fault.detail for fault in faults[:3]) + ".", faults
        )
    return passed_on
