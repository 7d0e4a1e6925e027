"""The first key shuts the door to everything without one: that is said before, and can be taken back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.host.config import load_settings
from optimizer.host.run_files import announce
from tests.api_world import World, make_home, serving
from tests.command_line import detent


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    with serving(make_home(tmp_path)) as running:
        yield running


def status(world: World) -> int:
    world.shared.serving.refresh()
    return int(world.get("/v1/families").status_code)


def test_the_first_key_is_warned_of_and_its_undo_lets_the_keyless_in_again(world: World) -> None:
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
