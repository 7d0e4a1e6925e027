"""What every LanguageModel promises, through the two ways to a provider: our own wire and LiteLLM's."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from api.gateway.guarded_models import is_the_providers
from optimizer.adapters.models.litellm_models import LiteLLMModel
from optimizer.adapters.models.openai_wire import OpenAICompatible
from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.budget import charge_after_failure, worth_a_retry
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.models.settings import ModelSettings
from tests.stand_ins.scripted_model import RESET, Provider, chat_answer, provider, request
from tests.waited import Waited

PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


@pytest.fixture
def behind() -> Iterator[Provider]:
    with provider() as state:
        yield state


def settings(timeout_s: float = 20.0, **way: Any) -> ModelSettings:
    return ModelSettings(timeout_s=timeout_s, retries=0, concurrency=8, max_output_tokens=77, **way)


def own_wire(url: str, timeout_s: float = 20.0) -> Waited:
    declared = settings(timeout_s, openai_compatible=url, model="big")
    return Waited(OpenAICompatible("m", declared, api_key="k1", price=PRICE))


def by_litellm(url: str, timeout_s: float = 20.0) -> Waited:
    declared = settings(timeout_s, litellm="openai/big", api_base=url)
    return Waited(LiteLLMModel("m", declared, api_key="k1", price=PRICE))


def failure(model: Waited, asked: ModelRequest | None = None) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        model.complete(asked or request())
    return caught.value


both = pytest.mark.parametrize("make", [pytest.param(own_wire, id="own wire"), pytest.param(by_litellm, id="litellm")])


@both
def test_an_answer_carries_text_tokens_cost_and_latency(make: Any, behind: Provider):
    answer = make(behind.url).complete(request(max_tokens=None))
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.finish_reason) == ("hi", 1000, 100, "stop")
    assert answer.cost_usd == pytest.approx(1000 / 1e6 + 100 * 10 / 1e6)
    assert answer.latency_ms > 0
    assert not answer.from_journal
    body = behind.bodies[-1]
    assert (body["model"], body["messages"], body["max_tokens"]) == ("big", [{"role": "user", "content": "hello"}], 77)
    assert {name.lower(): value for name, value in behind.headers[-1].items()}["authorization"] == "Bearer k1"


@both
def test_tool_calls_come_through_whole(make: Any, behind: Provider):
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    behind.answer = lambda body: (200, {}, json.dumps(chat_answer("", tool_calls=calls)).encode())
    raw = make(behind.url).complete(request()).raw_message
    assert raw is not None
    assert raw["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


FAILURES = [
    pytest.param(500, {}, "http", True, id="500"),
    pytest.param(429, {"retry-after": "7"}, "rate_limit", True, id="429"),
    pytest.param(400, {}, "http", False, id="400"),
    pytest.param(401, {}, "http", False, id="401"),
    pytest.param(404, {}, "http", False, id="404"),
    pytest.param(504, {}, "timeout", True, id="504"),
]


@both
@pytest.mark.parametrize(("status", "headers", "kind", "again"), FAILURES)
def test_a_refusal_is_one_attempt_and_a_model_failed(
    make: Any, behind: Provider, status: int, headers: dict[str, str], kind: str, again: bool
):
    behind.answer = lambda body: (status, headers, b'{"error": {"message": "no such luck", "type": "t", "code": "c"}}')
    failed = failure(make(behind.url))
    assert "no such luck" in str(failed.said), "the operator reads what the provider said"
    assert "no such luck" not in failed.detail, "and nobody else does"
    assert failed.kind == kind
    assert worth_a_retry(failed.kind, failed.members["status_of_model"]) is again
    assert len(behind.bodies) == 1, "no retry of its own"
    if status == 429:
        assert failed.members["retry_after_s"] == 7


@both
def test_no_answer_in_time_is_a_timeout_that_may_have_been_billed(make: Any, behind: Provider):
    behind.answer = lambda body: (time.sleep(1.5), (200, {}, b"{}"))[1]
    failed = failure(make(behind.url, timeout_s=0.5))
    assert failed.kind == "timeout"
    assert charge_after_failure(failed, 1.0) == 1.0
    assert len(behind.bodies) == 1


@both
def test_a_connection_that_was_refused_costs_nothing(make: Any):
    refused = failure(make("http://127.0.0.1:9/v1"))
    assert (refused.kind, refused.members["sent"]) == ("unreachable", False)


@both
@pytest.mark.parametrize("how", [pytest.param(0, id="broken off"), pytest.param(RESET, id="reset")])
def test_a_connection_that_ended_after_the_request_may_have_been_billed(make: Any, behind: Provider, how: int):
    behind.answer = lambda body: (how, {}, b"")
    broken = failure(make(behind.url))
    assert (broken.kind, broken.members["sent"]) == ("unreachable", True)
    assert len(behind.bodies) == 1


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"choices": []}', id="no choice"),
        pytest.param(b'{"choices": [{"message": {"content": 3}}]}', id="content is no text"),
    ],
)
def test_what_is_no_chat_completion_is_malformed(behind: Provider, payload: bytes):
    behind.answer = lambda body: (200, {}, payload)
    assert failure(own_wire(behind.url)).kind == "malformed"


@pytest.mark.parametrize(
    ("id", "messages", "params"),
    [
        pytest.param(
            "anthropic/claude-3-5-sonnet-20240620",
            [{"role": "user", "content": "x"}],
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            id="a format without a schema",
        ),
        pytest.param(
            "gemini/gemini-1.5-flash",
            [{"role": "tool", "tool_call_id": "a", "content": "x"}, {"role": "user", "content": "x"}],
            {},
            id="an answer to no call",
        ),
    ],
)
def test_what_fails_before_a_provider_is_asked_says_nothing_of_the_provider(
    behind: Provider, id: str, messages: list[dict[str, Any]], params: dict[str, Any]
):
    """Five such requests of one sender would else have the model left alone for everybody."""
    model = Waited(LiteLLMModel("m", settings(litellm=id, api_base=behind.url), api_key="k", price=None))
    failed = failure(model, ModelRequest(model="m", revision="r", messages=messages, params=params))
    assert behind.bodies == []
    assert failed.kind == "library"
    assert not is_the_providers(failed)
    assert not worth_a_retry(failed.kind, failed.members.get("status_of_model"))


def test_functions_reach_a_provider_by_litellm(behind: Provider):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    sent = ModelRequest(
        model="m",
        revision="r",
        messages=[{"role": "user", "content": "x"}],
        params={"tools": tools, "tool_choice": "auto"},
    )
    assert by_litellm(behind.url).complete(sent).text == "hi"
    assert (behind.bodies[0]["tools"], behind.bodies[0]["tool_choice"]) == (tools, "auto")


NO_COUNT = [
    None,
    "many",
    {},
    *({"prompt_tokens": wrong, "completion_tokens": wrong} for wrong in (None, -5, "7", [1], 1e12)),
]


@pytest.mark.parametrize("usage", NO_COUNT)
def test_missing_token_counts_are_taken_at_their_upper_bound(behind: Provider, usage: Any):
    answered = {**chat_answer("four"), "usage": usage}
    behind.answer = lambda body: (200, {}, json.dumps(answered).encode())
    sent = ModelRequest(
        model="m", revision="r", messages=[{"role": "user", "content": "aé"}], params={"max_tokens": 20}
    )
    answer = own_wire(behind.url).complete(sent)
    assert (answer.input_tokens, answer.output_tokens) == (3 + 16, 20)
    assert own_wire(behind.url).complete(replace(sent, params={})).output_tokens == len("four")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "x" * 5000}}
    answered["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert own_wire(behind.url).complete(sent).output_tokens >= 5000


def test_many_coroutines_are_on_the_wire_at_once_and_keep_their_connections(behind: Provider):
    """The provider answers nobody before eight have asked."""
    together = threading.Barrier(8, timeout=20)
    behind.answer = lambda body: (together.wait(), (200, {}, json.dumps(chat_answer("hi")).encode()))[1]
    model = OpenAICompatible("m", settings(openai_compatible=behind.url, model="big"), api_key="k1", price=PRICE)

    async def twice() -> list[ModelAnswer]:
        first = await asyncio.gather(*(model.complete(request(f"a{i}")) for i in range(8)))
        again = await asyncio.gather(*(model.complete(request(f"b{i}")) for i in range(8)))
        await asyncio.to_thread(model.close)
        return [*first, *again]

    assert [answer.text for answer in asyncio.run(twice())] == ["hi"] * 16
    assert len(behind.bodies) == 16


def test_a_model_that_was_closed_can_be_asked_again(behind: Provider):
    model = own_wire(behind.url)
    first = model.complete(request("a")).text
    model.close()
    assert [first, model.complete(request("b")).text] == ["hi", "hi"]
