"""Studies whose winner shows each request the examples most like it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.nearest import fixed_rendering
from optimizer.core.search.study import Study
from tests.worlds.study_world import TOPICS, TopicModel, World
from tests.worlds.taught_student import crown


class ImitatingModel(TopicModel):
    """Answers with the topic that most of the examples have; without any it rambles."""

    def _text(self, request: ModelRequest) -> str:
        shown = Counter(str(m["content"]) for m in request.messages if m["role"] == "assistant")
        return next((text for text, _ in shown.most_common(1) if text in TOPICS), "I would rather not say.")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, model=ImitatingModel()).fill()


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Study]:
    """A world and its default study, which tests only read."""
    world = World(tmp_path_factory.mktemp("studied"), model=ImitatingModel()).fill()
    return world, world.run(world.create())


def test_the_default_study_tries_nearest_examples_and_scores_the_fixed_ones_of_its_winner_on_the_holdout(
    studied: tuple[World, Study], world: World
) -> None:
    whole, study = studied
    winner = whole.winner(study)
    fixed = fixed_rendering(winner)
    assert fixed is not None
    assert study.outcome == "nominated"
    assert winner.policy["examples"]["nearest"] >= 1
    assert study.strategy == "bootstrap+settings+nearest"
    confirmation: Any = study.confirmation
    own = confirmation["fixed"]
    assert (own["variant"], own["n"]) == (fixed.id, confirmation["n"])
    assert own["mean"] < confirmation["winner_mean"]
    assert own["lift"] == pytest.approx(own["mean"] - confirmation["champion_mean"])
    assert f"reach {own['mean']:.3f} on 20 of them" in confirmation["summary"]
    asked = Counter(call.purpose for call in whole.calls(study))
    assert asked["confirmation"] == 3 * 20, "champion, winner, and the winner's fixed examples"

    capped = world.run(world.create(budget=Budget(calls=study.spend.n_calls)))
    assert capped.spend.n_calls <= study.spend.n_calls
    assert capped.confirmation["fixed"] == own, "its calls were left over"


def test_fixed_examples_that_are_the_champions_take_no_call_of_their_own(world: World) -> None:
    study = world.run(world.create(strategy="nearest"))
    assert study.confirmation["fixed"] == {"variant": study.champion, "n": 20, "mean": 0.0, "lift": 0.0}
    assert Counter(call.purpose for call in world.calls(study))["confirmation"] == 2 * 20


def test_fixed_examples_that_no_call_was_left_for_are_said_to_be_unscored(
    studied: tuple[World, Study], world: World
) -> None:
    whole, study = studied
    nearest = [trial.n_calls for trial in whole.trials(study) if trial.proposer == "nearest"]
    n_search = Counter(call.purpose for call in whole.calls(study))["search"]

    capped = world.run(world.create(budget=Budget(calls=40 + n_search - sum(nearest[1:]))))
    assert capped.confirmation["fixed"]["mean"] is None
    assert "were not scored: no call was left" in capped.confirmation["summary"]


def test_a_study_that_only_confirms_is_priced_with_the_fixed_examples(world: World) -> None:
    study = world.run(world.create(definition={"n_holdout": 0}))
    confirmed = world.run(world.confirm(str(study.winner)))
    assert confirmed.confirmation["fixed"]["n"] == confirmed.confirmation["n"]


def test_a_study_keeps_the_champions_scope_and_shows_no_example_to_all_that_has_a_value_of_it(world: World) -> None:
    winner = world.winner(world.run(world.create(strategy="nearest", definition={"n_holdout": 4})))
    before = replace(winner, policy={**winner.policy, "examples.scope": "document", "examples.max_tokens": 500})
    crown(world.store, world.family.name, before, at=world.clock.now())
    tried = world.tried(world.run(world.create(strategy="bootstrap+nearest", definition={"n_holdout": 4})))
    assert any(variant.examples for variant in tried), "fixed ones are searched"
    of_list = [variant for variant in tried if "examples.index" in variant.policy and variant.id != before.id]
    assert of_list
    for variant in of_list:
        assert (variant.policy["examples.scope"], variant.policy["examples.max_tokens"]) == ("document", 500)
        assert variant.examples == ()


def test_a_family_that_shows_no_examples_has_no_list_of_them(world: World) -> None:
    study = world.run(world.create(definition={"max_examples": 0}))
    assert "example_index" not in (study.findings or {})
    assert study.spend.remark is None
