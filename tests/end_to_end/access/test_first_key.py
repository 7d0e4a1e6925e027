"""The first key shuts the door to everything without one: that is said before, and can be taken back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from api.access.callers import MOST_NAMED, CallerCounts
from optimizer.adapters.store.repositories.api_keys import MOST_CALLERS
from optimizer.core.serving.access import COMMAND_LINE
from optimizer.host.config import load_settings
from optimizer.host.run_files import announce
from optimizer.runtime.api_client import ApiClient
from tests.command_line import detent
from tests.worlds.api_world import World, make_home, serving


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    with serving(make_home(tmp_path)) as running:
        yield running


def seen(world: World) -> None:
    """What the server does every ten seconds: writes who came."""
    world.shared.callers.flush(world.shared.store, world.shared.clock.now())


def status(world: World) -> int:
    world.shared.serving.refresh()
    return int(world.get("/v1/families").status_code)


def test_the_first_key_is_warned_of_and_its_undo_lets_the_keyless_in_again(world: World) -> None:
    world.client.headers["User-Agent"] = COMMAND_LINE  # which is no caller that the act would ask about
    assert status(world) == 200
    made = detent("keys", "create", "web")
    assert made.code == 0
    assert made.err.index("applications, scripts and browsers that send none get 401") < made.err.index("Key web made")
    assert "detent keys revoke web --reopen" in made.err.split("Undo:")[1]
    assert status(world) == 401
    taken_back = detent("keys", "revoke", "web", "--reopen")
    assert (taken_back.code, "requests from this machine need no key again" in taken_back.err) == (0, True), (
        taken_back.err
    )
    assert status(world) == 200
    assert detent("keys", "list", "--json").json["items"] == []


def test_the_second_key_is_not_warned_of_and_no_key_reopens_beside_another(world: World) -> None:
    detent("keys", "create", "web")
    second = detent("keys", "create", "app")
    assert "401" not in second.err
    assert "--reopen" not in second.err
    refused = detent("keys", "revoke", "web", "--reopen")
    assert (refused.code, "There are other keys (app)" in refused.err) == (1, True), refused.err
    detent("keys", "revoke", "app")
    assert detent("keys", "revoke", "web", "--reopen").code == 1, "a revoked one is no reason to open the door"
    assert status(world) == 401


def test_a_first_key_that_would_shut_out_a_running_program_is_asked_about_and_names_it(world: World) -> None:
    app = {"User-Agent": "shop/1.2"}
    for _ in range(3):
        world.get("/v1/families/triage/prompt?unit=u", headers=app)
    world.post("/v1/feedback", {"family": "triage", "unit": "u", "success": True}, headers=app)
    seen(world)
    refused = detent("keys", "create", "web", "--json")
    assert (refused.code, "shop/1.2 (4 requests, last" in refused.err) == (3, True), refused.err
    assert refused.json["error"]["callers"][0]["name"] == "shop/1.2"
    assert status(world) == 200, "no key was made"
    seen(world)
    over_rest = world.post("/v1/keys", {"name": "web", "roles": ["serve"]})
    assert (over_rest.status_code, over_rest.json()["callers"][0]["name"]) == (409, "testclient"), over_rest.text
    made = detent("keys", "create", "web", "--close-keyless")
    assert (made.code, "shop/1.2" in made.err) == (0, True), made.err
    assert status(world) == 401


def test_programs_without_a_key_go_on_until_the_time_that_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.get("/v1/families/triage/prompt?unit=u")
    seen(world)
    secret = detent("keys", "create", "web", "--role", "serve", "--close-keyless-from", "24h").out.strip()
    assert status(world) == 200
    assert world.get("/v1/families", headers={"Host": "elsewhere.example"}).status_code == 403, "by the same door"
    assert world.get("/v1/families", headers={"X-API-Key": "wrong"}).status_code == 401
    assert world.get("/v1/families", headers={"X-API-Key": secret}).status_code == 403, "a key is what it is"
    now = world.shared.clock.now()
    with monkeypatch.context() as later:
        later.setattr(world.shared.clock, "now", lambda: now + timedelta(hours=25))
        assert status(world) == 401
    assert status(world) == 200
    detent("keys", "create", "app", "--close-keyless")
    assert status(world) == 401, "a later key closes it earlier"
    detent("keys", "create", "third", "--close-keyless-from", "24h")
    assert status(world) == 401, "and never opens it"


def test_where_nobody_came_without_a_key_nothing_is_asked(world: World) -> None:
    server = ApiClient("http://localhost", http=world.client)
    world.client.headers["User-Agent"] = COMMAND_LINE
    assert server.content("GET", "/v1/families")
    seen(world)
    assert detent("keys", "create", "web").code == 0, "the command line itself is no program that is shut out"


def test_status_tells_of_refused_callers(world: World) -> None:
    world.add_key("boss", "admin", secret="boss")
    world.add_key("other", "read", secret="other", families=["elsewhere"])
    world.get("/v1/families", headers={"User-Agent": "shop/1.2"})
    world.get("/v1/families", headers={"User-Agent": "shop/1.2", "X-API-Key": "old"})
    world.get("/v1/families", headers={"User-Agent": "shop\x01" + "x" * 500})
    seen(world)
    told = detent("status")
    assert "Refused   shop/1.2 from 127.0.0.1, no key: 1 request, last" in told.out
    assert "Refused   shop/1.2 from 127.0.0.1, a wrong key: 1 request, last" in told.out
    shown = world.get("/v1/status", headers={"X-API-Key": "boss"}).json()
    assert {one["name"][:30] for one in shown["refused_callers"]} >= {"shop/1.2 from 127.0.0.1, no ke"}
    assert "shop" + "x" * 76 + " from 127.0.0.1, no key" in {one["name"] for one in shown["refused_callers"]}
    assert shown["keyless_callers"] == []
    narrow = world.get("/v1/status", headers={"X-API-Key": "other"}).json()
    assert narrow["refused_callers"] == [], "a key for named families learns nothing of the rest"


def test_whoever_makes_up_names_fills_no_store(world: World) -> None:
    world.add_key("boss", "admin", secret="boss")
    counts = CallerCounts()  # not the server's, which it writes in the middle of a round
    for n in range(150):
        counts.count("refused", f"made up {n}")
    counts.flush(world.shared.store, world.shared.clock.now())
    refused = world.get("/v1/status", headers={"X-API-Key": "boss"}).json()["refused_callers"]
    assert sum(one["n_requests"] for one in refused) == 150
    assert len(refused) == MOST_NAMED + 1


def test_a_server_that_others_reach_is_not_opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    detent("keys", "create", "web")
    monkeypatch.setenv("DETENT_HOST", "0.0.0.0")
    refused = detent("keys", "revoke", "web", "--reopen")
    assert (refused.code, "all of them would be let in" in refused.err) == (3, True), refused.err
    monkeypatch.delenv("DETENT_HOST")
    assert status(world) == 401


def test_a_server_that_was_started_for_others_in_another_shell_is_not_opened(world: World, tmp_path: Path) -> None:
    detent("keys", "create", "web")
    with socket.create_server(("0.0.0.0", 0)) as listening:
        announce(load_settings("dev", tmp_path), "api", f"http://127.0.0.1:{listening.getsockname()[1]}")
        refused = detent("keys", "revoke", "web", "--reopen")
    assert (refused.code, "all of them would be let in" in refused.err) == (3, True), refused.err
    assert status(world) == 401


def test_names_that_a_stranger_makes_up_leave_room_for_those_that_come_again(world: World) -> None:
    counts = CallerCounts()  # not the server's, which it writes in the middle of a round
    for round in range(3):
        for n in range(MOST_NAMED + 10):
            counts.count("keyless", f"stranger {round}-{n}")
        for _ in range(2):
            counts.count("keyless", "shop/1.2")
        counts.flush(world.shared.store, world.shared.clock.now())
    named = {one["name"]: one["n_requests"] for one in world.get("/v1/status").json()["keyless_callers"]}
    assert named["shop/1.2"] == 6
    assert len(named) <= MOST_CALLERS
    assert named["others"] >= 3 * 10
