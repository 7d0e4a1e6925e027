"""The week after a promotion: the new champion is watched beside the one before it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.core.base.phrasing import when
from optimizer.core.rollout.evidence_state import StoredEvidence, after, as_text, begin
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.serving import champion
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.rollouts import watch_holdback
from optimizer.jobs.rollouts.change_champion import fall_of, shown_worse
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.ports import EvidenceRow
from tests.clock import Clock
from tests.rows.rollout_acts import operate, roll_back_champion, start_rollout
from tests.stores import NOW, new_database, rollout
from tests.worlds.rollout_world import Behaviour, F, World


@pytest.fixture(scope="module")
def promotion(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout hour passes within a minute."""
    database = new_database(tmp_path_factory.mktemp("promotion"))
    world = World(store=database, clock=Clock(scale=60.0))
    world.history()
    world.start()
    operate(world.rollout.id, "promote", actor="ann", reason="trusted", confirm=F, store=database, clock=world.clock)
    database.close()
    return world


@pytest.fixture
def promoted(promotion: World, copy_of: Callable[[World], World]) -> World:
    return copy_of(promotion)


@pytest.fixture(scope="module")
def failure(promotion: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The promotion, whose requests failed until it was taken back; its store is closed."""
    world = promotion.copied(tmp_path_factory.mktemp("failure"))
    world.behaviours[world.candidate] = Behaviour(errors=0.5)
    for _ in range(20):
        world.requests(300, 30.0)
        if world.tenure.variant != world.candidate:
            break
    world.store.close()
    return world


@pytest.fixture
def taken_back(failure: World, copy_of: Callable[[World], World]) -> World:
    return copy_of(failure)


def test_a_promoted_champion_whose_requests_fail_is_taken_back_by_itself(taken_back: World) -> None:
    assert taken_back.tenure.variant == taken_back.champion
    assert taken_back.tenure.by == "system:tick"
    assert "guardrail errors" in taken_back.tenure.why
    said = said_against(taken_back, taken_back.candidate, taken_back.champion) or ""
    assert said.startswith(f"{taken_back.candidate} was taken back on {when(taken_back.tenure.since)} after its")
    assert taken_back.tenure.why in said
    with taken_back.store.read() as tx:
        (alert,) = [a for a in taken_back.store.alerts.all(tx, open_only=True) if a.kind == "rollout_ended"]
    assert f"{taken_back.champion} was champion of {F} again" in alert.detail
    assert verify_rollout(taken_back.rollout.id, taken_back.store).problems == ()


def said_against(world: World, variant: str, instead_of: str) -> str | None:
    with world.store.read() as tx:
        return shown_worse(tx, world.store, F, variant, instead_of=instead_of)


def test_the_next_start_of_a_candidate_that_was_taken_back_fails_a_gate_whatever_was_tried_in_between(
    taken_back: World,
) -> None:
    again: dict[str, Any] = {"actor": "ann", "store": taken_back.store, "clock": taken_back.clock}

    def said_at_start() -> list[str]:
        gates = start_rollout(taken_back.family, taken_back.candidate, dry_run=True, **again).gates
        return [str(gate["reason"]) for gate in gates if gate["name"] == "earlier_rollout"]

    said = f"{taken_back.candidate} was taken back on {when(taken_back.tenure.since)} after its promotion, by itself: "
    assert said_at_start() == [f"{said}{taken_back.tenure.why} ({taken_back.rollout.id})"]
    tried = start_rollout(taken_back.family, taken_back.candidate, confirm=F, **again)
    operate(tried.id, "reject", reason="no", **again)
    assert [one.startswith(said) for one in said_at_start()] == [True]


def test_a_champion_that_another_candidate_outdid_was_not_taken_back() -> None:
    first = champion.first(family=F, variant="v_1", at=NOW, by="ann", why="")
    second = champion.next_tenure(first, variant="v_2", at=NOW, by=ACTOR, why="", forced=False, rollout="ro_1")
    third = champion.next_tenure(second, variant="v_3", at=NOW, by=ACTOR, why="", forced=False, rollout="ro_2")
    promotion = rollout(family=F, candidate="v_2", champion="v_1", status="deployed", outcome="promoted")
    store: Any = SimpleNamespace(
        rollouts=SimpleNamespace(page=lambda *_, **__: ([promotion], None)),
        champions=SimpleNamespace(history=lambda *_: [first, second, third]),
    )
    assert fall_of(None, store, F, "v_2") is None


def test_a_promoted_champion_that_does_well_stays(promoted: World) -> None:
    for _ in range(10):
        promoted.requests(100, 30.0)
    assert promoted.tenure.variant == promoted.candidate
    assert promoted.alerts() & {"champion_worse"} == set()
    assert said_against(promoted, promoted.champion, promoted.candidate) is None, (
        "promoted on a person's word, which shows nothing"
    )


def test_money_of_an_hour_limits_a_candidate_and_takes_no_promotion_back(tmp_path: Path) -> None:
    """Nearly all users are the new champion's, and the one before it would cost as much."""
    database = new_database(tmp_path)
    world = World(store=database, clock=Clock(scale=60.0), constraints={"cost_usd_per_hour": 0.1})
    world.history()
    world.start()
    operate(world.rollout.id, "promote", actor="ann", reason="trusted", confirm=F, store=database, clock=world.clock)
    for _ in range(4):
        world.requests(100, 30.0)
    assert world.tenure.variant == world.candidate
    database.close()


def test_a_champion_promoted_on_evidence_that_gets_worse_raises_an_alert_that_names_the_way_back_and_acts_not(
    tmp_path: Path,
) -> None:
    database = new_database(tmp_path)
    promoted = World(store=database, clock=Clock(scale=60.0))
    promoted.history()
    promoted.behaviours[promoted.champion] = Behaviour(success=0.5)
    promoted.start()
    promoted.climb(400)
    assert (promoted.tenure.variant, promoted.tenure.forced) == (promoted.candidate, False)
    back = {"actor": "ann", "reason": "x", "store": database, "clock": promoted.clock}
    foreseen = roll_back_champion(F, dry_run=True, **back).shown_worse or ""
    outdone = rf"({promoted.candidate} took its place on .+, and users found it better) by (.+) points (.+)"
    sized = re.fullmatch(outdone, foreseen)
    assert sized is not None
    assert 20 < float(sized[2]) < 40
    assert said_against(promoted, promoted.champion, promoted.candidate) == f"{sized[1]} ({promoted.rollout.id})."
    assert said_against(promoted, promoted.champion, "v_another") is None
    promoted.behaviours[promoted.candidate] = Behaviour(success=0.2)
    promoted.behaviours[promoted.champion] = Behaviour(success=0.95)
    for _ in range(30):
        promoted.labels(120)
        if "champion_worse" in promoted.alerts():
            break
    promoted.labels(120)
    assert promoted.tenure.variant == promoted.candidate
    with promoted.store.read() as tx:
        (alert,) = [a for a in promoted.store.alerts.all(tx, open_only=True) if a.kind == "champion_worse"]
    assert f"detent champion rollback {F}" in alert.detail
    database.close()


def test_one_family_that_cannot_be_watched_is_named_and_does_not_stop_the_watch_on_the_others(
    promoted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(promoted.tenure, family="other")
    with promoted.store.read() as tx:
        rollout = promoted.store.rollouts.latest(tx, F)
    monkeypatch.setattr(promoted.store.champions, "all_current", lambda tx: [other, promoted.tenure])
    monkeypatch.setattr(promoted.store.rollouts, "latest", lambda tx, family: rollout)
    monkeypatch.setattr(
        watch_holdback, "_watch", lambda *args: fail() if args[2] is other else watched.append(args[2].family)
    )
    watched: list[str] = []

    def fail() -> None:
        raise ValueError("a state that cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        watch_holdback.watch_holdbacks(promoted.store, promoted.clock, promoted.clock.now())
    assert watched == [F]


@pytest.mark.parametrize("change", ["variant = 'v_000000000000'", "since = '2026-11-20 08:00:00.000000'"])
def test_a_tenure_that_was_changed_after_its_promotion_is_found_by_verify(promoted: World, change: str) -> None:
    assert verify_rollout(promoted.rollout.id, promoted.store).ok
    with closing(sqlite3.connect(str(promoted.store.url).removeprefix("sqlite:///"), isolation_level=None)) as db:
        db.execute(f"UPDATE champions SET {change} WHERE rollout = ?", (promoted.rollout.id,))
    (problem,) = verify_rollout(promoted.rollout.id, promoted.store).problems
    assert f"promoted {promoted.candidate} when it ended" in problem.detail


def test_after_the_week_nobody_is_compared_any_more(promoted: World) -> None:
    promoted.clock.pass_seconds(7 * 24 * 60 + 3 * 60)  # a week of the rollout clock, and the last cohort's time
    assert promoted.tick().holdbacks == {}


def test_the_last_cohorts_of_the_week_are_closed_after_it(promoted: World) -> None:
    promoted.clock.pass_seconds(7 * 24 * 60 - 30)
    promoted.tick()
    promoted.labels(100, seconds=20.0, tick=False)
    promoted.clock.pass_seconds(20)
    assert promoted.tick().holdbacks == {F: "watched"}
    assert held_back(promoted) == (0, 0)
    promoted.clock.pass_seconds(95)
    promoted.tick()
    assert held_back(promoted) == (100, 0)


def test_units_that_came_during_a_freeze_are_compared_no_more_in_the_holdback(promoted: World) -> None:
    promoted.labels(40, unit_of=lambda i: f"same{i}", seconds=20.0)
    promoted.freeze()
    promoted.tick()
    assert {promoted.serve(f"same{i}").rollout for i in range(10)} == {None}
    promoted.labels(10, unit_of=lambda i: f"same{i}", seconds=20.0)
    promoted.unfreeze()
    promoted.keep_lease(250)
    assert held_back(promoted) == (30, 10)
    assert promoted.verified().problems == ()


def test_a_freeze_of_a_week_leaves_the_week_of_the_holdback_as_long_as_it_was(promoted: World) -> None:
    promoted.clock.pass_seconds(60)
    promoted.freeze(None)  # of all families
    promoted.clock.pass_seconds(8 * 24 * 60)  # days of the rollout clock
    assert promoted.tick().holdbacks == {}
    promoted.unfreeze(None)
    assert promoted.tick().holdbacks == {F: "watched"}
    promoted.clock.pass_seconds(7 * 24 * 60 - 90)  # less than a minute before the week is over
    promoted.labels(100, seconds=20.0)
    promoted.clock.pass_seconds(120)
    promoted.tick()
    assert held_back(promoted) == (100, 0)
    promoted.behaviours[promoted.candidate] = Behaviour(errors=1.0)
    promoted.requests(100, 30.0)
    assert promoted.tenure.variant == promoted.candidate, "the week is over"


def held_back(world: World) -> tuple[int, int]:
    """(units in an arm, units left out) of the blocks of the holdback."""
    blocks = [b for b in world.blocks("quality") if b.content["stage"] == len(world.rollout.ladder)]
    return sum(sum(b.content["units"].values()) for b in blocks), sum(b.content["left_out"] for b in blocks)


# --- what verify says of it -------------------------------------------------------------------------------------------


def run_sql(world: World, *statements: str) -> None:
    with closing(sqlite3.connect(str(world.store.url).removeprefix("sqlite:///"), isolation_level=None)) as db:
        for sql in statements:
            assert db.execute(sql).rowcount > 0


def cut_off(world: World, seq: int) -> None:
    """Deletes the blocks from ``seq`` on, and sets the evidence state back to what the others give."""
    rollout = world.rollout
    with world.store.read() as tx:
        blocks, stored = world.store.blocks.of_rollout(tx, rollout.id), world.store.blocks.state(tx, rollout.id)
    assert stored is not None
    state = begin(rollout.settings)
    for block in blocks[: seq - 1]:
        state = after(state, block, rollout.settings, rollout.ladder)
    back = EvidenceRow(
        n_blocks=state.n_blocks, state=as_text(StoredEvidence(state=state)), updated_at=stored.updated_at
    )
    world.store.write(lambda tx: world.store.blocks.put_state(tx, rollout.id, back))
    run_sql(world, f"DELETE FROM cohort_blocks WHERE seq >= {seq}")


def problems(world: World) -> list[str]:
    return [p.detail for p in verify_rollout(world.rollout.id, world.store).problems]


def test_blocks_that_were_cut_off_with_the_watch_set_back_are_missed_by_the_units_that_they_counted(
    promoted: World,
) -> None:
    for _ in range(4):
        promoted.labels(120)
    assert problems(promoted) == []
    cut_off(promoted, promoted.blocks("quality")[0].seq)
    assert any("quality blocks are missing" in p for p in problems(promoted))
    assert any("guardrail blocks are missing" in p for p in problems(promoted))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE audit SET detail = json_remove(detail, '$.evidence') WHERE action = 'champion.rollback'",
            "names no evidence",
        ),
        ("DELETE FROM audit WHERE action = 'champion.rollback'", "names no evidence"),
        ("UPDATE champions SET why = 'because' WHERE \"by\" = 'system:tick'", "another time, actor or reason"),
        (
            (
                "UPDATE audit SET detail = json_set(detail, '$.evidence.alarm', 'guardrail cost') WHERE action ="
                " 'champion.rollback'"
            ),
            "another time, actor or reason",
        ),
        (
            (
                "UPDATE audit SET detail = json_set(detail, '$.evidence.blocks', json_extract(detail,"
                " '$.evidence.blocks') - 3, '$.evidence.head', (SELECT hash FROM cohort_blocks WHERE seq ="
                " json_extract(detail, '$.evidence.blocks') - 3)) WHERE action = 'champion.rollback'"
            ),
            "blocks give no alarm",
        ),
        (
            "UPDATE audit SET detail = json_set(detail, '$.evidence.head', 'other') WHERE action = 'champion.rollback'",
            "with hash other, and it has another",
        ),
    ],
)
def test_a_promotion_that_was_taken_back_is_judged_again_from_its_blocks(
    taken_back: World, change: str, says: str
) -> None:
    run_sql(taken_back, change)
    assert any(says in p for p in problems(taken_back)), problems(taken_back)


