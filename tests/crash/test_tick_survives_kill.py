"""A tick that has a step up to make is killed with SIGKILL at each point on its way:
one decision stands afterwards, or none, never half.
"""

from __future__ import annotations

import copy
import pkgutil
import shutil
import signal
from datetime import datetime
from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from optimizer.jobs.rollouts.tick import tick
from tests.children import die_at, exit_code
from tests.clock import Clock
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, World

POINTS = {  # where the process dies, and whether its decision had been committed by then
    "before anything is written": ("optimizer.jobs.rollouts.watch_rollout.write_blocks", "before", False),
    "with the blocks written": ("optimizer.adapters.store.repositories.rollouts.BlockTables.add", "after", False),
    "with blocks and state written": (
        "optimizer.adapters.store.repositories.rollouts.BlockTables.put_state",
        "after",
        False,
    ),
    "with the decision written": ("optimizer.adapters.store.repositories.rollouts.RolloutTables.save", "after", False),
    "before the commit": ("optimizer.jobs.rollouts.watch_rollout.promote", "after", False),
    "after the commit": ("optimizer.jobs.rollouts.tick.log_head", "before", True),
}


def tick_and_die(url: str, at: datetime, anchor: datetime, path: str, when: str) -> None:
    name_of_owner, _, name = path.rpartition(".")
    owner = pkgutil.resolve_name(name_of_owner)
    die_at(owner, name, after=when == "after")
    tick(Database(url), Clock(at, scale=60.0, anchor=anchor))


def replace_store(world: World, store: Database) -> World:
    found = copy.copy(world)
    found.store = store
    return found


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout whose next tick advances it, and that has traffic to close beside; its database is closed."""
    database = new_database(tmp_path_factory.mktemp("due"))
    world = World(store=database, clock=Clock(scale=60.0), rollout_settings={"ladder": [0.5, 0.75]})
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.97)
    world.start()
    world.operate("hold")
    world.climb(15)
    world.operate("resume")
    world.labels(60, tick=False)
    database.close()
    return world


@pytest.mark.parametrize("point", POINTS)
def test_a_step_up_is_made_once_whenever_the_worker_is_killed(due: World, tmp_path: Path, point: str) -> None:
    shutil.copy(due.store.url.removeprefix("sqlite:///"), tmp_path / "detent.db")
    url = f"sqlite:///{tmp_path / 'detent.db'}"
    world = replace_store(due, Database(url))
    before = world.rollout.version
    world.store.close()

    path, when, committed = POINTS[point]
    died = exit_code(tick_and_die, url, world.clock.now(), world.clock.anchor, path, when)
    assert died == -signal.SIGKILL

    world = replace_store(due, Database(url))
    assert world.rollout.version == before + committed
    assert world.verified().problems == ()
    tick(world.store, world.clock)
    tick(world.store, world.clock)
    assert world.rollout.version == before + 1
    assert [d.kind for d in world.decisions][-1] == "advance"
    assert world.verified().problems == ()
    world.store.close()
