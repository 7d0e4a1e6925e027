"""A gate that asks the family's judge: a weak answer is asked for again, a good one goes out, and what could not be
measured never passes as good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.gateway import policy_answer
from api.gateway.hourly_money import most_judging_usd
from api.http.problems import MoneySpent
from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.errors import BudgetExhausted, Busy, InvalidInput, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.declaration.prompt_kind import own_function_faults
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation
from optimizer.core.policy.policy import parse_policy
from optimizer.core.search.answer_bounds import gate_judgements
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.jobs.calls.ask_judge import gate_judge
from optimizer.jobs.calls.ask_model import ModelReply
from optimizer.jobs.calls.call_book import OwnSpend
from optimizer.jobs.calls.evaluation_calls import JudgeAccess
from optimizer.jobs.calls.evaluation_policies import run_policy
from optimizer.jobs.calls.execute_policy import Execution, PolicyRequest, execute_policy
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.families.vouch_for_judge import judge_gates
from optimizer.jobs.studies.evaluation import Evaluator
from tests.stand_ins.scripted_model import ScriptedModel
from tests.stores import new_database
from tests.worlds.judged_world import PRICE, JudgedWorld, judge_model, letters, letters_family, says, writer_by

GATE = {"gate.scorer": "judge", "gate.threshold": 0.7, "gate.retries": 2, "gate.prompts": ["Be kind."]}
LETTER = {"letter": "My parcel is late."}


def calibrated(family: Family, **changes: Any) -> Calibration:
    figures = {"n": 60, "spearman": 0.8, "kappa": 0.6, "calibration_error": 0.05}
    fitted: dict[str, Any] = {"method": "isotonic", "fitted_at": datetime(2026, 1, 1, tzinfo=UTC)}
    identity = {"judge": judge_identity(family), "points": ((0.0, 0.0), (1.0, 1.0))}
    return Calibration(**{**identity, **figures, **fitted, **changes})


def kind_when_told(request: ModelRequest, n: int) -> str:
    return "Dear customer" if "Be kind." in str(request.messages) else "Wait."


def likes_kind(answer: str) -> float:
    return 9 if "Dear" in answer else 2


def run_one(
    judge: ScriptedModel,
    calibration: Calibration | None,
    *,
    write: Callable[[ModelRequest, int], str] = kind_when_told,
    deadline_s: float = 60.0,
    in_study: bool = False,
    knobs: Mapping[str, Any] = GATE,
    letter: Mapping[str, Any] = LETTER,
    family: Family | None = None,
) -> tuple[Execution, ScriptedModel]:
    """The same policy with the same models, for a user who waits and in a study."""
    family, model = family or letters_family(), ScriptedModel(write, name="writer", price=PRICE)
    rendered = ModelRequest(model="writer", revision="", messages=[{"role": "user", "content": "My parcel is late."}])
    policy = parse_policy({**knobs, "deadline_s": deadline_s})
    situation = Situation(output=family.output, input=letter)
    wanted = PolicyRequest(policy=policy, rendered=rendered, situation=situation)

    async def open_judge(name: str) -> ScriptedModel:
        return judge

    async def ask(name: str, request_of: Any) -> ModelReply:
        return ModelReply(answer=await model.complete(request_of(model)), models=(name,))

    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        return await model.complete(request_of(model.revision))

    async def run() -> Execution:
        by = gate_judge(family, policy, situation, calibration, open_judge)
        if in_study:
            return await run_policy(wanted, complete, judge=by)
        done = await execute_policy(wanted, ask, judge=by)
        late = [] if done.follow_up is None else await done.follow_up()
        assert all(one.call.purpose == "judge" for one in late)
        return done

    return asyncio.run(run()), model


@pytest.mark.parametrize("in_study", [False, True])
def test_an_answer_that_the_judge_finds_weak_is_held_back_and_a_better_one_goes_out(in_study: bool) -> None:
    done, model = run_one(judge_model(likes_kind), calibrated(letters_family()), in_study=in_study)
    assert (done.attempt.text, done.attempt.score, len(model.requests)) == ("Dear customer", pytest.approx(0.9), 2)
    assert [one.call.purpose for one in done.attempts] == ["answer", "judge", "gate", "judge"]
    assert [part.get("score") for part in done.parts()] == [pytest.approx(0.2), None, pytest.approx(0.9), None]
    assert done.parts()[2]["taken"] is True
    assert "score 0.900 of 0.7 after 1 more" in done.why


def test_a_good_answer_goes_out_after_one_judgement_and_its_price_is_the_answers() -> None:
    judge = judge_model(lambda answer: 8)
    done, model = run_one(judge, calibrated(letters_family()))
    assert (len(model.requests), len(judge.requests)) == (1, 1)
    judged = [one for one in done.attempts if one.call.purpose == "judge"]
    assert judged[0].cost_usd > 0
    assert done.cost_usd == pytest.approx(sum(one.cost_usd for one in done.attempts))
    assert done.models == ("writer",)


def test_the_gate_compares_what_people_would_rate_and_not_what_the_judge_says() -> None:
    """A judge that is too kind by half: its .9 is people's .45."""
    kind = calibrated(letters_family(), points=((0.0, 0.0), (1.0, 0.5)))
    done, _ = run_one(judge_model(lambda answer: 9), kind)
    assert done.attempt.score == pytest.approx(0.45)
    assert "of 0.7 after 2 more" in done.why


