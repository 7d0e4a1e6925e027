"""Guardrails and what stands beside them: failures in a row, outages of both arms, silence, latency,
cost, the family's own limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.feedback.events import Interaction
from tests.stores import keep_events
from tests.worlds.rollout_world import Behaviour, World

DOWN = Behaviour(errors=1.0)
USUAL = Behaviour()


def made(database: Database, *, constraints: dict[str, Any] | None = None, **settings: Any) -> World:
    world = World(store=database, rollout_settings=settings, constraints=constraints or {}, tick_s=15.0)
    world.history()
    return world


def outage(world: World, behaviour: Behaviour) -> None:
    world.behaviours = {world.champion: behaviour, world.candidate: behaviour}


def some_units(world: World, role: str) -> list[str]:
    return [unit for i in range(1000) if world.serve(unit := f"some{i}").role == role]


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_units", [2, 3])
def test_ten_failures_in_a_row_from_three_units_end_the_rollout_before_any_statistics(
    world: World, n_units: int
) -> None:
    """Each unit gives the guardrail one value a minute, which is far from evidence yet."""
    world.behaviours[world.candidate] = DOWN
    world.start()
    failing, calm = (some_units(world, role) for role in ("candidate", "champion"))
    world.requests(40, 20.0, unit_of=lambda i: failing[i // 2 % n_units] if i % 2 else calm[i])
    world.requests(10, 40.0, unit_of=lambda i: calm[40 + i])
    if n_units < 3:
        assert world.moves() == ["deploy"]
        return
    assert world.rollout.outcome == "guardrail"
    assert "failed in a row" in (world.rollout.reason or "")
    assert world.tenure.variant == world.champion
    assert world.verified().problems == ()


def test_an_outage_of_both_arms_holds_raises_an_alert_and_goes_on_by_itself(database: Database) -> None:
    world = made(database, ladder=[0.1])
    world.start()
    world.run(60)
    outage(world, DOWN)
    world.run(300)
    assert world.rollout.held
    assert world.rollout.held_by == "system:tick"
    assert "shared_incident" in world.alerts()
    outage(world, USUAL)
    world.run(180)
    assert world.moves() == ["deploy", "hold", "resume"]
    assert (world.rollout.status, world.rollout.held) == ("deploying", False)
    assert world.alerts() == set()
    assert world.verified().problems == ()


def test_a_hold_of_the_ticks_own_becomes_a_persons_and_then_outlasts_the_outage(world: World) -> None:
    world.start()
    outage(world, DOWN)
    world.run(300)
    world.operate("hold", reason="let us look first")
    outage(world, USUAL)
    world.run(180)
    assert (world.rollout.held, world.rollout.held_by) == (True, "ann")
    assert world.alerts() == set()


# --- requests that take long ------------------------------------------------------------------------------------------


@dataclass
class Late(World):
    """Each request is reported when it ends. ``lasting`` changes it, and says after how many seconds that is."""

    lasting: Callable[[World, Interaction], tuple[Interaction, float]] = lambda world, one: (one, 0.0)
    under_way: list[Interaction] = field(default_factory=list)

    def _flush(self, events: list[Any], counts: dict[Any, int]) -> None:
        for one, _ in events:
            changed, seconds = self.lasting(self, one)
            self.under_way.append(replace(changed, received_at=one.occurred_at + timedelta(seconds=seconds)))
        ended = [one for one in self.under_way if one.received_at <= self.clock.at]
        self.under_way = [one for one in self.under_way if one.received_at > self.clock.at]
        events[:] = [(one, None) for one in ended]
        super()._flush(events, counts)


def timing_out(seconds: float, *, share: float) -> Callable[[World, Interaction], tuple[Interaction, float]]:
    def lasting(world: World, one: Interaction) -> tuple[Interaction, float]:
        if one.arm.variant != world.candidate or world.draw.random() >= share:
            return one, 0.0
        error = f"timeout: no answer in {seconds:g} s"
        return replace(one, error=error, latency_ms=1000 * seconds, cost_usd=None), seconds

    return lasting


@pytest.mark.parametrize("timeout_s", [60.0, 300.0])
def test_a_candidate_whose_requests_time_out_is_taken_back_however_long_that_takes(
    database: Database, timeout_s: float
) -> None:
    world = Late(store=database, rollout_settings={"ladder": [0.5]}, lasting=timing_out(timeout_s, share=0.35))
    world.history()
    world.start()
    assert world.run(1800, 1.0) <= 600
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "guardrail")
    assert "guardrail errors" in (world.rollout.reason or "") or "guardrail latency" in (world.rollout.reason or "")
    assert world.verified().problems == ()


def test_of_two_arms_that_answer_after_a_minute_the_guardrails_compare_all(database: Database) -> None:
    world = Late(store=database, lasting=lambda world, one: (replace(one, latency_ms=60_000.0), 60.0))
    world.history()
    world.start()
    world.run(1200, 1.0)
    assert (world.rollout.status, world.alerts()) == ("deploying", set())
    reported = [sum(b.content["reports"][arm] for b in world.blocks("guardrails")) for arm in ("candidate", "champion")]
    assert 1100 < sum(reported) < 1200
    assert min(reported) > 80
    assert not any("compared" in sentence for sentence in world.seen.waits_for)


@pytest.mark.parametrize("looks", ["every ten seconds", "once an hour"])
def test_each_request_counts_once_however_late_its_report_or_the_look(database: Database, looks: str) -> None:
    """But a report that is later than a quarter of an hour is an old log."""
    world = made(database, ladder=[0.5])
    world.start()
    began = world.clock.at
    delays = [(i * 7919) % 1000 + 0.25 * (i % 8) for i in range(300)]  # seconds, up to 1,000
    rows = []
    for i, delay in enumerate(delays):
        world.clock.pass_seconds(0.15)
        one = world._interaction(world.serve(f"u{i}"), world.clock.at)
        rows.append(replace(one, received_at=one.occurred_at + timedelta(seconds=delay)))
    assert all(one.arm.rollout == world.rollout.id for one in rows)
    world.clock.at = began
    rows.sort(key=lambda one: one.received_at)
    while rows or world.clock.at < began + timedelta(seconds=2000):
        world.clock.pass_seconds(10)
        keep_events(world.store, [one for one in rows if one.received_at <= world.clock.at])
        rows = [one for one in rows if one.received_at > world.clock.at]
        if looks == "every ten seconds":
            world.tick()
    world.tick()
    world.tick()
    blocks = world.blocks("guardrails")
    assert sum(sum(b.content["reports"].values()) for b in blocks) == sum(delay <= 900 for delay in delays)
    assert len({(b.content["from"], b.content["stage"]) for b in blocks}) == len(blocks)


# --- silence ----------------------------------------------------------------------------------------------------------


def test_a_candidate_that_crashes_its_application_is_held_and_after_five_minutes_rolled_back(world: World) -> None:
    world.behaviours[world.candidate] = Behaviour(silent=True)
    world.start()
    world.run(300)
    assert world.rollout.held
    assert "candidate_silent" in world.alerts()
    world.run(900)
    assert world.rollout.outcome == "guardrail"
    assert "report nothing or little: 0 reports" in (world.rollout.reason or "")
    held, ended = (d for d in world.decisions if d.kind in ("hold", "rollback"))
    assert (
        timedelta(minutes=4) <= ended.at - held.at <= timedelta(minutes=5.5)
    )  # five minutes from the block that showed it
    assert world.alerts() == {"rollout_ended"}
    assert world.verified().problems == ()


def test_a_short_silence_is_forgiven(world: World) -> None:
    world.start()
    world.run(60, per_second=4)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    while not world.rollout.held:
        world.run(30, per_second=4)
    world.behaviours[world.candidate] = USUAL
    world.run(240, per_second=4)
    assert world.moves() == ["deploy", "hold", "resume"]
    assert world.alerts() == set()


def test_a_family_that_goes_to_sleep_shows_no_more_of_a_silent_candidate(world: World) -> None:
    world.start()
    world.run(60, per_second=4)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    while not world.rollout.held:
        world.run(30, per_second=4)
    world.keep_lease(900)  # nobody asks for anything
    assert world.rollout.is_active
    assert world.moves() == ["deploy", "hold"]


def test_tokens_of_an_earlier_stage_that_still_come_in_do_not_hide_a_silence(database: Database) -> None:
    world = made(database, ladder=[0.25, 0.5])
    world.start()
    old = [world.serve(f"old{i}") for i in range(100)]
    world.operate("advance", confirm=world.family.name)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    for i in range(100):
        if not world.rollout.is_active:
            break
        interaction = world._interaction(old[i], world.clock.at)
        keep_events(world.store, [interaction])
        world.requests(30, 15.0)  # with one tick
    assert world.rollout.outcome == "guardrail"
    assert "report nothing or little" in (world.rollout.reason or "")


# --- latency, cost, limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "guardrail"),
    [
        pytest.param(Behaviour(errors=0.3), "guardrail errors", id="one request in three fails"),
        pytest.param(Behaviour(latency_ms=1200.0), "guardrail latency", id="three times as slow"),
        pytest.param(Behaviour(cost_usd=0.006), "guardrail cost", id="three times as dear"),
    ],
)
def test_a_candidate_that_fails_is_slow_or_dear_is_rolled_back(
    world: World, behaviour: Behaviour, guardrail: str
) -> None:
    world.behaviours[world.candidate] = behaviour
    world.start()
    world.run(1200)
    assert world.rollout.outcome == "guardrail"
    assert guardrail in (world.rollout.reason or "")
    assert world.verified().problems == ()


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        pytest.param({"p95_latency_ms": 600.0}, "took longer than 600 ms", id="seconds"),
        pytest.param({"cost_usd_per_call": 0.001}, "the family's limit is 0.001", id="money a call"),
        pytest.param({"cost_usd_per_hour": 0.1}, "the family's limit is 0.1 an hour", id="money an hour"),
    ],
)
def test_the_familys_own_limits_hold_even_when_the_champion_is_no_better(
    database: Database, constraints: dict[str, Any], says: str
) -> None:
    world = made(database, constraints=constraints, ladder=[0.5])
    world.start()
    world.run(600)
    assert world.rollout.outcome == "guardrail"
    assert says in (world.rollout.reason or "")
    assert world.verified().problems == ()


def test_of_an_equal_candidate_nothing_is_said(world: World) -> None:
    world.start()
    world.run(300)
    assert world.moves() == ["deploy"]
    assert world.alerts() == set()
