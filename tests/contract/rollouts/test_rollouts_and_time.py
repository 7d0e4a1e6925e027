"""Rollouts and time: leases that lapse, workers that sleep, clocks that go back,
feedback that is late, units that return.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Busy, Conflict, GateNotMet, Refused
from optimizer.core.declaration.read import parse_family
from optimizer.core.rollout.cohorts import gaps
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.rollouts import watch_rollout
from optimizer.jobs.rollouts.forecast_rollout import read_recent
from optimizer.jobs.rollouts.read_rollout import NextShareRequest, read_next_share
from optimizer.jobs.rollouts.watch_rollout import look, present_evidence
from tests.clock import Clock
from tests.rows.rollout_acts import adopt_file_version, operate, roll_back_champion, start_rollout
from tests.stores import keep_events
from tests.worlds.contexts import context_of
from tests.worlds.rollout_world import Behaviour, F, World

DRAFT = VariantRequest(family=F, messages=[{"role": "user", "content": "Shortly: {{document}}"}], note="another")


def fast(database: Database, **settings: Any) -> World:
    """A rollout hour passes within a minute."""
    world = World(store=database, clock=Clock(scale=60.0), rollout_settings=settings)
    world.history()
    return world


def n_units(world: World) -> int:
    return sum(sum(block.content["units"].values()) for block in world.blocks("quality"))


def n_left_out(world: World) -> int:
    return sum(block.content["left_out"] for block in world.blocks("quality"))


# --- another clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "later", "began"), [(1.0, 1440.0, "real"), (1440.0, 1.0, "scaled")])
def test_a_rollout_goes_on_by_no_other_clock_than_it_began_on(
    database: Database, scale: float, later: float, began: str
) -> None:
    world = World(store=database)
    world.clock.scale = scale
    world.history()
    rollout = world.start()
    world.clock.scale = later
    world.clock.pass_seconds(70)
    world._state = None
    report = world.tick()
    assert (report.done[rollout.id], world.moves()) == ("failed", ["deploy"])
    assert world.serve("someone").rollout is None, "without a lease it is not served"
    for act in ("advance", "promote", "resume"):
        with pytest.raises(Refused, match=f"began on {began} time"):
            operate(rollout.id, act, actor="ann", reason="on", store=world.store, clock=world.clock, confirm=F)  # type: ignore[arg-type]
    assert operate(rollout.id, "rollback", actor="ann", reason="back", store=world.store, clock=world.clock).changed
    assert world.rollout.simulated_clock is (scale != 1.0)


# --- what would be next -----------------------------------------------------------------------------------------------


def test_what_a_step_would_do_is_said_as_the_step_itself_says_it(database: Database) -> None:
    world = fast(database)
    context = context_of(world.store, world.clock, "ann", families=lambda: SimpleNamespace(families={}))

    def foreseen(act: Literal["advance", "promote"] = "advance") -> tuple[str, str | None]:
        step = read_next_share(context, NextShareRequest(id=world.rollout.id, act=act))
        with pytest.raises((Conflict, GateNotMet)) as refused:
            world.operate(act, confirm="no")
        assert not step.gate_passed
        assert str(step.reason) in refused.value.detail
        assert step.confirm == refused.value.members.get("confirm")
        return str(step.reason), step.confirm

    begun = {"actor": "ann", "store": world.store, "clock": world.clock}
    start_rollout(world.family, world.candidate, confirm=F, **begun)  # type: ignore[arg-type]
    assert foreseen()[1] is None, "it waits for approval"
    world.operate("approve")
    world.clock.pass_seconds(1)
    world.tick()
    assert foreseen() == ("nothing has been measured yet, and inconclusive never ships by itself", F)
    world.operate("hold")
    assert foreseen("promote")[1] is None
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    for _ in range(10):
        world.labels(120)
    world.operate("resume")
    assert read_next_share(context, NextShareRequest(id=world.rollout.id)).gate_passed
    assert "the next share alone" in foreseen("promote")[0]
    world.clock.pass_seconds(70)
    assert "no worker has watched it" in foreseen()[0]


# --- leases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["the worker was away", "a freeze"])
def test_units_that_were_served_while_the_lease_had_lapsed_are_left_out_of_both_arms(
    database: Database, cause: str
) -> None:
    """Twenty units come again and again; half of them also while everybody got the champion."""
    world = fast(database, ladder=[0.5])
    world.start()
    world.labels(20, unit_of=lambda i: f"same{i}")
    if cause == "a freeze":
        world.freeze()
        world.tick()
    else:
        world.clock.pass_seconds(70)
        world._state = None
    assert {world.serve(f"same{i}").rollout for i in range(10)} == {None}
    events: list[Any] = []
    for i in range(10):
        world.clock.pass_seconds(1)
        events.append((world._interaction(world.serve(f"same{i}"), world.clock.at), None))
    world._flush(events, {})
    if cause == "a freeze":
        world.unfreeze()
    world.tick()
    assert world.moves() == ["deploy", "lapse"]
    assert world.decisions[-1].reason.startswith("the freeze from ") == (cause == "a freeze")
    world.keep_lease(250)
    assert (n_units(world), n_left_out(world)) == (10, 10)
    assert sum(k for b in world.blocks("quality") for arm in b.content["outcomes"].values() for _, k in arm) == 10
    assert world.verified().problems == ()


def test_a_step_up_by_hand_while_nobody_watches_leaves_the_gap_on_record(database: Database) -> None:
    world = fast(database, ladder=[0.25, 0.5])
    world.start()
    lapsed_at = world.rollout.lease_expires_at
    world.clock.pass_seconds(100)
    world.operate("advance", confirm=F)
    world.clock.pass_seconds(5)
    world.tick()
    assert [(gap.since, gap.until) for gap in gaps(world.rollout)] == [
        (lapsed_at, world.clock.at - timedelta(seconds=5)),
        (world.clock.at - timedelta(seconds=5), world.clock.at),
    ]
    assert world.verified().problems == ()


def test_evidence_from_before_a_lapse_moves_nobody_on_by_itself(database: Database) -> None:
    """The gate had passed, and was held; then nobody watched, and nobody knows what happened since."""
    world = fast(database, ladder=[0.5], min_labelled_per_stage=20)
    world.start()
    world.operate("hold")
    for _ in range(6):
        world.labels(400)
    world.operate("resume")
    with database.read() as tx:
        said = present_evidence(
            tx, world.store, world.rollout, at=world.clock.now(), clock_at=world.clock.rollout_now()
        )
    assert said is not None
    assert said["act"] == "promote"
    world.clock.pass_seconds(100)
    with pytest.raises(GateNotMet, match="no worker has watched it since"):
        world.operate("promote")
    assert world.operate("promote", confirm=F).decision.forced


@pytest.mark.parametrize("act", ["promote", "rollback", "champion rollback", "adopt"])
def test_an_end_by_hand_while_nobody_watches_leaves_the_gap_on_record(database: Database, act: str) -> None:
    world = fast(database, ladder=[0.25, 0.5])
    if act == "champion rollback":
        world.start()
        world.operate("promote", confirm=F)
        world.candidate = store_draft(world.family, DRAFT, actor="ann", store=world.store, clock=world.clock).variant
    world.start()
    begun, lapsed_at = world.rollout.started_at, world.rollout.lease_expires_at
    world.clock.pass_seconds(100)
    if act == "champion rollback":
        roll_back_champion(F, actor="ann", reason="worse", store=world.store, clock=world.clock)
    elif act == "adopt":
        crown(world, "3")
    else:
        world.operate("promote" if act == "promote" else "rollback", confirm=F)
    rollout = world.rollout
    assert not rollout.is_active
    assert [(gap.since, gap.until) for gap in gaps(rollout)] == [(lapsed_at, world.clock.at)]
    assert sum(seconds(entry, "") for entry in rollout.stage_history) == 60.0
    assert sum(seconds(entry, "clock_") for entry in rollout.stage_history) == 3600.0
    assert (begun, rollout.ended_at) == (datetime.fromisoformat(rollout.stage_history[0]["from"]), world.clock.at)
    assert world.verified().problems == ()


def seconds(entry: Any, clock: str) -> float:
    return (datetime.fromisoformat(entry[f"{clock}to"]) - datetime.fromisoformat(entry[f"{clock}from"])).total_seconds()


def crown(world: World, version: str) -> None:
    """A file's other version, adopted by a person."""
    content = {"content": [{"role": "user", "content": "Briefly: {{document}}"}]}
    versions = {**world.family.model_dump(mode="json")["prompt"]["versions"], version: content}
    data = {**world.family.model_dump(mode="json"), "prompt": {"current": version, "versions": versions}}
    adopt_file_version(parse_family(data), actor="ann", confirm=F, store=world.store, clock=world.clock)