def test_a_store_that_is_busy_ends_the_run_in_a_study_and_is_no_judge_that_failed() -> None:
    def busy(request: ModelRequest, n: int) -> str:
        raise Busy("Too much waits; nothing was written.", retry_after_s=1)

    judge = ScriptedModel(busy, name="judge", price=PRICE)
    with pytest.raises(Busy, match="nothing was written"):
        run_one(judge, calibrated(letters_family()), in_study=True)


def test_where_too_many_calls_are_under_way_the_gateway_s_answer_goes_out_unjudged() -> None:
    async def full(name: str, request_of: Any) -> ModelReply:
        raise Busy("64 model calls are under way.", retry_after_s=1)

    member: Any = policy_answer._PolicyMember("judge", full)
    done, _ = run_one(member, calibrated(letters_family()))
    assert done.attempt.score is None
    judged = next(one for one in done.attempts if one.call.purpose == "judge")
    assert judged.error == "busy: 64 model calls are under way."


def failing(request: ModelRequest, n: int) -> str:
    raise ModelFailed("Model 'judge' is away.", kind="unreachable")


@pytest.mark.parametrize(
    ("script", "n_asked"),
    [
        pytest.param(lambda request, n: "I cannot judge this.", 2, id="refuses"),
        pytest.param(lambda request, n: says(request, 11), 2, id="leaves the scale"),
        pytest.param(failing, 1, id="fails"),
    ],
)
@pytest.mark.parametrize("in_study", [False, True])
def test_a_judge_that_gives_no_score_never_passes_an_answer(script: Any, n_asked: int, in_study: bool) -> None:
    judge = ScriptedModel(script, name="judge", price=PRICE)
    done, _ = run_one(judge, calibrated(letters_family()), in_study=in_study)
    assert (done.attempt.text, done.attempt.score, len(judge.requests)) == ("Wait.", None, n_asked)
    assert "no score for the gate: the judge could not be measured" in done.why
    assert len([one for one in done.attempts if one.call.purpose == "judge"]) == n_asked, "what was paid is on record"


def test_a_second_answer_that_could_not_be_judged_does_not_replace_one_that_was() -> None:
    def script(request: ModelRequest, n: int) -> str:
        return says(request, 4) if "Wait." in str(request.messages) else "No."

    judge = ScriptedModel(script, name="judge", price=PRICE)
    done, _ = run_one(judge, calibrated(letters_family()))
    assert (done.attempt.text, done.attempt.score) == ("Wait.", pytest.approx(0.4))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param(None, "the judge is uncalibrated", id="never rated"),
        pytest.param({"judge": "j_000000000000"}, "the judge has changed", id="another judge"),
        pytest.param({"spearman": 0.1}, "do not follow people's ratings", id="does not follow people"),
    ],
)
def test_a_judge_that_people_do_not_vouch_for_is_not_asked_and_does_not_decide(changes: Any, why: str) -> None:
    judge = judge_model(lambda answer: 0)
    calibration = None if changes is None else calibrated(letters_family(), **changes)
    done, model = run_one(judge, calibration)
    assert (len(judge.requests), len(model.requests)) == (0, 1)
    assert why in done.why
    assert "it does not decide" in done.why


def test_an_answer_goes_out_when_the_time_is_over_and_the_judges_call_is_on_record_later() -> None:
    class Slow(ScriptedModel):
        async def complete(self, request: ModelRequest) -> ModelAnswer:
            await asyncio.sleep(1.5)
            return await super().complete(request)

    judge = Slow(lambda request, n: says(request, 1), name="judge", price=PRICE)
    done, model = run_one(judge, calibrated(letters_family()), deadline_s=0.5)
    assert (done.attempt.text, len(model.requests), len(judge.requests)) == ("Wait.", 1, 1)
    assert "0.5 s are over" in done.why
    assert done.follow_up is not None


def gated(**policy: Any) -> Variant:
    messages = ({"role": "system", "content": "Reply."}, {"role": "user", "content": "Letter: {{letter}}"})
    model = {"name": "writer", "temperature": 0.0, "max_tokens": 40}
    return Variant(messages=messages, model=model, policy={**GATE, **policy})


