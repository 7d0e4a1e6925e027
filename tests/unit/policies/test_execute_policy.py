"""Carrying a policy out: parallel calls, the deadline, faults that are no model's, what follows after the answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import log
from types import MappingProxyType
from typing import Any

import pytest

from optimizer.core.base.errors import Busy, InvalidInput, ModelFailed
from optimizer.core.feedback.reported import read_report
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.attempts import Attempt, Judge
from optimizer.core.policy.policy import parse_policy
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.jobs.calls.ask_model import ModelReply
from optimizer.jobs.calls.execute_policy import AskOne, Execution, PolicyRequest, execute_policy
from optimizer.ports import LanguageModel
from tests.stand_ins.scripted_model import ScriptedModel, failed

RENDERED = ModelRequest(
    model="only", revision="", messages=[{"role": "user", "content": "Stars"}], params={"temperature": 0.0}
)
TWO = {"tiers": ["cheap", "strong"], "accept": 0.9, "audit_share": 0.5}


class Gone(Exception):
    """The client went."""


def said(text: str, sure: float | None = None, cost_usd: float = 1.0) -> ModelAnswer:
    measured = {"input_tokens": 10, "output_tokens": 2, "cost_usd": cost_usd, "latency_ms": 1.0}
    return ModelAnswer(text=text, log_probability=None if sure is None else log(sure), **measured)


class Models:
    """Answers by model name: a value, an exception to raise, or a coroutine function."""

    def __init__(self, **plays: Any) -> None:
        self.plays, self.requests = plays, list[ModelRequest]()

    async def ask(self, name: str, request_of: Callable[[LanguageModel], ModelRequest]) -> ModelReply:
        self.requests.append(request_of(ScriptedModel(name=name)))
        played = self.plays[name]
        if callable(played):
            played = await played(self.requests[-1])
        if isinstance(played, BaseException):
            raise played
        return played if isinstance(played, ModelReply) else ModelReply(answer=played, models=(name,))


def execute(
    policy: Mapping[str, Any],
    models: Models,
    *,
    draw: float = 1.0,
    later: AskOne | None = None,
    students: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> Execution:
    wanted = PolicyRequest(policy=parse_policy(policy), rendered=RENDERED, draw=draw, students=students)

    async def run() -> Execution:
        return await execute_policy(wanted, models.ask, ask_later=later, **more)

    return asyncio.run(run())


def test_a_student_computes_beside_the_loop_that_serves_everybody() -> None:
    threads = list[int]()

    def student(input: Mapping[str, Any]) -> StudentAnswer:
        threads.append(threading.get_ident())
        return StudentAnswer(label="A", confidence=0.95)

    done = execute(TWO, Models(), students={"cheap": student})
    assert done.attempt.text == "A"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_a_student_that_knows_nothing_of_a_text_is_never_taken_at_its_word_whatever_the_threshold() -> None:
    policy = {**TWO, "accept": 0.0, "students": {"cheap": "st_1"}}
    students = {"cheap": lambda input: StudentAnswer(label="A", confidence=0.0)}
    done = execute(policy, Models(strong=said("B", 0.9, 2.0)), students=students)
    assert done.attempt.text == "B"
    (student, _) = done.attempts
    assert student.confidence is None


@pytest.mark.parametrize(("error", "kind"), [(failed("http", status=503), "http"), (Busy("full"), "busy")])
def test_a_students_guess_never_goes_out_in_place_of_a_model_that_failed(error: Exception, kind: str) -> None:
    policy = {**TWO, "students": {"cheap": "st_1"}}
    guess, unsure = (lambda input, sure=sure: StudentAnswer(label="A", confidence=sure) for sure in (0.0, 0.4))
    done = execute(policy, Models(strong=error), students={"cheap": guess})
    assert done.attempt is None
    assert done.failure is not None
    assert done.failure.kind == kind
    assert execute(policy, Models(strong=error), students={"cheap": unsure}).attempt.text == "A"


def test_beside_a_students_guess_alone_the_deadline_waits_for_a_model() -> None:
    async def slow(request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(0.15)
        return said("B")

    policy = {**TWO, "deadline_s": 0.1, "students": {"cheap": "st_1"}}
    for confidence, answer in ((0.0, "B"), (0.4, "A")):
        student = StudentAnswer(label="A", confidence=confidence)
        done = execute(policy, Models(strong=slow), students={"cheap": lambda input, student=student: student})
        assert done.attempt.text == answer


def test_no_judge_is_asked_about_a_students_guess() -> None:
    validator = {"validate": ["factual_errors"], "validate.facts": "judge", "validate.then": "escalate"}
    policy = {**TWO, **validator, "students": {"cheap": "st_1"}}
    student, judged = StudentAnswer(label="A", confidence=0.0), []

    async def judge(question: Judge, record: Callable[[Attempt], None]) -> Attempt:
        judged.append(question.attempt.text)
        return question.attempt

    assert execute(policy, Models(strong=said("B")), judge=judge, students={"cheap": lambda input: student})
    assert judged == ["B"]


def test_the_dollars_of_a_tier_without_a_known_price_are_in_no_part_and_those_of_all_are_not_known() -> None:
    unpriced = replace(said("A", 0.1, 0.0), is_priced=False)
    done = execute(TWO, Models(cheap=unpriced, strong=said("B", 0.9, 2.0)))
    assert done.known_usd is None
    assert done.cost_usd == 2.0  # what a limit counts
    assert [part.get("cost_usd") for part in done.parts()] == [None, 2.0]
    assert execute(TWO, Models(cheap=failed("timeout"), strong=said("B", 0.9, 2.0))).known_usd == 2.0


@pytest.mark.parametrize(
    ("confidence", "why"), [(0.4, "is sure to 0.400, 0.800 asked for"), (0.0, "knows nothing of it")]
)
def test_a_student_alone_refuses_what_it_is_not_sure_of_and_only_audits_ask_the_model_behind_it(confidence, why):
    policy = parse_policy({**TWO, "accept": 0.8, "students": {"cheap": "st_1"}, "refuse": True, "audit_share": 0.5})
    models = Models(strong=said("B", 0.9, 2.0))

    def ask(draw: float, **more: Any) -> Execution:
        students = {"cheap": lambda input: StudentAnswer(label="A", confidence=confidence, unknown=0.5)}
        wanted = PolicyRequest(policy=policy, rendered=RENDERED, draw=draw, **{"students": students, **more})
        return asyncio.run(execute_policy(wanted, models.ask))

    done = ask(0.9)
    assert done.attempt.refused
    assert done.attempt.text == ""
    assert why in done.why
    assert done.follow_up is None
    assert done.cost_usd == 0
    assert not models.requests
    (part,) = done.parts()
    assert (part["output"], part.get("taken")) == ("A", None), "its guess is on record, and went out to nobody"
    record = {"assignment": "t", "output": "", "parts": done.parts()}
    read_report(record, now=datetime(2026, 11, 26, tzinfo=UTC))  # what no event may hold would cost the whole record
    assert ask(0.1).follow_up is not None, "for the audit"
    passed_over = ask(0.9, students={}, passed_over=frozenset({"cheap"})).attempt
    assert passed_over.text == "B", "it is bypassed: the model answers"


def test_what_a_validator_finds_in_a_students_answer_is_no_reason_to_ask_it_again() -> None:
    retried = {"validate": ["empty"], "validate.then": "retry"}
    policy = {**TWO, **retried, "accept": 0.8, "students": {"cheap": "st_1"}}
    asked = list[Mapping[str, Any]]()

    def student(input: Mapping[str, Any]) -> StudentAnswer:
        asked.append(input)
        return StudentAnswer(label="", confidence=0.95)

    done = execute(policy, Models(), students={"cheap": student})
    assert [one.issues for one in done.attempts] == [("empty",)]
    assert len(asked) == 1


def test_refusing_is_of_students_alone() -> None:
    with pytest.raises(InvalidInput, match="leave refuse out"):
        parse_policy({**TWO, "refuse": True})


def test_the_answer_comes_with_a_record_of_all_its_parts() -> None:
    models = Models(cheap=said("A", 0.5, 0.25), strong=said("B", 0.9, 2.0))
    done = execute(TWO, models)
    assert (done.attempt.text, done.models, done.cost_usd) == ("B", ("cheap", "strong"), 2.25)
    assert done.tokens() == {"input_tokens": 20, "output_tokens": 4}
    assert [(part["model"], part["purpose"]) for part in done.parts()] == [("cheap", "answer"), ("strong", "answer")]
    assert [(part.get("output"), part.get("taken")) for part in done.parts()] == [("A", None), (None, True)]
    requests = [(r.model, r.revision, r.params["logprobs"]) for r in models.requests]
    assert requests == [("cheap", "r1", True), ("strong", "r1", True)]


def test_votes_run_at_the_same_time() -> None:
    async def play() -> Execution:
        barrier = asyncio.Barrier(3)

        async def together(request: ModelRequest) -> ModelAnswer:
            await asyncio.wait_for(barrier.wait(), 5)  # passes only when all three are in work
            return said("yes")

        models = Models(a=together, b=together, c=together)
        return await execute_policy(
            PolicyRequest(policy=parse_policy({"votes.models": ["a", "b", "c"]}), rendered=RENDERED), models.ask
        )

    done = asyncio.run(play())
    assert done.why == "3 of 3 agree"


def test_a_failing_model_is_a_part_with_its_error() -> None:
    done = execute(TWO, Models(cheap=said("A", 0.5), strong=failed("timeout")))
    assert (done.attempt.text, done.failure) == ("A", None)
    assert done.parts()[1]["error"] == "timeout: scripted timeout"


def test_when_nothing_can_go_out_the_last_failure_says_why_and_what_was_paid_is_known() -> None:
    done = execute({**TWO, "fall_back": False}, Models(cheap=said("A", 0.5), strong=failed("http", status=500)))
    assert done.attempt is None
    assert isinstance(done.failure, ModelFailed)
    assert (done.failure.kind, done.cost_usd) == ("http", 1.0)


def test_a_fallback_that_answered_is_named() -> None:
    answered = ModelReply(answer=said("A", 0.95), models=("cheap", "spare"))
    done = execute(TWO, Models(cheap=answered, strong=said("B")))
    assert (done.models, done.parts()[0]["model"]) == (("spare",), "spare")


def test_at_the_deadline_the_best_answer_so_far_goes_out_and_the_late_one_is_still_recorded() -> None:
    async def play() -> tuple[Execution, list[str]]:
        release = asyncio.Event()

        async def slow(request: ModelRequest) -> ModelAnswer:
            await release.wait()
            return said("B")

        models = Models(cheap=said("A", 0.5), strong=slow)
        wanted = PolicyRequest(policy=parse_policy({**TWO, "deadline_s": 0.1}), rendered=RENDERED)
        done = await execute_policy(wanted, models.ask)
        release.set()
        return done, [f"{one.call.model}:{one.call.purpose}:{one.text}" for one in await done.follow_up()]

    done, late = asyncio.run(play())
    assert (done.attempt.text, len(done.attempts)) == ("A", 1)
    assert "0.1 s are over" in done.why
    assert late == ["strong:answer:B"]


def test_without_any_answer_the_deadline_waits_for_the_first() -> None:
    async def slow(request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(0.15)
        return said("A", 0.95)

    done = execute({**TWO, "deadline_s": 0.1}, Models(cheap=slow, strong=said("B")))
    assert done.attempt.text == "A"


@pytest.mark.parametrize("error", [Gone(), Busy("full")])
def test_what_is_no_models_failure_is_raised_while_nothing_was_asked(error: Exception) -> None:
    with pytest.raises(type(error)):
        execute(TWO, Models(cheap=error, strong=said("B")))


def test_a_client_that_goes_later_leaves_what_was_paid_on_record() -> None:
    done = execute(TWO, Models(cheap=said("A", 0.5), strong=Gone()))
    assert isinstance(done.interrupted, Gone)
    assert (done.cost_usd, done.follow_up) == (1.0, None)


def test_a_queue_that_is_full_later_gives_out_the_best_answer() -> None:
    done = execute(TWO, Models(cheap=said("A", 0.5), strong=Busy("full")))
    assert (done.attempt.text, done.attempts[1].error) == ("A", "busy: full")


def test_a_request_that_is_not_drawn_has_nothing_to_follow() -> None:
    assert execute(TWO, Models(cheap=said("A", 0.95), strong=said("B")), draw=0.5).follow_up is None


def test_the_gate_takes_a_function_of_ones_own_and_survives_its_faults() -> None:
    policy = {"gate.scorer": "own.metric", "gate.threshold": 0.5, "gate.retries": 2}
    answers = iter([said("bad"), said("good")])

    async def play(request: ModelRequest) -> ModelAnswer:
        return next(answers)

    done = execute(policy, Models(only=play), score=lambda text: float(text == "good"))
    assert (done.attempt.text, [one.score for one in done.attempts]) == ("good", [0.0, 1.0])

    def broken(text: str) -> float:
        raise ZeroDivisionError

    done = execute(policy, Models(only=said("A")), score=broken)
    assert (done.attempt.score, len(done.attempts)) == (None, 1)
