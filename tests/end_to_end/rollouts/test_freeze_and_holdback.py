"""Freezing, and the week after a promotion, as clients and operators meet them: a real store,
the worker's tick, the API.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from optimizer.cli.rollout.picture import picture
from optimizer.core.base.errors import Conflict
from optimizer.core.serving import attribution
from optimizer.core.serving.assignment import bucket, in_candidate, in_holdback, verify_token
from optimizer.core.views.rollout_status import FamilyRollout
from optimizer.jobs.champions.watch_switch import SwitchWatcher
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.rollouts.read_rollout import read_rollout_status
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import wiring
from tests.command_line import detent
from tests.rows.rollout_acts import adopt_file_version
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.contexts import context_of

PROMPT = "/v1/families/triage/prompt"
STUDY = {"budget": {"calls": 2000}, "definition": {"n_train": 20, "n_dev": 10, "n_holdout": 10}}


def prompt(world: World, unit: str) -> dict[str, Any]:
    served: dict[str, Any] = world.get(PROMPT, params={"unit": unit}).json()
    return served


def candidate_unit(rollout: dict[str, Any]) -> str:
    return next(f"u{i}" for i in range(1000) if in_candidate(bucket(rollout["salt"], f"u{i}"), 0.5))


def unit_of(rollout: dict[str, Any], *, held_back: bool) -> str:
    return next(f"u{i}" for i in range(1000) if in_holdback(bucket(rollout["salt"], f"u{i}")) is held_back)


def done(world: World, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = world.post(path, body)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def freeze(world: World, family: str | None = "triage") -> dict[str, Any]:
    return done(world, "/v1/freeze", {**({"family": family} if family else {}), "reason": "launch day"})


def unfreeze(world: World, family: str | None = "triage") -> dict[str, Any]:
    return done(world, "/v1/unfreeze", {**({"family": family} if family else {}), "reason": "over"})


def status_of(world: World) -> FamilyRollout:
    context = context_of(world.shared.store, world.shared.clock, families=lambda: world.shared.families)
    return read_rollout_status(context, FamilyRequest(family="triage"))


def promoted(world: World) -> dict[str, Any]:
    return done(world, f"/v1/rollouts/{world.deploying()['id']}/promote", {"reason": "good", "confirm": "triage"})


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, Any]]]:
    """A promotion whose holdback no test ends."""
    with serving(make_home(tmp_path_factory.mktemp("held"))) as world:
        yield world, promoted(world)


def edited(world: World) -> Any:
    """The family with another prompt in its file."""
    definition = world.shared.family("triage")
    version = definition.prompt.versions["1"]
    content = [{"role": "user", "content": "One word: {{text}}"}]
    versions = {"1": version.model_copy(update={"content": content})}
    return definition.model_copy(update={"prompt": definition.prompt.model_copy(update={"versions": versions})})


def adopt(world: World, **given: Any) -> None:
    shared = world.shared
    adopt_file_version(edited(world), actor="ann", confirm="triage", store=shared.store, clock=shared.clock, **given)


def adopted(world: World, *, holdback: bool = True) -> dict[str, Any]:
    """An edit of the file, served by force in place of a champion of which 200 outcomes are known."""
    usual = {"family": "triage", "variant": world.champion()}
    outcomes = [{**usual, "unit": f"before-{i}", "success": i % 8 > 0} for i in range(200)]
    assert world.post("/v1/feedback", outcomes).json()["accepted"] == 200
    adopt(world, holdback=holdback)
    world.shared.serving.refresh()
    rollout: dict[str, Any] = world.get("/v1/families/triage/rollout").json()
    return rollout


# --- freeze -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["triage", None], ids=["one family", "all families"])
def test_a_frozen_family_serves_its_champion_to_everybody_at_once(world: World, scope: str | None) -> None:
    rollout = world.deploying()
    unit = candidate_unit(rollout)
    world.client.put("/v1/families/triage/overrides/tester", json={"variant": rollout["candidate"]})
    assert [prompt(world, u)["variant"] for u in (unit, "tester")] == [rollout["candidate"]] * 2
    report = freeze(world, scope)
    told = report["family"], report["changed"], report["undo"]
    assert told == (scope, True, f"detent unfreeze {scope or ''}".strip())
    assert rollout["id"] in report["what"]
    for served in (prompt(world, unit), prompt(world, "tester")):
        assert (served["variant"], served["role"]) == (rollout["champion"], "champion")
        assert (served["rollout"], served["lease_expires_at"]) == (None, None)
    assert world.get("/v1/snapshot").json()["families"]["triage"]["rollout"] is None
    status = world.get("/v1/status").json()
    assert status["frozen"] is (scope is None)
    assert [(one["family"], one["reason"]) for one in status["freezes"]] == [(scope, "launch day")]
    assert status["families"][0]["frozen"] is True


def test_a_freeze_survives_a_restart_and_no_tick_ends_it(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        rollout = world.deploying()
        freeze(world)
    with serving(settings) as world:
        world.tick()
        assert prompt(world, candidate_unit(rollout))["role"] == "champion"
        assert world.get(f"/v1/rollouts/{rollout['id']}").json()["status"] == "deploying"
        assert [alert["kind"] for alert in world.get("/v1/alerts").json()["items"]] == ["frozen"]
        unfreeze(world)
        world.tick()
        assert prompt(world, candidate_unit(rollout))["role"] == "candidate"
        assert world.get("/v1/alerts").json()["items"] == []


def test_an_approved_rollout_does_not_begin_while_frozen(world: World) -> None:
    id = world.start(world.candidate())["id"]
    world.post(f"/v1/rollouts/{id}/approve")
    freeze(world)
    world.tick()
    assert world.get(f"/v1/rollouts/{id}").json()["status"] == "approved"
    unfreeze(world)
    world.tick()
    assert world.get(f"/v1/rollouts/{id}").json()["status"] == "deploying"


def test_a_freeze_stops_every_way_up_says_who_froze_and_what_ends_it_and_stops_no_way_down(world: World) -> None:
    rollout = world.deploying()
    freeze(world, None)
    for act in ("approve", "advance", "resume", "promote"):
        refused = world.post(f"/v1/rollouts/{rollout['id']}/{act}", {"confirm": "triage"})
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict"), act
        assert refused.json()["frozen_by"] == world.shared.actor_without_key
        assert refused.json()["undo"] == "detent unfreeze"
        assert "launch day" in refused.json()["detail"]
    for act in ("hold", "rollback"):
        assert world.post(f"/v1/rollouts/{rollout['id']}/{act}").status_code == 200, act


def test_a_rollout_can_be_rejected_and_a_champion_taken_back_while_frozen(world: World) -> None:
    before = world.champion()
    promoted(world)
    id = world.start(world.candidate("Other?"))["id"]
    freeze(world)
    assert world.post(f"/v1/rollouts/{id}/reject").status_code == 200
    assert world.post("/v1/families/triage/champion/rollback").status_code == 200
    assert prompt(world, "u")["variant"] == before


def test_nothing_new_begins_while_frozen(world: World) -> None:
    world.add_examples(120)
    candidate = world.candidate()
    freeze(world)
    for path, body in (("rollouts", {"variant": candidate, "confirm": "triage"}), ("studies", STUDY)):
        refused = world.post(f"/v1/families/triage/{path}", body)
        assert (refused.status_code, refused.json()["undo"]) == (409, "detent unfreeze triage")
    world.report()
    assert world.post("/v1/families/triage/rollouts", {"variant": candidate, "dry_run": True}).status_code == 200
    assert world.post("/v1/families/triage/studies", {**STUDY, "dry_run": True}).status_code == 200
    unfreeze(world)
    assert world.post("/v1/families/triage/studies", STUDY).status_code == 202


def test_a_file_edit_waits_for_the_end_of_a_freeze(world: World) -> None:
    before = world.champion()
    freeze(world)
    with pytest.raises(Conflict, match="detent unfreeze triage"):
        adopt(world)
    for _ in range(2):
        [sync] = sync_families({"triage": edited(world)}, world.shared.store, world.shared.clock, serve_file_edits=True)
        assert (sync.champion, sync.promoted) == (before, False)


def test_freezing_and_unfreezing_again_is_no_error_and_changes_nothing(world: World) -> None:
    first, again = freeze(world), freeze(world)
    assert (first["changed"], again["changed"]) == (True, False)
    assert first["freezes"] == again["freezes"]
    assert [alert["kind"] for alert in world.get("/v1/alerts").json()["items"]] == ["frozen"]
    ended, once_more = unfreeze(world), unfreeze(world)
    assert (ended["changed"], once_more["changed"], once_more["freezes"]) == (True, False, [])
    assert once_more["what"] == "triage is not frozen by itself"
    assert unfreeze(world, None)["what"] == "there is no freeze of all families"
    actions = [entry["action"] for entry in world.get("/v1/audit").json()["items"]]
    assert (actions.count("freeze"), actions.count("unfreeze")) == (1, 1)


def test_a_family_stays_frozen_while_all_are(world: World) -> None:
    freeze(world)
    freeze(world, None)
    ended = unfreeze(world)
    assert ended["what"].endswith("; still frozen: every family")
    assert ended["next"] == "detent unfreeze"
    assert world.get("/v1/status").json()["families"][0]["frozen"] is True
    unfreeze(world, None)
    assert world.get("/v1/status").json()["families"][0]["frozen"] is False


def test_no_limit_of_changes_refuses_a_freeze(tmp_path: Path) -> None:
    with serving(make_home(tmp_path, limits={"operator_per_minute": 1})) as world:
        for _ in range(3):
            freeze(world)
        unfreeze(world)


# --- holdback ---------------------------------------------------------------------------------------------------------


def test_after_a_promotion_the_contracts_five_percent_stay_on_the_champion_before_and_are_counted_there(
    held: tuple[World, dict[str, Any]],
) -> None:
    world, rollout = held
    roles = []
    for i in range(200):
        served = prompt(world, f"unit-{i}")
        is_held_back = in_holdback(bucket(rollout["salt"], f"unit-{i}"))
        roles.append(served["role"])
        assert (served["variant"], served["role"]) == (
            (rollout["champion"], "holdback") if is_held_back else (rollout["candidate"], "champion")
        )
        assert (served["rollout"], served["stage"], served["lease_expires_at"]) == (rollout["id"], None, None)
        token = verify_token(served["assignment"], world.shared.secrets.token_keys, datetime.now(UTC))
        assert (token.role, token.rollout, token.stage) == (served["role"], rollout["id"], None)
        assert token.cohort_start is not None
        assert token.cohort_start.minute == 0
    assert 0 < roles.count("holdback") < 40
    without = world.get(PROMPT).json()
    assert (without["variant"], without["role"], without["rollout"]) == (rollout["candidate"], "champion", None)
    world.shared.exposures.flush(world.shared.store)
    with world.shared.store.read() as tx:
        totals = world.shared.store.exposures.totals(tx, "triage", rollout["id"])
    counted = {(arm.variant, arm.stage) for arm in totals}
    assert {(rollout["champion"], None), (rollout["candidate"], None)} <= counted


def test_an_adopted_edit_leaves_five_percent_on_the_champion_before_and_is_on_record_as_forced(world: World) -> None:
    before = world.champion()
    rollout = adopted(world)
    assert (rollout["status"], rollout["outcome"], rollout["forced"]) == ("deployed", "promoted", True)
    for held_back in (True, False):
        served = prompt(world, unit_of(rollout, held_back=held_back))
        assert (served["variant"] == before, served["rollout"], served["stage"]) == (held_back, rollout["id"], None)
    entry = world.get("/v1/snapshot").json()["families"]["triage"]
    assert (entry["holdback"]["variant"], entry["holdback"]["rollout"]) == (before, rollout["id"])
    decisions = world.get(f"/v1/rollouts/{rollout['id']}/decisions").json()["items"]
    acts = [(one["kind"], one["actor"], one["forced"]) for one in decisions]
    assert acts == [("start", "ann", True), ("adopt", "ann", True)]
    for _ in range(2):
        world.tick()
        assert verify_rollout(rollout["id"], world.shared.store).problems == ()
    assert world.get("/v1/families/triage/history").json()["items"][-1]["rollout"] == rollout["id"]


@pytest.mark.parametrize("ends_it", ["champion rollback", "rollout start", "no holdback"])
def test_a_rollback_a_new_rollout_and_the_wish_for_none_end_the_holdback_of_an_adoption(
    world: World, ends_it: str
) -> None:
    rollout = adopted(world, holdback=ends_it != "no holdback")
    if ends_it == "champion rollback":
        world.post("/v1/families/triage/champion/rollback", {"reason": "bad"})
    elif ends_it == "rollout start":
        world.start(world.candidate("Other?"))
    units = [unit_of({"salt": "none", **rollout}, held_back=True), "u1", "u2"]
    champion = world.champion()
    assert {prompt(world, unit)["variant"] for unit in units} == {champion}
    assert world.get("/v1/snapshot").json()["families"]["triage"]["holdback"] is None


def test_status_shows_the_holdback_and_the_watch_of_an_adopted_edit_until_they_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(world.shared.settings.home))
    monkeypatch.setenv("COLUMNS", "600")

    def watched() -> str | None:
        (family,) = (one for one in detent("status", "--json").json["families"] if one["family"] == "triage")
        assert ("Watched   triage: " in detent("status").out) == (family["watched"] is not None)
        said: str | None = family["watched"]
        return said

    assert watched() is None
    before = world.champion()
    adopted(world)
    said = watched()
    assert said is not None
    assert f"5% of the users keep {before} until " in said
    assert "watched until" in said
    assert said.endswith("(back: detent champion rollback triage)")
    SwitchWatcher(world.shared.store, world.shared.clock).look(world.shared.families.families)
    assert "an alert tells when they are worse" in str(watched())
    assert world.post("/v1/families/triage/champion/rollback", {"reason": "no"}).status_code == 200
    assert watched() is None


def test_the_snapshot_holds_what_a_client_needs_to_hold_back_like_the_server(
    held: tuple[World, dict[str, Any]],
) -> None:
    world, rollout = held
    entry = world.get("/v1/snapshot").json()["families"]["triage"]
    holdback = entry["holdback"]
    assert entry["rollout"] is None
    assert (holdback["rollout"], holdback["variant"]) == (rollout["id"], rollout["champion"])
    assert (holdback["salt"], holdback["share"]) == (rollout["salt"], 0.05)
    assert datetime.fromisoformat(holdback["until"]) == datetime.fromisoformat(rollout["ended_at"]) + timedelta(days=7)
    served = prompt(world, unit_of(rollout, held_back=True))
    served.pop("assignment")
    assert holdback["prompt"] == served


def test_a_freeze_moves_the_end_of_the_holdback_that_the_server_serves(world: World) -> None:
    promoted(world)

    def until() -> datetime:
        return datetime.fromisoformat(world.get("/v1/snapshot").json()["families"]["triage"]["holdback"]["until"])

    before = until()
    since = datetime.fromisoformat(freeze(world)["freezes"][0]["since"])
    unfreeze(world)
    assert timedelta() < until() - before <= datetime.now(UTC) - since


def test_the_picture_of_a_rollout_shows_holdback_and_freeze(world: World) -> None:
    rollout = promoted(world)

    def shown() -> str:
        out = Console(file=io.StringIO(), width=200)
        picture(out, status_of(world))
        return str(out.file.getvalue())  # type: ignore[attr-defined]

    assert f"Holdback  5 % of units stay on {rollout['champion']} until " in shown()
    freeze(world)
    assert "Holdback" not in shown()
    assert f"Frozen    triage by {world.shared.actor_without_key} since " in shown()
    assert "detent unfreeze triage" in shown()


def test_once_a_new_rollout_has_begun_nothing_counts_for_the_holdback_before_it_after_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = promoted(world)
    arm = {"family": "triage", "rollout": rollout["id"], "variant": rollout["champion"]}
    event = {**arm, "unit": unit_of(rollout, held_back=True), "output": "billing", "success": True}
    held_at = datetime.now(UTC).isoformat()
    world.start(world.candidate("Other?"))
    begun_at = datetime.now(UTC).isoformat()

    def rollout_of(name: str, at: str) -> str | None:
        assert world.post("/v1/feedback", [{**event, "id": name, "assigned_at": at}]).json()["accepted"] == 1
        return world.get(f"/v1/interactions/{name}").json()["rollout"]

    assert rollout_of("in_1", held_at) == rollout["id"]
    assert rollout_of("in_2", begun_at) == rollout["id"], "its sender had not heard of the new one"
    monkeypatch.setattr(attribution, "LAG", timedelta(0))
    assert rollout_of("in_3", begun_at) is None


def test_the_status_of_a_rollout_says_that_no_worker_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, line = world.shared.settings, "Worker    none runs, so nothing moves: detent serve runs one\n"
    monkeypatch.setenv("DETENT_HOME", str(settings.home))
    begun = world.deploying()
    out = detent("rollout", "status", "triage").out
    assert line in out
    assert "Next      detent serve, whose worker moves it\n" in out
    assert "by itself" not in out.partition("Worker")[2]
    lock = wiring.worker_lock(settings)
    assert lock.acquire()
    assert "Worker" not in detent("rollout", "status", "triage").out
    lock.release()
    done(world, f"/v1/rollouts/{begun['id']}/rollback", {"reason": "x"})
    assert "Worker" not in detent("rollout", "status", "triage").out, "it has ended"
