"""What of a request may reach a provider. Everything is named: a client library takes any other argument for its own.

LiteLLM fetches an image by its address, checks answers against schemas that it may load, and takes addresses and keys
as arguments.

A chat request of OpenAI's form is also read as a family's prompt sees it: which message is the input, which are
history, which come after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.family.variant import SETTINGS, Message, Variant, turn_faults

MESSAGE = (
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "refusal",
    "reasoning_content",
    "thinking_blocks",
)
RESPONSE_FORMAT = ("type", "json_schema")
PARAMS = (*(setting.name for setting in SETTINGS), "tools", "tool_choice", "response_format", "logprobs")

_PARTS: Mapping[str, str] = {
    "text": "text",
    "refusal": "refusal",
    "image_url": "image_url",
    "input_audio": "input_audio",
}
_TEXTS = ("name", "tool_call_id", "refusal", "reasoning_content")
_LISTS = ("tool_calls", "thinking_blocks")
_FORMATS = ("text", "json_object", "json_schema")
_CHOICES = ("none", "auto", "required")


def wire_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that are sent; a null is left out.

    Raises:
        InvalidInput: a tool that is no function, or a response format that is none.
    """
    known = {name: value for name, value in params.items() if name in PARAMS and value is not None}
    faults = list(chat_faults((), known))
    if faults:
        raise InvalidInput("The request cannot be sent: " + "; ".join(fault.detail for fault in faults) + ".", faults)
    if "response_format" in known:
        known["response_format"] = {
            name: value for name, value in known["response_format"].items() if name in RESPONSE_FORMAT
        }
    return known


