"""An evaluation with many calls in flight: by coroutines where the model only waits, by threads where it computes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import BudgetExhausted, StudyStopped
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import ModelPrice, ModelRequest
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.evaluation_calls import EvaluationCalls
from optimizer.jobs.studies.evaluation import Evaluator
from tests.clock import Clock, until
from tests.stand_ins.scripted_model import AwaitedModel, ScriptedModel, failed, request
from tests.worlds.study_world import START, TopicModel, World, assert_resumes, killed_at, topic_examples, topic_family

FAMILY = topic_family()
PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)
EXAMPLES = topic_examples(100, "dev")


def variant(name: str = "scripted", temperature: float = 0.0, text: str = "Name the topic.") -> Variant:
    messages = ({"role": "system", "content": text}, {"role": "user", "content": "{{document}}"})
    return Variant(messages=messages, model={"name": name, "temperature": temperature, "max_tokens": 8})


CALLS = Budget(calls=1000)


def evaluator(
    store: Database,
    *models: ScriptedModel,
    metric: Callable[..., float] | None = None,
    study: str = "st_1",
    budget: Budget = CALLS,
    **changes: Any,
) -> Evaluator:
    """Over the models by their names."""
    account = Account(study=study, family="topics", purpose="search", budget=budget)
    given = {"clock": Clock(START), **changes}
    by_name = {m.name: JournaledModel(m, account, store=store, **given) for m in models}
    scorer = Scorer(FAMILY.output, FAMILY.metrics, list(METRICS.built_in.values()))
    if metric is not None:
        scorer.score = metric  # type: ignore[method-assign, assignment]

    return Evaluator(FAMILY, scorer, by_name.__getitem__)


def statuses(store: Database) -> Counter[str]:
    with store.read() as tx:
        return Counter(call.status for call in store.journal.calls(tx, "st_1"))


def test_sixty_four_calls_are_in_flight_at_once_and_every_result_is_in_its_place(store: Database) -> None:
    model = AwaitedModel(lambda r, n: str(r.messages[-1]["content"]).split()[2].strip(","), concurrency=64, together=64)
    results = evaluator(store, model).evaluate(variant(), EXAMPLES)
    assert model.most_in_flight == 64
    assert [r.example for r in results] == [e.id for e in EXAMPLES]
    assert {r.score for r in results} == {1.0}
    assert statuses(store) == {"settled": 100}


def test_studies_share_their_model_s_limit(store: Database) -> None:
    model = AwaitedModel(lambda r, n: "biology", concurrency=8, together=8)
    studies = [evaluator(store, model, study=f"st_{i}") for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(one.evaluate, variant(temperature=0.5), EXAMPLES[:20]) for one in studies]
    assert [len(one.result()) for one in done] == [20, 20, 20]
    assert (len(model.requests), model.most_in_flight) == (60, 8)


def test_a_process_that_a_model_gets_while_a_study_runs_is_asked_from_the_next_batch_on(store: Database) -> None:
    together = threading.Barrier(2, timeout=20)

    def script(request: ModelRequest, n: int) -> str:
        if n > 4:
            together.wait()  # raises where another call never comes
        return "biology"

    model = ScriptedModel(script, concurrency=1)
    study = evaluator(store, model)
    study.evaluate(variant(), EXAMPLES[:4])
    assert model.most_in_flight == 1
    model.concurrency = 2
    study.evaluate(variant(), EXAMPLES[4:8])
    assert (len(model.requests), model.most_in_flight) == (8, 2)


def test_the_last_tier_is_asked_first_since_its_prompt_is_still_warm_from_the_champion(store: Database) -> None:
    asked: list[str] = []
    cheap, strong = (
        ScriptedModel(lambda r, n: asked.append(r.model) or "biology", name=name, concurrency=1)
        for name in ("cheap", "strong")
    )
    cascade = replace(variant("strong"), policy={"tiers": ["cheap", "strong"]})
    rows = evaluator(store, cheap, strong).tier_rows(cascade, EXAMPLES[:3])
    assert asked == ["strong"] * 3 + ["cheap"] * 3
    assert [set(row["tiers"]) for row in rows] == [{"cheap", "strong"}] * 3


def test_a_metric_of_a_tiers_answer_keeps_no_call_from_its_answer(store: Database) -> None:
    model = AwaitedModel(name="judge")

    def judged(*_: Any, **__: Any) -> Any:
        wait_for(model.complete(request()))  # raises in the loop of model calls
        return SimpleNamespace(value=1.0, error=None)

    tiers = [ScriptedModel(lambda r, n: "biology", name=name) for name in ("cheap", "strong")]
    cascade = replace(variant("strong"), policy={"tiers": ["cheap", "strong"]})
    rows = evaluator(store, *tiers, metric=judged).tier_rows(cascade, EXAMPLES[:3])
    assert [row["tiers"]["strong"]["score"] for row in rows] == [1.0] * 3


def test_what_the_journal_has_is_not_asked_again(store: Database) -> None:
    model = AwaitedModel(concurrency=16)
    first = evaluator(store, model).evaluate(variant(), EXAMPLES[:30])
    again = evaluator(store, model).evaluate(variant(), EXAMPLES[:40])
    assert [str(r.messages[-1]["content"]) for r in model.requests] == [e.input["document"] for e in EXAMPLES[:40]]
    assert [r.output for r in again[:30]] == [r.output for r in first]
    assert [r.from_journal for r in again] == [True] * 30 + [False] * 10


@pytest.mark.parametrize("kind", [AwaitedModel, ScriptedModel], ids=["coroutines", "threads"])
def test_a_call_that_fails_is_a_result_without_a_score_and_ends_nothing(store, kind):
    def script(request: ModelRequest, n: int) -> str:
        if "number 3 " in str(request.messages[-1]["content"]):
            raise failed("http", status=400)
        return "biology"

    results = evaluator(store, kind(script, concurrency=8)).evaluate(variant(), EXAMPLES[:20])
    assert [i for i, r in enumerate(results) if r.score is None] == [3]
    assert results[3].error == "scripted http"
    assert statuses(store) == {"settled": 19, "failed": 1}


@pytest.mark.parametrize("kind", [AwaitedModel, ScriptedModel], ids=["coroutines", "threads"])
def test_a_budget_that_runs_out_ends_the_batch_after_what_is_in_flight_and_keeps_what_came(store, kind):
    model = kind(lambda r, n: "biology", concurrency=16, delay_s=0.05)
    kept: list[ExampleResult] = []
    with pytest.raises(BudgetExhausted, match="cap of 37 calls"):
        evaluator(store, model, budget=Budget(calls=37)).evaluate(variant(), EXAMPLES, keep=kept.append)
    assert len(model.requests) == 37
    assert statuses(store) == {"settled": 37}
    assert len({r.example for r in kept}) == 37


def test_dollars_are_reserved_before_each_of_many_calls(store: Database) -> None:
    model = AwaitedModel(lambda r, n: "biology", price=PRICE, concurrency=64, together=15, cost_share=1.0)
    asked: list[ModelRequest] = []
    probe = AwaitedModel(lambda r, n: asked.append(r) or "x")
    evaluator(store, probe, study="st_probe").evaluate(variant(temperature=0.5), EXAMPLES[:1])
    cap = 20.5 * reservation_usd(asked[0], PRICE, 8)
    with pytest.raises(BudgetExhausted, match="could pass the cap"):
        evaluator(store, model, budget=Budget(usd=cap)).evaluate(variant(temperature=0.5), EXAMPLES)
    with store.read() as tx:
        assert store.journal.spend(tx, "st_1").usd <= cap
    assert 15 <= len(model.requests) <= 20


@pytest.mark.parametrize("kind", [AwaitedModel, ScriptedModel], ids=["coroutines", "threads"])
def test_nothing_is_sent_once_the_stop_flag_is_set_and_what_is_in_flight_is_kept(store, kind):
    stopped = threading.Event()

    def script(request: ModelRequest, n: int) -> str:
        if n == 24:
            stopped.set()
        return "biology"

    model = kind(script, concurrency=8, delay_s=0.05)
    kept: list[ExampleResult] = []
    calls = evaluator(store, model, stop=lambda: "Study st_1 was cancelled." if stopped.is_set() else None)
    with pytest.raises(StudyStopped, match="cancelled"):
        calls.evaluate(variant(), EXAMPLES, keep=kept.append)
    assert 24 <= len(model.requests) <= 32
    assert statuses(store) == {"settled": len(model.requests)}
    assert len(kept) == len(model.requests)


def test_a_metric_that_takes_long_keeps_no_call_waiting(store: Database) -> None:
    """None is scored before all have been asked."""
    model = AwaitedModel(lambda r, n: "biology", concurrency=8)

    def score(*_: Any, **__: Any) -> Any:
        all_asked.wait(20)
        return SimpleNamespace(value=1.0, error=None)

    all_asked = threading.Event()
    threading.Thread(target=lambda: (until(lambda: len(model.requests) == 8), all_asked.set()), daemon=True).start()
    results = evaluator(store, model, metric=score).evaluate(variant(), EXAMPLES[:8])
    assert {r.score for r in results} == {1.0}


class Interrupted(BaseException):
    """As Ctrl-C."""


@pytest.mark.parametrize("kind", [AwaitedModel, ScriptedModel], ids=["coroutines", "threads"])
def test_a_fault_of_ours_ends_the_batch_and_is_raised(store: Database, kind: type[ScriptedModel]) -> None:
    model = kind(lambda r, n: "biology", concurrency=8, delay_s=0.02)

    def keep(result: ExampleResult) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        evaluator(store, model).evaluate(variant(), EXAMPLES, keep=keep)
    assert len(model.requests) < 100
    assert set(statuses(store)) == {"settled"}


def test_the_loop_outlives_what_ends_a_batch(store: Database) -> None:
    def script(request: ModelRequest, n: int) -> str:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        evaluator(store, AwaitedModel(script, concurrency=4)).evaluate(variant(temperature=0.5), EXAMPLES[:4])
    results = evaluator(store, AwaitedModel(lambda r, n: "biology", concurrency=4)).evaluate(variant(), EXAMPLES[:4])
    assert {r.error for r in results} == {None}


def test_models_of_both_kinds_are_asked_side_by_side_each_within_its_limit(store: Database) -> None:
    remote = AwaitedModel(lambda r, n: "biology", name="remote", concurrency=16, together=16)
    local = ScriptedModel(lambda r, n: "physics", name="local", concurrency=2, together=2)
    pairs = [(variant(name), example) for example in EXAMPLES[:16] for name in ("remote", "local")]
    kept: dict[str, list[str | None]] = {"remote": [], "local": []}
    evaluator(store, remote, local).measure_all(
        pairs, lambda v, result: kept[str(v.model["name"])].append(result.output)
    )
    assert (remote.most_in_flight, local.most_in_flight) == (16, 2)
    assert kept == {"remote": ["biology"] * 16, "local": ["physics"] * 16}


def heads(model: ScriptedModel) -> list[str]:
    return [str(r.messages[0]["content"]) for r in model.requests]


@pytest.mark.parametrize("in_turns", [False, True])
def test_each_process_of_a_model_follows_one_variant_so_that_its_prefix_stays_cached_but_where_turns_are_compared(
    store: Database, in_turns: bool
) -> None:
    begun = threading.Barrier(2, timeout=20)
    model = ScriptedModel(lambda r, n: "biology" if begun.wait() >= 0 else "", concurrency=2)
    pairs = [(variant(text=text), example) for text in ("One.", "Two.") for example in EXAMPLES[:6]]
    evaluator(store, model).measure_all(pairs, lambda v, result: None, in_turns=in_turns)
    both = [{a, b} == {"One.", "Two."} for a, b in zip(heads(model)[::2], heads(model)[1::2], strict=True)]
    assert sorted(heads(model)[:6]) == ["One."] * 6 if in_turns else all(both)


# --- whole studies ----------------------------------------------------------------------------------------------------


class AwaitedTopics(TopicModel):
    """The model of study_world, by coroutines."""

    async def complete(self, request: ModelRequest) -> Any:
        return self._answer(request)


def trials(world: World, study: Any) -> list[tuple[Any, ...]]:
    return [(t.variant, t.score, t.n, t.n_calls) for t in world.trials(study)]


def test_coroutines_change_nothing_about_what_a_study_finds(tmp_path: Path) -> None:
    ended, worlds = [], []
    for name, model in (("one", TopicModel()), ("many", AwaitedTopics(concurrency=64))):
        folder = tmp_path / name
        folder.mkdir()
        world = World(folder, model=model).fill()
        ended.append(world.run(world.create(strategy="race")))
        worlds.append(world)
    assert ended[0].winner == ended[1].winner
    assert ended[0].confirmation == ended[1].confirmation
    assert trials(worlds[0], ended[0]) == trials(worlds[1], ended[1])
    assert max(Counter(c.key for c in worlds[1].calls(ended[1])).values()) == 1


def test_a_study_that_dies_with_many_calls_in_flight_goes_on_without_asking_anything_twice(tmp_path):
    (tmp_path / "undisturbed").mkdir()
    here = World(tmp_path, model=AwaitedTopics(concurrency=8, before=killed_at(30))).fill()
    assert_resumes(
        here, World(tmp_path / "undisturbed", model=AwaitedTopics(concurrency=8)).fill(), definition={"n_holdout": 4}
    )


def test_a_prompt_comes_before_a_cascade_whose_examples_go_through_one_tier_before_the_next(store: Database) -> None:
    """Else each of a model's processes would change between the prefixes of two prompts at every call."""
    asked: list[str] = []

    def scripted(name: str, answer: str) -> ScriptedModel:
        def script(request: ModelRequest, n: int) -> str:
            asked.append(name if "logprobs" in request.params else "alone")
            return answer

        return ScriptedModel(script, name=name, concurrency=2)

    both = evaluator(store, scripted("cheap", "I cannot tell."), scripted("strong", "biology"))
    plain = variant("strong")
    cascade, other = (
        replace(variant("strong", text=text), policy={"tiers": ["cheap", "strong"], "accept": 0.9})
        for text in ("Which?", "What?")
    )
    results: dict[str, list[ExampleResult]] = {arm.id: [] for arm in (plain, cascade, other)}
    pairs = [(arm, example) for example in EXAMPLES[:10] for arm in (cascade, other, plain)]
    both.measure_all(pairs, lambda arm, result: results[arm.id].append(result))
    assert asked == ["alone"] * 10 + (["cheap"] * 10 + ["strong"] * 10) * 2
    assert {result.output for result in results[cascade.id]} == {"biology"}
    assert sorted(result.example for result in results[cascade.id]) == [example.id for example in EXAMPLES[:10]]


def test_calls_of_an_open_model_go_on_while_another_starts() -> None:
    starting, may_start = threading.Event(), threading.Event()
    model: Any = object()

    def open_model(name: str) -> Any:
        if name == "slow":
            starting.set()
            assert may_start.wait(20)
        return model

    calls = EvaluationCalls(open_model, lambda latency_ms: None, {})
    calls.model("fast")
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(calls.model, "slow")
        try:
            assert starting.wait(20)
            assert threads.submit(calls.model, "fast").result(5) is model
        finally:
            may_start.set()
        assert slow.result(20) is model
