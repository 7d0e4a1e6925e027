"""What the worker does with studies that DBOS, the store or the machine let down."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.core.base.errors import Busy
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.jobs.upkeep.forget_person import ForgettingHome, carry_out_forgetting, queue_forgetting
from optimizer.runtime import study_workflows
from optimizer.runtime.study_workflows import StudyWorkflows
from tests.stores import study
from tests.worlds.contexts import context_of
from tests.worlds.study_world import World


class Dbos:
    """DBOS as far as taking up goes: what it says of each workflow, and what it was asked to start."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = dict(statuses)
        self.started: list[str] = []
        self.fails = False

    def get_workflow_status(self, id: str) -> Any:
        return SimpleNamespace(status=self.statuses[id]) if id in self.statuses else None

    def start_workflow(self, workflow: Any, study_id: str) -> None:
        if self.fails:
            raise RuntimeError("no thread left")
        self.started.append(study_id)

    def cancel_workflow(self, id: str) -> None:
        self.statuses[id] = "CANCELLED"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).fill()


def workflows(world: World, dbos: Dbos) -> StudyWorkflows:
    one = object.__new__(StudyWorkflows)
    shared = {"store": world.store, "clock": world.clock, "families": world.families, "open_models": lambda: world}
    own = {"settings": SimpleNamespace(max_studies=3), "dbos": dbos, "workflow": None, "models": None}
    state = {"running": set(), "pending_since": {}, "lock": threading.Lock()}
    one.__dict__.update({f"_{name}": value for name, value in {**shared, **own, **state}.items()})
    return one


def test_a_study_whose_start_failed_is_taken_up_by_the_next_look(world: World) -> None:
    study, dbos = world.create(), Dbos()
    there = workflows(world, dbos)
    dbos.fails = True
    with pytest.raises(RuntimeError):
        there.take_up([study])
    dbos.fails = False
    there.take_up([study])
    assert dbos.started == [study.id]


def test_a_queued_study_of_a_frozen_family_waits_and_one_that_has_begun_goes_on(world: World) -> None:
    study, dbos = world.create(), Dbos()
    there = workflows(world, dbos)
    freeze(context_of(world.store, world.clock), FreezeRequest(family=study.family, reason="launch"))
    there.take_up([study])
    assert dbos.started == []
    assert there._run(study.id) == "waiting"
    assert world.only_study().status == "queued"
    there.take_up([replace(study, status="running")])
    assert dbos.started == [study.id]
    there._running.clear()
    unfreeze(context_of(world.store, world.clock), FreezeRequest(family=study.family, reason="over"))
    there.take_up([study])
    assert dbos.started == [study.id] * 2


def test_no_study_begins_while_a_forgetting_waits_for_one_that_has_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queued, dbos = world.store, world.create(), Dbos()
    there = workflows(world, dbos)
    begun = study("st_begun", family="other", status="running")
    store.write(lambda tx: store.studies.add(tx, begun))

    def forgetting(**query: Any) -> str:
        query = {"unit": "ab" * 32, "own_words": False, "dry_run": False, **query}
        return store.write(lambda tx: queue_forgetting(tx, store, query, actor="ann", at=world.clock.now())).id

    counted = forgetting(dry_run=True)
    home = ForgettingHome(store=store, clock=world.clock, places=(), own_texts=tuple, notes=Path("none"))
    assert carry_out_forgetting(counted, home).status == "finished", "it changes nothing, and waits for none"
    waits = forgetting()
    assert carry_out_forgetting(waits, home).status == "queued"
    there.take_up([queued, begun])
    assert dbos.started == [begun.id]
    monkeypatch.setattr("optimizer.runtime.wiring.scorers", lambda settings: lambda family: world.scorer)
    monkeypatch.setattr(study_workflows, "holds_up", lambda runs, study: False)  # it was queued behind that look
    assert there._run(queued.id) == "waiting"
    with store.read() as tx:
        assert [one.status for one in store.studies.unfinished(tx) if one.id == queued.id] == ["queued"]


def test_a_pending_workflow_is_left_to_dbos_for_a_while_and_then_given_up(world, monkeypatch):
    study = world.create()
    dbos = Dbos(**{study.id: "PENDING"})
    there = workflows(world, dbos)
    there.take_up([study])
    assert dbos.started == []
    monkeypatch.setattr(study_workflows, "RECOVERY_WAIT_S", 0.0)
    there.take_up([study])
    assert dbos.started == [study.id]
    assert dbos.statuses[study.id] == "CANCELLED"


def test_a_study_that_kills_its_worker_again_and_again_is_ended_and_can_be_resumed(world: World) -> None:
    study = world.create()
    running = world.store.write(lambda tx: world.store.studies.update(tx, study.id, status="running"))
    dbos = Dbos(**{study.id: "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})
    there = workflows(world, dbos)
    there.take_up([running])
    assert dbos.started == []
    ended = world.only_study()
    assert ended.status == "failed"
    assert "detent study resume" in str(ended.error)
    queued = world.store.write(lambda tx: world.store.studies.update(tx, study.id, status="queued"))
    there.take_up([queued])
    assert dbos.started == [study.id]


def test_a_store_that_is_away_does_not_fail_the_study(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    study = world.create()
    there = workflows(world, Dbos())

    def away(*args: Any, **options: Any) -> None:
        raise Busy("The database took no write.")

    monkeypatch.setattr("optimizer.jobs.studies.run_study.run_study", away)
    monkeypatch.setattr("optimizer.runtime.wiring.scorers", lambda settings: None)
    assert there._run(study.id) == "waiting"
    assert world.only_study().status == "queued"
    assert there._running == set()