def test_after_an_hour_asleep_there_is_one_gap_and_every_request_of_before_is_counted_once(world: World) -> None:
    world.start()
    world.requests(100, 50.0)
    counted = sum(sum(b.content["reports"].values()) for b in world.blocks("guardrails"))
    world.clock.pass_seconds(3600 * 3.5)
    assert world.serve("anybody").rollout is None
    for _ in range(3):
        world.tick()
    assert world.moves() == ["deploy", "lapse"]
    found = world.blocks("guardrails")
    assert counted < sum(sum(b.content["reports"].values()) for b in found) == 100
    assert len({(b.content["from"], b.content["stage"]) for b in found}) == len(found)
    assert world.alerts() == set()
    assert world.verified().problems == ()


def test_what_takes_longer_than_a_lease_to_catch_up_with_is_caught_up_with_in_steps(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four cohorts whose reading takes 20 s each: together they outlast the lease of 60 s
    that a look must end within.
    """
    world = fast(database, ladder=[0.5], feedback_window={"floor_hours": 4.0})
    world.start()
    for _ in range(4):
        world.labels(30, seconds=58)
    assert n_units(world) == 0
    world.clock.pass_seconds(600)
    real = world.store.observations.cohort_units

    def slow(*args: Any) -> Any:
        found = real(*args)
        world.clock.pass_seconds(20 if found else 0)
        return found

    monkeypatch.setattr(world.store.observations, "cohort_units", slow)
    monkeypatch.setattr(watch_rollout, "UNITS_AHEAD", 30)
    assert world.tick().overtaken == ()
    assert n_units(world) == 120
    assert len([b for b in world.blocks("quality") if sum(b.content["units"].values())]) >= 4
    assert world.verified().problems == ()


@pytest.mark.parametrize("cause", ["the worker was stopped", "a freeze that was over at once"])
def test_a_lease_that_runs_out_in_the_middle_of_a_look_is_not_renewed_as_if_nothing_had_been(
    world: World, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    world.start()
    world.requests(20, 30.0)
    real = world.store.observations.requests

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if cause == "the worker was stopped":
            world.clock.pass_seconds(90)
        else:
            world.freeze()
            world.clock.pass_seconds(5)
            world.unfreeze()
        return real(*args, **kwargs)

    world.clock.pass_seconds(10)
    with monkeypatch.context() as during:
        during.setattr(world.store.observations, "requests", interrupted)
        assert world.tick().overtaken == (world.rollout.id,)
    assert world.serve("anybody").rollout is None
    world.tick()
    assert world.moves() == ["deploy", "lapse"]
    assert len(gaps(world.rollout)) == 1
    assert world.verified().problems == ()


def slow_looks(world: World, patch: pytest.MonkeyPatch) -> None:
    """Every look takes a second longer than a lease."""
    real = world.store.observations.requests

    def slow(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        world.clock.pass_seconds(61)
        return found

    patch.setattr(world.store.observations, "requests", slow)


def test_looks_that_outlast_their_lease_are_written_without_another_and_one_alert_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.labels(60, tick=False)
    with monkeypatch.context() as during:
        slow_looks(world, during)
        for i in range(3):
            assert world.tick().overtaken == (world.rollout.id,)
            assert (world.moves(), world.serve("anybody").rollout) == (["deploy", *["lapse"] * i], None)
            assert "rollout_watch_failed" in world.alerts()
    assert sum(sum(b.content["reports"].values()) for b in world.blocks("guardrails")) == 60
    world.tick()
    assert world.serve("anybody").rollout is not None
    assert world.alerts() == set()
    assert world.verified().problems == ()


def test_a_look_that_outlasts_its_lease_takes_a_bad_candidate_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.behaviours[world.candidate] = Behaviour(errors=1.0)
    world.start()
    world.labels(200, tick=False)
    slow_looks(world, monkeypatch)
    world.tick()
    assert (world.moves(), world.rollout.outcome) == (["deploy", "rollback"], "guardrail")
    assert world.verified().problems == ()


def test_a_look_that_begins_after_its_lease_is_not_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It read what was served while the lease had lapsed, of which no gap is on record yet."""

    def late(*args: Any) -> Any:
        world.clock.pass_seconds(61)
        return look(*args)

    world.start()
    world.labels(60, tick=False)
    monkeypatch.setattr("optimizer.jobs.rollouts.tick.look", late)
    assert world.tick().overtaken == (world.rollout.id,)
    assert world.blocks("guardrails") == []


def test_who_only_gave_feedback_in_a_gap_or_reported_a_little_after_it_is_left_out_as_well(database: Database) -> None:
    world = fast(database, ladder=[0.5])
    world.start()
    world.labels(20, unit_of=lambda i: f"same{i}")
    world.clock.pass_seconds(70)
    world._state = None
    outside = world.serve("same0"), world.serve("same1")
    world.n += 1
    feedback = world._feedback(outside[0], world.behaviours[world.champion])
    assert feedback is not None
    keep_events(world.store, [feedback])
    world.tick()
    world.clock.pass_seconds(3)
    world._flush([(world._interaction(outside[1], world.clock.at), None)], {})
    world.keep_lease(250)
    assert (n_units(world), n_left_out(world)) == (18, 2)


def test_what_cannot_be_watched_is_soon_not_served_and_not_served_again_until_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.requests(20, 50.0)
    real = world.store.observations.requests

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a row of it cannot be read")

    monkeypatch.setattr(world.store.observations, "requests", broken)
    for i in range(1, 13):
        world.clock.pass_seconds(20)
        world.tick()
        assert (world.serve("anybody").rollout is None) == (i >= 3), "the lease of before lasts a minute"
    assert world.moves() == ["deploy"], "and no gap is recorded that has no end yet"
    assert "rollout_watch_failed" in world.alerts()
    monkeypatch.setattr(world.store.observations, "requests", real)
    world.tick()
    assert world.moves() == ["deploy", "lapse"]
    assert world.serve("anybody").rollout is not None
    world.tick()
    assert world.alerts() == set()


def test_one_rollout_that_cannot_be_watched_does_not_stop_a_busy_store_from_being_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*args: Any, **kwargs: Any) -> Any:
        raise Busy("locked")

    world.start()
    monkeypatch.setattr(world.store.blocks, "put_state", busy)
    world.clock.pass_seconds(10)
    with pytest.raises(Busy):
        world.tick()
    assert world.alerts() == set()


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_while_the_clock_is_behind_what_was_counted_nobody_gets_the_candidate_and_then_it_goes_on(world: World) -> None:
    world.start()
    world.requests(60, 120.0)
    world.clock.pass_seconds(-400)
    for _ in range(3):
        world.tick()
        world.clock.pass_seconds(30)
    assert world.serve("anybody").rollout is None, "although the lease was given by a clock that was ahead"
    assert "rollout_watch_failed" in world.alerts()
    while "rollout_watch_failed" in world.alerts():
        world.clock.pass_seconds(30)
        world.tick()
    world.requests(60, 120.0)
    world.keep_lease(50)
    assert world.alerts() == set()
    at = [d.at for d in world.decisions]
    assert at == sorted(at)
    assert all(a <= b for a, b in pairwise(s["from"] for s in world.rollout.stage_history))
    assert world.verified().problems == ()


