"""A gate that scores with the user's own function does in a study what it does in the service."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from optimizer.adapters.store import Database
from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.policy import parse_policy
from optimizer.jobs.calls.blocking import N_THREADS, wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.evaluation_policies import run_policy
from optimizer.jobs.calls.execute_policy import PolicyRequest
from optimizer.jobs.studies.evaluation import Evaluator
from tests.clock import Clock
from tests.stand_ins.scripted_model import AwaitedModel, ScriptedModel, request
from tests.worlds.study_world import START, topic_examples, topic_family

OWN = """
def is_biology(example, output):
    assert example["expected"] == {}, "no gate is shown the answer"
    return float(output == "biology")


def breaks(example, output):
    raise ZeroDivisionError
"""
MESSAGES = ({"role": "system", "content": "Name the topic."}, {"role": "user", "content": "{{document}}"})


def evaluated(
    store: Database, folder: Path, function: str, *, is_named: bool = True
) -> tuple[ExampleResult, ScriptedModel]:
    """One example, of a model that says biology only where it is told to be exact."""
    sys.modules.pop("gate_scores_of_a_study", None)  # of another test, whose folder is gone
    (folder / "gate_scores_of_a_study.py").write_text(OWN)
    named = {"policy.gate.scorer": {"choices": ["checks", f"gate_scores_of_a_study.{function}"]}} if is_named else {}
    family = topic_family(space=named)
    model = ScriptedModel(lambda r, n: "biology" if "Be exact." in str(r.messages[0]["content"]) else "physics")
    policy = {"gate.scorer": f"gate_scores_of_a_study.{function}", "gate.retries": 2, "gate.prompts": ["Be exact."]}
    variant = Variant(messages=MESSAGES, model={"name": "scripted", "temperature": 0.0, "max_tokens": 8}, policy=policy)
    evaluator = Evaluator(family, build_scorer(family, folder), lambda name: journaled(store, model))
    (result,) = evaluator.evaluate(variant, topic_examples(1, "dev"))
    return result, model


def journaled(store: Database, model: ScriptedModel) -> JournaledModel:
    account = Account(study="st_1", family="topics", purpose="search", budget=Budget(calls=9))
    return JournaledModel(model, account, store=store, clock=Clock(START))


def test_the_best_answer_by_the_function_is_the_one_that_is_scored(store: Database, tmp_path: Path) -> None:
    result, model = evaluated(store, tmp_path, "is_biology")
    assert (result.output, len(model.requests)) == ("biology", 2)


def test_an_answer_that_the_function_cannot_score_goes_out(store: Database, tmp_path: Path) -> None:
    result, model = evaluated(store, tmp_path, "breaks")
    assert (result.output, result.error, len(model.requests)) == ("physics", None, 1)


def test_a_function_that_is_not_there_is_no_score_and_no_call(store: Database, tmp_path: Path) -> None:
    result, model = evaluated(store, tmp_path, "missing")
    assert result.score is None
    assert "gate_scores_of_a_study.missing" in str(result.error)
    assert not model.requests


def test_a_function_that_the_familys_file_does_not_name_is_not_imported(store: Database, tmp_path: Path) -> None:
    result, model = evaluated(store, tmp_path, "is_biology", is_named=False)
    assert (result.score, model.requests, "gate_scores_of_a_study" in sys.modules) == (None, [], False)
    assert "names no function" in str(result.error)


def test_functions_that_take_long_keep_no_call_from_the_journal(store: Database) -> None:
    released, n_begun = threading.Event(), threading.Semaphore(0)
    model = AwaitedModel()

    def score(text: str) -> float:
        n_begun.release()
        assert released.wait(20)
        return 1.0

    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        return await AwaitedModel().complete(request_of("r1"))

    policy = parse_policy({"gate.scorer": "module.function", "gate.retries": 1})
    wanted = PolicyRequest(policy=policy, rendered=request())

    async def runs() -> None:
        await asyncio.gather(*(run_policy(wanted, complete, score=score) for _ in range(N_THREADS)))

    calls = journaled(store, model)
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(wait_for, runs())
        try:
            for _ in range(N_THREADS):
                assert n_begun.acquire(timeout=20)
            assert threads.submit(lambda: wait_for(calls.complete(request()))).result(5).text == "answer 1"
        finally:
            released.set()
        running.result(20)
