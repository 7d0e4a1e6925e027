"""A program of the Model Context Protocol, here the official client, asks a home and its server by `detent mcp`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from optimizer.cli.session import Session
from optimizer.core.base.errors import Busy, DetentError
from optimizer.core.serving.access import access_of, hash_of
from optimizer.host import run_files
from optimizer.jobs.scheduling.read_families import read_families
from optimizer.runtime import wiring
from optimizer.runtime.api_client import ApiClient
from optimizer.runtime.client import OverHttp
from optimizer.runtime.tools import ACTS, NOT_FOR_MODELS, tools_of
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

READS = ["diff_variants", "list_alerts", "list_families", "list_studies", "list_variants"]
ALWAYS = [*READS, "get_prompt", "record_feedback", "rollout_status", "show_study", "show_variant", "status"]

ARM = ("variant", "role", "rollout", "stage")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(tmp_path / "home")) as made:
        yield made


def test_the_official_client_reads_and_is_told_what_it_may_not_do(tmp_path: Path) -> None:
    from mcp import ClientSession, StdioServerParameters  # not at import: it loads for seconds
    from mcp.client.stdio import stdio_client

    settings = make_home(tmp_path / "home")

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
            with serving(settings) as made, on_a_socket(made.app, settings) as url:
                run_files.announce(settings, "api", url)
                assert not (await client.call_tool("get_prompt", {"family": "triage"})).is_error, "it began meanwhile"
                run_files.withdraw(settings, "api")
            planned = await client.call_tool("optimize", {"family": "triage", "budget": {"calls": 50}, "dry_run": True})
            assert "examples" in planned.content[0].text
            without = await client.call_tool("optimize", {"family": "triage", "budget": "2 usd"})
            assert (without.is_error, "needs a budget" in without.content[0].text) == (True, True)
            refused = await client.call_tool("promote", {"id": "ro_1"})
            assert refused.is_error
            assert "--allow" in refused.content[0].text

    anyio.run(walk)


def test_a_program_that_stays_open_keeps_its_connection_and_reads_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, synced, sync, locked = make_home(tmp_path / "home"), list[Any](), wiring.sync_families, [Busy("locked")]

    def sync_when_free(*each: Any) -> None:
        synced.append(each)
        if len(synced) > 1 and locked:
            raise locked.pop()
        sync(*each)

    monkeypatch.setattr(wiring, "sync_families", sync_when_free)
    session, file = Session(settings.home), settings.families_dir / "triage" / "family.yaml"

    def families() -> Any:
        return session.look_again().ask(read_families).items

    assert [family.name for family in families() + families()] == ["triage", "triage"]
    assert len(synced) == 1, "as the store was opened, and not at each look"
    file.write_text(file.read_text().replace("Topic of a support request.", "Edited while it is open."))
    with pytest.raises(Busy):
        families()
    assert [family.description for family in families() + families()] == ["Edited while it is open."] * 2
    assert len(synced) == 3, "again after a locked store, and then no more"
    with serving(settings) as made, on_a_socket(made.app, settings) as url:
        for address in (url, url.replace("127.0.0.1", "localhost")):
            run_files.announce(settings, "api", address)
            assert families()
            assert session.server is not None
            assert session.server.url == address
            assert session.server is session.look_again().server
    run_files.withdraw(settings, "api")
    assert session.look_again().server is None


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A real server with a key of each ladder and an operator's; models may optimize and promote over it."""
    settings = make_home(tmp_path / "home", api={"mcp_allow": ["optimize", "promote"]})
    with serving(settings) as made, on_a_socket(made.app, settings) as url:
        for name, role in (("app", "feedback"), ("reader", "read"), ("boss", "admin")):
            made.add_key(name, role, secret=name)
        made.client.headers["Authorization"] = "Bearer boss"
        yield made, url