def test_a_clock_that_goes_back_a_little_changes_nothing(world: World) -> None:
    world.start()
    world.requests(60, 120.0)
    world.clock.pass_seconds(-20)
    world.tick()
    world.requests(60, 120.0)
    assert world.moves() == ["deploy"]
    assert world.alerts() == set()
    assert world.verified().problems == ()


# --- feedback and units -----------------------------------------------------------------------------------------------


def test_cohorts_that_last_no_whole_second_hold_their_units(database: Database) -> None:
    """16.67 minutes are 1,000.2 s, and tokens carry whole seconds."""
    world = fast(database, ladder=[0.5], cohort_minutes=16.67)
    world.start()
    for _ in range(5):
        world.labels(40)
    world.keep_lease(250)
    assert n_units(world) == 200
    assert world.verified().problems == ()


def test_a_unit_counts_once_a_stage_however_often_it_returns(database: Database) -> None:
    world = fast(database, ladder=[0.5, 0.75])
    world.start()
    for _ in range(5):
        world.labels(40, unit_of=lambda i: f"same{i % 20}")
    world.keep_lease(200)
    assert n_units(world) == 20
    world.operate("advance", confirm=F)
    for _ in range(5):
        world.labels(40, unit_of=lambda i: f"same{i % 20}")
    world.keep_lease(200)
    assert [n for n in (sum(b.content["units"].values()) for b in world.blocks("quality")) if n] == [20, 20]
    values = [y for b in world.blocks("quality") for arm in b.content["outcomes"].values() for y, _ in arm]
    assert any(0 < y < 1 for y in values), "with the mean of its outcomes in the window"


def test_one_heavy_unit_gives_the_guardrails_values_at_growing_distances(world: World) -> None:
    world.start()
    heavy = next(unit for i in range(1000) if world.serve(unit := f"u-{i}").role == "candidate")
    for _ in range(42):
        world.labels(10, unit_of=lambda i: heavy)
    found = world.blocks("guardrails")
    assert sum(b.content["reports"]["candidate"] for b in found) > 400
    values = [(b.content["from"], k) for b in found for _, k in b.content["errors"]["candidate"]]
    assert all(k == 1 for _, k in values)
    at = [datetime.fromisoformat(begun) for begun, _ in values]
    gaps = [round((b - a).total_seconds() / 60) for a, b in pairwise(at)]
    assert gaps == [1, 2, 4, 8, 16]


def test_a_champion_that_changes_while_a_rollout_is_prepared_is_not_compared_by_the_record_of_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        found = read_recent(*args, **kwargs)
        crown(world, "3")
        return found

    monkeypatch.setattr("optimizer.jobs.rollouts.start_rollout.read_recent", meanwhile)
    with pytest.raises(Conflict, match="became the champion of summarization while it was prepared"):
        world.start()
