"""What a prompt is sent as, in OpenAI's two forms: arguments of ``chat.completions.create`` and of
``responses.create``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from detent_client.adapters.variant_call import SETTINGS, VariantCall, variant_call
from detent_client.prompt import Prompt
from detent_client.template import Message

Arguments = dict[str, Any]

OPENAI_HOST = "api.openai.com"
BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")  # servers of the same protocol take them, OpenAI does not
RESPONSES_LACK = tuple(
    name
    for name in SETTINGS
    if name not in ("temperature", "max_tokens", "top_p", "reasoning_effort", "verbosity", "parallel_tool_calls")
)
RESPONSES_MIN_TOKENS = 16  # the responses API refuses to write fewer


def chat_request(
    prompt: Prompt, own: Arguments, *, model: str, models: Mapping[str, str] | None, is_openai: bool
) -> Arguments:
    """``own``: arguments of the caller's. ``is_openai``: sent to OpenAI itself, which takes less than other servers
    of its protocol, and calls the length of an answer otherwise.
    """
    body = own.get("extra_body") or {}
    said = _named({**own, **body}, (*SETTINGS, "model", "tools", "response_format"))
    if "max_completion_tokens" in own:
        said["max_tokens"] = own["max_completion_tokens"]
    _check_messages(prompt, own, "messages", prompt.messages, ())
    call = variant_call(prompt, model=model, models=models, own=said, lacks=BEYOND_OPENAI if is_openai else ())
    sent = {name: value for name, value in call.settings.items() if name not in BEYOND_OPENAI}
    if "max_tokens" in sent and (is_openai or "max_completion_tokens" in own) and "max_tokens" not in own:
        sent["max_completion_tokens"] = sent.pop("max_tokens")
    if extra := {name: value for name, value in call.settings.items() if name in BEYOND_OPENAI}:
        sent["extra_body"] = {**extra, **body}
    formats = {"tools": call.tools, "response_format": call.response_format}
    sent |= {name: value for name, value in formats.items() if value is not None}
    return {"messages": prompt.messages, **own, **sent, "model": call.model}


def response_request(prompt: Prompt, own: Arguments, *, model: str, models: Mapping[str, str] | None) -> Arguments:
    reasoning, text = own.get("reasoning") or {}, own.get("text") or {}
    said = _named(own, ("model", "temperature", "top_p", "parallel_tool_calls"))
    if "max_output_tokens" in own:
        said["max_tokens"] = own["max_output_tokens"]
    if "effort" in reasoning:
        said["reasoning_effort"] = reasoning["effort"]
    if "verbosity" in text:
        said["verbosity"] = text["verbosity"]
    if "format" in text:
        said["response_format"] = _chat_format(text["format"])
    if "tools" in own:
        said["tools"] = [_chat_tool(tool) for tool in own["tools"]]
    items = input_items(prompt.messages)
    _check_messages(prompt, own, "input", items, ("instructions", "prompt"))
    call = variant_call(prompt, model=model, models=models, own=said, lacks=response_lacks(prompt))
    sent: Arguments = _named(call.settings, ("temperature", "top_p", "parallel_tool_calls"))
    if (max_tokens := response_tokens(prompt, call)) is not None:
        sent["max_output_tokens"] = max_tokens
    if "reasoning_effort" in call.settings:
        sent["reasoning"] = {**reasoning, "effort": call.settings["reasoning_effort"]}
    if "verbosity" in call.settings:
        text = {**text, "verbosity": call.settings["verbosity"]}
    if call.response_format is not None:
        text = {**text, "format": _response_format(call.response_format)}
    if call.tools is not None:
        sent["tools"] = [_response_tool(tool) for tool in call.tools]
    return {"input": items, **own, **sent, **({"text": text} if text else {}), "model": call.model}


def response_lacks(prompt: Prompt) -> tuple[str, ...]:
    """What of the variant's settings the responses API cannot be sent."""
    max_tokens = prompt.model.get("max_tokens")
    is_too_few = max_tokens is not None and max_tokens < RESPONSES_MIN_TOKENS
    return (*RESPONSES_LACK, "max_tokens") if is_too_few else RESPONSES_LACK


def response_tokens(prompt: Prompt, call: VariantCall) -> int | None:
    """How many tokens an answer of the responses API may have: the variant's, or the fewest that the API takes."""
    if "max_tokens" in call.settings:
        return int(call.settings["max_tokens"])
    return RESPONSES_MIN_TOKENS if prompt.model.get("max_tokens") is not None else None


def input_items(messages: list[Message]) -> list[dict[str, Any]]:
    """Chat messages as the responses API takes them: calls of tools and their results are items of their own."""
    items: list[dict[str, Any]] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "tool":
            items.append({"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": content})
            continue
        if content:
            items.append({"role": role, "content": _parts(role, content)})
        items += [
            {"type": "function_call", "call_id": call["id"], **call["function"]}
            for call in message.get("tool_calls") or ()
        ]
    return items


def _parts(role: str, content: Any) -> Any:
    if isinstance(content, str):
        return content
    text_type = "output_text" if role == "assistant" else "input_text"
    return [
        {"type": "input_image", "image_url": part["image_url"]["url"]}
        if part.get("type") == "image_url"
        else {**part, "type": text_type}
        if part.get("type") == "text"
        else part
        for part in content
    ]


def _check_messages(prompt: Prompt, own: Arguments, name: str, messages: list[Any], others: Collection[str]) -> None:
    """Messages of the caller's that begin with the prompt's go on from it, as after a call of a tool."""
    if name in own:
        if not isinstance(own[name], str):
            own[name] = list(own[name])
        if own[name][: len(messages)] != messages:
            prompt.leave_arm(f"the call has its own {name}")
    for other in others:
        if own.get(other) is not None:
            prompt.leave_arm(f"the call has its own {other}")


def _named(arguments: Mapping[str, Any], names: Collection[str]) -> Arguments:
    return {name: arguments[name] for name in names if name in arguments}


def _response_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, Mapping) else tool


def _chat_tool(tool: Any) -> Any:
    if not isinstance(tool, Mapping) or tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _response_format(given: Mapping[str, Any]) -> dict[str, Any]:
    schema = given.get("json_schema")
    return {"type": "json_schema", **schema} if isinstance(schema, Mapping) else dict(given)


def _chat_format(given: Any) -> Any:
    if not isinstance(given, Mapping) or given.get("type") != "json_schema" or "json_schema" in given:
        return given
    return {"type": "json_schema", "json_schema": {name: value for name, value in given.items() if name != "type"}}
