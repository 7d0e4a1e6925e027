"""Several proposals at one look: their order is frozen before it, the first failure ends it,
and what is reported pays for all before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from optimizer.core.base.errors import BudgetExhausted
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.search.run_off import (
    PredictedLoss,
    chosen_on,
    read_frozen,
    safest_first,
    sequence_record,
    with_sequence,
)
from optimizer.core.search.study import Definition, SequenceStep
from optimizer.core.statistics.noninferiority import NotLower
from optimizer.jobs.calls.evaluation_calls import CallCounts
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.confirm_winner import ConfirmationResult, confirm_winner
from optimizer.jobs.studies.kinds.prompt import PromptStudy
from optimizer.jobs.studies.run_study import _begin
from optimizer.runtime.wiring import sealed_holdout, strategy_for
from tests import stores
from tests.worlds.study_world import World, topic_examples, topic_family

N = 120


def predicted(variant: str, saved: float, loss: float) -> PredictedLoss:
    return PredictedLoss(variant=variant, saved=saved, loss=loss)


def test_the_safest_comes_first_and_what_saves_too_little_is_left_out():
    proposals = [("bold", 0.6, 0.03), ("small", 0.1, -0.01), ("mild", 0.3, 0.0), ("same", 0.4, 0.0)]
    found = safest_first([predicted(*one) for one in proposals], worth=0.15)
    assert [one.variant for one in found] == ["mild", "same", "bold"]


def test_what_was_frozen_is_read_back_and_its_hash_tells_a_changed_order():
    sequence = [predicted("mild", 0.3, 0.0), predicted("bold", 0.6, 0.03)]
    kept = sequence_record(sequence)
    assert read_frozen({"sequence": kept}) == ["mild", "bold"]
    assert kept["hash"] != sequence_record(sequence[::-1])["hash"]
    assert kept == sequence_record(sequence)
    assert read_frozen({"confidence": []}) is read_frozen(None) is None


def test_the_p_that_is_reported_is_the_largest_up_to_the_one_kept():
    steps = [
        SequenceStep(variant="a", p=0.09, lift=0.0, passed=True),
        SequenceStep(variant="b", p=0.02, lift=0.0, passed=True),
    ]
    test = NotLower(p=0.02, test="exact", n=100, fewest=45)
    assert with_sequence(test, [*steps, SequenceStep(variant="c", p=0.4, lift=-0.1, passed=False)])["p"] == 0.09
    assert with_sequence(test, [])["p"] == 0.02


def test_a_study_with_a_sequence_beats_the_champion_on_cross_fitted_rows_and_another_on_dev():
    study = stores.study(strategy="replay", aim="cost", status="running")
    assert chosen_on(study) == "dev"
    assert chosen_on(replace(study, findings={"sequence": sequence_record([])})) == "cross-fitted rows"


class Scores:
    """Measures: the champion is right on every example, a variant wrong on the first so many;
    each costs what it is told.
    """

    def __init__(self, losses: dict[str, int], usd: dict[str, float], *, fails: str | None = None) -> None:
        self.losses, self.usd, self.fails = losses, usd, fails
        self.counts = CallCounts()
        self.measured: list[str] = []

    def measure_all(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        keep: Callable[[Variant, ExampleResult], None],
        *,
        in_turns: bool = False,
    ) -> None:
        for variant, example in pairs:
            if variant.id == self.fails:
                raise BudgetExhausted("No calls are left.")
            if variant.id not in self.measured:
                self.measured.append(variant.id)
            at = int(example.id[-3:])
            score = (
                None
                if self.losses[variant.id] < 0 and at < -self.losses[variant.id]
                else float(at >= self.losses[variant.id])
            )
            keep(variant, ExampleResult(example=example.id, score=score, output="x", cost_usd=self.usd[variant.id]))


def confirmed(
    folder: Path,
    losses: Sequence[int],
    *,
    usd: Sequence[float] | None = None,
    fails: int | None = None,
    n_cases: int = N,
) -> tuple[ConfirmationResult, Any]:
    """Variants v0, v1, … that lose so many of the holdout, in this order; a negative number:
    could not be scored on so many. The examples of the holdout are of so many cases.
    """
    sealed = [replace(one, group=f"case-{i % n_cases}") for i, one in enumerate(topic_examples(N, "holdout"))]
    family = topic_family(rollout={"gates": {"n": 30, "confidence": 0.9, "improvement": 0.15}, "margin": 0.05})
    world = World(folder, family=family).fill(
        examples=[*topic_examples(9, "train"), *topic_examples(6, "dev"), *sealed]
    )
    study = world.create(aim="cost", strategy="settings", definition={"n_holdout": N})
    context = JobContext(
        store=world.store, clock=world.clock, families=world.families, models=world, scorer_for=lambda _: world.scorer
    )
    run = _begin(study, family, context, strategy_for, classify=lambda *_: None)
    variants = [
        replace(run.champion, model={**run.champion.model, "temperature": (i + 1) / 100}) for i in range(len(losses))
    ]
    ids = [variant.id for variant in variants]
    scores = Scores(
        {run.champion.id: 0, **dict(zip(ids, losses, strict=True))},
        {run.champion.id: 1.0, **dict(zip(ids, usd or [0.5] * len(ids), strict=True))},
        fails=None if fails is None else ids[fails],
    )
    assert Definition.parse(study.definition).n_holdout == N
    with patch.object(PromptStudy, "evaluator", lambda self, run, **_: scores):
        found = confirm_winner(run, variants, holdout=sealed_holdout(), stop=run.stop_flag())
    names = {id: f"v{i}" for i, id in enumerate(ids)}
    named = {"winner": names[found.winner], "measured": [names[id] for id in scores.measured if id in names]}
    return found, named


def test_the_boldest_that_passed_is_kept_and_the_first_that_fails_ends_it(tmp_path: Path):
    found, named = confirmed(tmp_path, [0, 1, 20, 0], usd=[0.8, 0.6, 0.2, 0.1])
    assert named == {"winner": "v1", "measured": ["v0", "v1", "v2"]}  # the fourth is not asked about any more
    assert found.outcome == "nominated"
    steps = found.record["sequence"]
    assert [step["passed"] for step in steps] == [True, True, False]
    assert found.record["quality_p"] == max(step["p"] for step in steps[:2])
    assert found.record["saving"] == pytest.approx(0.4)
    assert 1 / N < found.record["loss_at_most"] <= 0.05
    assert "2 proposals passed" in found.record["summary"]


def test_where_the_safest_fails_nothing_bolder_is_looked_at(tmp_path: Path):
    found, named = confirmed(tmp_path, [20, 0])
    assert named == {"winner": "v0", "measured": ["v0"]}
    assert found.outcome == "not_confirmed"
    assert [gate["name"] for gate in found.record["gates"] if gate["verdict"] != "pass"] == ["quality"]
    assert found.record["loss_at_most"] > 0.05  # no sentence says otherwise than the gate


def test_what_a_proposal_left_unanswered_counts_as_lost_in_its_test(tmp_path: Path):
    found, named = confirmed(tmp_path, [0, -20])
    assert named["winner"] == "v0"
    assert [step["passed"] for step in found.record["sequence"]] == [True, False]


def test_a_budget_that_ends_after_one_has_passed_ends_the_sequence_there(tmp_path: Path):
    found, named = confirmed(tmp_path, [0, 0], fails=1)
    assert (named["winner"], found.outcome) == ("v0", "nominated")


def test_a_budget_that_ends_before_anything_passed_confirms_nothing(tmp_path: Path):
    with pytest.raises(BudgetExhausted):
        confirmed(tmp_path, [0, 0], fails=0)


def test_one_proposal_is_judged_by_the_same_test_without_a_sequence(tmp_path: Path):
    found, _ = confirmed(tmp_path, [2])
    assert found.outcome == "nominated"
    assert "sequence" not in found.record
    assert found.record["quality_test"] == "exact"


def test_rows_of_one_case_are_no_further_evidence_of_what_is_saved_or_scored(tmp_path: Path):
    found, _ = confirmed(tmp_path, [0], n_cases=3)
    assert (found.record["saving_p"], found.record["test"]) == (1 / 8, "sign_flip")
    assert "confidence" in [gate["name"] for gate in found.record["gates"] if gate["verdict"] == "fail"]
    assert found.record["n"] == N
