"""What a policy asks next, and which answer goes out: each rule in one case.

Models are texts with a confidence; nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log
from typing import Any

import pytest

from optimizer.core.declaration.rules import MAX_COMMITTEE
from optimizer.core.family.settings import Output
from optimizer.core.feedback.event_kinds import MAX_PARTS
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, assess
from optimizer.core.policy.attempts import Attempt, Call, PolicyOutcome, Reply, part_of, total_cost_usd
from optimizer.core.policy.policy import parse_policy, request_of_call, request_of_policy
from optimizer.core.policy.steps import PolicyPlan, audit, is_audited, most_calls, steps
from optimizer.core.policy.votes import agreement_of, similarity
from optimizer.core.search.answer_bounds import ASKS
from tests.cases import named

Said = tuple[str, float | None] | str | None  # text and confidence; text alone; None: the call fails
PRICES = {"cheap": 1.0, "middle": 3.0, "strong": 10.0}


def reply(call: Call, said: Said, **more: Any) -> Reply:
    if said is None:
        return Reply(call=call, error="timeout", latency_ms=5.0)
    text, sure = (said, None) if isinstance(said, str) else said
    answer = ModelAnswer(
        text=text,
        input_tokens=10,
        output_tokens=5,
        cost_usd=PRICES.get(call.model, 1.0),
        latency_ms=5.0,
        log_probability=None if sure is None else log(sure),
        **more,
    )
    return Reply(call=call, answer=answer, latency_ms=5.0)


def run(
    policy: Mapping[str, Any],
    say: Callable[[Call, int], Said],
    *,
    output: Output | None = None,
    predicted: tuple[float | None, ...] = (),
    **situation: Any,
) -> tuple[PolicyOutcome, list[Attempt]]:
    """``say(call, n)`` answers the n-th call of all (from 0)."""
    parsed = parse_policy(policy)
    plan = PolicyPlan(policy=parsed, model="only", output=output or Output(), predicted=predicted)
    machine, past = steps(plan), list[Attempt]()
    try:
        ask = next(machine)
        while True:
            replies = [reply(call, say(call, len(past) + i)) for i, call in enumerate(ask.calls)]
            attempts = assess(parsed, Situation(output=plan.output, **situation), replies)
            past += attempts
            ask = machine.send(attempts)
    except StopIteration as end:
        assert len(past) <= most_calls(parsed)
        done: PolicyOutcome = end.value
        return done, past


def by_model(**said: Said) -> Callable[[Call, int], Said]:
    return lambda call, n: said[call.model]


def asked(past: list[Attempt]) -> list[str]:
    return [f"{one.call.model}:{one.call.purpose}" for one in past]


TWO = {"tiers": ["cheap", "strong"], "accept": 0.9}
THREE = {"tiers": ["cheap", "middle", "strong"], "accept": 0.9}


# --- cascade ----------------------------------------------------------------------------------------------------------


@named(
    ("policy", "said", "text", "n_asked"),
    {
        "sure enough": (TWO, {"cheap": ("A", 0.9), "strong": ("B", 0.99)}, "A", 1),
        "never sure": (THREE, {"cheap": ("A", 0.5), "middle": ("B", 0.6), "strong": ("C", 0.1)}, "C", 3),
        "without a confidence": ({**TWO, "accept": 0.0}, {"cheap": "A", "strong": "B"}, "B", 2),
        "a threshold of its own": (
            {**THREE, "accept.2": 0.5},
            *({"cheap": ("A", 0.6), "middle": ("B", 0.6), "strong": ("C", 1.0)}, "B", 2),
        ),
        "below refine": ({**TWO, "refine": 0.7}, {"cheap": ("A", 0.6), "strong": "B"}, "B", 2),
        "the strong one fails": (THREE, {"cheap": ("A", 0.8), "middle": ("B", 0.2), "strong": None}, "B", 3),
        "the cheap one fails": (TWO, {"cheap": None, "strong": "B"}, "B", 2),
        "votes and no agreement": (
            {**TWO, "votes.models": ["cheap", "middle"]},
            *({"cheap": "a", "middle": "b", "strong": "c"}, "c", 3),
        ),
    },
)
def test_the_first_tier_that_is_sure_enough_answers_and_else_the_best_of_those_that_did(policy, said, text, n_asked):
    done, past = run(policy, by_model(**said))
    assert (done.attempt.text, len(past)) == (text, n_asked)  # type: ignore[union-attr]
    assert total_cost_usd(past) == sum(PRICES[one.call.model] for one in past if one.answer is not None)


def test_between_refine_and_accept_the_same_tier_improves_its_answer() -> None:
    done, past = run(
        {**TWO, "refine": 0.7}, lambda call, n: ("better", 0.85) if call.purpose == "refine" else ("first", 0.8)
    )
    assert (done.attempt.text, asked(past)) == ("better", ["cheap:answer", "cheap:refine"])  # type: ignore[union-attr]
    assert past[1].call.earlier == "first"
    assert done.why == "cheap was asked once more, being sure to 0.800, 0.900 asked for"


def test_an_improvement_that_is_none_leaves_the_first_answer() -> None:
    done, _ = run(
        {**TWO, "refine": 0.7}, lambda call, n: ("worse", 0.3) if call.purpose == "refine" else ("first", 0.8)
    )
    assert done.attempt.text == "first"  # type: ignore[union-attr]
    done, past = run({**TWO, "refine": 0.7}, lambda call, n: None if call.purpose == "refine" else ("first", 0.8))
    assert (done.attempt.text, past[1].error) == ("first", "timeout")  # type: ignore[union-attr]


def test_a_tier_predicted_to_fail_is_not_asked_and_the_last_one_always_is() -> None:
    policy = {**THREE, "skip": 0.4, "confidence": {"kind": "predictor"}}
    _, past = run(policy, by_model(cheap="A", middle="B", strong="C"), predicted=(0.2, None, 0.1))
    assert asked(past) == ["middle:answer", "strong:answer"]


def test_with_fall_back_off_a_failing_strong_model_fails_the_request_and_what_was_paid_stays_known() -> None:
    done, past = run({**TWO, "fall_back": False}, by_model(cheap=("A", 0.8), strong=None))
    assert (done.attempt, total_cost_usd(past)) == (None, 1.0)


def test_agreement_asks_each_tier_twice_at_once_and_takes_what_agrees_with_itself() -> None:
    policy = {**TWO, "confidence": {"kind": "agreement"}}
    done, past = run(policy, by_model(cheap="The Same.", strong="B"))
    assert (done.attempt.confidence, asked(past)) == (1.0, ["cheap:answer", "cheap:sample"])  # type: ignore[union-attr]
    done, past = run(policy, lambda call, n: "one two" if call.purpose == "answer" else "three four")
    assert (done.attempt.call.model, past[0].confidence) == ("strong", 0.0)  # type: ignore[union-attr]


# --- votes ------------------------------------------------------------------------------------------------------------

VOTES = {"votes.models": ["cheap", "middle", "strong"]}


def test_votes_are_asked_at_once_and_what_most_agree_on_goes_out() -> None:
    done, past = run(VOTES, by_model(cheap="Paris.", middle="paris", strong="Rome"))
    assert (done.attempt.text, len(past)) == ("Paris.", 3)  # type: ignore[union-attr]
    assert done.why == "2 of 3 agree"


def test_labels_count_as_the_family_reads_them() -> None:
    output = Output(parser="label", labels=("refund", "bug"))
    done, _ = run(VOTES, by_model(cheap="Refund", middle="bug", strong="It is a refund"), output=output)
    assert done.why == "2 of 3 agree"


@named(
    ("labels", "texts", "n_equal"),
    {
        "labels with signs": (("C", "C++", "C#"), ("C", "C++", "C#"), 1),
        "grades": (("A+", "A", "A-"), ("A-", "A", "A+"), 1),
        "texts with signs": (None, ("It is C", "It is C++.", "It is C#"), 1),
        "a text's punctuation, capitals and lines": (None, ("it is c++", "It is **C++**.", "It is\nC"), 2),
        "a sum, however it is spaced": (None, ("2+2", "2 + 2.", "2 2"), 2),
        "a joined word, however it is spaced": (None, ("a+b", "A + b", "A b!"), 3),
    },
)
def test_answers_that_signs_tell_apart_do_not_agree(labels: Any, texts: tuple[str, ...], n_equal: int) -> None:
    output = Output(parser="label", labels=labels) if labels else Output()
    assert agreement_of(output, texts).share == pytest.approx(n_equal / 3)
    assert (similarity(output, texts[0], texts[1]) == 1) == (n_equal > 1)


def test_without_agreement_the_strong_models_answer_goes_out() -> None:
    done, past = run(VOTES, by_model(cheap="a", middle="b", strong="c"))
    assert (done.attempt.text, len(past)) == ("c", 3)  # type: ignore[union-attr]


def test_a_failed_vote_agrees_with_nobody_but_counts() -> None:
    done, _ = run({**VOTES, "votes.agreement": 0.6}, by_model(cheap="a", middle=None, strong=None))
    assert (done.attempt.text, "best of the others" in done.why) == ("a", True)  # type: ignore[union-attr]


# --- gate -------------------------------------------------------------------------------------------------------------

GATE = {"gate.threshold": 0.9, "gate.prompts": ["one", "two"]}


def test_the_gate_asks_again_with_ever_stronger_prompts_and_the_best_attempt_goes_out() -> None:
    said = [("a", 0.5), ("b", 0.7), ("c", 0.6), ("d", 0.2)]
    done, past = run(GATE, lambda call, n: said[n])
    assert [one.call.instruction for one in past] == [None, "one", "two", "two"]
    assert (done.attempt.text, done.attempt.score) == ("b", pytest.approx(0.7))  # type: ignore[union-attr]


def test_the_gate_stops_as_soon_as_the_score_is_reached() -> None:
    done, past = run(GATE, lambda call, n: [("a", 0.5), ("b", 0.9)][n])
    assert (done.attempt.text, len(past)) == ("b", 2)  # type: ignore[union-attr]


def test_an_answer_whose_score_cannot_be_measured_is_not_asked_for_again() -> None:
    done, past = run(GATE, lambda call, n: "a")
    assert (len(past), done.why) == (1, "the only model asked; no score for the gate")


def test_the_gate_may_score_by_the_checks() -> None:
    policy = {"gate.scorer": "checks", "gate.retries": 1, "validate": ["empty", "refused"]}
    done, past = run(policy, lambda call, n: ["", "fine"][n])
    assert [one.score for one in past] == [0.0, 1.0]
    assert done.attempt.text == "fine"  # type: ignore[union-attr]


# --- validator --------------------------------------------------------------------------------------------------------


def test_a_flagged_issue_is_recorded_and_changes_nothing() -> None:
    done, past = run({"validate": ["refused"]}, lambda call, n: "I cannot help with that.")
    assert (done.attempt.issues, len(past)) == (("refused",), 1)  # type: ignore[union-attr]


def test_retry_tells_the_model_what_was_wrong() -> None:
    done, past = run(
        {"validate": ["refused"], "validate.then": "retry"}, lambda call, n: ["I cannot help with that.", "Sure: 4."][n]
    )
    assert done.attempt.text == "Sure: 4."  # type: ignore[union-attr]
    assert "refusal" in (past[1].call.note or "")


def test_escalate_asks_the_next_tier_however_sure_the_answer_is() -> None:
    policy = {**TWO, "validate": ["empty"], "validate.then": "escalate"}
    done, past = run(policy, by_model(cheap=("", 1.0), strong="B"))
    assert (done.attempt.text, len(past)) == ("B", 2)  # type: ignore[union-attr]


def test_an_answer_without_issues_is_preferred_to_a_stronger_one_with_issues() -> None:
    policy = {**TWO, "validate": ["refused"], "validate.then": "escalate"}
    done, _ = run(policy, by_model(cheap=("A", 0.5), strong="I'm sorry, but I can't help with that."))
    assert (done.attempt.text, done.why) == ("A", "the last tier's answer had issues")  # type: ignore[union-attr]


# --- audit ------------------------------------------------------------------------------------------------------------


def test_an_audit_asks_the_tiers_that_have_not_answered() -> None:
    plan = PolicyPlan(policy=parse_policy({**THREE, "audit_share": 0.5}), model="only", output=Output())
    _, past = run(THREE, by_model(cheap=("A", 0.95), middle="B", strong="C"))
    missing = audit(plan, past)
    assert [(call.model, call.tier, call.purpose) for call in missing.calls] == [
        ("middle", 1, "audit"),
        ("strong", 2, "audit"),
    ]
    assert (is_audited(plan, 0.49), is_audited(plan, 0.5)) == (True, False)
    _, all_asked = run(THREE, by_model(cheap=("A", 0.1), middle="B", strong="C"))
    assert audit(plan, all_asked) is None
    stood_in = [replace(one, answered_by="other") if one.call.model == "middle" else one for one in all_asked]
    missing = audit(plan, stood_in)
    assert [call.model for call in missing.calls] == ["middle"], "what a fallback said is no record of the tier"


# --- requests ---------------------------------------------------------------------------------------------------------

RENDERED = ModelRequest(
    model="only",
    revision="",
    messages=[{"role": "system", "content": "Name it."}, {"role": "user", "content": "Stars"}],
    params={"temperature": 0.0, "max_tokens": 9},
)


def test_a_tiers_request_is_the_rendered_one_under_another_name() -> None:
    policy = parse_policy({**TWO, "confidence": {"kind": "predictor"}})
    base = request_of_policy(policy, RENDERED)
    made = request_of_call(policy, base, Call(model="strong", purpose="answer", tier=1), revision="r9")
    assert (made.messages, made.params, made.sample) == (RENDERED.messages, RENDERED.params, RENDERED.sample)
    assert (made.model, made.revision) == ("strong", "r9")


def test_log_probabilities_are_asked_for_only_where_confidence_comes_from_them() -> None:
    assert request_of_policy(parse_policy(TWO), RENDERED).params["logprobs"] is True
    assert "logprobs" not in request_of_policy(parse_policy(VOTES), RENDERED).params


def test_a_stronger_prompt_stands_behind_the_system_message() -> None:
    policy = parse_policy(GATE)
    call = Call(model="only", purpose="gate", instruction="Be exact.", earlier="old")
    made = request_of_call(policy, request_of_policy(policy, RENDERED), call, revision="")
    assert [m["content"] for m in made.messages] == ["Name it.\n\nBe exact.", "Stars"]


def test_a_refinement_shows_the_answer_that_is_to_be_improved() -> None:
    policy = parse_policy(TWO)
    call = Call(model="cheap", purpose="refine", tier=0, earlier="old", note="Improve it.")
    made = request_of_call(policy, RENDERED, call, revision="")
    assert [m["role"] for m in made.messages] == ["system", "user", "assistant", "user"]


def test_the_second_sample_is_a_draw_of_its_own() -> None:
    policy = parse_policy({**TWO, "confidence": {"kind": "agreement", "temperature": 0.3}})
    made = request_of_call(policy, RENDERED, Call(model="cheap", purpose="sample", tier=0), revision="")
    assert (made.params["temperature"], made.sample) == (0.3, "0:second")


def test_tool_results_are_said_again_at_the_end_only_while_they_wait_for_an_answer() -> None:
    policy = parse_policy({"context.tool_results": True})
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        *RENDERED.messages,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "21 C"},
    ]
    waiting = ModelRequest(model="only", revision="", messages=messages)
    said = request_of_policy(policy, waiting).messages
    assert said[:-1] == messages
    assert said[-1]["content"].count("[weather] 21 C\n") == 1
    long = [*messages[:-1], {**messages[-1], "content": "x" * 4000 + "the end"}]
    (*before, repeated) = request_of_policy(policy, replace(waiting, messages=long)).messages
    assert (before, "the rest stands in the tool's message above" in repeated["content"]) == (long, True)
    assert request_of_policy(policy, RENDERED).messages == RENDERED.messages


def test_a_part_holds_what_is_known_and_the_text_where_it_did_not_go_out() -> None:
    _, past = run(TWO, by_model(cheap=("A", 0.95), strong="B"))
    assert part_of(past[0], is_answer=True) == {
        **{"tier": 0, "model": "cheap", "purpose": "answer", "confidence": pytest.approx(0.95), "taken": True},
        **{"cost_usd": 1.0, "latency_ms": 5.0, "input_tokens": 10, "output_tokens": 5},
    }
    assert part_of(past[0])["output"] == "A"


@pytest.mark.parametrize(
    "policy", [{"tiers": list("abcd"), "accept": 0.9, "refine": 0.5}, {"votes.models": list("abcdefgh")}]
)
def test_a_record_has_room_for_all_that_a_policy_and_its_judge_ask(policy: dict[str, Any]) -> None:
    dearest = {"confidence": {"kind": "agreement"}, "gate.scorer": "judge", "gate.retries": 5}
    dearest |= {"validate": ["factual_errors"], "validate.then": "retry", "validate.facts": "judge"}
    parsed = parse_policy({**policy, **dearest})
    n_judgements = parsed.most_judgements + most_calls(parsed)
    assert 64 < most_calls(parsed) + ASKS * MAX_COMMITTEE * n_judgements <= MAX_PARTS
