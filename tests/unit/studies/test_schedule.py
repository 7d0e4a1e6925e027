"""Which schedule is in force, and which strategy a study that starts by itself has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidFamily
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.cron import check_cron
from optimizer.core.models.language import ModelPrice
from optimizer.core.scheduling.schedule import StoredSchedule, asked_of, command_for, in_force
from optimizer.core.search.study import Study
from tests.cases import named
from tests.stores import NOW, minutes
from tests.worlds.study_world import TOPIC_FAMILY, topic_family
from tests.worlds.triggered_world import NIGHTLY, FreeModel, TriggeredWorld

SET = StoredSchedule(family="topics", cron="0 3 * * 1", strategy=None, aim=None, reason="enough", by="anna", since=NOW)
WRITTEN = {"instruction": {"propose": True}, "examples": {"max": 4}}


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidFamily) as refused:
        parse_family({**TOPIC_FAMILY, **changes})
    return {fault.pointer: fault.detail for fault in refused.value.faults}


def gated(aim: str) -> dict[str, Any]:
    return {"gates": {"n": 20, "aim": aim}}


def test_nothing_starts_by_itself_until_a_person_has_said_so() -> None:
    family = topic_family(schedule={"cron": NIGHTLY})
    assert (
        in_force(family, None).text
        == "off, nothing starts by itself; to switch it on: detent family schedule topics --on"
    )
    assert (
        in_force(family, SET).text
        == "on, by the file's triggers and at 0 3 * * 1 UTC as bootstrap+settings+nearest for quality; such studies"
        " never look at the sealed holdout, switched on by anna at 2026-11-20 09:00:00 UTC: enough"
    )
    assert (
        "at 0 3 * * * UTC (the file's)" in in_force(family, replace(SET, cron=None, from_file=True, holdout=True)).text
    )


def test_the_aim_is_the_gates_one_unless_the_schedule_has_its_own() -> None:
    assert in_force(topic_family(rollout=gated("cost")), None).aim == "cost"
    assert in_force(topic_family(rollout=gated("cost"), schedule={"aim": "latency"}), None).aim == "latency"


def test_the_version_follows_content_and_author() -> None:
    family = topic_family()
    others = [
        SET,
        replace(SET, cron=None),
        replace(SET, by="bob"),
        replace(SET, since=minutes(1)),
        replace(SET, aim="cost"),
    ]
    versions = {in_force(family, stored).version for stored in [None, *others]}
    assert len(versions) == 6
    assert in_force(family, replace(SET)).version == in_force(family, SET).version


def test_a_family_of_kind_policy_is_searched_by_replay() -> None:
    found = in_force(topic_family().model_copy(update={"kind": "policy"}), SET)
    assert (found.cron, found.strategy) == (SET.cron, "replay")


@named(
    ("stored", "command"),
    {
        "off": (None, "detent family schedule topics --off"),
        "set": (SET, 'detent family schedule topics --cron "0 3 * * 1"'),
        "triggers alone": (
            replace(SET, cron=None, aim="cost"),
            "detent family schedule topics --on --no-cron --aim cost",
        ),
        "the file's times": (
            replace(SET, cron=None, from_file=True, holdout=True),
            "detent family schedule topics --on --holdout",
        ),
    },
)
def test_a_state_is_brought_about_by_one_command(stored: StoredSchedule | None, command: str) -> None:
    assert command_for("topics", stored) == command


def test_a_schedule_and_what_production_says_may_have_a_strategy_each() -> None:
    family = topic_family(
        space=WRITTEN,
        schedule={"cron": NIGHTLY, "strategy": "gepa"},
        triggers={"strategy": "mipro"},
        rollout={"gates": {"n": 20}},
    )
    schedule = in_force(family, None)
    assert [asked_of(family, schedule, kind) for kind in ("schedule", "degradation", "feedback")] == [
        ("gepa", "quality"),
        ("mipro", "quality"),
        ("mipro", "quality"),
    ]


@named(
    ("changes", "pointer", "says"),
    {
        "unknown": ({"schedule": {"strategy": "magic"}}, "/schedule/strategy", "There is no strategy 'magic'"),
        "no sequence": ({"triggers": {"strategy": "race+gepa"}}, "/triggers/strategy", "stands alone"),
        "another aim": ({"schedule": {"strategy": "race", "aim": "cost"}}, "/schedule/strategy", "quality alone"),
        "the gates' aim": (
            {"triggers": {"strategy": "race"}, "rollout": gated("latency")},
            "/triggers/strategy",
            "quality alone",
        ),
        "nobody may write": ({"schedule": {"strategy": "gepa"}}, "/schedule/strategy", "does not allow it"),
        "an empty name": ({"schedule": {"strategy": ""}}, "/schedule/strategy", "empty"),
        "no such aim": ({"schedule": {"aim": "beauty"}}, "/schedule/aim", "not one of"),
    },
)
def test_a_strategy_that_could_not_start_is_a_fault_of_the_file(changes, pointer, says):
    found = faults(**changes)
    assert set(found) == {pointer}
    assert says in found[pointer]


DEAR = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=50.0)


class WritingWorld(TriggeredWorld):
    """The family's model is free, and ``writer`` writes at a price."""

    def price(self, name: str) -> ModelPrice | None:
        return DEAR if name == "writer" else super().price(name)


def looks_at_night(folder: Path, usd: float) -> tuple[TriggeredWorld, list[Study]]:
    model = {**TOPIC_FAMILY["model"], "proposer": "writer"}
    world = WritingWorld(
        folder, space=WRITTEN, model=FreeModel(), schedule={"cron": NIGHTLY, "strategy": "gepa"}, budget={"usd": usd}
    )
    world.family = world.family.model_copy(update={"model": topic_family(model=model).model})
    world.families.families = {"topics": world.family}
    world.check()
    world.clock.pass_hours(24)
    return world, world.check()


def test_a_proposer_that_the_budget_cannot_pay_keeps_the_study_from_starting_and_says_so(tmp_path: Path) -> None:
    """1,000 tokens of a proposal at $50 a million are reserved: 5 cents."""
    world, started = looks_at_night(tmp_path, 0.04)
    assert started == []
    said = world.alerts()["study_not_started"]
    assert "'writer' writes them, each reserves $0.0500 and more, and $0.0400 is left" in said
    assert "stands under budget in families/topics/family.yaml" in said


def test_a_proposer_that_the_budget_can_pay_writes(tmp_path: Path) -> None:
    _, (study,) = looks_at_night(tmp_path, 0.5)
    assert (study.strategy, study.definition["proposer"]) == ("gepa", "writer")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("1" * 5000 + " * * * *", id="a number of five thousand digits"),
        pytest.param(",".join(["1"] * 1000) + " * * * *", id="a thousand minutes"),
        pytest.param("\u0663 * * * *", id="digits of another script"),
        pytest.param("*/\u0663 * * * *", id="a step of another script"),
        pytest.param("*\x1f* * * *", id="a character that splits"),
        pytest.param("*/000 * * * *", id="a step of nothing"),
        pytest.param("* " * 100_000, id="a hundred thousand fields"),
    ],
)
def test_garbage_for_a_cron_line_is_a_fault_of_a_sentence(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w+") as refused:
        check_cron(line)
    assert len(str(refused.value)) < 1000
