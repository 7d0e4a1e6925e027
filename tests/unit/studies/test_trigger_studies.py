"""Which studies start by themselves, which do not, and what people are told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import GateNotMet, InvalidInput
from optimizer.core.base.values import Budget, Spend
from optimizer.core.search.study import CONFIRM
from optimizer.jobs.champions.watch_students import put_bypass
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.jobs.rollouts.read_candidate import waiting_candidate
from optimizer.jobs.rollouts.tick import tick
from optimizer.ports import Alert
from tests.rows.rollout_acts import operate
from tests.worlds.contexts import context_of
from tests.worlds.study_world import START, TopicModel, topic_examples
from tests.worlds.taught_student import TAUGHT, crown
from tests.worlds.triggered_world import NIGHTLY, TriggeredWorld, at_two

EVERY_NIGHT = {"schedule": {"cron": NIGHTLY}}


@pytest.fixture
def nightly(tmp_path: Path) -> TriggeredWorld:
    return at_two(TriggeredWorld(tmp_path, **EVERY_NIGHT))


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_a_family_that_is_switched_on_and_set_nothing_searches_at_three_for_no_dollar(nightly: TriggeredWorld) -> None:
    nightly.clock.pass_hours(0.5)
    assert nightly.check() == []
    nightly.clock.pass_hours(0.5)
    (study,) = nightly.check()
    assert study.trigger.reason == "scheduled for 2026-11-21 03:00:00 UTC (0 3 * * *)"
    assert (study.created_by, study.budget) == ("system:schedule", Budget(usd=0.0, calls=1000, minutes=30.0))
    assert nightly.check() == []


def test_a_week_of_downtime_is_one_study_that_says_so(nightly: TriggeredWorld) -> None:
    nightly.clock.pass_hours(7 * 24)
    (study,) = nightly.check()
    assert "6 later times passed before it could start, and this study stands for all of them" in study.trigger.reason
    nightly.end(study)
    assert nightly.check() == []


def test_a_worker_killed_between_study_and_notice_starts_no_second_one(nightly, monkeypatch):
    nightly.clock.pass_hours(2)

    def killed(*args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("optimizer.jobs.scheduling.trigger_studies._tell_started", killed)
        with pytest.raises(SystemExit):
            nightly.check()
    (study,) = nightly.studies()
    assert nightly.check() == []
    assert study.id in nightly.alerts()["study_started"]
    nightly.end(study)
    assert nightly.check() == []
    assert len(nightly.studies()) == 1
    assert "study_started" not in nightly.alerts()


def test_each_study_has_a_seed_of_its_own_that_no_person_has_used(nightly: TriggeredWorld) -> None:
    seeds = []
    for by_person in (False, False, True):
        if by_person:
            nightly.end(nightly.create(seed=4))
        nightly.clock.pass_hours(24)
        (study,) = nightly.check()
        seeds.append(study.seed)
        nightly.end(study)
    assert seeds == [0, 1, 5]


def test_a_schedule_runs_on_the_rollout_clock(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, **EVERY_NIGHT)
    world.clock.scale = 24.0
    begun = world.clock.at
    world.clock.rollout_now = lambda: begun + (world.clock.at - begun) * 24  # type: ignore[method-assign]
    assert world.check() == []
    world.clock.pass_hours(1)
    (study,) = world.check()
    assert study.simulated_clock


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_bad_feedback_in_volume_starts_a_study_and_the_same_feedback_no_second_one(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path)
    world.users(50, score=0.2)
    (study,) = world.check()
    assert study.trigger.kind == "feedback"
    assert "50 units with feedback" in study.trigger.reason
    world.end(study)
    world.users(60, score=0.2)
    assert world.check() == []  # its window is not all new
    assert "looked at again from" in world.report().looks[1].reason
    world.clock.pass_hours(6)
    assert world.check() == []  # it is, and holds nothing
    world.users(50, score=0.2)
    assert len(world.check()) == 1


def test_feedback_on_the_champion_before_starts_nothing(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path)
    world.users(80, score=0.1)
    with world.store.read() as tx:
        before = world.store.champions.current(tx, "topics")
    tenure = replace(before, seq=before.seq + 1, since=world.clock.now(), previous=before.seq)
    world.store.write(lambda tx: world.store.champions.put(tx, tenure))
    assert world.check() == []


def test_feedback_before_a_study_of_a_person_counts_as_answered_by_it(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path)
    world.users(80, score=0.1)
    world.end(world.create())
    assert world.check() == []
    world.users(49, score=0.1)
    assert world.check() == []
    world.users(1, score=0.1)
    assert len(world.check()) == 1


def test_a_confirmation_that_a_person_asked_for_answers_no_feedback(tmp_path: Path) -> None:
    """It searches nothing, so what users complained of before it is as open as ever."""
    world = TriggeredWorld(tmp_path)
    searched = world.create()
    world.end(searched)
    world.users(80, score=0.1)
    asked = replace(searched, id="st_asked", strategy=CONFIRM, created_at=world.clock.now())
    world.store.write(lambda tx: world.store.studies.add(tx, asked))
    world.end(asked)
    assert len(world.check()) == 1


# --- guards -----------------------------------------------------------------------------------------------------------


def test_while_three_studies_are_under_way_none_starts(nightly: TriggeredWorld) -> None:
    nightly.clock.pass_hours(2)
    own = nightly.create()
    nightly.end(own)
    for name in ("b", "c", "d"):
        other = replace(own, id=f"st_{name}", family=name)
        nightly.store.write(lambda tx, other=other: nightly.store.studies.add(tx, other))  # type: ignore[misc]
    assert nightly.check() == []
    held = nightly.report().held
    assert "3 studies are under way" in held.reason
    nightly.end(replace(own, id="st_b"))
    assert len(nightly.check()) == 1


def test_a_frozen_family_waits_and_starts_afterwards(nightly: TriggeredWorld) -> None:
    freeze(context_of(nightly.store, nightly.clock), FreezeRequest(family="topics", reason="launch"))
    nightly.clock.pass_hours(2)
    assert nightly.check() == []
    assert "study_not_started" not in nightly.alerts()
    unfreeze(context_of(nightly.store, nightly.clock), FreezeRequest(family="topics", reason="over"))
    assert len(nightly.check()) == 1


@pytest.fixture
def too_few(tmp_path: Path) -> TriggeredWorld:
    """A night has come, and somebody was told that there are too few holdout examples."""
    world = TriggeredWorld(tmp_path, filled=False, **EVERY_NIGHT)
    world.fill(n_holdout=19)
    at_two(world)
    assert world.alerts() == {}  # nothing wanted to start yet
    world.clock.pass_hours(2)
    assert world.check() == []
    assert "study_not_started" in world.alerts()
    return world


def test_too_few_holdout_examples_are_said_once_with_the_way_out_and_no_study_fails(too_few: TriggeredWorld) -> None:
    world = too_few
    for _ in range(2):
        assert world.check() == []
    detail = world.alerts()["study_not_started"]
    assert "19 holdout examples and rollout.gates.n asks for 20" in detail
    assert "detent import FILE --family topics" in detail
    assert world.studies() == []
    with world.store.read() as tx:
        assert len(world.store.alerts.all(tx, open_only=False)) == 1
    world.add([replace(topic_examples(1, "holdout")[0], id="h", group="h")])
    assert world.check() == []  # the time has passed; the next one counts
    assert world.alerts() == {}
    world.clock.pass_hours(24)
    assert len(world.check()) == 1


def test_what_is_switched_off_as_the_alert_says_closes_it(too_few: TriggeredWorld) -> None:
    off = {
        "schedule": too_few.family.schedule.model_copy(update={"cron": None}),
        "triggers": too_few.family.triggers.model_copy(update={"degradation": None, "feedback": None}),
    }
    too_few.families.families = {"topics": too_few.family.model_copy(update=off)}
    too_few.check()
    assert too_few.alerts() == {}


def test_a_family_that_is_gone_waits_for_nothing(too_few: TriggeredWorld) -> None:
    too_few.families.families = {}
    too_few.check()
    assert too_few.alerts() == {}


def test_too_few_examples_remain_said_while_another_guard_says_no(too_few: TriggeredWorld) -> None:
    freeze(context_of(too_few.store, too_few.clock), FreezeRequest(family="topics", reason="launch"))
    too_few.check()
    assert "study_not_started" in too_few.alerts()


def test_an_open_alert_says_what_keeps_a_study_from_starting_now(tmp_path: Path) -> None:
    world = at_two(TriggeredWorld(tmp_path, model=TopicModel(), **EVERY_NIGHT))
    world.clock.pass_hours(2)
    world.check()
    assert "(usd: 0)" in world.alerts()["study_not_started"]
    budget = world.family.budget.model_copy(update={"usd": 2.0, "usd_per_month": 0.0})
    world.families.families = {"topics": world.family.model_copy(update={"budget": budget})}
    world.clock.pass_hours(24)
    world.check()
    detail = world.alerts()["study_not_started"]
    assert "(usd: 2)" in detail
    assert "scheduled for 2026-11-22" in detail
    assert "Tried again at 2026-11-23" in detail
    with world.store.read() as tx:
        assert len(world.store.alerts.all(tx, open_only=False, kind="study_not_started")) == 1


def test_a_model_without_a_price_is_not_asked(tmp_path: Path) -> None:
    model = TopicModel()
    model.price = None  # type: ignore[assignment]
    world = at_two(TriggeredWorld(tmp_path, model=model, budget={"usd": 5.0}, **EVERY_NIGHT))
    world.clock.pass_hours(2)
    assert world.check() == []
    assert "no known price" in world.alerts()["study_not_started"]


def test_a_month_gives_what_it_has_left_and_then_nothing(tmp_path: Path) -> None:
    world = at_two(
        TriggeredWorld(tmp_path, model=TopicModel(), budget={"usd": 2.0, "usd_per_month": 3.0}, **EVERY_NIGHT)
    )
    caps = []
    for _ in range(3):
        world.clock.pass_hours(24)
        for study in world.check():
            caps.append(study.budget.usd)
            world.change(study, spend=Spend(usd=study.budget.usd or 0))
            world.end(study)
    assert caps == [2.0, 1.0]
    assert "study_not_started" in world.alerts()


# --- what comes of it -------------------------------------------------------------------------------------------------


Copies = Callable[..., TriggeredWorld]  # of a world, with fields of the family that a test wants otherwise


def copies(world: TriggeredWorld, folder: Path) -> Copies:
    """What a study did is the same for every test that goes on from its end."""
    world.store.close()

    def copy(**family: Any) -> TriggeredWorld:
        shutil.copy(world.folder / "detent.db", folder)
        copied = TriggeredWorld(folder, filled=False, on=False, **family)
        copied.clock.at, copied.n = world.clock.at, world.n
        return copied

    return copy


@pytest.fixture(scope="module")
def ended_by_feedback(tmp_path_factory: pytest.TempPathFactory) -> TriggeredWorld:
    """Bad feedback has started a study, which nominated a candidate."""
    world = TriggeredWorld(tmp_path_factory.mktemp("feedback"), schedule={"cron": None, "strategy": "bootstrap"})
    world.users(50, score=0.2)
    (study,) = world.check()
    assert world.run(study).outcome == "nominated"
    return world


@pytest.fixture(scope="module")
def ended_at_night(tmp_path_factory: pytest.TempPathFactory) -> TriggeredWorld:
    """The schedule has started a study, whose candidate waits: nobody uses the family."""
    nightly = {"cron": NIGHTLY, "strategy": "bootstrap"}
    world = at_two(TriggeredWorld(tmp_path_factory.mktemp("night"), schedule=nightly))
    world.clock.pass_hours(2)
    (study,) = world.check()
    world.run(study)
    assert world.hand_on() == []
    return world


@pytest.fixture
def nominated(ended_by_feedback: TriggeredWorld, tmp_path: Path) -> Copies:
    return copies(ended_by_feedback, tmp_path)


@pytest.fixture
def waiting(ended_at_night: TriggeredWorld, tmp_path: Path) -> TriggeredWorld:
    return copies(ended_at_night, tmp_path)(**EVERY_NIGHT)


def test_a_candidate_is_handed_on_once_whatever_becomes_of_its_rollout(nominated: Copies) -> None:
    world = nominated()
    (started,) = world.hand_on()
    with world.store.read() as tx:
        first = world.store.rollouts.decisions(tx, started.id)[0]
    assert (first.actor, "started by itself (feedback:" in first.reason) == ("system:feedback", True)
    operate(started.id, "reject", actor="ann", reason="not this one", store=world.store, clock=world.clock)
    assert world.hand_on() == []
    assert "approval_wanted" not in world.alerts()
    assert "candidate_waits" not in world.alerts()


def test_a_worker_killed_between_rollout_and_notice_asks_for_approval_afterwards(nominated, monkeypatch):
    world = nominated()

    def killed(*args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("optimizer.jobs.scheduling.hand_on_candidates._tell_approvals", killed)
        with pytest.raises(SystemExit):
            world.hand_on()
    assert "approval_wanted" not in world.alerts()
    assert world.hand_on() == []
    with world.store.read() as tx:
        rollout = world.store.rollouts.active(tx, "topics")
    assert f"Rollout {rollout.id}" in world.alerts()["approval_wanted"]


def test_the_fault_of_one_family_keeps_no_other_from_being_looked_at(nightly, monkeypatch):
    nightly.families.families = {
        "broken": nightly.family.model_copy(update={"name": "broken"}),
        **nightly.families.families,
    }
    current = nightly.store.champions.current

    def unreadable(tx: Any, family: str) -> Any:
        if family == "broken":
            raise ValueError("a row that cannot be read")
        return current(tx, family)

    nightly.clock.pass_hours(2)
    monkeypatch.setattr(nightly.store.champions, "current", unreadable)
    with pytest.raises(ValueError, match="cannot be read"):
        nightly.check()
    (study,) = nightly.studies()
    assert study.family == "topics"
    assert "study_started" in nightly.alerts()


def test_a_study_that_somebody_asked_for_is_not_handed_on(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path)
    world.users(5, score=0.9)
    assert world.run(world.create(strategy="bootstrap")).outcome == "nominated"
    assert world.hand_on() == []


def test_what_is_said_of_a_candidate_that_waits_is_why_it_waits_now(waiting, monkeypatch):
    assert "no interaction of topics was reported" in waiting.alerts()["candidate_waits"]

    def refuse(*args: Any, **options: Any) -> None:
        raise GateNotMet("It would not end within its limits.")

    monkeypatch.setattr("optimizer.jobs.scheduling.hand_on_candidates.make_rollout", refuse)
    assert waiting.hand_on() == []
    assert waiting.alerts()["candidate_waits"].endswith(
        "its rollout did not start. It would not end within its limits."
    )
    with waiting.store.read() as tx:
        assert len(waiting.store.alerts.all(tx, open_only=False, kind="candidate_waits")) == 1


def test_nothing_stays_open_of_a_family_whose_folder_is_gone(waiting: TriggeredWorld) -> None:
    kinds = [*("champion_out_of_limits", "champion_drift", "way_back_broken"), *("student_shifted", "disk_full")]
    for kind in kinds:
        alert = Alert(
            id=f"al_{kind}", kind=kind, level="info", family="topics", subject="x", opened_at=START, detail="x"
        )
        waiting.store.write(lambda tx, alert=alert: waiting.store.alerts.open(tx, alert))
    before = set(waiting.alerts())
    waiting.families.families, waiting.families.problems = {}, {"topics": InvalidInput("A colon is missing.")}
    waiting.hand_on()
    assert set(waiting.alerts()) == before >= {"candidate_waits", *kinds}, "its file has a fault, and will be mended"
    waiting.families.problems = {}
    waiting.hand_on()
    assert before - set(waiting.alerts()) == {"candidate_waits", *kinds} - {"disk_full"}


def test_a_candidate_that_waits_is_handed_on_days_later_and_no_other_search_is_paid_for_meanwhile(waiting):
    study = waiting.only_study()
    for _ in range(2):
        waiting.clock.pass_hours(24)
        assert waiting.check() == []
        assert waiting.hand_on() == []
        assert study.id in waiting.alerts()["candidate_waits"]
    held = waiting.report().held
    assert f"of study {study.id} waits for its rollout" in held.reason
    waiting.users(5)
    (started,) = waiting.hand_on()
    assert started.study == study.id
    assert "candidate_waits" not in waiting.alerts()


def promoted(world: TriggeredWorld) -> str:
    """The rollout of what a study found that started by itself, promoted by a person."""
    (started,) = world.hand_on()
    operate(started.id, "approve", actor="ann", reason="so", store=world.store, clock=world.clock)
    tick(world.store, world.clock, 60.0)
    operate(started.id, "promote", actor="ann", reason="so", confirm="topics", store=world.store, clock=world.clock)
    return started.id


def test_no_study_starts_by_itself_while_a_promotion_is_watched_in_its_holdback(nominated: Copies) -> None:
    world = nominated(**EVERY_NIGHT)
    rollout = promoted(world)
    for _ in range(3):
        world.clock.pass_hours(24)
        assert world.check() == []
    held = world.report().held
    assert f"rollout {rollout} is watched in its holdback until" in held.reason
    world.clock.pass_hours(5 * 24)
    assert len(world.check()) == 1


def test_a_candidate_found_during_a_holdback_waits_for_its_end(nominated: Copies) -> None:
    world = nominated()
    rollout = promoted(world)
    found = VariantRequest(
        family=world.family.name, messages=[{"role": "user", "content": "Topic? {{document}}"}], note="another"
    )
    variant = store_draft(world.family, found, actor="ann", store=world.store, clock=world.clock).variant
    first = world.studies()[0]
    later = replace(first, id="st_later", champion=world.champion(), winner=variant, created_at=world.clock.now())
    world.store.write(lambda tx: world.store.studies.add(tx, later))
    with world.store.read() as tx:
        assert waiting_candidate(tx, world.store, "topics") == later
    assert world.hand_on() == []
    with world.store.read() as tx:
        latest = world.store.rollouts.latest(tx, "topics")
    assert latest.id == rollout
    world.clock.pass_hours(7 * 24)
    (started,) = world.hand_on()
    assert started.study == "st_later"


def test_a_student_that_is_bypassed_starts_one_study_and_for_a_week_no_other(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, schedule={"cron": None})
    policy = {"tiers": ["student", "strong"], "accept": 0.9, "students": {"student": TAUGHT.student.hash}}
    store, at = world.store, world.clock.now()
    store.write(lambda tx: store.students.add(tx, "topics", TAUGHT, study="st-1", at=at))
    crown(store, "topics", replace(world.family.variant(), policy=policy), at=at)
    assert world.check() == []
    id = TAUGHT.student.hash
    store.write(
        lambda tx: put_bypass(tx, store, world.clock, "topics", id, actor="student_watch", reason="it lost too much")
    )
    (study,) = world.check()
    assert study.trigger.kind == "student"
    assert study.trigger.reason == f"the student {id}: bypassed, it lost too much"
    world.end(study)
    world.clock.pass_hours(6 * 24)
    assert world.check() == []
    world.clock.pass_hours(2 * 24)
    assert len(world.check()) == 1


def test_a_policy_family_starts_no_study(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, **EVERY_NIGHT)
    world.families.families = {"topics": world.family.model_copy(update={"kind": "policy"})}
    world.check()
    world.clock.pass_hours(48)
    assert world.check() == []


def test_the_report_says_what_each_trigger_sees_and_when_the_next_study_is(nightly: TriggeredWorld) -> None:
    report = nightly.report()
    assert [look.kind for look in report.looks] == ["degradation", "feedback", "student", "schedule"]
    assert report.next_at == datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
