"""What keeps a rollout from going on, and what never ships: too little evidence, a person,
missing history, arms that do not compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, GateNotMet
from optimizer.core.rollout.evidence_state import from_text
from optimizer.core.rollout.next_action import next_action
from optimizer.core.rollout.start import fixed_settings
from optimizer.core.statistics.outcomes import threshold
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from tests.clock import Clock
from tests.rows.rollout_acts import start_rollout
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, F, World

BETTER = Behaviour(success=0.97)


def made(database: Database, *, n_history: int = 600, **settings: Any) -> World:
    """A rollout hour passes within a minute."""
    world = World(store=database, clock=Clock(scale=60.0), rollout_settings=settings)
    world.history(n_history)
    return world


@pytest.fixture(scope="module")
def rates_differ(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout whose candidate is labelled less than half as often as its champion; its store is closed."""
    world = made(new_database(tmp_path_factory.mktemp("rates")), ladder=[0.5, 0.75])
    world.behaviours[world.candidate] = Behaviour(success=0.75, labelled=0.4)
    world.start()
    world.climb(20)
    world.store.close()
    return world


def of_kind(world: World, kind: str) -> str:
    with world.store.read() as tx:
        (alert,) = [a for a in world.store.alerts.all(tx, open_only=True) if a.kind == kind]
    return alert.detail


# --- inconclusive -----------------------------------------------------------------------------------------------------


def test_a_candidate_that_is_neither_shown_to_be_worse_nor_shown_not_to_be_never_ships(database: Database) -> None:
    world = made(database, max_labelled=600)
    world.behaviours[world.candidate] = Behaviour(success=0.75)  # half a margin below the champion
    world.start()
    world.climb(30)
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "inconclusive")
    assert "600 are allowed" in (world.rollout.reason or "")
    assert "still missing: evidence against worse" in (world.rollout.reason or "")
    assert world.tenure.variant == world.champion
    assert "rollout_ended" in world.alerts()
    assert world.verified().problems == ()


@pytest.mark.parametrize("missing", ["", "max_days_served"])
def test_days_under_a_freeze_are_none_of_a_rollouts_days_but_in_older_rollouts(
    missing: str, database: Database
) -> None:
    world = made(database, max_days=0.25)
    with settings_without(missing):
        world.start()
    world.climb(2)
    world.freeze()
    world.keep_lease(600)
    world.unfreeze()
    world.climb(2)
    is_old = missing == "max_days_served"
    assert (world.rollout.outcome, "0.25 days are over" in (world.rollout.reason or "")) == (
        ("inconclusive", True) if is_old else (None, False)
    )
    assert (world.seen.hours.running > 6) == is_old
    assert world.verified().problems == ()


# --- a person ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held_for_long(with_history: Callable[[float], World], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A better candidate that a person holds, with the evidence for its next stage; its store is closed."""
    world = with_history(60.0).copied(tmp_path_factory.mktemp("held"))
    world.behaviours[world.candidate] = BETTER
    world.start()
    world.operate("hold")
    world.climb(15)
    world.store.close()
    return world


@pytest.fixture
def held(held_for_long: World, copy_of: Callable[[World], World]) -> World:
    return copy_of(held_for_long)


def test_held_by_a_person_nothing_advances_and_guardrails_go_on_acting(held: World) -> None:
    assert (held.rollout.stage, held.rollout.held, held.moves()) == (0, True, ["deploy"])
    held.behaviours[held.candidate] = Behaviour(errors=0.6)
    held.run(600)
    assert held.rollout.outcome == "guardrail"
    assert held.verified().problems == ()


def test_what_the_evidence_asks_for_needs_no_confirmation_and_is_not_forced(held: World) -> None:
    held.operate("resume")
    report = held.operate("advance")
    assert (report.decision.forced, held.rollout.stage) == (False, 1)
    assert held.decisions[-1].content["inputs"]["evidence"]["act"] == "advance"
    assert held.verified().problems == ()