def evaluate(folder: Path, budget: Budget) -> tuple[JudgedWorld, list[Any], OwnSpend]:
    family = letters_family(scorer={"exact_match": 1.0})
    model = writer_by(lambda request: "Dear" if "Be kind." in str(request.messages) else "Wait now.")
    world, spent = JudgedWorld(folder, judge_model(likes_kind), model=model), OwnSpend()
    calls = RunCalls(store=world.store, clock=world.clock, models=world, budget=budget, spent=spent)
    examples = letters(3, "dev", expected=lambda i: {"reply": "Dear"})
    return world, judged_evaluator(family, calls, folder).evaluate(gated(), examples), spent


def judged_evaluator(family: Family, calls: RunCalls, folder: Path) -> Evaluator:
    def model(purpose: str) -> Callable[[str], Any]:
        return lambda name: calls.journaled(name, family=family.name, purpose=purpose)

    judge = JudgeAccess(open_model=model("judge"), calibration=lambda: calibrated(family))
    return Evaluator(family, build_scorer(family, folder), model("evaluation"), judge=judge)


def test_an_evaluation_scores_what_the_gate_lets_out_and_journals_the_judge(tmp_path: Path) -> None:
    world, results, spent = evaluate(tmp_path, Budget(calls=40, usd=1.0))
    assert [(one.output, one.n_retries, one.error) for one in results] == [("Dear", 1, None)] * 3
    assert world.calls_by_purpose() == {"evaluation": 6, "judge": 6}
    assert sum(one.cost_usd for one in results) == pytest.approx(spent.spend.usd)


def test_the_judges_calls_count_under_the_cap(tmp_path: Path) -> None:
    with pytest.raises(BudgetExhausted):
        evaluate(tmp_path, Budget(calls=7))
    with new_database(tmp_path).read() as tx:
        rows = tx.exec_driver_sql("select count(*), sum(purpose = 'judge') from lm_calls").one()
    assert rows[0] == 7
    assert 0 < rows[1] < 7


def test_a_dry_run_counts_every_judgement_of_the_gate() -> None:
    family, plain = letters_family(scorer={"format_compliance": {"weight": 1.0, "max_words": 9}}), gated()
    calls, usd = estimate_evaluation([plain], letters(5, "dev"), family, lambda name: PRICE)
    assert gate_judgements(plain) == 3
    assert calls.high == 5 * (3 + 3 * 2), "three answers, each judged, each judgement asked for twice at most"
    by_checks = gated(**{"gate.scorer": "checks"})
    without, cheaper = estimate_evaluation([by_checks], letters(5, "dev"), family, lambda n: PRICE)
    assert without.high == 15
    assert usd.high > cheaper.high


def test_a_gate_by_a_judge_needs_a_judge() -> None:
    version = {"content": [{"role": "user", "content": "{{letter}}"}], "policy": GATE}
    prompt = {"current": "1", "versions": {"1": version}}
    with pytest.raises(InvalidInput, match="the family has no judge"):
        letters_family(judge=None, scorer={}, prompt=prompt)
    with pytest.raises(InvalidInput, match="the family has no judge"):
        letters_family(judge=None, scorer={}, space={"policy.gate.scorer": {"choices": ["checks", "judge"]}})
    assert letters_family(prompt=prompt).judge is not None
    without = letters_family(judge=None, scorer={"format_compliance": {"weight": 1.0, "max_words": 9}})
    assert [fault.pointer for fault in own_function_faults(GATE, without)] == ["/policy/gate.scorer"]
    assert not list(own_function_faults(GATE, letters_family()))


def test_a_candidate_that_is_gated_by_an_uncalibrated_judge_starts_only_as_forced(tmp_path: Path) -> None:
    family = letters_family(scorer={"format_compliance": {"weight": 1.0, "max_words": 9}})
    world = JudgedWorld(tmp_path)
    assert judge_gates(family, world.store, variants=[gated(**{"gate.scorer": "checks"})]) == []
    (gate,) = judge_gates(family, world.store, variants=[gated()])
    assert (gate["name"], gate["verdict"]) == ("judge_calibrated", "error")


def test_the_familys_hour_counts_the_most_that_a_gates_judge_may_cost(tmp_path: Path) -> None:
    world, family = JudgedWorld(tmp_path, judge_model()), letters_family()
    request = ModelRequest(model="writer", revision="", messages=[], params={"max_tokens": 40})

    def most(**policy: Any) -> float:
        parsed = parse_policy({**GATE, **policy})
        return most_judging_usd(family, parsed, request, LETTER, world, limit=1.0, said_by="a setting")

    judge = world.by_name["judge"]
    assert most(**{"gate.scorer": "checks"}) == 0.0
    assert most() > most(**{"gate.retries": 0}) > 2 * 600 * 2.0 / 1e6, "each judgement, asked for twice"
    with_retries, judge.retries = most(), 0
    assert with_retries == pytest.approx(3 * most()), "each asks twice more after a passing fault"
    judge.price = None
    with pytest.raises(MoneySpent):
        most()
