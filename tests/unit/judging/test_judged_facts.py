"""Factual errors as the family's judge finds them: asked about each answer, capped and journaled, and not measured
where the judge fails or people do not vouch for it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import BudgetExhausted, InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.declaration.prompt_kind import own_function_faults, policy_faults
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.attempts import Attempt, Call, rank
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.steps import most_calls
from optimizer.core.search.answer_bounds import acts_on_judge, fact_checks, policy_judgements
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.jobs.calls.call_book import OwnSpend
from optimizer.jobs.calls.run_calls import RunCalls
from tests.cases import named
from tests.stand_ins.scripted_model import ScriptedModel
from tests.unit.judging.test_judged_gate import calibrated, failing, gated, judged_evaluator, run_one
from tests.worlds.judged_world import (
    PRICE,
    JudgedWorld,
    between,
    letters,
    letters_family,
    mark_of,
    prompt_of,
    says,
    writer_by,
)

LONG = {
    "letter": "My parcel with the blue lamp is late. It was sent on Monday by the shop in Harbour Street, and the"
    " clerk there told me that it would come within two days of that."
}
FACTS = {"validate": ["factual_errors"], "validate.facts": "judge", "validate.then": "retry"}


def checker(is_wrong: Any = lambda answer: "red" in answer, **options: Any) -> ScriptedModel:
    """Judges facts, and scores what it is asked to score with 8."""

    def script(request: ModelRequest, n: int) -> str:
        prompt = prompt_of(request)
        if '"error"' not in prompt:
            return says(request, 8)
        found = is_wrong(between("ANSWER", prompt))
        return json.dumps({"of": mark_of(request), "reasoning": "Read.", "error": found})

    return ScriptedModel(script, **{"name": "judge", "price": PRICE, "max_output_tokens": 600, **options})


def red_then_blue(request: ModelRequest, n: int) -> str:
    return "Your blue lamp comes soon." if "a number or a name" in str(request.messages) else "Your red lamp comes."


def run(judge: ScriptedModel, calibration: Any = "usual", **options: Any) -> Any:
    known = calibrated(letters_family()) if calibration == "usual" else calibration
    given: dict[str, Any] = {"knobs": FACTS, "letter": LONG, "write": red_then_blue, **options}
    return run_one(judge, known, **given)


@pytest.mark.parametrize("in_study", [False, True])
def test_an_answer_with_a_wrong_fact_is_asked_for_again_and_the_right_one_goes_out(in_study: bool) -> None:
    judge = checker()
    done, _ = run(judge, in_study=in_study)
    assert (done.attempt.text, done.attempt.issues) == ("Your blue lamp comes soon.", ())
    assert [one.call.purpose for one in done.attempts] == ["answer", "judge", "retry", "judge"]
    assert done.parts()[0]["issues"] == ["factual_errors"]
    assert "blue lamp is late" in between("MATERIAL", prompt_of(judge.requests[0]))
    assert done.cost_usd > sum(one.cost_usd for one in done.attempts if one.call.purpose != "judge")


def test_the_judge_of_facts_reads_the_whole_material() -> None:
    judge = checker()
    run(judge, letter={"letter": LONG["letter"] + " and so on" * 3000 + ", the red one"})
    assert between("MATERIAL", prompt_of(judge.requests[0])).strip().endswith("the red one")


def test_flagged_it_is_recorded_and_goes_out() -> None:
    done, model = run(checker(), knobs={**FACTS, "validate.then": "flag"})
    assert (done.attempt.issues, len(model.requests)) == (("factual_errors",), 1)


def test_words_alone_would_not_have_found_it() -> None:
    judge = checker()
    done, _ = run(judge, knobs={**FACTS, "validate.facts": "words"})
    assert (done.attempt.issues, judge.requests) == ((), [])


def test_without_material_there_is_nothing_to_hold_it_against_and_nothing_is_asked() -> None:
    judge = checker()
    done, _ = run(judge, letter={"letter": "Where is my lamp?"})
    assert (done.attempt.text, done.attempt.issues, judge.requests) == ("Your red lamp comes.", (), [])


@named(
    "script",
    {
        "refuses": lambda request, n: "I cannot tell.",
        "answers with its input": lambda request, n: prompt_of(request),
        "word": lambda request, n: json.dumps({"of": mark_of(request), "reasoning": "x", "error": "no"}),
        "fails": failing,
    },
)
@pytest.mark.parametrize("in_study", [False, True])
def test_what_the_judge_cannot_say_is_not_measured_and_holds_no_answer_back(script: Any, in_study: bool) -> None:
    done, model = run(ScriptedModel(script, name="judge", price=PRICE), in_study=in_study)
    assert (len(model.requests), done.attempt.issues) == (1, ())
    assert done.attempt.unchecked is not None
    assert "factual errors not measured: judge: " in done.why
    assert done.parts()[0]["unmeasured"] == ["factual_errors"]


@pytest.mark.parametrize(("says_wrong", "found"), [((True, True, False), True), ((True, False, False), False)])
def test_of_a_committee_more_than_half_have_to_find_an_error(says_wrong: Any, found: bool) -> None:
    family = letters_family(judge={"committee": ["judge", "two", "three"]})
    verdicts = iter(says_wrong)
    judge = checker(lambda answer: next(verdicts))
    done, _ = run(judge, calibrated(family), family=family, knobs={**FACTS, "validate.then": "flag"})
    assert bool(done.attempt.issues) == found


def test_the_gates_score_by_checks_counts_what_the_judge_found() -> None:
    once = {**BOTH, "gate.retries": 0}
    done, _ = run(checker(), knobs=once)
    assert done.attempt.score == 0.5
    silent = ScriptedModel(lambda request, n: "?", name="judge", price=PRICE)
    done, _ = run(silent, knobs=once)
    assert done.attempt.score is None, "what one check could not measure is no pass of it"
    done, _ = run(silent, knobs={**FACTS, "validate.then": "flag", "gate.scorer": "checks", "gate.retries": 0})
    assert done.attempt.score is None, "nothing was measured, which is no pass"


BOTH = {"validate": ["empty", "factual_errors"], "validate.facts": "judge", "gate.scorer": "checks"}
SCORED = {**BOTH, "gate.retries": 2}


@pytest.mark.parametrize("people_vouch", [True, False])
def test_a_gate_by_checks_passes_nothing_while_the_judge_is_out(people_vouch: bool) -> None:
    judge = ScriptedModel(failing, name="judge", price=PRICE)
    done, model = run(judge, "usual" if people_vouch else None, knobs=SCORED)
    assert (len(model.requests), done.attempt.score) == (1, None)
    assert "no score for the gate; factual errors not measured: " in done.why
    assert "score" not in done.parts()[0]


def test_what_fails_whatever_its_facts_are_is_asked_for_again_while_the_judge_is_out() -> None:
    silent = ScriptedModel(lambda request, n: "?", name="judge", price=PRICE)
    done, model = run(silent, knobs=SCORED, write=lambda request, n: "Your lamp comes." if n > 1 else "...")
    assert (len(model.requests), done.attempt.text, done.attempt.score) == (2, "Your lamp comes.", None)
    assert [one.score for one in done.attempts if one.call.purpose == "answer"] == [0.0]
    done, model = run(silent, knobs={**SCORED, "gate.threshold": 0.4}, write=lambda request, n: "...")
    assert (len(model.requests), done.attempt.score) == (1, None), "with right facts it would pass"


def test_an_answer_that_cannot_be_read_scores_0_while_the_judge_is_out() -> None:
    family = letters_family(output={"field": "reply", "parser": "json", "schema": {"type": "object"}})
    done, model = run(checker(), calibrated(family), family=family, knobs=SCORED, write=lambda request, n: "Hello.")
    assert (len(model.requests), done.attempt.score) == (3, 0.0)
    assert done.attempt.unchecked == "the answer cannot be read"


def test_of_two_answers_the_measured_one_goes_out_unless_the_other_is_better_whatever_its_facts_are() -> None:
    measured, unmeasured = (
        Attempt(call=Call(model="m", purpose="answer"), score=score, at_least=at_least)
        for score, at_least in ((0.5, None), (None, 0.5))
    )
    assert rank(measured) == rank(unmeasured)
    assert rank(replace(unmeasured, at_least=0.75)) > rank(measured) > rank(replace(unmeasured, at_least=None))


def test_votes_and_a_judged_gate_are_asked_about_their_facts_too() -> None:
    judge = checker()
    done, _ = run(judge, knobs={**FACTS, "gate.scorer": "judge", "gate.threshold": 0.7, "validate.then": "flag"})
    assert (done.attempt.score, done.attempt.issues) == (pytest.approx(0.8), ("factual_errors",))
    done, _ = run(checker(), knobs={**FACTS, "votes.models": ["writer", "other"], "votes.agreement": 0.5})
    assert done.attempt.issues in ((), ("factual_errors",))
    assert sum(one.call.purpose == "judge" for one in done.attempts) >= 2


def variant(**policy: Any) -> Any:
    return gated(**{"gate.scorer": "checks", "gate.retries": 0, **FACTS, **policy})


def test_its_calls_are_journaled_and_count_under_the_cap(tmp_path: Path) -> None:
    family = letters_family(scorer={"exact_match": 1.0})
    model = writer_by(lambda request: red_then_blue(request, 0))
    world, spent = JudgedWorld(tmp_path, checker(), model=model), OwnSpend()
    rows = [example for example in letters(3, "dev", expected=lambda i: {"reply": "x"})]
    for row in rows:
        row.input["letter"] = f"{LONG['letter']} {row.id}"  # type: ignore[index]

    def evaluated(budget: Budget) -> Any:
        calls = RunCalls(store=world.store, clock=world.clock, models=world, budget=budget, spent=spent)
        return judged_evaluator(family, calls, tmp_path).evaluate(variant(), rows)

    with pytest.raises(BudgetExhausted):
        evaluated(Budget(calls=7))
    assert sum(world.calls_by_purpose().values()) == 7
    results = evaluated(Budget(calls=40, usd=1.0))
    assert world.calls_by_purpose() == {"evaluation": 6, "judge": 6}
    assert [one.output for one in results] == ["Your blue lamp comes soon."] * 3
    calls, usd = estimate_evaluation([variant()], rows, family, lambda name: PRICE)
    assert calls.high >= 12
    assert usd.high >= spent.spend.usd


def test_a_dry_run_counts_a_question_for_each_answer_that_a_policy_may_ask_for() -> None:
    retried = variant()
    assert fact_checks(retried) == most_calls(parse_policy(retried.policy)) == 2
    assert policy_judgements(gated(**FACTS)) == 3 + 4
    assert fact_checks(variant(**{"validate.facts": "words"})) == 0
    assert fact_checks(gated(), {"policy.validate.facts": {"choices": ["words", "judge"]}}) > 0
    assert acts_on_judge(retried)
    assert not acts_on_judge(variant(**{"validate.then": "flag"}))


def test_what_cannot_be_asked_is_refused_with_what_to_do() -> None:
    (fault,) = policy_faults({"validate": ["empty"], "validate.facts": "judge"})
    assert (fault.pointer, "add it there" in fault.detail) == ("/validate.facts", True)
    assert "by words or judge" in policy_faults({**FACTS, "validate.facts": "people"})[0].detail
    without = letters_family(judge=None, scorer={"format_compliance": {"weight": 1.0, "max_words": 9}})
    assert [fault.pointer for fault in own_function_faults(FACTS, without)] == ["/policy/validate.facts"]
    with pytest.raises(InvalidInput, match="the family has no judge"):
        letters_family(judge=None, scorer={}, space={"policy.validate.facts": {"choices": ["words", "judge"]}})