def wire_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages with the members that a provider reads; raises InvalidInput for a content that names an address."""
    faults = list(chat_faults(messages, {}))
    if faults:
        raise InvalidInput("The messages cannot be sent: " + "; ".join(fault.detail for fault in faults) + ".", faults)
    return [{name: value for name, value in message.items() if name in MESSAGE} for message in messages]


def chat_faults(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> Iterator[Fault]:
    """What a chat request may not send on: contents that are fetched, tools that are no functions, unknown formats.

    Args:
        params: ``tools``, ``tool_choice`` and ``response_format``, where they are given.
    """
    for i, message in enumerate(messages):
        # Members of another shape than OpenAI's: what a client library makes of them is not foreseen, and it is no
        # fault of the provider.
        pointer = f"/messages/{i}"
        yield from (replace(fault, pointer=pointer + fault.pointer) for fault in turn_faults(message))
        content = message.get("content")
        for at, part in enumerate(content if isinstance(content, list | tuple) else ()):
            if (detail := _part_fault(part)) is not None:
                yield Fault(pointer=f"{pointer}/content/{at}", detail=detail)
        for name in _TEXTS:
            if not isinstance(message.get(name), str | None):
                yield Fault(pointer=f"{pointer}/{name}", detail="a text is needed")
        for name in _LISTS:
            value = message.get(name)
            if value is not None and not (
                isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value)
            ):
                yield Fault(pointer=f"{pointer}/{name}", detail="a list of objects is needed")
        if not isinstance(message.get("function_call"), Mapping | None):
            yield Fault(pointer=f"{pointer}/function_call", detail="an object is needed")
    yield from _tools_faults(params.get("tools"))
    choice = params.get("tool_choice")
    is_named = isinstance(choice, Mapping) and set(choice) == {"type", "function"} and choice["type"] == "function"
    if not (choice is None or is_named or (isinstance(choice, str) and choice in _CHOICES)):
        yield Fault(
            pointer="/tool_choice",
            detail=f'tool_choice is {", ".join(_CHOICES)} or {{"type": "function", "function": {{"name"}}}}',
        )
    yield from format_faults(params.get("response_format"))


def format_faults(response_format: Any, pointer: str = "/response_format") -> Iterator[Fault]:
    """Why this is no response format; null is allowed."""
    if response_format is None:
        return
    if not isinstance(response_format, Mapping) or response_format.get("type") not in _FORMATS:
        yield Fault(
            pointer=pointer,
            detail=f'a response format is an object such as {{"type": "json_object"}}; types: {", ".join(_FORMATS)}',
        )
        return
    for name in response_format:
        if name not in RESPONSE_FORMAT:
            yield Fault(
                pointer=f"{pointer}/{name}",
                detail=f"{name!r:.80} is not sent on; a response format has {', '.join(RESPONSE_FORMAT)}",
            )
    if response_format["type"] == "json_schema" and not isinstance(response_format.get("json_schema"), Mapping):
        yield Fault(pointer=f"{pointer}/json_schema", detail="an object with name and schema is needed")


def _part_fault(part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str) or kind not in _PARTS:
        return f"a part is an object whose type is one of {', '.join(_PARTS)}"
    strange = [name for name in part if name not in ("type", _PARTS[kind])]
    if strange:
        return f"{strange[0]!r:.80} is not sent on; a part of type {kind} has type and {_PARTS[kind]}"
    value = part.get(_PARTS[kind])
    if kind == "image_url":
        url = value.get("url") if isinstance(value, Mapping) and set(value) <= {"url", "detail"} else None
        if not isinstance(url, str) or not url.startswith("data:image/"):
            return (
                "an image is sent inside the request, as image_url: {url: data:image/...}; no address is fetched for a"
                " caller"
            )
    elif kind == "input_audio":
        if (
            not isinstance(value, Mapping)
            or set(value) != {"data", "format"}
            or not all(isinstance(v, str) for v in value.values())
        ):
            return "audio is sent inside the request, as input_audio: {data, format}"
    elif not isinstance(value, str):
        return f"a part of type {kind} holds a text"
    return None


def _tools_faults(tools: Any) -> Iterator[Fault]:
    if tools is None:
        return
    if not isinstance(tools, list | tuple):
        yield Fault(pointer="/tools", detail="tools is a list of functions")
        return
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping) or set(tool) != {"type", "function"} or tool["type"] != "function":
            detail = (
                "a tool has type function and the member function, nothing else: a provider's own tools reach addresses"
            )
            yield Fault(pointer=f"/tools/{i}", detail=detail)


OWN_TOOLS = ("tools", "tool_choice", "response_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """``after``: the turns after the last user message, since a tool's results go back to the model
    behind the prompt.
    """

    variables: Mapping[str, Any]
    history: Sequence[Message]
    after: Sequence[Message]


def read_turn(
    family: str, inputs: Sequence[str], messages: Sequence[Message], variables: Mapping[str, Any] | None
) -> ChatTurn:
    """The last user message is the input of a family that has one; earlier messages are its history.

    With ``variables`` the inputs are those, and the last user message only marks where the history ends.

    Args:
        inputs: names of the family's inputs.
    Raises:
        InvalidInput: no message to take the input from, a content that is no text, or a family with several inputs
            without variables.
    """
    last = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=None)
    history = list(messages[:last]) if last is not None else list(messages)
    after = list(messages[last + 1 :]) if last is not None else []
    if variables is not None:
        return ChatTurn(variables=dict(variables), history=history, after=after)
    if not inputs:
        return ChatTurn(variables={}, history=history, after=after)
    if len(inputs) > 1:
        raise InvalidInput(
            f"Family {family!r} has the inputs {', '.join(inputs)}, and messages can fill only one. "
            'Send them in the body: detent: {"variables": {...}} (extra_body of the openai package).',
            [Fault(pointer="/detent/variables", detail="required for a family with several inputs")],
        )
    if last is None:
        raise InvalidInput(
            f"No message has role user, and the input {inputs[0]!r} of family {family!r} is taken from the last one"
            ' that has. Add it, or send detent: {"variables": {...}}.',
            [Fault(pointer="/messages", detail="a user message is needed")],
        )
    return ChatTurn(variables={inputs[0]: _text_of(messages[last], last)}, history=history, after=after)


def pass_through(variant: Variant, request: Mapping[str, Any]) -> dict[str, Any]:
    """tools, tool_choice and response_format of the request, where the Variant has none of its own."""
    own = {"tools": variant.tools, "tool_choice": variant.tools, "response_format": variant.response_format}
    return {name: request[name] for name in OWN_TOOLS if request.get(name) is not None and own[name] is None}


def _text_of(message: Message, index: int) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else None
    if parts and all(
        isinstance(p, Mapping) and p.get("type") == "text" and isinstance(p.get("text"), str) for p in parts
    ):
        return "\n".join(part["text"] for part in parts)
    raise InvalidInput(
        f"Message {index} is the input of the prompt, and its content is no text. Send a string, or parts of type text"
        " only.",
        [Fault(pointer=f"/messages/{index}/content", detail="text is expected")],
    )