def test_a_promotion_taken_back_whose_blocks_were_cut_off_is_found(taken_back: World) -> None:
    with taken_back.store.read() as tx:
        n = len(taken_back.store.blocks.of_rollout(tx, taken_back.rollout.id))
    cut_off(taken_back, n)
    assert any(f"taken back on {n} blocks, and only {n - 1} are stored" in p for p in problems(taken_back))


def test_a_promotion_taken_back_that_the_champions_forgot_is_found(taken_back: World) -> None:
    run_sql(
        taken_back,
        "DELETE FROM champions WHERE current",
        "UPDATE champions SET current = 1, until = NULL WHERE rollout IS NOT NULL",
    )
    assert any("the audit knows that the promotion was taken back" in p for p in problems(taken_back))


def test_a_promotion_that_the_next_rollout_followed_by_itself_was_not_taken_back(promoted: World) -> None:
    first = promoted.rollout.id
    promoted.champion, promoted.candidate = promoted.candidate, new_variant(promoted, "Shortly: {{document}}")
    promoted.behaviours |= {promoted.candidate: Behaviour(success=0.95)}
    promoted.start()
    promoted.climb(8)
    roll_up_minutes(promoted.store, promoted.clock)  # now it is known what its champion usually does
    promoted.climb(60)
    assert promoted.tenure.variant == promoted.candidate
    assert promoted.tenure.by == "system:tick"
    assert verify_rollout(first, promoted.store).problems == ()
    assert promoted.verified().problems == ()


def new_variant(world: World, text: str) -> str:
    draft = VariantRequest(family=world.family.name, messages=[{"role": "user", "content": text}], note="another")
    return store_draft(world.family, draft, actor="ann", store=world.store, clock=world.clock).variant


def test_a_person_who_takes_a_promotion_back_needs_no_evidence(promoted: World) -> None:
    roll_back_champion(F, actor="ann", reason="users complain", store=promoted.store, clock=promoted.clock)
    assert problems(promoted) == []