def over_http(url: str, key: str, walk: Any) -> None:
    """What the official client does at the server's address, with this key."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async def run() -> None:
        async with (
            create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http,
            streamable_http_client(f"{url}/mcp", http_client=http) as (read, write),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            await walk(client)

    anyio.run(run)


def test_over_http_the_official_client_does_what_the_role_of_its_key_may(open_server: tuple[World, str]) -> None:
    world, url = open_server
    rollout = world.deploying()["id"]
    answers: dict[str, Any] = {}

    async def as_app(client: Any) -> None:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert listed == {*ALWAYS, "optimize", "promote"}  # rollback is not allowed here
        answers["prompt"] = await client.call_tool("get_prompt", {"family": "triage", "unit": "u1"})
        token = json.loads(answers["prompt"].content[0].text)["assignment"]
        answers["feedback"] = await client.call_tool("record_feedback", {"assignment": token, "success": True})
        answers["app reads"] = await client.call_tool("status", {})
        answers["no family"] = await client.call_tool("get_prompt", {"unit": "u1"})

    async def as_reader(client: Any) -> None:
        answers["status"] = await client.call_tool("status", {})
        answers["reader promotes"] = await client.call_tool("promote", {"id": rollout})

    async def as_boss(client: Any) -> None:
        answers["past a gate"] = await client.call_tool("promote", {"id": rollout})
        answers["forced"] = await client.call_tool("promote", {"id": rollout, "confirm": "triage"})
        answers["without budget"] = await client.call_tool("optimize", {"family": "triage"})
        answers["not allowed"] = await client.call_tool("rollback_rollout", {"id": rollout})

    for key, walk in (("app", as_app), ("reader", as_reader), ("boss", as_boss)):
        over_http(url, key, walk)
    said = {name: answer.content[0].text for name, answer in answers.items()}
    assert json.loads(said["feedback"])["accepted"] == 1
    assert [family["name"] for family in json.loads(said["status"])["families"]] == ["triage"]
    assert not any(answers[name].is_error for name in ("prompt", "feedback", "status"))
    refused = {
        "app reads": "role",
        "no family": "needs a family",
        "reader promotes": "role",
        "past a gate": "inconclusive never ships",
        "forced": "no argument confirm",
        "without budget": "needs a budget",
        "not allowed": "api.mcp_allow",
    }
    for name, why in refused.items():
        assert (answers[name].is_error, why in said[name]) == (True, True), (name, said[name])
    assert world.get(f"/v1/rollouts/{rollout}").json()["status"] == "deploying"


def test_over_http_nobody_comes_in_without_a_key_and_without_the_package_it_says_what_to_install(
    open_server: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, url = open_server
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    assert httpx.post(f"{url}/mcp", json=initialize).status_code == 401
    assert httpx.post(f"{url}/mcp", json=initialize, headers={"X-API-Key": "wrong"}).status_code == 401
    assert httpx.get(f"{url}/mcp", headers={"X-API-Key": "app"}).status_code == 405
    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http_manager", None)
    missing = httpx.post(f"{url}/mcp", json=initialize, headers={"X-API-Key": "app"})
    assert (missing.status_code, missing.json()["type"]) == (501, "/problems/package-missing")
    assert "pip install 'mcp" in missing.json()["detail"]
    assert world.get("/health").status_code == 200


def called(world: World, tool: str, headers: Sequence[tuple[str, str]] = ()) -> Any:
    """What one call of a tool answers over HTTP."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    headers = [("Accept", "application/json, text/event-stream"), *headers]
    answer = world.client.post("/mcp", json=call, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_tools_leave_the_routes_their_threads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.mcp.WAIT_S", 5.0)
    assert world.client.portal is not None
    threads = world.client.portal.call(anyio.to_thread.current_default_thread_limiter)
    monkeypatch.setattr(threads, "total_tokens", 1)
    assert not called(world, "list_studies")["isError"]


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
def test_tools_are_asked_by_the_key_that_was_admitted_and_by_no_later_one(world: World, name: str) -> None:
    now = world.shared.clock.now()
    access, open_until = access_of(["serve"], now=now), now + timedelta(hours=1)
    world.shared.store.write(
        lambda tx: world.shared.store.api_keys.add(tx, "app", access, hash_of("app"), now, keyless_until=open_until)
    )
    world.shared.serving.refresh()
    assert not called(world, "list_studies")["isError"]  # open to this machine without a key
    key = "app" if name == "X-API-Key" else "Bearer app"
    answer = called(world, "list_studies", [(name, key), (name, "")])
    assert (answer["isError"], "role" in answer["content"][0]["text"]) == (True, True), answer


def test_a_tool_that_waited_in_vain_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_at_once = httpx.ASGITransport.handle_async_request

    async def answer_late(*request: Any) -> httpx.Response:
        await anyio.sleep(1)
        return await answer_at_once(*request)

    monkeypatch.setattr("api.routes.mcp.WAIT_S", 0.0)
    monkeypatch.setattr(httpx.ASGITransport, "handle_async_request", answer_late)
    answer = called(world, "list_studies")
    assert (answer["isError"], "no answer within" in answer["content"][0]["text"]) == (True, True), answer


def test_each_request_counts_in_the_minute_of_its_key(world: World) -> None:
    world.add_key("reader", "read", secret="reader", limits={"requests_per_minute": 2})
    world.client.headers["Authorization"] = "Bearer reader"
    world.client.headers["Accept"] = "application/json, text/event-stream"
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answered = [world.post("/mcp", listing).status_code for _ in range(5)]  # across a minute's end four pass
    assert (answered[0], 429 in answered) == (200, True)


def tools(world: World, *allowed: str) -> dict[str, Any]:
    server = ApiClient("http://here", http=world.client)
    return {tool.name: tool for tool in tools_of(lambda: OverHttp(server), lambda: server, allowed=allowed)}


def test_a_prompt_is_fetched_and_its_outcome_counts_in_its_arm(world: World) -> None:
    told, rollout = tools(world), world.deploying()
    served = set()
    for unit in ("Zoë, 山田", *(f"u{i}" for i in range(20))):
        prompt = told["get_prompt"].call({"family": "triage", "unit": unit})
        filled_in = told["get_prompt"].call({"family": "triage", "unit": unit, "variables": {"text": "A question."}})
        assert "A question." in json.dumps(filled_in["messages"])
        assert [filled_in[name] for name in ARM] == [prompt[name] for name in ARM]
        served.add(prompt["variant"])
    assert served == {rollout["champion"], rollout["candidate"]}
    assert told["record_feedback"].call({"assignment": prompt["assignment"], "success": True})["accepted"] == 1
    (event,) = world.client.get("/v1/feedback?family=triage").json()["items"]
    assert (event["variant"], event["rollout"], event["success"]) == (prompt["variant"], rollout["id"], True)


def test_the_page_names_every_tool_beside_the_act_that_allows_it(world: World) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "use-over-mcp.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+`) \| (.+) \|$", page, re.MULTILINE)
    documented = [(set(re.findall(r"`(\w+)`", names)), does) for names, does in rows]
    for act, functions in ACTS.items():
        assert [names for names, does in documented if f"`--allow {act}`" in does] == [set(functions)]
    assert [names for names, does in documented if does == "reads"] == [{*ALWAYS} - {"get_prompt", "record_feedback"}]
    assert sorted(name for names, _ in documented for name in names) == sorted(tools(world, *ACTS))


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
