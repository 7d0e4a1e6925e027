"""Pruning beside rollouts: what they still read stays, and what they have decided is found again without it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from optimizer.adapters.store import Database
from optimizer.core.family.family import Family
from optimizer.jobs.champions.watch_champion import watch_champion
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.rollouts.tick import tick
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from optimizer.ports import Transaction
from tests.rows.rollout_acts import operate
from tests.stores import new_database
from tests.worlds.rollout_world import F, World


def strict(world: World) -> Family:
    """The family as it would keep texts for a day only."""
    return world.family.model_copy(update={"privacy": world.family.privacy.model_copy(update={"retain_days": 1})})


def prune(world: World, name: str = F) -> dict[str, int]:
    roll_up_minutes(world.store, world.clock)
    kept, _ = retentions(world.store, world.clock, {name: strict(world).model_copy(update={"name": name})})
    return {one.rows: one.n for one in prune_records(world.store, world.clock, kept).items if one.n}


def events_left(world: World) -> int:
    with world.store.read() as tx:
        return int(
            tx.execute(
                text("SELECT (SELECT count(*) FROM interactions) + (SELECT count(*) FROM feedback_events)")
            ).scalar()
            or 0
        )


def watched_for_days(folder: Path, *, pruned: bool) -> World:
    """80 units, whose cohort closes two days later; the family keeps what they sent for one."""
    folder.mkdir()
    world = World(
        store=new_database(folder),
        rollout_settings={"feedback_window": {"hours": 48, "floor_hours": 1.0}, "ladder": [0.5]},
    )
    world.history()
    world.start()
    world.labels(80)
    for hours in (0, 30, 20, 2):
        world.clock.pass_seconds(hours * 3600)
        if pruned:
            prune(world)
        tick(world.store, world.clock, lease_seconds=7 * 24 * 3600.0)
    return world


def test_a_rollout_that_is_pruned_beside_decides_from_the_same_evidence(tmp_path: Path) -> None:
    beside, alone = (watched_for_days(tmp_path / name, pruned=name == "beside") for name in ("beside", "alone"))
    quality = [block.content for block in beside.blocks("quality")]
    assert quality == [block.content for block in alone.blocks("quality")]
    assert quality, "the cohort was closed from outcomes that were older than a day"
    assert beside.verified().ok
    assert events_left(beside) == 160, "the history before the rollout has gone, what the rollout reads has not"


def test_when_a_rollout_is_through_its_events_go_and_its_record_is_found_to_fit(tmp_path: Path) -> None:
    world = watched_for_days(tmp_path / "through", pruned=False)
    world.operate("rollback")
    blocks, decisions = world.blocks("quality"), world.decisions
    assert prune(world)["interactions"] >= 80
    assert events_left(world) == 0
    assert (world.blocks("quality"), world.decisions) == (blocks, decisions)
    assert world.verified().ok


def test_what_the_holdback_of_a_promotion_reads_stays_for_its_week(tmp_path: Path) -> None:
    world = watched_for_days(tmp_path / "promoted", pruned=False)
    operate(world.rollout.id, "promote", actor="ann", reason="trusted", confirm=F, store=world.store, clock=world.clock)
    world.clock.pass_seconds(2 * 24 * 3600)
    world.tick()
    prune(world)
    assert events_left(world) == 160
    world.clock.pass_seconds(10 * 24 * 3600)
    world.tick()
    prune(world)
    assert events_left(world) == 0
    assert world.verified().ok


def test_what_the_watch_on_a_champion_had_not_read_goes_once_its_family_is_retired(database: Database) -> None:
    world = World(store=database)
    world.history(n_labelled=600)
    world.clock.pass_seconds(7200)
    watch_champion(world.store, world.clock, {F: world.family})
    world.clock.pass_seconds(3600)
    world.history(20)
    world.clock.pass_seconds(2 * 24 * 3600)
    prune(world)
    assert events_left(world) == 20, "the watch reads on after a pause"

    def retire(tx: Transaction) -> str:
        world.store.champions.end(tx, F, world.clock.now())
        return world.store.family_names.retire(tx, F, world.clock.now())

    prune(world, world.store.write(retire))
    assert events_left(world) == 0
