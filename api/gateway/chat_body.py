"""The body of a chat request: OpenAI's own, and under ``detent`` what OpenAI has no word for."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import read_body
from optimizer.core.base.errors import MAX_FAULTS, Fault, InvalidInput, pointer_of
from optimizer.core.models.wire import chat_faults
from optimizer.jobs.request import Objects, StrictModel

TENSORZERO = "tensorzero::"  # before the names of what its requests hold beside OpenAI's


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
    return _of_tensorzero(read_body(ChatBody, value, is_missing=value is None))


def _of_tensorzero(body: ChatBody) -> ChatBody:
    """A request as applications send it to TensorZero: its function is the family of that name, arguments of the
    system's and of the last user's message are variables, a user's text beside a system's arguments is `message`.

    Raises InvalidInput for arguments of an earlier turn, whose template is not kept.
    """
    kind, _, name = body.model.removeprefix(TENSORZERO).partition("::")
    if not body.model.startswith(TENSORZERO) or kind not in ("function_name", "model_name"):
        return body
    last = max((n for n, message in enumerate(body.messages) if message.get("role") == "user"), default=None)
    variables: dict[str, Any] = {}
    messages: list[dict[str, Any]] = []
    for n, message in enumerate(body.messages):
        arguments = _arguments_of(message)
        if arguments is None:
            messages.append(dict(message))
        elif message.get("role") == "system" or n == last:
            variables |= arguments
            if n == last:
                messages.append({**message, "content": ""})  # marks where the history ends
        else:
            detail = "arguments of an earlier turn; send that turn as text"
            raise InvalidInput(
                f"Message {n} has the {detail}.", [Fault(pointer=pointer_of(["messages", n, "content"]), detail=detail)]
            )
    if variables and last is not None and isinstance(text := body.messages[last].get("content"), str):
        variables.setdefault("message", text)
    own = {**variables, **(body.detent.variables or {})}
    detent = body.detent.model_copy(update={"variables": own or None})
    return body.model_copy(update={"model": name, "messages": messages, "detent": detent})


def _arguments_of(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """None of a message without blocks of arguments."""
    content, blocks = message.get("content"), list[Mapping[str, Any]]()
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            is_template = block.get("type") == f"{TENSORZERO}template"
            arguments = block.get("arguments") if is_template else block.get(f"{TENSORZERO}arguments")
            blocks += [arguments] if isinstance(arguments, Mapping) else []
    return {name: value for arguments in blocks for name, value in arguments.items()} if blocks else None


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
