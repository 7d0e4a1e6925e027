"""Who is answered: without keys, with one of each role, with one that has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api import lifecycle
from api.feedback import create_feedback
from api.http.forwarding import SERVING_VERSION
from tests.stores import writing
from tests.worlds.api_world import World, make_home, serving


def test_without_keys_only_this_machine_is_answered(tmp_path: Path) -> None:
    with serving(make_home(tmp_path), host="192.0.2.7") as world:
        assert world.get("/health").status_code == 200
        for path in ("/v1/families", "/v1/families/triage/prompt", "/v1/models", "/metrics"):
            assert world.get(path).status_code == 403


def test_a_key_is_taken_from_either_header_and_its_name_is_the_actor(world: World) -> None:
    world.add_key("deploy-bot", "operate", secret="s3cret")
    assert world.get("/v1/families", headers={"X-API-Key": "wrong"}).status_code == 401
    made = world.post(
        "/v1/families/triage/variants",
        {"messages": [{"role": "user", "content": "{{text}}?"}]},
        headers={"X-API-Key": "s3cret"},
    )
    assert made.json()["created_by"] == "deploy-bot"


def test_another_process_of_the_server_knows_a_key_as_soon_as_the_one_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "POLL_S", 3600.0)
    settings = make_home(tmp_path)
    with serving(settings) as world, TestClient(create_feedback(settings), client=("127.0.0.1", 50000)) as behind:
        made = world.post(
            "/v1/keys", {"name": "app", "roles": ["feedback"], "close_keyless_from": "2026-01-01T00:00:00Z"}
        ).json()
        version = str(world.shared.serving.now_served.version)
        told = {"Authorization": f"Bearer {made['secret']}", SERVING_VERSION.decode(): version}
        event = {"family": "triage", "unit": "u", "success": True}
        wrong_key = {**told, "Authorization": "Bearer other"}
        assert behind.post("/v1/feedback", json=event, headers=told).json()["accepted"] == 1
        assert behind.post("/v1/feedback", json=event, headers=wrong_key).status_code == 401


def test_revoking_the_last_key_does_not_open_the_server(world: World) -> None:
    world.add_key("only", "read", secret="s3cret")
    store = world.shared.store
    writing(store).api_keys.revoke("only", datetime.now(UTC))
    world.shared.serving.refresh()
    assert world.get("/v1/families").status_code == 401
    assert world.get("/v1/families", headers={"X-API-Key": "s3cret"}).status_code == 401


def test_a_key_ends_when_its_time_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    world.add_key("guest", "serve", secret="s3cret", expires_at=now + timedelta(hours=1))
    bearer = {"Authorization": "Bearer s3cret"}
    assert world.get("/v1/families/triage/prompt", headers=bearer).status_code == 200
    monkeypatch.setattr(world.shared.clock, "now", lambda: now + timedelta(hours=1))
    over = world.get("/v1/families/triage/prompt", headers=bearer)
    assert (over.status_code, "expired" in over.json()["detail"]) == (401, True)


def test_an_old_secret_ends_with_its_grace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_key("boss", "admin", secret="s3cret")
    boss = {"Authorization": "Bearer s3cret"}
    first = world.post("/v1/keys", {"name": "app", "roles": ["serve"]}, headers=boss).json()["secret"]
    second = world.post("/v1/keys/app/rotate", {"grace_s": 60}, headers=boss).json()["secret"]

    def status(secret: str) -> int:
        return int(world.get("/v1/families/triage/prompt", headers={"X-API-Key": secret}).status_code)

    assert (status(first), status(second)) == (200, 200)
    again = world.post("/v1/keys/app/rotate", {"grace_s": 60}, headers=boss)
    assert (again.status_code, "--undo" in again.json()["detail"]) == (409, True)
    assert (status(first), status(second)) == (200, 200), "as long as was promised"
    later = datetime.now(UTC) + timedelta(seconds=61)
    monkeypatch.setattr(world.shared.clock, "now", lambda: later)
    assert (status(first), status(second)) == (401, 200)


def test_after_a_few_wrong_keys_an_address_waits_and_a_right_key_does_not(world: World) -> None:
    world.add_key("app", "serve", secret="s3cret")
    wrong, right = {"X-API-Key": "wrong"}, {"X-API-Key": "s3cret"}
    answers = [world.get("/v1/families/triage/prompt", headers=wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert int(answers[5].headers["retry-after"]) >= 1
    assert world.get("/v1/families/triage/prompt", headers=right).status_code == 200
    assert world.get("/v1/families/triage/prompt").status_code == 401  # no key at all is nobody's guess
