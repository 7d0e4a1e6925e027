"""What of a variant another package is sent, and when a call counts in no arm."""

from __future__ import annotations

import pytest

from detent_client.adapters.variant_call import variant_call

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
MODEL = {"name": "small", "temperature": 0.0, "max_tokens": 50, "stop": ["\n"]}


@pytest.fixture
def prompt(server, served):
    """Of a variant with settings, a tool and a format."""
    champion = served("Is it {{message}}?", model=MODEL, tools=[TOOL], response_format={"type": "json_object"})
    server.families["triage"] = {"champion": champion}
    with server.client() as client:
        yield client.prompt("triage", unit="ann", message="slow")


def test_the_variant_s_model_settings_tools_and_format_are_sent_under_the_provider_s_name_of_the_model(prompt) -> None:
    call = variant_call(prompt, model="gpt-4o", models={"small": "gpt-4o-mini"})
    assert (call.model, call.settings) == ("gpt-4o-mini", {"temperature": 0.0, "max_tokens": 50, "stop": ["\n"]})
    assert (call.tools, call.response_format) == ([TOOL], {"type": "json_object"})
    assert not prompt.is_in_no_arm


def test_a_name_without_an_entry_is_known_only_where_it_is_the_caller_s_own(prompt) -> None:
    assert variant_call(prompt, model="small").model == "small"
    assert not prompt.is_in_no_arm
    assert variant_call(prompt, model="gpt-4o", models={"large": "gpt-4o"}).model == "gpt-4o"
    assert prompt.is_in_no_arm


@pytest.mark.parametrize(
    ("own", "is_override"),
    [
        ({"temperature": 0.0, "model": "small", "tools": [TOOL]}, False),
        ({"top_p": 0.5, "seed": 7}, False),
        ({"temperature": 0.7}, True),
        ({"model": "other"}, True),
        ({"tools": []}, True),
        ({"response_format": {"type": "text"}}, True),
    ],
)
def test_what_the_call_says_itself_is_sent_and_is_an_override_where_the_variant_says_otherwise(
    prompt, own, is_override
) -> None:
    call = variant_call(prompt, model="small", own=own)
    sent = {**call.settings, "model": call.model, "tools": call.tools, "response_format": call.response_format}
    assert {name: sent[name] for name in own} == own
    assert prompt.is_in_no_arm == is_override


def test_what_the_package_cannot_send_is_left_out_and_the_call_counts_in_no_arm(prompt) -> None:
    assert "seed" not in variant_call(prompt, model="small", lacks=["seed"]).settings
    assert not prompt.is_in_no_arm
    assert "stop" not in variant_call(prompt, model="small", lacks=["stop"]).settings
    assert prompt.is_in_no_arm


def test_a_setting_that_this_client_does_not_know_counts_in_no_arm(server, served) -> None:
    server.families["triage"] = {"champion": served("x", model={"name": "small", "newer": 1})}
    with server.client() as client:
        p = client.prompt("triage")
        assert variant_call(p, model="small").settings == {}
        assert p.is_in_no_arm


def test_a_fallback_of_your_own_asks_your_own_model(server) -> None:
    server.families = {}
    with server.client(fallback={"triage": "Own"}) as client:
        p = client.prompt("triage")
        call = variant_call(p, model="gpt-4o", own={"temperature": 0.5})
    assert (call.model, call.settings, call.tools) == ("gpt-4o", {"temperature": 0.5}, None)
