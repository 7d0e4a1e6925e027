"""Evaluation outside a study: one batch with its figures, nothing asked twice, the holdout out of reach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import stamina

from optimizer.cli.family.evaluate_view import what_follows
from optimizer.core.base.errors import BudgetExhausted, DatasetTooSmall, InvalidInput, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.family.variant import FewShot
from optimizer.core.search.answer_bounds import calls_per_answer
from optimizer.core.views.evaluation import NotMeasured, worst_verdict
from optimizer.jobs.studies import evaluation
from optimizer.jobs.studies.plan_evaluation import EvaluationScope, estimate_evaluation
from tests.rows.evaluations import check_of, evaluate, report_of
from tests.worlds.study_world import TopicModel, World, topic_examples, topic_family


def with_examples(world):
    shots = tuple(FewShot(id=e.id, input=e.input, output=e.expected["topic"]) for e in topic_examples(3, "train"))
    return replace(world.family.variant(), examples=shots)


def test_a_batch_holds_the_mean_with_its_interval_and_what_it_cost(tmp_path):
    world = World(tmp_path).fill(n_dev=24)
    batch = evaluate(world, with_examples(world), n=20)
    assert (batch["n"], batch["n_calls"], batch["split"], batch["created_by"]) == (20, 20, "dev", "person")
    assert batch["score_low"] <= batch["mean_score"] <= batch["score_high"]
    assert batch["mean_score"] > 0.5
    assert batch["cost_usd"] == pytest.approx(20 * 0.00001)
    assert batch["p95_latency_ms"] == 10.0
    with world.store.read() as tx:
        assert [b.id for b in world.store.performance.batches(tx, "topics")] == [batch["id"]]


def test_a_family_of_labels_is_told_label_by_label(tmp_path):
    world = World(tmp_path).fill(n_dev=9)
    report = evaluate(world, with_examples(world), n=9)["labels"]
    rows = {row["label"]: row for row in report["figures"]}
    assert sum(row["n_expected"] for row in rows.values()) == report["n"] == 9
    assert all(row["precision"] in (None, 1.0) for row in rows.values()), "it says the topic or none"
    n_right = sum(report["confusion"][label].get(label, 0) for label in rows)
    assert n_right / 9 == pytest.approx(evaluate(world, with_examples(world), n=9)["mean_score"])


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
        world.store.journal,
        "find_all",
        lambda tx, keys, **options: looked_up.append(len(keys)) or real(tx, keys, **options),
    )
    again = evaluate(world, n=5)
    assert looked_up == [2, 2, 1]
    assert (again["mean_score"], again["n_calls"]) == (first["mean_score"], 0)


def test_answers_that_cannot_be_read_count_as_errors_and_score_zero(tmp_path):
    world = World(tmp_path, model=TopicModel(needs=99)).fill(n_dev=5)
    batch = evaluate(world)
    assert (batch["mean_score"], batch["n_errors"]) == (0.0, 5)
    assert batch["commonest_error"].startswith("no label, as in '")


def test_a_single_failed_call_is_no_score_and_does_not_end_the_evaluation(tmp_path):
    def fail_third(n):
        if n == 3:
            raise ModelFailed("The model stumbled.", kind="malformed", status_of_model=400)

    world = World(tmp_path, model=TopicModel(needs=0, before=fail_third)).fill(n_dev=6)
    batch = evaluate(world)
    assert (batch["n"], batch["n_errors"]) == (6, 2)  # the failed call, and an answer that cannot be read
    assert batch["mean_score"] == 4 / 5


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
    assert verdicts["regression of latency"] == "met", "the journal had the champion's answers: timed"
    assert better["n_calls"] == 9
    assert evaluate(world, n=3).get("checks") is None
    assert evaluate(world, split="train").get("checks") is None


def estimate(world, variant, **scope):
    return estimate_evaluation(world.family, variant, EvaluationScope(**scope), store=world.store, models=world)


def test_all_calls_and_dollars_are_said_with_the_champions(tmp_path):
    world = World(tmp_path, family=topic_family(targets={"n": 9, "regression": {}})).fill(n_dev=9)
    champion = world.family.variant().id
    variant = with_examples(world)
    expected = estimate(world, variant)
    assert (len(world.model.requests), expected.n, expected.beside) == (0, 9, champion)
    assert (expected.calls.low, expected.calls.high) == (0, 18)
    assert 0 < expected.usd.expected < expected.usd.high
    batch = evaluate(world, variant)
    assert (batch["n_calls"], batch["n_calls_in_all"], batch["beside"]) == (9, 18, champion)
    assert len(world.model.requests) == 18
    assert batch["spent_usd"] == pytest.approx(18 * 0.00001)
    again = evaluate(world, variant)
    assert (again["n_calls_in_all"], again["spent_usd"]) == (0, 0.0)
    world.model.price = None
    assert evaluate(world, variant)["spent_usd"] is None
    assert estimate(world, variant).usd is None


def test_what_a_model_without_a_price_costs_meets_no_target(tmp_path):
    world = World(tmp_path, family=topic_family(targets={"n": 3, "cost_usd_per_call": 0.5})).fill(n_dev=3)
    assert [check["verdict"] for check in evaluate(world)["checks"]] == ["met"]
    world.model.price = None
    assert [check["verdict"] for check in evaluate(world)["checks"]] == ["unmeasured"]


def test_an_estimate_counts_every_call_that_a_policy_may_make(tmp_path):
    world = World(tmp_path).fill(n_dev=6)
    cascade = replace(world.family.variant(), policy={"tiers": ["fake", "other"], "accept": 0.9})
    made = estimate(world, cascade, n=5)
    assert (made.n, made.beside, made.calls.high) == (5, None, 5 * calls_per_answer(cascade, {}))
    assert made.calls.high >= 10
    with pytest.raises(InvalidInput):
        estimate(world, cascade, n=0)


def checks(**verdicts):
    return [check_of(name.replace("_of_", " of "), verdict) for name, verdict in verdicts.items()]


@pytest.mark.parametrize(
    ("checks", "is_champion", "says"),
    [
        (None, False, ["detent rollout start topics v_1 --dry-run"]),
        (None, True, ["detent study run topics --dry-run"]),
        ([], True, ["champion is no regression of itself"]),
        (checks(errors="met"), False, ["All 1 target met", "gate suite passes", "detent rollout start topics v_1"]),
        (checks(errors="missed", retries="met"), False, ["Exit 3: 1 of 2 targets missed (errors)", "gate suite fails"]),
        (checks(errors="missed"), True, ["Exit 3", "search for a better variant"]),
        (checks(regression_of_latency="unmeasured"), False, ["1 not measured", "inconclusive", "fresh answers only"]),
        (
            checks(errors="met", regression_of_latency="undecided"),
            False,
            ["inconclusive", "run the same command again"],
        ),
        (checks(regression_of_rare="unmeasured"), False, ["detent import FILE --family topics"]),
    ],
)
def test_what_follows_from_an_evaluation_is_said(checks, is_champion, says):
    told = what_follows(report_of(checks=checks), is_champion=is_champion)
    assert all(part in told for part in says), told
    assert "rollout" not in told or not is_champion


@pytest.mark.parametrize(
    ("suites", "not_measured", "verdict"),
    [
        ([None], [], None),
        ([checks(errors="met"), checks(errors="met", retries="undecided")], [], "undecided"),
        ([checks(errors="met")], [NotMeasured(suite="golden", why="")], "unmeasured"),
        ([checks(errors="missed"), checks(errors="unmeasured")], [NotMeasured(suite="golden", why="")], "missed"),
        ([[], checks(errors="met")], [], "met"),
    ],
)
def test_the_worst_that_was_found_is_the_verdict_on_all_suites(suites, not_measured, verdict):
    reports = [report_of(checks=checks) for checks in suites]
    assert worst_verdict(reports, not_measured) == verdict


def test_an_evaluation_keeps_to_its_cap_however_often_calls_are_tried_again(tmp_path):
    world = World(tmp_path, model=Flaky(retries=5)).fill(n_dev=9)
    made = estimate(world, world.family.variant(), n=8)
    assert (made.calls.high, made.calls_at_most) == (8, 12)
    with stamina.set_testing(True, attempts=6, cap=True), pytest.raises(BudgetExhausted, match="cap of 12 calls"):
        evaluate(world, n=8, budget=Budget(calls=made.calls_at_most))
    assert len(world.model.requests) == 12


def test_a_budget_that_ends_in_the_bare_prompt_loses_nothing_of_the_rest(tmp_path):
    world = World(tmp_path).fill(n_dev=9)
    batch = evaluate(world, with_examples(world), n=9, bare=True, budget=Budget(calls=12))
    assert (batch["n"], batch["n_calls_in_all"]) == (9, 12)
    (bare,) = [row for row in batch["trivial_baselines"]["rows"] if row["name"] == "bare prompt"]
    assert bare["score"] is None
    assert bare["why"].startswith("the budget ended before every example was asked")


class Flaky(TopicModel):
    """Times out before every second answer."""

    def __init__(self, *, retries):
        super().__init__()
        self.retries = retries

    async def complete(self, request):
        answer = await super().complete(request)
        if len(self.requests) % 2:
            raise ModelFailed("It was too slow.", kind="timeout", sent=True)
        return answer
