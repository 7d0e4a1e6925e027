"""What every store does with a schedule that somebody has set, and what the job around it keeps true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import InvalidInput, PreconditionFailed
from optimizer.core.scheduling.schedule import ScheduleView, StoredSchedule
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.scheduling.set_schedule import (
    ScheduleReport,
    ScheduleRequest,
    UnsetScheduleRequest,
    delete_schedule,
    put_schedule,
    read_family_schedule,
)
from tests.stores import FAMILY, NOW, minutes, reading, writing
from tests.worlds.contexts import context_of
from tests.worlds.triggered_world import NIGHTLY, TriggeredWorld, at_two

WEEKLY = StoredSchedule(
    family=FAMILY, cron="0 3 * * 1", holdout=True, strategy="gepa", aim="quality", reason="enough", by="anna", since=NOW
)
EVERY_HOUR = "30 * * * *"


def test_what_was_set_comes_back_as_it_was_written_until_it_is_removed(database: Database) -> None:
    of_file = StoredSchedule(
        family="triage", cron=None, from_file=True, strategy=None, aim=None, reason="busy", by="bob", since=minutes(1)
    )
    for one in (replace(WEEKLY, cron="0 4 * * *"), of_file, WEEKLY):
        writing(database).schedules.put(one)
    assert reading(database).schedules.all() == {FAMILY: WEEKLY, "triage": of_file}
    assert reading(database).schedules.get(FAMILY) == WEEKLY
    assert reading(database).schedules.get("nobody") is None
    assert writing(database).schedules.remove(FAMILY) is True
    assert writing(database).schedules.remove(FAMILY) is False
    assert reading(database).schedules.all() == {"triage": of_file}


@pytest.fixture
def nightly(tmp_path: Path) -> TriggeredWorld:
    return at_two(TriggeredWorld(tmp_path, schedule={"cron": NIGHTLY}))


def by(world: TriggeredWorld, actor: str = "anna") -> Context:
    return context_of(world.store, world.clock, actor, family=lambda name: world.family)


def put(world: TriggeredWorld, *, actor: str = "anna", **options: Any) -> ScheduleReport:
    """Without ``cron`` at the file's times."""
    given = {"on": True, "reason": "a try", "if_match": "*", **options}
    return put_schedule(by(world, actor), ScheduleRequest(family=world.family.name, **given))


def back(world: TriggeredWorld) -> ScheduleReport:
    return delete_schedule(by(world), UnsetScheduleRequest(family=world.family.name, reason="enough"))


def now_in_force(world: TriggeredWorld) -> ScheduleView:
    return read_family_schedule(by(world), FamilyRequest(family=world.family.name))


def test_what_is_set_holds_in_place_of_the_file_until_the_file_s_times_are_set(nightly: TriggeredWorld) -> None:
    put(nightly, cron=EVERY_HOUR)
    nightly.clock.pass_hours(0.6)
    (study,) = nightly.check()
    assert study.trigger is not None
    assert study.trigger.reason == "scheduled for 2026-11-21 02:30:00 UTC (30 * * * *)"
    nightly.end(study)
    put(nightly)
    nightly.clock.pass_hours(0.2)
    assert nightly.check() == []
    nightly.clock.pass_hours(0.5)
    assert len(nightly.check()) == 1, "at three, as the file says"


def test_no_study_starts_by_schedule_while_it_is_switched_off(nightly: TriggeredWorld) -> None:
    report = back(nightly)
    assert report.what == "nothing starts by itself any more"
    nightly.clock.pass_hours(48)
    assert nightly.check() == []
    assert nightly.report().next_at is None


def test_an_edit_of_the_file_changes_nothing_while_the_store_decides(nightly: TriggeredWorld) -> None:
    put(nightly, cron="0 5 * * *")
    edited = nightly.family.model_copy(
        update={"schedule": nightly.family.schedule.model_copy(update={"cron": EVERY_HOUR})}
    )
    nightly.families.families = {edited.name: edited}
    nightly.clock.pass_hours(2)
    assert nightly.check() == []


