"""Strategy examples: sets made by similarity, coverage and difficulty, then steps from the best one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.family.variant import FewShot
from optimizer.core.models.language import ModelRequest
from optimizer.core.search.proposers.examples import ExampleSearch
from optimizer.core.search.strategy import Proposal, SearchSetting
from optimizer.core.search.study import Definition
from tests.worlds.study_world import (
    TOPICS,
    TopicModel,
    World,
    search_setting,
    topic_examples,
    topic_family,
)

BAREWORD = "I would rather not say."


class Needs(TopicModel):
    """Knows a topic only when an example of the same topic is shown,
    and the last example is of another one than physics.
    """

    def _text(self, request: ModelRequest) -> str:
        texts = [str(m["content"]) for m in request.messages if m["role"] == "user"]
        shown = [next(t for t in TOPICS if t in text) for text in texts]
        return shown[-1] if shown[-1] in shown[:-1] and shown[-2] != "physics" else BAREWORD


def setting(**changes) -> SearchSetting:
    def asks_nobody(variant, example):
        raise AssertionError("this strategy asks no model itself")

    return search_setting(**{"definition": asdict(Definition(n_candidates=8)), "answer": asks_nobody, **changes})


def results(given: SearchSetting, score: float) -> list[ExampleResult]:
    return [
        ExampleResult(example=e.id, score=float(i / len(given.dev) < score), output=None)
        for i, e in enumerate(given.dev)
    ]


def all_of(given: SearchSetting, score=lambda variant: 0.5):
    """Every proposal, each told its score at once, the start first."""
    strategy, found = ExampleSearch(given), []
    start = Proposal(variant=given.start, proposer="champion")
    strategy.tell(start, score(given.start), results(given, 0.5))
    while (proposal := strategy.ask()) is not None:
        found.append(proposal)
        strategy.tell(proposal, score(proposal.variant), results(given, score(proposal.variant) or 0.0))
    return found


def test_half_of_the_sets_are_made_and_the_others_are_steps_and_no_two_are_the_same():
    found = all_of(setting())
    assert len(found) == 11
    kinds = [p.params["made"] for p in found]
    assert kinds[:3] == ["central", "per_label", "typical"]
    assert "hard" in kinds
    assert kinds[6:] == ["step"] * 5
    assert len({p.variant.id for p in found}) == len(found)
    assert all(1 <= len(p.variant.examples) <= 4 for p in found)
    assert {p.proposer for p in found} == {"examples"}


def test_a_set_has_one_of_each_label_and_shows_what_was_expected():
    first = next(p for p in all_of(setting()) if p.params["made"] == "per_label").variant
    assert {shot.output for shot in first.examples} == set(TOPICS)
    assert all(shot.output in shot.input["document"] for shot in first.examples)


def test_steps_come_near_to_the_examples_that_help():
    good = {"train-003", "train-007"}

    def score(variant):
        return 0.2 + 0.3 * len(good & {shot.id for shot in variant.examples})

    given = setting(definition=asdict(Definition(n_candidates=30)))
    best = max(all_of(given, score), key=lambda p: score(p.variant))
    assert good <= {shot.id for shot in best.variant.examples}


def test_a_harmful_example_is_left_out():
    def score(variant):
        return 0.9 - 0.2 * len(variant.examples)

    shots = tuple(FewShot(id=f"own-{i}", input={"document": f"own {i}"}, output="music") for i in range(3))
    start = replace(topic_family().variant(), examples=shots)
    found = all_of(setting(start=start), score)
    assert () in [p.variant.examples for p in found]
    assert len([p for p in found if p.params["made"] == "none"]) == 1


def test_only_released_examples_without_variables_are_shown():
    train = topic_examples(12, "train")
    train[0] = replace(train[0], released=False)
    train[1] = replace(train[1], input={"document": "physics {{document}}"})
    train[2] = replace(train[2], expected={})
    used = {shot.id for p in all_of(setting(train=train)) for shot in p.variant.examples}
    assert used
    assert not used & {"train-000", "train-001", "train-002"}


@pytest.mark.parametrize("changes", [{"train": []}, {"definition": asdict(Definition(max_examples=0))}])
def test_without_examples_to_show_nothing_is_proposed(changes):
    assert all_of(setting(**changes)) == []


def test_a_set_that_is_too_long_goes_without_its_first_examples():
    found = all_of(setting(fits=lambda variant: len(variant.examples) <= 2))
    assert found
    assert all(1 <= len(p.variant.examples) <= 2 for p in found)


def test_a_score_that_could_not_be_measured_teaches_nothing_and_ends_nothing():
    found = all_of(setting(), lambda variant: None if variant.examples else 0.5)
    assert len(found) == 11


def test_the_same_seed_proposes_the_same_and_the_draws_of_another_differ():
    def ids(seed):
        given = setting(seed=seed, definition=asdict(Definition(n_candidates=17)))
        return [p.variant.id for p in all_of(given)]

    assert ids(5) == ids(5)
    assert ids(5) != ids(6)


def test_the_start_of_another_strategy_takes_its_examples_along():
    """After bootstrap: the best set has the model's own words in it,
    and a step from it keeps those that it does not exchange.
    """
    shots = tuple(FewShot(id=f"train-00{i}", input={"document": f"d{i}"}, output="the model's words") for i in range(3))
    start = replace(topic_family().variant(), examples=shots)
    found = all_of(setting(start=start), lambda variant: 0.9 if variant.examples == shots else 0.1)
    steps = [p for p in found if p.params["made"] == "step"]
    assert steps
    assert all(sum(shot not in p.variant.examples for shot in shots) <= 1 for p in steps)


def world(folder: Path, model: TopicModel | None = None) -> World:
    return World(folder, model=model or Needs()).fill()


def studied(here: World, **options):
    return here.run(here.create(strategy="examples", **options))


def test_a_study_finds_the_set_and_the_order_that_its_model_needs(tmp_path):
    here = world(tmp_path)
    ended = studied(here, definition={"n_candidates": 12})
    assert ended.outcome == "nominated"
    winner = here.winner(ended)
    assert {shot.output for shot in winner.examples} == set(TOPICS)
    assert winner.examples[-1].output != "physics"
    assert {t.proposer for t in here.trials(ended)} == {"champion", "examples"}
    n_search = sum(c.purpose == "search" for c in here.calls(ended))
    assert n_search == 6 * len(here.trials(ended))  # dev examples of every trial and nothing else


def test_it_goes_on_from_another_strategy_and_serves_another_aim(tmp_path):
    here = world(tmp_path)
    ended = here.run(here.create(strategy="bootstrap+examples", aim="cost"))
    assert {t.proposer for t in here.trials(ended)} == {"champion", "bootstrap", "examples"}


def test_a_dry_run_and_a_cap_know_its_calls(tmp_path):
    here = world(tmp_path)
    estimate = here.create(strategy="examples", dry_run=True)
    assert (estimate.parts["examples"].high, estimate.n_trials) == (4 * 6, 5)
    ended = studied(here, budget=Budget(calls=60), definition={"n_candidates": 40})
    assert ended.spend.n_calls <= 60
    assert ended.spend.search_cut is not None
