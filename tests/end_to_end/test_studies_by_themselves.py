"""From users who are served worse answers to a rollout of something better, with nobody at the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.triggered_world import EASY_ROLLOUT, TriggeredWorld


def degraded(folder: Path, **family: Any) -> TriggeredWorld:
    """A day of good answers, then an hour of bad ones."""
    world = TriggeredWorld(folder, **family)
    world.users(200, score=0.9, success=True, over_hours=24)
    assert world.check() == []
    world.clock.pass_hours(6)
    world.users(80, score=0.3, success=False)
    return world


@pytest.mark.parametrize(("approve", "status"), [("auto", "approved"), ("person", "validating")])
def test_a_degradation_starts_a_study_whose_candidate_goes_into_a_rollout(tmp_path: Path, approve: str, status: str) -> None:
    world = degraded(tmp_path, rollout={**EASY_ROLLOUT, "approve": approve})
    (study,) = world.check()
    assert study.trigger is not None
    assert study.trigger.kind == "degradation"
    assert "success by user 1.000 > 0.000" in study.trigger.reason
    assert "score by user 0.900 > 0.300" in study.trigger.reason
    assert study.created_by == "system:degradation"
    assert (study.budget.usd, study.budget.minutes) == (0.0, 30.0)
    assert study.trigger.reason in world.alerts()["study_started"]

    ended = world.run(study)
    assert ended.outcome == "nominated", ended.error or ended.confirmation
    (started,) = world.hand_on()
    rollout = started.rollout
    assert (rollout.candidate, rollout.study, rollout.status, rollout.forced) == (ended.winner, study.id, status, False)
    assert ("approval_wanted" in world.alerts()) == (approve == "person")
    assert world.hand_on() == []
    assert world.check() == []  # the rollout decides first
    assert "study_started" not in world.alerts()