def test_going_past_a_gate_needs_the_familys_name_says_what_is_missing_and_is_on_record(fast: World) -> None:
    fast.start()
    fast.climb(2)
    for act in ("advance", "promote"):
        with pytest.raises(
            GateNotMet, match=r"evidence against worse by 3 margins is .* 20 is needed.*--confirm summarization"
        ):
            fast.operate(act)
        with pytest.raises(GateNotMet, match="confirm was 'sumarization'"):
            fast.operate(act, confirm="sumarization")
    assert fast.operate("advance", confirm=F).decision.forced
    assert (fast.rollout.stage, fast.rollout.forced, fast.decisions[-1].forced) == (1, True, True)
    assert fast.operate("promote", confirm=F).decision.forced
    assert (fast.tenure.variant, fast.tenure.forced) == (fast.candidate, True)
    assert fast.verified().problems == ()


# --- what the guardrails need -----------------------------------------------------------------------------------------


def test_without_history_the_rollout_waits_at_its_first_stage_says_so_and_goes_on_when_it_has_come(
    database: Database,
) -> None:
    world = made(database, n_history=60)
    world.behaviours[world.candidate] = BETTER
    world.start()
    world.climb(10, per_minute=40)
    assert world.moves() == ["deploy"]
    with pytest.raises(GateNotMet, match="the guardrails need 500 reported requests of the champion"):
        world.operate("advance")
    world.climb(8, per_minute=40)
    roll_up_minutes(store=world.store, clock=world.clock)
    assert world.blocks("baseline") == []
    world.climb(1, per_minute=40)
    assert world.moves()[:2] == ["deploy", "advance"]
    (baseline,) = world.blocks("baseline")
    assert baseline.content["n"] >= 500
    assert world.verified().problems == ()


def test_a_family_whose_requests_nobody_reports_cannot_start_and_is_told_how_to_report(database: Database) -> None:
    world = World(store=database)
    with pytest.raises(
        Conflict, match=r"no interaction of summarization was reported in 30 days.*POST /v1/interactions .*assignment"
    ):
        start_rollout(world.family, world.candidate, actor="ann", store=world.store, clock=world.clock, confirm=F)


# --- arms that do not compare -----------------------------------------------------------------------------------------


def test_a_candidate_of_which_units_get_lost_ends_as_invalid(database: Database) -> None:
    world = made(database, ladder=[0.5, 0.75])
    world.behaviours[world.candidate] = Behaviour(lost=0.4)
    world.start()
    world.climb(20)
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "invalid")
    assert "the arms' sizes do not fit" in (world.rollout.reason or "")
    assert world.verified().problems == ()


@pytest.mark.parametrize("act", ["rollback", "promote"])
def test_feedback_at_different_rates_stops_the_way_up_with_an_alert_until_somebody_ends_the_rollout(
    rates_differ: World, tmp_path: Path, act: Any
) -> None:
    world = rates_differ.copied(tmp_path)
    assert world.moves() == ["deploy"]
    assert "feedback rates differ" in of_kind(world, "feedback_rates_differ")
    assert "detent rollout rollback" in of_kind(world, "feedback_rates_differ")
    with pytest.raises(GateNotMet, match="feedback rates differ"):
        world.operate("advance")
    world.operate(act, confirm=F)
    assert world.alerts() == set()
    world.store.close()


