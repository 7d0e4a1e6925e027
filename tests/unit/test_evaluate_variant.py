"""Evaluation outside a study: one batch with its figures, nothing asked twice, the holdout out of reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.errors import BudgetExhausted, DatasetTooSmall, InvalidInput, ModelFailed
from optimizer.core.study import Budget
from optimizer.core.variant import FewShot
from optimizer.jobs import evaluation
from optimizer.jobs.evaluate_variant import evaluate_variant
from tests.study_world import Broken, TopicModel, World, topic_examples, topic_family


def evaluate(world, variant=None, **options):
    given = {
        "actor": "person",
        "store": world.store,
        "clock": world.clock,
        "models": world,
        "scorer_for": lambda family: world.scorer,
        **options,
    }
    return evaluate_variant(world.family, variant or world.family.variant(), **given)


def with_examples(world):
    shots = tuple(FewShot(id=e.id, input=e.input, output=e.expected["topic"]) for e in topic_examples(3, "train"))
    return replace(world.family.variant(), examples=shots)


def test_a_batch_holds_the_mean_with_its_interval_and_what_it_cost(tmp_path):
    world = World(tmp_path).fill(n_dev=9)
    batch = evaluate(world, with_examples(world), n=9)
    assert (batch["n"], batch["n_calls"], batch["split"], batch["created_by"]) == (9, 9, "dev", "person")
    assert batch["score_low"] <= batch["mean_score"] <= batch["score_high"]
    assert batch["mean_score"] > 0.5
    assert batch["cost_usd"] == pytest.approx(9 * 0.00001)
    assert batch["p95_latency_ms"] == 10.0
    with world.store.read() as tx:
        assert [b["id"] for b in world.store.performance.batches(tx, "topics")] == [batch["id"]]


def test_the_same_evaluation_again_asks_nothing_and_has_no_fresh_latency(tmp_path):
    world = World(tmp_path).fill(n_dev=6)
    first, again = evaluate(world, n=6), evaluate(world, n=6)
    assert (again["n_calls"], again["p95_latency_ms"]) == (0, None)
    assert (again["mean_score"], again["dataset_hash"]) == (first["mean_score"], first["dataset_hash"])
    assert len(world.model.requests) == 6


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_the_journal_answers_is_looked_up_together_and_in_parts(tmp_path, monkeypatch, concurrency):
    world = World(tmp_path, model=TopicModel(concurrency=concurrency)).fill(n_dev=5)
    first = evaluate(world, n=5)
    monkeypatch.setattr(evaluation, "PAIRS_AT_ONCE", 2)
    looked_up = []
    real = world.store.journal.find_all
    monkeypatch.setattr(
        world.store.journal, "find_all", lambda tx, keys, **options: looked_up.append(len(keys)) or real(tx, keys, **options)
    )
    again = evaluate(world, n=5)
    assert looked_up == [2, 2, 1]
    assert (again["mean_score"], again["n_calls"]) == (first["mean_score"], 0)


def test_answers_that_cannot_be_read_count_as_errors_and_score_zero(tmp_path):
    world = World(tmp_path, model=TopicModel(needs=99)).fill(n_dev=5)
    batch = evaluate(world)
    assert (batch["mean_score"], batch["n_errors"]) == (0.0, 5)


def test_a_single_failed_call_is_no_score_and_does_not_end_the_evaluation(tmp_path):
    def fail_third(n):
        if n == 3:
            raise ModelFailed("The model stumbled.", kind="malformed", status_of_model=400)

    world = World(tmp_path, model=TopicModel(needs=0, before=fail_third)).fill(n_dev=6)
    batch = evaluate(world)
    assert (batch["n"], batch["n_errors"]) == (6, 2)  # the failed call, and an answer that cannot be read
    assert batch["mean_score"] == 4 / 5


def test_a_model_that_answers_nothing_is_an_error_and_no_batch(tmp_path):
    world = World(tmp_path, model=Broken()).fill(n_dev=4)
    with pytest.raises(ModelFailed, match="none of the 4 examples"):
        evaluate(world)
    with world.store.read() as tx:
        assert world.store.performance.batches(tx, "topics") == []


def test_the_budget_of_an_evaluation_holds(tmp_path):
    world = World(tmp_path).fill(n_dev=9)
    with pytest.raises(BudgetExhausted):
        evaluate(world, budget=Budget(calls=4))
    assert len(world.model.requests) == 4


@pytest.mark.parametrize("options", [{"split": "holdout"}, {"n": 0}])
def test_the_holdout_and_empty_evaluations_are_refused(tmp_path, options):
    with pytest.raises(InvalidInput):
        evaluate(World(tmp_path).fill(), **options)


def test_an_empty_split_says_what_to_import(tmp_path):
    with pytest.raises(DatasetTooSmall, match="detent import"):
        evaluate(World(tmp_path).fill(n_dev=0, n_train=3), split="dev")


def test_targets_are_checked_on_as_many_examples_as_they_name(tmp_path):
    targets = {"n": 9, "mean_score": 0.5, "errors": 0.0, "regression": {"per_class": None, "latency": 0.2}}
    world = World(tmp_path, family=topic_family(targets=targets)).fill(n_dev=9)
    weak = evaluate(world)
    assert {c["name"]: c["verdict"] for c in weak["checks"]} == {"mean_score": "missed", "errors": "missed"}
    better = evaluate(world, with_examples(world))
    verdicts = {c["name"]: c["verdict"] for c in better["checks"]}
    assert (better["n"], verdicts["mean_score"], verdicts["regression"]) == (9, "met", "met")
    assert verdicts["slower"] == "unmeasured", "the champion's answers came from the journal"
    assert better["n_calls"] == 9
    assert evaluate(world, n=3).get("checks") is None
    assert evaluate(world, split="train").get("checks") is None