@pytest.mark.parametrize("give_back", [False, True], ids=["set", "as the file says"])
def test_times_before_the_change_are_not_made_up_for(tmp_path: Path, give_back: bool) -> None:
    """The last look was at 2:00, the change comes at 3:03."""
    world = TriggeredWorld(tmp_path, schedule={"cron": NIGHTLY if give_back else "0 9 * * *"})
    at_two(world)
    if give_back:
        put(world, cron="0 9 * * *")
    world.clock.pass_hours(1.05)
    put(world, **({} if give_back else {"cron": NIGHTLY}))
    assert world.check() == []


def test_a_change_of_the_strategy_alone_forgets_no_time_that_is_due(nightly: TriggeredWorld) -> None:
    nightly.clock.pass_hours(1.01)
    put(nightly, cron=NIGHTLY, strategy="settings")
    (study,) = nightly.check()
    assert study.strategy == "settings"


def test_strategy_and_aim_that_are_not_named_are_the_file_s(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, schedule={"cron": None, "strategy": "settings", "aim": "cost"})
    report = put(world, cron=NIGHTLY)
    assert (report.schedule.strategy, report.schedule.aim) == ("settings", "cost")
    assert (report.schedule.source, report.schedule.by) == ("store", "anna")
    assert put(world, cron=NIGHTLY, strategy="bootstrap", aim="quality").schedule.strategy == "bootstrap"


def test_every_fault_is_told_and_nothing_changes(nightly: TriggeredWorld) -> None:
    with pytest.raises(InvalidInput) as refused:
        put(nightly, cron="0 25 * * *", strategy="gepa")
    assert [fault.pointer for fault in refused.value.faults] == ["/cron", "/strategy"]
    assert "no hour" in refused.value.detail
    assert "does not allow it" in refused.value.detail
    assert now_in_force(nightly).source == "file"


def test_an_aim_that_the_file_s_strategy_cannot_have_is_refused(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, schedule={"cron": None, "strategy": "race"})
    with pytest.raises(InvalidInput) as refused:
        put(world, cron=NIGHTLY, aim="cost")
    assert [fault.pointer for fault in refused.value.faults] == ["/aim"]


def test_each_answer_says_how_to_take_it_back(nightly: TriggeredWorld) -> None:
    assert (
        put(nightly, cron="0 3 * * 1", strategy="settings", aim="cost").undo
        == "detent family schedule topics --on --holdout"
    )
    assert (
        put(nightly, cron=None).undo
        == 'detent family schedule topics --cron "0 3 * * 1" --strategy settings --aim cost'
    )
    assert back(nightly).undo == "detent family schedule topics --on --no-cron"
    assert put(nightly).undo == "detent family schedule topics --off"


def test_what_is_so_already_changes_nothing(nightly: TriggeredWorld) -> None:
    assert back(nightly).changed is True
    assert back(nightly).changed is False
    assert put(nightly, cron=EVERY_HOUR).changed is True
    again = put(nightly, cron=EVERY_HOUR, actor="bob")
    assert (again.changed, again.undo, again.schedule.by) == (False, None, "anna")


def test_every_change_is_in_the_audit(nightly: TriggeredWorld) -> None:
    put(nightly, cron=EVERY_HOUR)
    put(nightly, cron=EVERY_HOUR)
    back(nightly)
    every = reading(nightly.store).audit.page(None, 100)[0]
    entries = [e for e in every if str(e["action"]).startswith("schedule.") and e["actor"] == "anna"]
    assert sorted(e["action"] for e in entries) == ["schedule.set", "schedule.unset"]
    (first,) = [e for e in entries if e["action"] == "schedule.set"]
    assert (first["actor"], first["family"], first["detail"]["why"]) == ("anna", "topics", "a try")
    assert first["detail"]["before"] == {
        "on": True,
        "holdout": True,
        "cron": NIGHTLY,
        "strategy": "bootstrap+settings+nearest",
        "aim": "quality",
        "source": "file",
    }
    assert first["detail"]["after"]["cron"] == EVERY_HOUR


def test_a_change_of_what_holds_no_more_is_refused(nightly: TriggeredWorld) -> None:
    seen = now_in_force(nightly).version
    put(nightly, cron=EVERY_HOUR)
    with pytest.raises(PreconditionFailed, match=seen):
        put(nightly, if_match=f'"{seen}"')
    assert now_in_force(nightly).cron == EVERY_HOUR