@pytest.fixture(scope="module")
def within_its_first_day(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout of a better candidate, which has had its evidence after some hours; its store is closed."""
    settings = {"ladder": [0.5], "whole_days": True, "cohort_minutes": 120.0}
    store = new_database(tmp_path_factory.mktemp("first-day"))
    world = World(store=store, clock=Clock(scale=360.0), rollout_settings=settings)
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    world.start()
    world.climb(3)
    store.close()
    return world


def test_a_promotion_waits_for_the_end_of_a_whole_day_and_verifies(
    within_its_first_day: World, copy_of: Callable[[World], World]
) -> None:
    world = copy_of(within_its_first_day)
    assert world.rollout.is_active, "fifteen hours of the rollout clock"
    seen = world.seen
    assert seen.gates[2].passed, "ship1 stood at an hour"
    assert any("at the end of a whole day of assignment: none has ended" in missing for missing in seen.waits_for)
    world.climb(4)
    assert world.rollout.outcome == "promoted"
    evidence = world.decisions[-1].content["inputs"]["evidence"]
    assert evidence["whole_days"]["ship1"] >= threshold(0.05)
    assert "roll2" in evidence["log_e"]
    assert world.verified().problems == ()


def test_a_day_ends_also_where_its_users_were_all_counted_before(
    within_its_first_day: World, copy_of: Callable[[World], World]
) -> None:
    """A unit counts once per stage; the same units come back until the day is over, and nobody else."""
    world = copy_of(within_its_first_day)
    assert world.seen.gates[2].passed
    while world.rollout.is_active and world.clock.rollout_now() - started(world) < timedelta(hours=60):
        world.labels(120, unit_of=lambda i: f"u{i + 1}")
    assert world.rollout.outcome == "promoted"
    last = world.blocks("quality")[-1].content
    assert (last["units"], last["outcomes"]) == ({"candidate": 0, "champion": 0}, {"candidate": [], "champion": []})
    assert world.verified().problems == ()


def started(world: World) -> datetime:
    return datetime.fromisoformat(world.rollout.stage_history[0]["clock_from"])


def test_a_rollout_from_before_whole_days_goes_on_and_verifies_by_its_own_rule(database: Database) -> None:
    """Its frozen settings know no such key."""
    world = World(store=database, clock=Clock(scale=60.0), rollout_settings={"ladder": [0.5]})
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    with settings_without("whole_days"):
        world.start()
    assert "whole_days" not in world.rollout.settings
    while world.rollout.is_active:
        world.labels(120)
    assert world.rollout.outcome == "promoted"
    evidence = world.decisions[-1].content["inputs"]["evidence"]
    assert "whole_days" not in evidence
    gates = {name for name in evidence["log_e"] if not name.startswith("guardrail")}
    assert gates == {"ship3", "ship2", "ship1", "sup", "roll", "candidate_later", "champion_later"}
    assert world.verified().problems == ()


def test_a_rollout_from_before_the_weights_of_days_verifies_by_those_of_its_gate(database: Database) -> None:
    """Its frozen settings say ``whole_days`` and no weights."""
    world = World(store=database, clock=Clock(scale=360.0), rollout_settings={"ladder": [0.5], "whole_days": True})
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.7)
    with settings_without("roll_weights"):
        world.start()
    assert "roll_weights" not in world.rollout.settings
    for _ in range(20):
        if not world.rollout.is_active:
            break
        world.climb(1)
    assert world.rollout.outcome == "worse"
    assert world.decisions[-1].content["inputs"]["evidence"]["whole_days"]["roll"] >= threshold(0.025)
    assert world.verified().problems == ()


def settings_without(missing: str) -> Any:
    """As a release before the setting fixed them."""

    def fixed(*args: Any, **options: Any) -> dict[str, Any]:
        return {name: value for name, value in fixed_settings(*args, **options).items() if name != missing}

    return patch("optimizer.jobs.rollouts.fix_settings.fixed_settings", fixed)


def test_guardrails_that_compared_at_one_stage_say_nothing_of_the_next(database: Database) -> None:
    world = made(database, ladder=[0.25, 0.5])
    world.start()
    world.climb(2)
    rollout = world.rollout
    with world.store.read() as tx:
        stored = world.store.blocks.state(tx, rollout.id)
    assert stored is not None
    state = from_text(stored.state).state
    assert state.compared == (0,)
    blind = "the guardrails have not compared requests of both arms at this stage yet"
    for stage, waits in ((0, False), (1, True)):
        moved = replace(rollout, stage=stage)
        found = next_action(moved, state, at=world.clock.at, clock_at=world.clock.rollout_now())
        assert any(one.startswith(blind) for one in found.waits_for) == waits
