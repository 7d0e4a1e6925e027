"""OpenAI's chat request as a family's prompt sees it: which message is the input,
which are history, which come after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.family.variant import Message, Variant

OWN_TOOLS = ("tools", "tool_choice", "response_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """``after`` are the turns that follow the last user message:
    a tool's results go back to the model behind the prompt.
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
