"""Presets of a policy: what they set, and that every policy with one can be read."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.policy.policy import PRESETS, parse_policy, preset_named

CASCADE = {"tiers": ["small", "large"], "accept": 0.95, "refine": 0.85}


@pytest.mark.parametrize(("name", "gate"), [("quick", (0.85, 2)), ("thorough", (0.95, 5))])
def test_a_preset_says_how_sure_an_answer_must_be_and_how_often_it_is_tried_for(name: str, gate: Any) -> None:
    policy = parse_policy(preset_named(name).policy({}))
    assert (policy.gate.threshold, policy.gate.retries) == gate
    assert policy.cascade is None


@pytest.mark.parametrize(("name", "accept", "refine"), [("quick", 0.70, 0.70), ("thorough", 0.90, 0.85)])
def test_in_a_cascade_it_moves_the_threshold_and_takes_a_higher_refine_along(name, accept, refine):
    knobs = {**CASCADE, **PRESETS[name].policy(CASCADE)}
    assert (knobs["accept"], knobs["refine"]) == (accept, refine)
    assert parse_policy(knobs).cascade is not None


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="known: quick, thorough"):
        preset_named("best")
