"""Brakes work on the machine itself, with keys and without: who may write the store's file may stop what is served."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.host.run_files import announce
from optimizer.host.user_homes import local_actor
from optimizer.runtime import wiring
from tests.command_line import Ran, detent
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A server that commands find, with a key of each kind."""
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    settings = make_home(tmp_path)
    with serving(settings) as running, on_a_socket(running.app, settings) as url:
        announce(settings, "api", url)
        running.add_key("boss", "admin", secret="boss")
        running.client.headers["Authorization"] = "Bearer boss"
        running.add_key("web", "feedback", secret="web")
        running.add_key("read", "read", secret="read")
        running.add_key("ops", "operate", secret="ops")
        running.add_key("busy", "operate", secret="busy", limits={"requests_per_minute": 1})
        running.add_key("old", "operate", secret="old")
        running.add_key("other", "operate", secret="other", families=["other"])
        running.shared.store.write(
            lambda tx: running.shared.store.api_keys.revoke(tx, "old", running.shared.clock.now())
        )
        running.shared.serving.refresh()
        yield running


def with_key(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    if secret is None:
        monkeypatch.delenv("DETENT_API_KEY", raising=False)
    else:
        monkeypatch.setenv("DETENT_API_KEY", secret)


def audited(world: World, action: str) -> list[str]:
    return [row["actor"] for row in world.get("/v1/audit?limit=1000").json()["items"] if row["action"] == action]


def done(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return ran


@pytest.mark.parametrize(
    "secret",
    [
        *(None, "web", "strange", "two\nlines"),
        *(pytest.param(one, marks=pytest.mark.long) for one in ("busy", "old", "other", "read", "Schlüssel")),
    ],
)
def test_every_brake_works_on_the_machine_with_a_lower_key_and_without_one(
    world: World, monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    first, candidate = world.champion(), world.candidate()
    rollout = world.deploying()["id"]
    world.get("/v1/families", headers={"Authorization": "Bearer busy"})  # which uses its minute up
    with_key(monkeypatch, secret)
    for act in ("hold", "rollback"):
        done(detent("rollout", act, "triage", "--reason", "night"))
    done(detent("champion", "set", "triage", candidate, "--reason", "night", "--confirm", "triage"))
    back = done(detent("champion", "rollback", "triage"))
    done(detent("freeze", "triage", "--reason", "night"))
    assert (f"So it is done on the store itself, as {local_actor()}." in back.err) == (secret is not None), back.err
    world.shared.serving.refresh()
    assert world.champion() == first
    assert world.get(f"/v1/rollouts/{rollout}").json()["outcome"] == "cancelled"
    for action in ("rollout.hold", "rollout.rollback", "champion.set", "champion.rollback", "freeze"):
        assert audited(world, action) == [local_actor()], action


def test_with_a_key_that_may_the_record_says_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with_key(monkeypatch, "ops")
    done(detent("freeze", "triage", "--reason", "night"))
    assert audited(world, "freeze") == ["ops"]


def test_without_a_key_who_may_write_the_store_may_do_every_act(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = world.candidate()
    started = world.start(candidate)
    with_key(monkeypatch, None)
    done(detent("rollout", "approve", "triage", "--reason", "read it"))
    done(detent("freeze", "triage"))
    done(detent("unfreeze", "triage"))
    assert audited(world, "rollout.approve") == audited(world, "unfreeze") == [local_actor()]
    assert world.get(f"/v1/rollouts/{started['id']}").json()["status"] == "approved"


def test_what_is_no_brake_is_refused_with_the_way_that_is_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with_key(monkeypatch, "web")
    done(detent("freeze", "triage"))
    refused = detent("unfreeze", "triage")
    assert refused.code != 0
    assert f"Without DETENT_API_KEY this account may do it on the store: it is then done as {local_actor()}." in (
        refused.err
    )
    world.shared.serving.refresh()
    assert world.get("/v1/status").json()["freezes"]


def test_an_account_that_may_not_write_the_store_needs_a_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "may_write_store", lambda settings: False)
    for secret in (None, "web"):
        with_key(monkeypatch, secret)
        assert detent("freeze", "triage").code != 0
    assert audited(world, "freeze") == []


def test_a_brake_works_where_the_store_has_lost_its_keys_and_the_server_lets_nobody_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_key(monkeypatch, None)
    store = world.shared.store
    store.write(lambda tx: tx.exec_driver_sql("DELETE FROM api_keys"))  # type: ignore[attr-defined]
    done(detent("freeze", "triage", "--reason", "night"))
    with store.read() as tx:
        assert [one.by for one in store.freezes.all(tx)] == [local_actor()]


def test_what_the_store_would_refuse_as_well_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with_key(monkeypatch, "ops")
    refused = detent("champion", "rollback", "triage")
    assert (refused.code, "on the store itself" in refused.err) == (1, False), refused.err


def test_what_is_there_neither_on_the_server_nor_on_the_store_is_said_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_key(monkeypatch, "boss")
    refused = detent("keys", "revoke", "nobody")
    assert (refused.code, "on the store" in refused.err) == (1, False), refused.err


def test_the_status_says_what_a_rollback_to_the_first_champion_moved_and_how_to_take_it_back(world: World) -> None:
    first, night = world.champion(), world.candidate("Is it billing? Answer with one word.")
    assert not re.search(r"^Moved", done(detent("status")).out, re.M), "nothing was before the first champion"
    done(detent("champion", "set", "triage", night, "--reason", "night", "--confirm", "triage"))
    assert re.search(r"^Moved .* Back: detent champion rollback triage$", done(detent("status")).out, re.M)
    done(detent("champion", "rollback", "triage", "--reason", "no better"))
    moved = re.search(rf"^Moved .*triage: {first} serves .* Back: detent (.+)$", done(detent("status")).out, re.M)
    assert moved is not None
    done(detent(*shlex.split(moved[1])))
    assert world.champion() == night


def test_the_status_says_of_a_rollout_under_way_since_when_by_whom_and_how_to_take_it_back(world: World) -> None:
    rollout = world.deploying()
    line = re.search(r"^Rollout .* (v_\w+) is served since .*, started by (\S+)\. Back: detent (.+)$", status(), re.M)
    assert line is not None, status()
    assert line[1] == rollout["candidate"]
    done(detent(*shlex.split(line[3]), "--reason", "night"))
    assert world.get(f"/v1/rollouts/{rollout['id']}").json()["status"] == "rolled_back"


def test_the_status_says_of_a_rollout_that_a_person_ended_by_whom_and_offers_no_other_way_back(world: World) -> None:
    world.deploying()
    done(detent("rollout", "rollback", "triage", "--reason", "night"))
    (moved,) = re.findall(r"^Moved +(.*)", status(), re.M)
    ended = rf"the last rollout ended on .* UTC, by {local_actor()}: a person ended the rollout\."
    assert re.match(rf"triage: {ended} {world.champion()} serves, nothing of it is to be taken back", moved), moved
    world.shared.store.write(lambda tx: tx.exec_driver_sql("UPDATE rollouts SET ended_at = '2020-01-01 00:00:00'"))
    assert "Moved" not in status(), "a day is over"
    night = world.deploying()["candidate"]
    assert "Moved" not in status(), "of the one under way the line Rollout tells"
    done(detent("champion", "set", "triage", night, "--reason", "night", "--confirm", "triage"))
    (moved,) = re.findall(r"^Moved +(.*)", status(), re.M)
    assert (night in moved, "nothing of it" in status()) == (True, False), "another champion ended that one"


def test_a_rollback_said_twice_says_how_the_rollout_ended_and_leads_to_no_good_champion(world: World) -> None:
    world.deploying()
    done(detent("rollout", "rollback", "triage", "--reason", "night"))
    again = detent("rollout", "rollback", "triage", "--reason", "night").err
    assert re.search(r"no active rollout\. The last one ended on .* UTC: a person ended the rollout\.", again), again
    assert "detent champion rollback" not in again
    world.deploying()
    done(detent("rollout", "promote", "triage", "--reason", "day", "--confirm", "triage"))
    assert "To take it back: detent champion rollback triage." in detent("rollout", "rollback", "triage").err
    done(detent("champion", "rollback", "triage", "--reason", "no better"))
    taken_back = detent("rollout", "rollback", "triage").err
    assert ("was promoted" in taken_back, "detent champion rollback" in taken_back) == (True, False), taken_back


def status() -> str:
    return done(detent("status")).out
