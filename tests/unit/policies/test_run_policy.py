"""A policy scored call by call sends what the gateway sends, and counts what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import pytest

from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.policy import parse_policy
from optimizer.jobs.calls.ask_model import ModelReply
from optimizer.jobs.calls.evaluation_policies import run_policy
from optimizer.jobs.calls.execute_policy import PolicyRequest, execute_policy
from tests.stand_ins.scripted_model import ScriptedModel, failed

RENDERED = ModelRequest(
    model="only", revision="", messages=[{"role": "user", "content": "Stars"}], params={"temperature": 0.0}
)
FEWER = {"cheap": [{"role": "user", "content": "Short: stars"}]}
SURE = {"cheap": 0.7, "strong": 0.9, "other": 0.2}
POLICIES: list[dict[str, Any]] = [
    {"tiers": ["cheap", "strong"], "accept": 0.9},
    {"tiers": ["cheap", "strong"], "accept": 0.9, "refine": 0.6},
    {"tiers": ["cheap", "strong"], "confidence": {"kind": "agreement"}, "accept": 1.0},
    {"votes.models": ["cheap", "other", "strong"]},
    {"gate.threshold": 0.99, "gate.retries": 2},
]


def said(model: str) -> ModelAnswer:
    sure = SURE.get(model, 0.5)
    return ModelAnswer(
        text=f"by {model}",
        input_tokens=1,
        output_tokens=1,
        cost_usd=sure,
        latency_ms=100 * sure,
        log_probability=log(sure),
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_scoring_sends_byte_for_byte_what_serving_sends(policy: dict[str, Any]) -> None:
    wanted = PolicyRequest(policy=parse_policy(policy), rendered=RENDERED, fewer=FEWER)
    served: list[ModelRequest] = []
    scored: list[ModelRequest] = []

    async def ask(name: str, request_of: Callable[[Any], ModelRequest]) -> ModelReply:
        served.append(request_of(ScriptedModel(name=name)))
        return ModelReply(answer=said(name), models=(name,))

    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        scored.append(request_of("r1"))
        return said(name)

    one, other = asyncio.run(execute_policy(wanted, ask)), asyncio.run(run_policy(wanted, complete))
    assert [request.key for request in served] == [request.key for request in scored]
    for request in served:
        asked = "Short: stars" if request.model == "cheap" else "Stars"
        assert [m["content"] for m in request.messages if "tars" in m["content"]] == [asked]
    assert (one.attempt.text, one.why, one.cost_usd) == (other.attempt.text, other.why, other.cost_usd)


def test_calls_at_the_same_time_take_as_long_as_the_longest() -> None:
    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        return said(name)

    wanted = PolicyRequest(policy=parse_policy(POLICIES[3]), rendered=RENDERED)
    done = asyncio.run(run_policy(wanted, complete))
    assert (done.latency_ms, done.cost_usd) == (pytest.approx(90.0), pytest.approx(1.8))


def test_a_policy_that_gives_nothing_says_why() -> None:
    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        raise failed("timeout")

    done = asyncio.run(run_policy(PolicyRequest(policy=parse_policy(POLICIES[0]), rendered=RENDERED), complete))
    assert done.attempt is None
    assert isinstance(done.failure, ModelFailed)
    assert len(done.attempts) == 2


@pytest.mark.parametrize(("temperature", "n_different"), [(0.7, 4), (0.0, 2)])
def test_retries_with_the_same_words_are_draws_of_their_own_where_the_model_draws(temperature, n_different):
    asked: list[ModelRequest] = []

    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        asked.append(request_of("r1"))
        return said(name)

    policy = parse_policy({"gate.threshold": 0.99, "gate.retries": 3, "gate.prompts": ["Be exact."]})
    rendered = replace(RENDERED, params={"temperature": temperature})
    asyncio.run(run_policy(PolicyRequest(policy=policy, rendered=rendered), complete))
    assert len(asked) == 4
    assert len({request.key for request in asked}) == n_different
