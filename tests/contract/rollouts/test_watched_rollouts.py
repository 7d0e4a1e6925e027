"""Rollouts that move by themselves, on a real database: what their users report decides,
and every decision can be checked.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from optimizer.core.base.errors import Refused
from tests.rows.rollout_acts import set_champion
from tests.worlds.rollout_world import Behaviour, F, World


def test_a_candidate_that_is_better_climbs_every_stage_and_becomes_champion_by_itself(fast: World) -> None:
    fast.behaviours[fast.candidate] = Behaviour(success=0.95)
    fast.start()
    fast.climb(60)
    assert fast.moves() == ["deploy", "advance", "advance", "advance", "promote"]
    assert not any(d.forced for d in fast.decisions if d.actor == "system:tick")
    assert fast.rollout.outcome == "promoted"
    assert fast.tenure.variant == fast.candidate
    assert fast.verified().problems == ()


def test_a_candidate_that_is_much_worse_is_rolled_back_by_itself_with_an_alert_until_the_next_rollout(
    fast: World,
) -> None:
    fast.behaviours[fast.candidate] = Behaviour(success=0.4)
    fast.start()
    fast.climb(60)
    assert (fast.rollout.status, fast.rollout.outcome) == ("rolled_back", "worse")
    assert fast.tenure.variant == fast.champion
    assert "rollout_ended" in fast.alerts()
    assert fast.verified().problems == ()
    served: dict[str, Any] = {"actor": "ann", "reason": "all the same", "store": fast.store, "clock": fast.clock}
    lost = (
        rf"{fast.candidate} lost a rollout on .+ against {fast.champion}: users found it worse \({fast.rollout.id}\)\."
    )
    with pytest.raises(Refused, match=lost):
        set_champion(F, fast.candidate, **served)
    fast.start()
    assert "rollout_ended" not in fast.alerts()
    told = set_champion(F, fast.candidate, confirm=F, **served)
    assert re.fullmatch(lost, told.shown_worse or "")
