"""Whatever models reply, a policy ends within its bound, loses no attempt, and gives out the best one."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, log
from typing import Any

from hypothesis import given, settings, strategies as st

from optimizer.core.declaration.prompt_kind import policy_faults
from optimizer.core.family.settings import Output
from optimizer.core.models.budget import prompt_bytes
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, assess, with_facts
from optimizer.core.policy.attempts import Ask, Attempt, Judge, Reply, best, part_of, rank, total_cost_usd
from optimizer.core.policy.policy import Policy, parse_policy, request_of_call
from optimizer.core.policy.steps import PolicyPlan, audit, longest_request, most_calls, most_longer_calls, steps
from optimizer.core.policy.validator import NAMED_CHECKS
from tests.examples import n_examples

SHARES = st.floats(0, 1).map(lambda x: round(x, 3))
NAMES = ["m1", "m2", "m3", "m4"]
KNOBS: dict[str, st.SearchStrategy[Any]] = {
    "tiers": st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    **dict.fromkeys(("accept", "accept.2", "accept.3", "refine", "skip", "audit_share"), SHARES),
    **dict.fromkeys(("votes.agreement", "gate.threshold"), SHARES),
    "confidence": st.sampled_from([{"kind": "log_probability"}, {"kind": "agreement"}, {"kind": "predictor"}]),
    "fall_back": st.booleans(),
    "votes.models": st.lists(st.sampled_from([*NAMES, "m5"]), min_size=2, max_size=5, unique=True),
    "gate.retries": st.integers(0, 5),
    "gate.scorer": st.sampled_from(["confidence", "checks", "judge", "own.metric"]),
    "validate": st.lists(st.sampled_from(list(NAMED_CHECKS)), min_size=1, max_size=3),
    "validate.then": st.sampled_from(["retry", "escalate", "flag"]),
    "context.tool_results": st.booleans(),
}
POLICIES = st.fixed_dictionaries({}, optional=KNOBS).filter(lambda policy: not policy_faults(policy))
TEXTS = st.sampled_from(["", "yes", "no", "maybe so", "I cannot help with that.", "I couldn't find anything."])
RENDERED = ModelRequest(model="only", revision="", messages=[{"role": "user", "content": "x"}], params={})
OUTPUTS = st.sampled_from([Output(), Output(parser="label", labels=("yes", "no"))])


class _Sure:
    """A predictor that says what is drawn for it."""

    reads_log_probabilities = False

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def confidence_after(self, *args: Any, **kwargs: Any) -> float | None:
        return self._data.draw(st.none() | SHARES)


def parsed_with_drawn_confidence(policy: dict[str, Any], data: st.DataObject) -> Policy:
    parsed = parse_policy(policy)
    return replace(parsed, signal=replace(parsed.signal, predicted=_Sure(data)))  # type: ignore[arg-type]


def replies(data: st.DataObject, ask: Ask) -> list[Reply]:
    made = []
    for call in ask.calls:
        if data.draw(st.integers(0, 3)) == 0:
            made.append(Reply(call=call, error="failed", latency_ms=1.0))
            continue
        sure = data.draw(st.none() | st.floats(0.01, 1))
        answer = ModelAnswer(
            text=data.draw(TEXTS),
            input_tokens=1,
            output_tokens=1,
            cost_usd=data.draw(st.floats(0, 1)),
            latency_ms=1.0,
            finish_reason=data.draw(st.sampled_from(["stop", "length", "tool_calls"])),
            raw_message={"tool_calls": [{"id": "c"}]} if data.draw(st.integers(0, 9)) == 0 else None,
            log_probability=None if sure is None else log(sure),
        )
        made.append(Reply(call=call, answer=answer, latency_ms=1.0, score=data.draw(st.none() | SHARES)))
    return made


def sent_more_than_the_request(policy: Policy, past: list[Attempt]) -> int:
    """How many calls did; none sends more than ``longest_request`` does."""
    sizes = [prompt_bytes(request_of_call(policy, RENDERED, one.call, revision="").messages, {}) for one in past]
    answer_bytes = max(len(one.text) for one in past)
    assert max(sizes) <= prompt_bytes(longest_request(policy, RENDERED, answer_bytes).messages, {})
    return sum(size > prompt_bytes(RENDERED.messages, {}) for size in sizes)


def drive(plan: PolicyPlan, situation: Situation, data: st.DataObject) -> tuple[Attempt | None, list[Attempt]]:
    machine, past, n_judged = steps(plan), list[Attempt](), 0
    try:
        ask = next(machine)
        while True:
            if isinstance(ask, Judge):
                n_judged += 1
                assert n_judged <= plan.policy.most_judgements
                if ask.about == "facts":
                    judged = with_facts(plan.policy, ask.attempt, data.draw(st.none() | st.booleans()))
                else:
                    judged = replace(ask.attempt, score=data.draw(st.none() | SHARES))
                past = [judged if one is ask.attempt else one for one in past]
                ask = machine.send([judged])
                continue
            made = replies(data, ask)
            if plan.policy.is_judged:  # nobody else scores then
                made = [replace(one, score=None) for one in made]
            attempts = assess(plan.policy, situation, made)
            assert [one.call for one in attempts] == list(ask.calls)
            past += attempts
            assert len(past) <= most_calls(plan.policy)
            assert sent_more_than_the_request(plan.policy, past) <= most_longer_calls(plan.policy)
            ask = machine.send(attempts)
    except StopIteration as end:
        return end.value.attempt, past


def strong_failed(policy: Policy, past: list[Attempt]) -> bool:
    last = policy.cascade.models[-1]
    return not any(one.answer is not None and one.call.model == last and one.call.purpose != "sample" for one in past)


@settings(max_examples=n_examples(50))
@given(policy=POLICIES, output=OUTPUTS, predicted=st.lists(st.none() | SHARES, max_size=4).map(tuple), data=st.data())
def test_it_ends_within_its_bound_and_gives_out_the_best_attempt(policy, output, predicted, data):
    parsed = parsed_with_drawn_confidence(policy, data)
    plan = PolicyPlan(policy=parsed, model="only", output=output, predicted=predicted)
    taken, past = drive(plan, Situation(output=output), data)
    assert past, "at least one model is asked"
    deliverable = [one for one in past if one.answer is not None and one.call.purpose != "sample"]
    if taken is None:
        assert not deliverable or (
            parsed.cascade is not None and not parsed.cascade.fall_back and strong_failed(parsed, past)
        )
    else:
        assert taken in deliverable
        if parsed.votes is None:
            assert rank(taken) == max(map(rank, deliverable)) == rank(best(past) or taken)


@given(policy=POLICIES, data=st.data())
def test_the_total_is_the_sum_of_the_parts_and_an_audit_leaves_no_tier_out(policy, data):
    parsed = parsed_with_drawn_confidence(policy, data)
    plan = PolicyPlan(policy=parsed, model="only", output=Output())
    situation = Situation()
    _, past = drive(plan, situation, data)
    missing = audit(plan, past)
    if missing is not None:
        past += assess(parsed, situation, replies(data, missing))
    parts = [part_of(one) for one in past]
    assert total_cost_usd(past) == fsum(part.get("cost_usd", 0.0) for part in parts)
    assert all(("error" in part) != ("cost_usd" in part) for part in parts)
    if parsed.cascade is not None:
        assert set(parsed.cascade.models) <= {one.call.model for one in past}
