"""What of a request may reach a provider, and the page that lists it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.knob import Knob
from optimizer.core.family.variant import SETTINGS, Variant, model_faults, only_settings
from optimizer.core.models.wire import MESSAGE, PARAMS, chat_faults, wire_messages, wire_params
from optimizer.core.search.space import parse_space

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "models.md"
SHOWN = {"share": "0 to 1", "list": "list of texts", "data": "token id: number", "flag": "true or false"}


def row(setting: Knob) -> str:
    bounds = {"integer": "whole number", "number": "number", "text": "text"}.get(
        setting.kind, SHOWN.get(setting.kind, "")
    )
    if setting.low is not None:
        bounds += (
            f", {setting.low:g} to {setting.high:,}" if setting.high is not None else f", at least {setting.low:g}"
        )
    return f"| `{setting.name}` | {bounds} | {setting.meaning} |"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_page_lists_every_setting_that_a_call_may_take_from_a_variant(setting: Knob) -> None:
    assert row(setting) in PAGE.read_text(encoding="utf-8")


def test_the_page_lists_no_setting_that_is_not_taken() -> None:
    part = PAGE.read_text(encoding="utf-8").partition("## Settings of a variant")[2].partition("\n## ")[0]
    listed = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
    assert listed == [setting.name for setting in SETTINGS]


@pytest.mark.parametrize(
    "name",
    [
        "",
        *[
            "api_base",
            "base_url",
            "api_key",
            "extra_headers",
            "headers",
            "mock_response",
            "custom_llm_provider",
            "fallbacks",
            "n",
        ],
    ],
)
def test_what_is_no_generation_setting_is_named_with_those_that_are(name: str) -> None:
    (fault,) = model_faults({"name": "m", name: "x", "temperature": 0.5})
    assert fault.pointer == f"/model/{name}"
    assert "config/models.yaml" in fault.detail
    assert all(setting.name in fault.detail for setting in SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", {"api_base": "x"}),
        ("max_tokens", 0),
        ("stop", [{"a": 1}]),
        ("logit_bias", {"1": "x"}),
        ("name", None),
    ],
)
def test_a_value_that_does_not_fit_its_setting_is_a_fault(name: str, value: Any) -> None:
    assert [fault.pointer for fault in model_faults({name: value})] == [f"/model/{name}"]


def test_every_setting_passes_and_a_null_counts_as_absent() -> None:
    values = {"share": 0.5, "number": 1.0, "integer": 1, "flag": True, "text": "low", "list": ["END"]}
    values["data"] = {"50256": -100}
    model = {"name": "m", **{setting.name: values[setting.kind] for setting in SETTINGS}}
    assert model_faults(model) == []
    assert only_settings({**model, "api_base": "http://x"}) == model
    sent = {name: value for name, value in model.items() if name != "name"}
    assert wire_params({**sent, "seed": None, "api_base": "http://x", "mock_response": "y"}) == {
        name: value for name, value in sent.items() if name != "seed"
    }
    assert set(sent) <= set(PARAMS)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}],
        [{"type": "image_url", "image_url": "https://example.org/x.png"}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "format": "x"}}],
        [{"type": "file", "file": {"file_id": "http://169.254.169.254/"}}],
        [{"type": "input_audio", "input_audio": {"url": "http://x"}}],
        [{"type": "input_audio", "input_audio": {"data": 1, "format": "wav"}}],
        [{"type": "text", "text": {"a": 1}}],
        [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        ["text"],
        {"type": "text", "text": "a"},
    ],
)
def test_a_content_that_somebody_would_fetch_is_no_content(content: Any) -> None:
    messages = [{"role": "user", "content": content}]
    assert [fault.pointer.partition("/content")[0] for fault in chat_faults(messages, {})] == ["/messages/0"]
    with pytest.raises(InvalidInput):
        wire_messages(messages)


@pytest.mark.parametrize("name", [member for member in MESSAGE if member not in ("role", "content")])
def test_a_member_of_a_message_has_openais_shape_or_is_null(name: str) -> None:
    for odd in (5, [5], {"a": 1} if name != "function_call" else "x"):
        assert [fault.pointer for fault in chat_faults([{"role": "assistant", "content": "", name: odd}], {})] == [
            f"/messages/0/{name}"
        ]
    assert list(chat_faults([{"role": "assistant", "content": "", name: None}], {})) == []


@pytest.mark.parametrize("turn", [{}, {"content": None}, {"content": 5}, {"content": None, "tool_calls": None}])
def test_a_turn_without_a_content_is_none(turn: dict[str, Any]) -> None:
    assert [fault.pointer for fault in chat_faults([{"role": "assistant", **turn}], {})] == ["/messages/0/content"]


def test_text_images_and_audio_inside_the_request_are_sent() -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    messages = [
        {"role": "user", "content": content, "provider_options": {"x": 1}},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert wire_messages(messages) == [
        {"role": "user", "content": content},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:1/"}]}, "/tools/0"),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "server_url": "http://x"}]}, "/tools/0"),
        ({"tools": [{"googleSearch": {}}]}, "/tools/0"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "/tool_choice"),
        ({"tool_choice": "always"}, "/tool_choice"),
        (
            {"response_format": {"type": "json_object", "enforce_validation": True}},
            "/response_format/enforce_validation",
        ),
        (
            {"response_format": {"type": "json_object", "response_schema": {"$ref": "http://x"}}},
            "/response_format/response_schema",
        ),
        ({"response_format": {"type": "json_schema"}}, "/response_format/json_schema"),
        ({"response_format": {"type": "grammar"}}, "/response_format"),
    ],
)
def test_tools_that_are_no_functions_and_formats_that_are_none_are_not_sent(asked, pointer):
    assert [fault.pointer for fault in chat_faults((), asked)] == [pointer]
    with pytest.raises(InvalidInput):
        wire_params(asked)


@pytest.mark.parametrize(
    ("slot", "entry"),
    [
        ("temperature", {"choices": [0.1, {"api_base": "http://x"}]}),
        ("max_tokens", {"choices": ["many"]}),
        ("model", {"choices": [{"api_base": "http://x"}]}),
        ("instruction", {"choices": [{"role": "system"}]}),
        ("api_base", {"choices": ["http://x"]}),
    ],
)
def test_a_space_brings_no_value_that_its_setting_does_not_have(slot: str, entry: dict[str, Any]) -> None:
    start = Variant(messages=({"role": "user", "content": "{{a}}"},), model={"name": "m"})
    with pytest.raises(InvalidInput) as refused:
        parse_space({slot: entry}, start, max_examples=4)
    assert [fault.pointer for fault in refused.value.faults] == [f"/space/{slot}"]
