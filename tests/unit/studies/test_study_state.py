"""What people are told of a study that says it runs although nobody is there to run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from optimizer.core.views.study_headline import view_of_study
from optimizer.host import run_files
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.request import ItemActRequest, ItemRequest
from optimizer.jobs.studies.read_studies import read_study
from optimizer.jobs.studies.start_study import cancel_study
from tests.worlds.contexts import context_of
from tests.worlds.study_world import Killed, TopicModel, World, killed_at


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


@pytest.mark.parametrize("status", ["running", "confirming"])
def test_a_study_that_nobody_runs_is_interrupted_and_its_next_command_takes_it_up(tmp_path, settings, status):
    world = World(tmp_path).fill()
    made = world.create()
    study = world.change(made, status=status)
    lock = run_files.ProcessLock(settings.home / "worker")
    context = context_of(world.store, world.clock, is_worker_running=lock.is_held)
    seen = read_study(context, ItemRequest(id=study.id))
    assert (seen.is_interrupted, seen.state) == (True, f"{status}: interrupted")
    assert f"detent study resume {study.id}" in seen.then
    assert lock.acquire()
    seen = read_study(context, ItemRequest(id=study.id))
    assert (seen.is_interrupted, seen.state, "cancel" in seen.then) == (False, status, True)
    assert cancel_study(context, ItemActRequest(id=study.id)).status == status, "its worker stops before its next call"
    lock.release()
    ended = cancel_study(context, ItemActRequest(id=study.id))
    assert (ended.status, ended.finished_at is None) == ("cancelled", False), "nobody runs it"
    waits = view_of_study(made, is_worker_running=False)
    assert waits.state == "queued", "it waits for a worker"


def test_one_that_was_killed_and_is_cancelled_keeps_what_it_spent_and_mlflow_is_told(tmp_path):
    world = World(tmp_path, model=TopicModel(before=killed_at(5))).fill()
    study = world.create()
    with pytest.raises(Killed):
        world.run(study)
    with world.store.read() as tx:
        spent = world.store.journal.spend(tx, study.id)
        told = [item.seq for item in world.store.outbox.due(tx, world.clock.now(), 99, topics=["study"])]
    world.store.write(lambda tx: [world.store.outbox.sent(tx, seq, world.clock.now()) for seq in told])
    context = context_of(world.store, world.clock, is_worker_running=lambda: False)
    ended = cancel_study(context, ItemActRequest(id=study.id))
    assert (ended.status, ended.spend.n_calls, ended.spend.usd) == ("cancelled", spent.n_calls, spent.usd)
    assert spent.n_calls > 0
    with world.store.read() as tx:
        due = world.store.outbox.due(tx, world.clock.now(), 99, topics=["study"])
    assert [item.subject for item in due] == [study.id]


def test_a_worker_that_was_killed_holds_nothing(tmp_path: Path, settings: Settings) -> None:
    lock = run_files.ProcessLock(settings.home / "worker")
    gone = subprocess.Popen(["true"])
    gone.wait()
    (settings.home / "worker.holder").write_text(str(gone.pid))
    assert not lock.is_held()
