"""Whatever stands in a Variant's model or in a chat's body, the arguments of the call are the named ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, strategies as st

from optimizer.adapters.models.litellm_models import ON_THE_WIRE_ALONE, LiteLLMModel
from optimizer.adapters.models.openai_wire import body_of
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import Variant, model_faults
from optimizer.core.models.language import ModelRequest, request_for
from optimizer.core.models.settings import ModelSettings
from optimizer.core.models.wire import MESSAGE, PARAMS, RESPONSE_FORMAT, pass_through

OURS = {"model", "messages", "api_base", "api_key", "timeout"}
OURS |= {"num_retries", "max_retries", "caching"}  # of config/models.yaml
OURS |= ON_THE_WIRE_ALONE.keys()
KNOWN = ("api_base", "base_url", "api_key", "extra_headers", "extra_body", "mock_response")
KNOWN = (*KNOWN, "temperature", "stop", "tools", "response_format")
NAMES = st.one_of(st.sampled_from(KNOWN), st.text(max_size=12))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
MEMBERS = st.dictionaries(NAMES, VALUES, max_size=6)
OWN = ("role", "content")

SETTINGS = ModelSettings(litellm="openai/x", api_base="http://127.0.0.1:9/v1", timeout_s=5.0, max_output_tokens=9)
MODEL = LiteLLMModel("m", SETTINGS, api_key="secret", price=None)
LITELLM = SimpleNamespace(get_supported_openai_params=lambda model: ["logprobs"])


def variant(members: dict[str, Any]) -> Variant:
    return Variant(messages=({"role": "user", "content": "{{a}}"},), model={**members, "name": "m"})


@given(in_model=MEMBERS, in_body=MEMBERS, in_message=MEMBERS, in_format=MEMBERS)
def test_what_reaches_the_wire_is_named(in_model: Any, in_body: Any, in_message: Any, in_format: Any) -> None:
    stored = variant(in_model)
    asked = {**in_body, "response_format": {"type": "json_object", **in_format}}
    message = {
        **{name: value for name, value in in_message.items() if name not in OWN},
        "role": "user",
        "content": "hello",
    }
    params = {**request_for(stored, [message], revision="r").params, **pass_through(stored, asked)}
    request = ModelRequest(model="m", revision="r", messages=[message], params=params)
    try:
        arguments = MODEL._arguments(LITELLM, request)
        body = body_of(request, "x", 9)
    except InvalidInput:
        return  # refused: nothing reaches the wire
    assert set(arguments) <= OURS | set(PARAMS)
    assert (arguments["api_base"], arguments["api_key"], arguments["timeout"]) == (
        "http://127.0.0.1:9/v1",
        "secret",
        5.0,
    )
    assert set(body) <= {"model", "messages", *PARAMS}
    assert all(set(sent) <= set(MESSAGE) for sent in body["messages"])
    assert set(body.get("response_format", ())) <= set(RESPONSE_FORMAT)


@given(members=MEMBERS)
def test_what_passes_the_door_reaches_the_wire_unchanged(members: Any) -> None:
    if model_faults(members):
        return
    sent = body_of(request_for(variant(members), [{"role": "user", "content": "a"}], revision="r"), "x", None)
    assert {name: value for name, value in sent.items() if name not in ("model", "messages")} == {
        name: value for name, value in variant(members).model.items() if name != "name" and value is not None
    }
