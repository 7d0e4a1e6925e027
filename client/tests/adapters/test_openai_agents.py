"""The real SDK for agents, whose model is a server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("agents", reason="OpenAI's Agents SDK is not installed here; `make test-adapters` tests it")

from agents import Agent, ModelSettings, OpenAIProvider, RunConfig, Runner, function_tool, set_trace_processors
from openai import AsyncOpenAI, InternalServerError

from detent_client import AsyncClient
from detent_client.adapters.openai_agents import AgentPrompts

ROOT = Path(__file__).parents[3]
MODEL = {"name": "small", "temperature": 0.0, "max_tokens": 50, "reasoning_effort": "low"}
SYSTEM = [{"role": "system", "content": "Answer for {{shop}}."}]


@dataclass
class Context:
    user: str
    prompts: list[Any] = field(default_factory=list)


@function_tool
def look_up(order: int) -> str:
    """Looks an order up."""
    return "paid twice"


class World:
    """A traced agent of a family whose prompt is one system message."""

    def __init__(self, server, served, provider, is_chat) -> None:
        self.server, self.provider, self.is_chat = server, provider, is_chat
        self.serve = lambda **more: server.families.update(
            triage={"champion": served("", messages=SYSTEM, inputs={"shop": {"type": "text"}}, **more)}
        )
        self.serve(model=MODEL)
        self.client = server.client(kind=AsyncClient)
        self.sdk = AsyncOpenAI(base_url=provider.url, api_key="x", max_retries=0)
        server.families["former"] = server.families["triage"]  # as a renamed family is found
        self.prompts = AgentPrompts(
            self.client,
            model="gpt-own",
            models={"small": "gpt-small"},
            provider=OpenAIProvider(openai_client=self.sdk, use_responses=not is_chat),
        )
        set_trace_processors([self.prompts])
        self.context = Context("ann")

    def agent(self, family="triage", **more):
        instructions = self.prompts.instructions(
            family,
            unit=lambda context: context.user,
            variables=lambda context: {"shop": "Blue"},
            on_prompt=lambda context, p: context.prompts.append(p),
        )
        return Agent(name="Helper", instructions=instructions, **{"model": self.prompts.model, **more})

    def run(self, agent, streamed=False, **more):
        async def run():
            try:
                if not streamed:
                    return await Runner.run(agent, "Is it slow?", context=self.context, **more)
                result = Runner.run_streamed(agent, "Is it slow?", context=self.context, **more)
                async for _ in result.stream_events():
                    pass
                return result
            finally:
                await self.client.flush()
                await self.sdk.close()

        return asyncio.run(run())


@pytest.fixture(params=[True, False], ids=["chat", "responses"])
def world(request, server, served, provider):
    one = World(server, served, provider, request.param)
    yield one
    one.client._session.background.stop()
    set_trace_processors([])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_an_agent_is_instructed_and_its_model_is_asked_as_the_variant_says(world, streamed) -> None:
    result = world.run(world.agent(), streamed=streamed)
    assert result.final_output == "billing"
    (sent,) = world.provider.requests
    if world.is_chat:
        assert sent["messages"][0] == {"role": "system", "content": "Answer for Blue."}
        assert (sent["max_tokens"], sent["reasoning_effort"]) == (50, "low")
    else:
        assert sent["instructions"] == "Answer for Blue."
        assert (sent["max_output_tokens"], sent["reasoning"]) == (50, {"effort": "low"})
    assert (sent["model"], sent["temperature"]) == ("gpt-small", 0.0)
    (event,) = world.server.events
    (p,) = world.context.prompts
    recorded = {name: event[name] for name in ("id", "unit", "variant", "output", "model")}
    assert recorded == {"id": p.id, "unit": "ann", "variant": "v_champion", "output": "billing", "model": "gpt-small"}
    assert (event["input_tokens"], event["output_tokens"], event["input"]) == (7, 3, {"shop": "Blue"})
    assert event["latency_ms"] > 0
    assert "error" not in event
    assert ("time_to_first_token_ms" in event) == streamed
    assert world.server.n_exposed == 1


@pytest.mark.parametrize("family", ["triage", "former"])
def test_all_turns_of_a_run_are_one_prompt(world, family) -> None:
    world.provider.tool = "look_up"
    world.run(world.agent(family, tools=[look_up]))
    (event,) = world.server.events
    assert (event["output"], event["input_tokens"], event["output_tokens"]) == ("billing", 14, 6)
    assert (event["variant"], len(world.context.prompts), len(world.provider.requests)) == ("v_champion", 1, 2)


def test_two_runs_at_once_keep_their_prompts_apart(world) -> None:
    agent = world.agent()

    async def run():
        contexts = [Context(f"user-{n}") for n in range(8)]
        await asyncio.gather(*(Runner.run(agent, "Is it slow?", context=context) for context in contexts))
        await world.client.flush()
        await world.sdk.close()
        return contexts

    contexts = asyncio.run(run())
    assert {event["unit"]: event["id"] for event in world.server.events} == {
        context.user: context.prompts[0].id for context in contexts
    }


def test_an_error_of_the_model_is_recorded_and_raised(world) -> None:
    world.provider.status = 503
    with pytest.raises(InternalServerError):
        world.run(world.agent())
    (event,) = world.server.events
    assert event["error"]
    assert "output" not in event


@pytest.mark.parametrize(
    ("of_agent", "of_run"),
    [
        ({"model_settings": ModelSettings(temperature=0.7)}, {}),
        ({}, {"model_settings": ModelSettings(temperature=0.7)}),
        ({"model": "gpt-small"}, {}),
        ({}, {"model": "gpt-small"}),
    ],
    ids=["settings of the agent", "settings of the run", "model of the agent", "model of the run"],
)
def test_an_agent_that_overrides_model_or_settings_counts_in_no_arm(world, of_agent, of_run) -> None:
    provider = OpenAIProvider(openai_client=world.sdk, use_responses=not world.is_chat)
    world.run(world.agent(**of_agent), run_config=RunConfig(model_provider=provider, **of_run))
    (event,) = world.server.events
    assert event["output"] == "billing"
    assert "variant" not in event
    assert world.server.n_exposed == 0


@pytest.mark.parametrize(
    "more",
    [
        {"model": {**MODEL, "min_p": 0.1, "seed": 7}},
        {"model": {**MODEL, "frequency_penalty": 0.1}},
        {"model": {**MODEL, "max_tokens": 8}},
        {"tools": [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]},
        {"messages": [*SYSTEM, {"role": "user", "content": "Is it {{shop}}?"}]},
    ],
    ids=["settings", "a penalty", "few tokens", "tools", "messages"],
)
def test_what_an_agent_cannot_be_given_counts_in_no_arm(world, server, more) -> None:
    family = server.families["triage"]["champion"]
    server.families = {"triage": {"champion": {**family, **more}}}
    world.run(world.agent())
    (event,) = server.events
    (sent,) = world.provider.requests
    if world.is_chat and "model" in more:
        for setting in ("seed", "min_p", "frequency_penalty", "max_tokens"):
            assert sent.get(setting) == more["model"].get(setting)
        assert event["variant"] == "v_champion"
    else:
        assert "variant" not in event
    if not world.is_chat:
        assert sent["max_output_tokens"] >= 16  # that API refuses fewer


def test_a_question_of_the_prompt_is_the_input_of_the_run(world, server) -> None:
    family = server.families["triage"]["champion"]
    question = {"role": "user", "content": "Is it {{pace}}?"}
    champion = {**family, "messages": [*SYSTEM, question], "inputs": {"shop": {}, "pace": {}}}
    server.families = {"triage": {"champion": champion}}
    world.provider.tool = "look_up"
    instructions = world.prompts.instructions("triage", variables=lambda context: {"shop": "Blue", "pace": "slow"})
    world.run(world.agent(tools=[look_up]).clone(instructions=instructions))
    (event,) = server.events
    assert (event["variant"], event["output"]) == ("v_champion", "billing")


def test_a_run_that_is_not_traced_counts_in_no_arm_and_nothing_is_recorded(world) -> None:
    world.run(world.agent(), run_config=RunConfig(tracing_disabled=True))
    assert (world.server.events, world.server.n_exposed) == ([], 0)
    assert world.context.prompts[0].is_in_no_arm


def test_a_run_that_is_broken_off_is_an_error_and_forgotten(world) -> None:
    go_on, answer = threading.Event(), world.provider.answer
    world.provider.answer = lambda path, said: go_on.wait(20) and answer(path, said)

    async def run():
        task = asyncio.ensure_future(Runner.run(world.agent(), "Is it slow?", context=world.context))
        while not world.provider.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go_on.set()
        await world.client.flush()
        await world.sdk.close()

    asyncio.run(run())
    (event,) = world.server.events
    assert event["error"].startswith("cancelled: ")
    assert world.prompts._runs == {}
    assert world.prompts._agents == {}


DESK = [{"role": "system", "content": "Help."}, {"role": "user", "content": "{{question}}"}]


def test_the_page_does_what_it_says(run_page, server, served) -> None:
    champion = served("", family="desk", messages=DESK, inputs={"question": {}}, model={"name": "small"})
    server.families = {"desk": {"champion": champion}}
    context = SimpleNamespace(customer="ann", question="Is it slow?")
    names = run_page("openai-agents.md", key=None, own_messages=DESK, context=context)
    assert names["result"].final_output == "billing"
    interaction, outcome = server.events
    assert (interaction["variant"], interaction["unit"], outcome["success"]) == ("v_champion", "ann", True)
    set_trace_processors([])


@pytest.mark.timeout(300)
def test_the_example_answers_customers_and_names_their_assignments(detent_url, server, served, provider) -> None:
    champion = served("", family="desk", messages=DESK, inputs={"question": {}}, model={"name": "gpt-4o-mini"})
    server.families = {"desk": {"champion": champion}}
    provider.tool = "find_invoice"
    environment = {**os.environ, "OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "x", "DETENT_SERVER": detent_url}
    environment |= {"PYTHONPATH": str(ROOT / "client"), "OPENAI_AGENTS_DISABLE_TRACING": "0"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "agents_desk.py")],
        input="ann: Where is my invoice?\nben: Is it slow?\n",
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [line.split() for line in done.stdout.splitlines()]
    assert [(answer, assignment[:4]) for answer, assignment in answers] == [("billing", "dca_"), ("billing", "dca_")]
    assert [(event["unit"], event["variant"], event["output"]) for event in server.events] == [
        ("ann", "v_champion", "billing"),
        ("ben", "v_champion", "billing"),
    ]
