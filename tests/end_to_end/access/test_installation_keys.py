"""The installation's own keys are rotated while it serves: what was signed and stored before still counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.access.auth import Caller
from optimizer.adapters.files.secrets import Secrets
from optimizer.core.serving.access import EVERYTHING
from optimizer.host.run_files import announce
from optimizer.jobs.upkeep.forget_person import carry_out_forgetting
from optimizer.runtime.personal_home import forgetting_home, forgotten_in
from tests.command_line import detent
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

ROTATE = "/v1/installation-keys/{}/rotate"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("DETENT_TOKEN_KEYS", raising=False)
    with serving(make_home(tmp_path)) as running:
        yield running


def fetched(world: World, unit: str) -> str:
    return str(world.get("/v1/families/triage/prompt", params={"unit": unit}).json()["assignment"])


def sent(world: World, **event: Any) -> dict[str, Any]:
    answer: dict[str, Any] = world.post("/v1/feedback", event).json()
    return answer


def audited(world: World) -> list[dict[str, Any]]:
    entries = world.get("/v1/audit").json()["items"]
    return [entry for entry in entries if entry["action"] == "installation_key.rotate"]


def test_a_token_key_is_rotated_while_it_serves_and_tokens_from_before_stay_valid(world: World):
    before = fetched(world, "ann")
    dry = world.post(ROTATE.format("token"), {"dry_run": True}).json()
    assert (dry["changed"], dry["first"]) == (False, [])
    assert dry["key"] == world.shared.secrets.token_keys[0][0]
    report = world.post(ROTATE.format("token"), {}).json()
    assert report["changed"]
    assert report["key"] != dry["key"]
    world.shared.serving.refresh()
    after = fetched(world, "ann")
    assert [key for key, _ in world.shared.serving.token_keys] == [report["key"], dry["key"]]
    for token in (before, after):
        assert sent(world, assignment=token, unit="ann", success=True)["accepted"] == 1
    assert [(entry["subject"], entry["detail"]["kind"]) for entry in audited(world)] == [(report["key"], "token")]


def test_a_process_that_was_not_told_yet_knows_a_token_of_the_new_key(world: World, monkeypatch: pytest.MonkeyPatch):
    """Another process has rotated and signed: this one reads the keys when it meets a token that it does not know."""
    monkeypatch.setattr(world.shared.serving, "refresh", lambda: None)
    monkeypatch.setattr(world.shared.serving, "on_new_version", [])
    monkeypatch.setattr("api.services.READ_KEYS_AGAIN_S", 0.0)
    own = world.shared.secrets
    assert world.post(ROTATE.format("token"), {}).status_code == 200
    world.shared.read_keys()
    new_token = fetched(world, "ann")
    world.shared._use(own)
    assert sent(world, assignment=new_token, success=True)["accepted"] == 1
    forged = new_token[:-4] + "AAAA"
    assert sent(world, assignment=forged, success=True)["rejected"][0]["type"] == "forged_token"


def test_a_unit_key_waits_for_rollouts_and_holdbacks(world: World):
    rollout = world.deploying()
    key = world.shared.secrets.unit_key
    refusal = world.post(ROTATE.format("unit"), {})
    assert refusal.status_code == 409
    assert "detent rollout rollback triage" in refusal.json()["detail"]
    dry = world.post(ROTATE.format("unit"), {"dry_run": True}).json()
    assert (bool(dry["first"]), dry["what"]) == (True, "would not be rotated")
    promoted = world.post(f"/v1/rollouts/{rollout['id']}/promote", {"reason": "well", "confirm": "triage"})
    assert promoted.status_code == 200, promoted.text
    refusal = world.post(ROTATE.format("unit"), {})
    assert refusal.status_code == 409
    assert "The holdback of triage" in refusal.json()["detail"]
    assert Secrets.load(world.settings.var() / "keys").unit_keys == (key,)
    assert audited(world) == []


def test_a_person_of_before_and_after_a_rotation_counts_and_is_forgotten_under_both_keys(world: World):
    token = fetched(world, "ann")
    served = {"id": "in_before", "assignment": token, "unit": "ann", "input": {"text": "old text"}, "output": "billing"}
    assert sent(world, **served, conversation="ann")["accepted"] == 1
    report = world.post(ROTATE.format("unit"), {}).json()
    assert "found by the older one" in report["what"], report
    world.shared.serving.refresh()
    assert len(world.shared.secrets.unit_keys) == 2
    outcomes = [
        {"assignment": token, "unit": "ann", "success": True},
        {"family": "triage", "interaction": "in_before", "unit": "ann", "success": True},
    ]
    for outcome in outcomes:
        assert sent(world, **outcome)["accepted"] == 1, outcome
    stranger = {"family": "triage", "interaction": "in_before", "unit": "bob", "success": True}
    assert sent(world, **stranger)["rejected"][0]["type"] == "assignment_mismatch"
    late = {"id": "in_after", "family": "triage", "unit": "ann", "variant": world.champion(), "output": "billing"}
    assert sent(world, **late, conversation="ann")["accepted"] == 1
    old, new = world.shared.older_hmacs("ann")[0], world.shared.hmac_unit("ann")
    with sqlite3.connect(world.settings.var() / "detent.db") as store:
        stored = dict(store.execute("SELECT id, unit_hmac FROM interactions"))
        assert stored == {"in_before": old, "in_after": new}
        conversations = dict(store.execute("SELECT id, conversation FROM interactions"))
        assert conversations == {"in_before": old, "in_after": new}  # never the unit as it was sent

    shared = world.shared
    run = world.client.delete("/v1/units/ann", params={"confirm": "ann"}).json()
    home = forgetting_home(world.settings, shared.store, shared.clock, shared.families)
    assert carry_out_forgetting(run["id"], home).status == "finished"
    assert set(forgotten_in(world.settings.var() / "forgotten.jsonl")) == {old, new}
    for file in world.settings.var().glob("detent.db*"):
        content = file.read_bytes()
        assert not any(mark in content for mark in (old.encode(), new.encode(), b"old text", b"in_before")), file


def test_a_context_from_before_a_rotation_knows_all_keys_of_after_it(world: World):
    """Else who is forgotten by it would be looked for under the older key alone."""
    context = world.shared.context(Caller(actor="ann", access=EVERYTHING, quota="ann"))
    before = world.shared.hmac_unit("ann")
    assert world.post(ROTATE.format("unit"), {}).status_code == 200
    world.shared.read_keys()
    assert context.hmac_unit("ann") == world.shared.hmac_unit("ann") != before
    assert context.older_hmacs("ann") == [before]


def test_keys_in_the_environment_are_rotated_there(tmp_path: Path):
    settings = make_home(tmp_path, token_keys=f"mine:{'ab' * 32}")
    with serving(settings) as world:
        refusal = world.post(ROTATE.format("token"), {})
        assert refusal.status_code == 409
        assert "DETENT_TOKEN_KEYS" in refusal.json()["detail"]


def test_the_command_rotates_one_thing_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DETENT_HOME", str(world.settings.home))
    with on_a_socket(world.app, world.settings) as url:
        announce(world.settings, "api", url)
        for words in ((), ("web", "--token"), ("--token", "--unit"), ("--unit", "--undo"), ("web", "--dry-run")):
            assert detent("keys", "rotate", *words).code == 2, words
        dry = detent("keys", "rotate", "--unit", "--dry-run")
        assert (dry.code, "would be rotated" in dry.err) == (0, True), dry
        ran = detent("keys", "rotate", "--token")
        assert (ran.code, "The token key is k" in ran.err, "Undo: none" in ran.err) == (0, True, True), ran
