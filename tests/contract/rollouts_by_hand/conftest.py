"""A family on a database of its own, a candidate, and a rollout under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from optimizer.core.feedback.events import Arm
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.rollouts.tick import tick
from tests.clock import Clock
from tests.contract.rollouts_by_hand.world import F, family, load
from tests.rows.rollout_acts import operate, start_rollout
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
def candidate(store: Database, clock: Clock) -> str:
    draft = VariantRequest(
        family=F, messages=[{"role": "user", "content": "In one sentence: {{document}}"}], note="shorter"
    )
    return store_draft(family(), draft, actor="ann", store=store, clock=clock).variant


@pytest.fixture
def deploying(store: Database, clock: Clock, candidate: str) -> Rollout:
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    operate(started.id, "approve", actor="bob", reason="looks fine", store=store, clock=clock)
    clock.pass_seconds(5)
    tick(store, clock)
    return load(store, started.id)
