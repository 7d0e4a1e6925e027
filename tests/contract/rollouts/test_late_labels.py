"""Labels that come later in one arm end a rollout through the tick, with the window that would hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.feedback.events import FeedbackEvent, Interaction
from optimizer.core.rollout import start
from optimizer.core.rollout.evidence_state import begin
from optimizer.core.rollout.next_action import next_action
from optimizer.core.statistics.late_labels import LateLabels
from optimizer.core.statistics.outcomes import Block, Outcomes
from optimizer.core.views.rollout_evidence import evidence_text
from tests.clock import Clock
from tests.rows.event_rows import rows_of
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, World

WINDOW_H = 4.0


class DelayedWorld(World):
    """Good news takes so many hours of the rollout clock in the mean, by variant; bad news none."""

    def __post_init__(self) -> None:
        self.hours: Mapping[str, float] = {}
        self.on_the_way: list[tuple[datetime, FeedbackEvent]] = []
        super().__post_init__()

    def _flush(self, events: list[tuple[Interaction, FeedbackEvent | None]], counts: dict[Any, int]) -> None:
        for _, feedback in events:
            if feedback is not None:
                mean_h = self.hours.get(feedback.arm.variant or "", 0.0) if feedback.success else 0.0
                real_s = self.draw.expovariate(1 / mean_h) * 3600 / self.clock.scale if mean_h else 0.0
                self.on_the_way.append((feedback.received_at + timedelta(seconds=real_s), feedback))
        super()._flush([(i, None) for i, _ in events], counts)
        events.clear()
        come = [replace(f, received_at=at) for at, f in self.on_the_way if at <= self.clock.at]
        self.on_the_way = [(at, f) for at, f in self.on_the_way if at > self.clock.at]
        self.store.write(lambda tx: self.store.events.add_new(tx, [], rows_of(come)))


def delayed(folder: Path, *, champion_h: float, candidate_h: float, success: float = 0.8) -> DelayedWorld:
    """A rollout at .5 whose hours pass within a minute, ended by the tick."""
    world = DelayedWorld(
        store=new_database(folder),
        clock=Clock(scale=60.0),
        rollout_settings={"ladder": [0.5], "feedback_window": {"hours": WINDOW_H}, "max_labelled": 4000},
    )
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=success)
    world.start()
    world.hours = {world.champion: champion_h, world.candidate: candidate_h}
    world.climb(60)
    return world


def test_labels_of_the_champion_that_come_later_end_it_inconclusive_with_the_window_that_would_do(
    tmp_path: Path,
) -> None:
    world = delayed(tmp_path, champion_h=6.0, candidate_h=1.0, success=0.7)
    rollout = world.rollout
    assert rollout.outcome == "inconclusive"
    reason = rollout.reason or ""
    assert "labels come later in the champion's arm" in reason
    assert "feedback window of 4 hours" in reason
    (named,) = re.findall(r"a window of about (\d+) hours would do \(rollout.feedback_window.hours\)", reason)
    assert 10 <= int(named) <= 60  # 99 % of all its labels come within 26; told from some fifty late ones
    content = json.loads(world.blocks("late")[0].text)
    assert set(content) == {"stage", "cohort", "until", "late", "hours"}
    assert content["hours"]["champion"] > content["hours"]["candidate"] >= 0
    assert world.verified().problems == ()
    assert "rollout_ended" in world.alerts()
    assert re.fullmatch(r"champion_later \S+ of 200", evidence_text(rollout, world.decisions[-1]) or "")


def test_labels_as_late_in_both_arms_end_nothing_and_late_units_are_counted_once(tmp_path: Path) -> None:
    world = delayed(tmp_path, champion_h=2.0, candidate_h=2.0, success=0.85)
    assert world.rollout.outcome == "promoted"
    late = [json.loads(block.text)["late"] for block in world.blocks("late")]
    assert all(value in (0.0, 1.0) for arms in late for values in arms.values() for value, _ in values)
    n_late = sum(k for arms in late for values in arms.values() for value, k in values if value == 1.0)
    n_in_time = sum(k for arms in late for values in arms.values() for value, k in values if value == 0.0)
    assert 0.05 < n_late / (n_late + n_in_time) < 0.2  # 4 hours of a mean of 2, and only good news is late
    quality = [json.loads(block.text)["outcomes"] for block in world.blocks("quality")][: len(late)]
    assert n_in_time == sum(k for arms in quality for values in arms.values() for _, k in values)
    assert world.verified().problems == ()


def test_a_user_who_comes_back_is_in_time_by_every_answer_that_the_gate_counts(tmp_path: Path) -> None:
    world = DelayedWorld(
        store=new_database(tmp_path),
        clock=Clock(scale=60.0),
        rollout_settings={"ladder": [0.5], "feedback_window": {"hours": WINDOW_H}},
    )
    world.history()
    for variant in world.behaviours:
        world.behaviours[variant] = Behaviour(labelled=0.2)
    world.start()
    world.operate("hold")
    for hour in range(16):
        world.labels(60, unit_of=lambda i, hour=hour: f"back-{20 * hour + i}")  # a third of them new
    gate = {json.loads(block.text)["cohort"]: json.loads(block.text)["outcomes"] for block in world.blocks("quality")}
    late = {json.loads(block.text)["cohort"]: json.loads(block.text)["late"] for block in world.blocks("late")}
    assert len(late) >= 5
    for cohort, arms in late.items():
        in_time = {arm: sum(k for value, k in values if value == 0.0) for arm, values in arms.items()}
        assert in_time == {arm: sum(k for _, k in values) for arm, values in gate[cohort].items()}


@pytest.fixture(scope="module")
def punctual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DelayedWorld]:
    """A rollout that was promoted, and of which every label came at once."""
    world = delayed(tmp_path_factory.mktemp("punctual"), champion_h=0.0, candidate_h=0.0, success=0.97)
    yield world
    world.store.close()


def test_a_promotion_waits_for_the_late_labels_of_half_of_its_labels(punctual: DelayedWorld) -> None:
    rollout = punctual.rollout
    assert rollout.outcome == "promoted"
    hours = (rollout.ended_at - rollout.started_at) * 60 / timedelta(hours=1)  # type: ignore[operator]
    assert 3 * WINDOW_H <= hours <= 3 * WINDOW_H + 3


def test_a_rollout_that_began_before_late_labels_were_counted_goes_on_by_its_own_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_before(*args: Any, **kwargs: Any) -> dict[str, Any]:
        settings = start.fixed_settings(*args, **kwargs)
        window = {name: value for name, value in settings["feedback_window"].items() if name != "late_hours"}
        return {**settings, "feedback_window": window}

    monkeypatch.setattr("optimizer.jobs.rollouts.fix_settings.fixed_settings", of_before)
    world = delayed(tmp_path, champion_h=6.0, candidate_h=1.0, success=0.97)
    assert world.rollout.outcome == "promoted"
    assert world.blocks("late") == []
    evidence = world.decisions[-1].content["inputs"]["evidence"]
    assert not any("later" in name for name in evidence["log_e"])
    assert world.verified().problems == ()


@pytest.mark.parametrize(
    ("champion_late", "missing"),
    [
        (1, None),
        (3, "labels may come later in the champion's arm: 3 of 60 of its labels came after the feedback window of 4"),
    ],
)
def test_a_promotion_waits_while_the_evidence_leans_to_one_arm(
    punctual: DelayedWorld, champion_late: int, missing: str | None
) -> None:
    late = LateLabels()
    for number in range(3):
        champion = Outcomes.binary(20, int(number < champion_late))
        block = Block(stage=0, candidate=Outcomes.binary(20, 0), champion=champion)
        late = late.after(block, {"candidate": 0.0, "champion": float(number < champion_late)})
    rollout = replace(punctual.rollout, status="deploying", outcome=None, held=False)
    state = replace(begin(rollout.settings), late=late)
    clock = punctual.clock
    waits = next_action(rollout, state, at=clock.now(), clock_at=clock.rollout_now()).waits_for
    found = [reason for reason in waits if "labels may come later" in reason]
    assert (found[0].startswith(missing) if missing is not None else found == []) is True
