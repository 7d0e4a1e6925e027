"""What every store does with a schedule that somebody has set, and what the job around it keeps true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import InvalidInput, StaleVersion
from optimizer.core.scheduling.schedule import ScheduleInForce, StoredSchedule
from optimizer.jobs.scheduling.set_schedule import Check, ScheduleReport, read_schedule, set_schedule, unset_schedule
from tests.stores import FAMILY, NOW, minutes
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
        database.write(lambda tx, one=one: database.schedules.put(tx, one))  # type: ignore[misc]
    with database.read() as tx:
        assert database.schedules.all(tx) == {FAMILY: WEEKLY, "triage": of_file}
        assert database.schedules.get(tx, FAMILY) == WEEKLY
        assert database.schedules.get(tx, "nobody") is None
    assert database.write(lambda tx: database.schedules.remove(tx, FAMILY)) is True
    assert database.write(lambda tx: database.schedules.remove(tx, FAMILY)) is False
    with database.read() as tx:
        assert database.schedules.all(tx) == {"triage": of_file}


@pytest.fixture
def nightly(tmp_path: Path) -> TriggeredWorld:
    return at_two(TriggeredWorld(tmp_path, schedule={"cron": NIGHTLY}))


def put(
    world: TriggeredWorld, cron: str | None, *, actor: str = "anna", check: Check = lambda before: None, **options: Any
) -> ScheduleReport:
    given = {"from_file": cron is None, "strategy": None, "aim": None, "reason": "a try", **options}
    wanted = StoredSchedule(family=world.family.name, cron=cron, by=actor, since=world.clock.now(), **given)
    return set_schedule(world.family, wanted, store=world.store, clock=world.clock, check=check)


def back(world: TriggeredWorld, **options: Any) -> ScheduleReport:
    return unset_schedule(world.family, reason="enough", actor="anna", store=world.store, clock=world.clock, **options)


def test_what_is_set_holds_in_place_of_the_file_until_the_file_s_times_are_set(nightly: TriggeredWorld) -> None:
    put(nightly, EVERY_HOUR)
    nightly.clock.pass_hours(0.6)
    (study,) = nightly.check()
    assert study.trigger is not None
    assert study.trigger.reason == "scheduled for 2026-11-21 02:30:00 UTC (30 * * * *)"
    nightly.end(study)
    put(nightly, None)
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
    put(nightly, "0 5 * * *")
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
        put(world, "0 9 * * *")
    world.clock.pass_hours(1.05)
    put(world, None if give_back else NIGHTLY)
    assert world.check() == []


def test_a_change_of_the_strategy_alone_forgets_no_time_that_is_due(nightly: TriggeredWorld) -> None:
    nightly.clock.pass_hours(1.01)
    put(nightly, NIGHTLY, strategy="settings")
    (study,) = nightly.check()
    assert study.strategy == "settings"


def test_strategy_and_aim_that_are_not_named_are_the_file_s(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, schedule={"cron": None, "strategy": "settings", "aim": "cost"})
    report = put(world, NIGHTLY)
    assert (report.schedule.strategy, report.schedule.aim, report.schedule.source, report.schedule.by) == (
        "settings",
        "cost",
        "store",
        "anna",
    )
    assert put(world, NIGHTLY, strategy="bootstrap", aim="quality").schedule.strategy == "bootstrap"


def test_every_fault_is_told_and_nothing_changes(nightly: TriggeredWorld) -> None:
    with pytest.raises(InvalidInput) as refused:
        put(nightly, "0 25 * * *", strategy="gepa")
    assert [fault.pointer for fault in refused.value.faults] == ["/cron", "/strategy"]
    assert "no hour" in refused.value.detail
    assert "does not allow it" in refused.value.detail
    assert read_schedule(nightly.family, store=nightly.store, clock=nightly.clock).source == "file"


def test_an_aim_that_the_file_s_strategy_cannot_have_is_refused(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path, schedule={"cron": None, "strategy": "race"})
    with pytest.raises(InvalidInput) as refused:
        put(world, NIGHTLY, aim="cost")
    assert [fault.pointer for fault in refused.value.faults] == ["/aim"]


def test_each_answer_says_how_to_take_it_back(nightly: TriggeredWorld) -> None:
    assert (
        put(nightly, "0 3 * * 1", strategy="settings", aim="cost").undo
        == "detent family schedule topics --on --holdout"
    )
    assert (
        put(nightly, None, from_file=False).undo
        == 'detent family schedule topics --cron "0 3 * * 1" --strategy settings --aim cost'
    )
    assert back(nightly).undo == "detent family schedule topics --on --no-cron"
    assert put(nightly, None).undo == "detent family schedule topics --off"


def test_what_is_so_already_changes_nothing(nightly: TriggeredWorld) -> None:
    assert back(nightly).changed is True
    assert back(nightly).changed is False
    assert put(nightly, EVERY_HOUR).changed is True
    again = put(nightly, EVERY_HOUR, actor="bob")
    assert (again.changed, again.undo, again.schedule.by) == (False, None, "anna")


def test_every_change_is_in_the_audit(nightly: TriggeredWorld) -> None:
    put(nightly, EVERY_HOUR)
    put(nightly, EVERY_HOUR)
    back(nightly)
    with nightly.store.read() as tx:
        every = nightly.store.audit.page(tx, None, 100)[0]
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


def test_a_check_that_refuses_undoes_nothing_since_nothing_was_done(nightly: TriggeredWorld) -> None:
    def changed_meanwhile(before: ScheduleInForce) -> None:
        raise StaleVersion(f"{before.text} it is now")

    with pytest.raises(StaleVersion, match="switched on by local:ann"):
        put(nightly, None, check=changed_meanwhile)
    assert read_schedule(nightly.family, store=nightly.store, clock=nightly.clock).cron == NIGHTLY
