"""The body of a chat request, ``schemas.ChatBody``: read, also as applications send it to TensorZero."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from api.schemas import ChatBody, read_body
from optimizer.core.base.errors import MAX_FAULTS, Fault, InvalidInput, pointer_of
from optimizer.core.models.wire import chat_faults

TENSORZERO = "tensorzero::"  # begins the names of its members beside OpenAI's


def read_chat(value: Any) -> ChatBody:
    """The body. Raises InvalidInput with every fault; ``value`` is None for no body."""
    return _of_tensorzero(read_body(ChatBody, value, is_missing=value is None))


def _of_tensorzero(body: ChatBody) -> ChatBody:
    """A request as applications send it to TensorZero.

    Its function is the family of that name. Arguments of the system's and of the last user's message are variables; the
    last user's text beside arguments is `message`. Raises InvalidInput for arguments of an earlier turn, whose template
    is not stored, and for what would be lost.
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
            if n != last and _text_beside(message, n) is not None:
                raise _unplaced(["messages", n, "content"], "text beside a system's arguments; send arguments alone")
            if n == last:
                messages.append({**message, "content": ""})  # marks where the history ends
        else:
            raise _unplaced(["messages", n, "content"], "arguments of an earlier turn; send that turn as text")
    if last is not None and (variables or _arguments_of(body.messages[last]) is not None):
        text = _text_beside(body.messages[last], last)
        if text and "message" in variables:
            raise _unplaced(["messages", last, "content"], "text beside an argument named message; send one of them")
        variables |= {"message": text} if text is not None and "message" not in variables else {}
    own = {**variables, **(body.detent.variables or {})}
    detent = body.detent.model_copy(update={"variables": own or None})
    return body.model_copy(update={"model": name, "messages": messages, "detent": detent})


def _arguments_of(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments; None for a message without blocks of arguments."""
    content = message.get("content")
    blocks = [_arguments_in(block) for block in content] if isinstance(content, list) else []
    known = [arguments for arguments in blocks if arguments is not None]
    return {name: value for arguments in known for name, value in arguments.items()} if known else None


def _arguments_in(block: Any) -> Mapping[str, Any] | None:
    if not isinstance(block, Mapping):
        return None
    is_template = block.get("type") == f"{TENSORZERO}template"
    arguments = block.get("arguments") if is_template else block.get(f"{TENSORZERO}arguments")
    return arguments if isinstance(arguments, Mapping) else None


def _text_beside(message: Mapping[str, Any], n: int) -> str | None:
    """The text that a message has beside arguments; raises InvalidInput for a block that is neither."""
    content, texts = message.get("content"), list[str]()
    if isinstance(content, str):
        return content
    for i, block in enumerate(content if isinstance(content, list) else ()):
        if _arguments_in(block) is None:
            text = block.get("text") if isinstance(block, Mapping) and block.get("type") == "text" else None
            if not isinstance(text, str):
                raise _unplaced(["messages", n, "content", i], "block beside arguments that is no text; leave it out")
            texts.append(text)
    return "\n".join(texts) if texts else None


def _unplaced(place: list[str | int], detail: str) -> InvalidInput:
    return InvalidInput(f"Message {place[1]} has the {detail}.", [Fault(pointer=pointer_of(place), detail=detail)])


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
