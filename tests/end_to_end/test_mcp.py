"""A program of the Model Context Protocol, here the official client, asks a home and its server by `detent mcp`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from optimizer.core.base.errors import DetentError
from optimizer.runtime.api_client import ApiClient
from optimizer.runtime.client import OverHttp
from optimizer.runtime.tools import ACTS, NOT_FOR_MODELS, tools_of
from tests.api_world import World, make_home, serving

READS = ["diff_variants", "list_alerts", "list_families", "list_studies", "list_variants"]
ALWAYS = [*READS, "get_prompt", "record_feedback", "rollout_status", "show_study", "show_variant", "status"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(tmp_path / "home")) as made:
        yield made


def test_the_official_client_reads_and_is_told_what_it_may_not_do(tmp_path: Path) -> None:
    from mcp import ClientSession, StdioServerParameters  # not at import: it loads for seconds
    from mcp.client.stdio import stdio_client

    make_home(tmp_path / "home")

    @asynccontextmanager
    async def session(*options: str) -> Any:
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-c", "from optimizer.cli import main; main()", "mcp", *options],
            env={**os.environ, "DETENT_HOME": str(tmp_path / "home")},
        )
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            yield client

    async def walk() -> None:
        async with session("--allow", "optimize") as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert sorted(tools) == sorted([*ALWAYS, "optimize"])
            assert tools["status"].annotations.read_only_hint
            assert not tools["optimize"].annotations.read_only_hint
            families = await client.call_tool("list_families", {})
            assert [item["name"] for item in json.loads(families.content[0].text)["items"]] == ["triage"]
            without_server = await client.call_tool("get_prompt", {"family": "triage"})
            assert without_server.is_error
            assert "detent serve" in without_server.content[0].text
            planned = await client.call_tool("optimize", {"family": "triage", "budget": {"calls": 50}, "dry_run": True})
            assert "examples" in planned.content[0].text
            refused = await client.call_tool("promote", {"id": "ro_1"})
            assert refused.is_error
            assert "--allow" in refused.content[0].text

    anyio.run(walk)


def tools(world: World, *allowed: str) -> dict[str, Any]:
    server = ApiClient("http://here", http=world.client)
    return {tool.name: tool for tool in tools_of(OverHttp(server), lambda: server, allowed=allowed)}


def test_a_prompt_is_fetched_and_its_outcome_counts_in_its_arm(world: World) -> None:
    told = tools(world)
    prompt = told["get_prompt"].call({"family": "triage", "unit": "u1"})
    filled_in = told["get_prompt"].call({"family": "triage", "unit": "u1", "variables": {"text": "A question."}})
    assert "A question." in json.dumps(filled_in["messages"])
    assert prompt["variant"] == filled_in["variant"]
    assert told["record_feedback"].call({"assignment": prompt["assignment"], "success": True})["accepted"] == 1
    (event,) = world.client.get("/v1/feedback?family=triage").json()["items"]
    assert (event["variant"], event["success"]) == (prompt["variant"], True)


def test_a_model_promotes_nothing_past_a_gate(world: World) -> None:
    rollout = world.start(world.candidate("Is it billing? "))["id"]
    world.post(f"/v1/rollouts/{rollout}/approve", {"reason": "go"})
    world.tick()
    acts = tools(world, *ACTS)
    for tool in acts.values():
        assert not set(NOT_FOR_MODELS) & set(tool.schema["properties"])
    with pytest.raises(DetentError, match="inconclusive never ships"):
        acts["promote"].call({"id": rollout})
    with pytest.raises(DetentError, match="no argument confirm"):
        acts["promote"].call({"id": rollout, "confirm": "triage"})
    assert acts["rollback_rollout"].call({"id": rollout, "reason": "a model saw faults"})["changed"]
    assert world.client.get(f"/v1/rollouts/{rollout}").json()["status"] == "rolled_back"


@pytest.mark.parametrize("budget", [{}, {"budget": None}, {"budget": {}}, {"budget": {"calls": None}}])
def test_a_model_spends_nothing_without_a_budget(world: World, budget: dict[str, Any]) -> None:
    with pytest.raises(DetentError, match="needs a budget"):
        tools(world, "optimize")["optimize"].call({"family": "triage", **budget})
    assert world.client.get("/v1/studies").json()["items"] == []


def test_a_key_may_do_by_its_tools_what_its_role_may(world: World) -> None:
    world.add_key("reader", "read", secret="secret")
    world.add_key("boss", "admin", secret="other")
    world.client.headers["Authorization"] = "Bearer secret"
    told = tools(world, *ACTS)
    assert told["status"].call({})["families"]
    for name, arguments in (("get_prompt", {"family": "triage"}), ("rollback_champion", {"family": "triage"})):
        with pytest.raises(DetentError, match="role"):
            told[name].call(arguments)
