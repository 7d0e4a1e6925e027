"""A family on a database of its own, a candidate, and a rollout under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from optimizer.core.feedback.events import Arm
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.rollouts.tick import tick
from tests.clock import Clock
from tests.contract.rollouts_by_hand.world import Acts, F, family, load
from tests.stores import interaction, keep_events, new_database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = new_database(tmp_path)
    made.close()
    return made.url


@pytest.fixture
def store(url: str, tmp_path: Path, clock: Clock):
    store = new_database(tmp_path)
    sync_families({F: family()}, store, clock)
    reported = Arm(family=F, variant=family().variant().id, unit_hmac="u0")
    keep_events(store, [interaction("in_0", of=reported, received_at=clock.now())])
    yield store
    store.close()


@pytest.fixture
def acts(store: Database, clock: Clock) -> Acts:
    return Acts(store, clock)


@pytest.fixture
def candidate(acts: Acts) -> str:
    content = "In one sentence: {{document}}"
    return acts.draft(messages=[{"role": "user", "content": content}], note="shorter").variant


@pytest.fixture
def deploying(acts: Acts, store: Database, clock: Clock, candidate: str) -> Rollout:
    started = acts.start(candidate, confirm=F)
    acts.operate(started.id, "approve", actor="bob", reason="looks fine")
    clock.pass_seconds(5)
    tick(store, clock)
    return load(store, started.id)
