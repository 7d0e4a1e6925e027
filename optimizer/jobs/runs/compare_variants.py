"""Puts variants of a family side by side on the same dev examples, outside a study.

Only the journal stores the answers; a grid is made of it at each read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Literal

from optimizer.core.base.errors import BudgetExhausted, Conflict, ModelFailed, NotFound, StudyStopped
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.run import ComparisonResult, ComparisonRun
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.views.variant_grid import VariantGrid, variant_grid
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.call_book import SHARED_FOR, at_todays_price
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.evaluation_calls import JudgeAccess
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.calls.shelves import Shelves
from optimizer.jobs.dataset.build_dataset import cut_as_served
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.jobs.studies.evaluate_variant import EVALUATION
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.ports import ModelCatalogue, Store

SPLIT: Literal["dev"] = "dev"  # train examples stand in prompts, and the holdout is sealed


def compare_variants(
    run: ComparisonRun, family: Family, calls: RunCalls, *, scorer_for: Callable[[Family], Scorer]
) -> ComparisonResult:
    """Asks all of the run's variants all of its examples that still exist, one variant after the other.

    It goes as far as the budget does.

    Raises:
        NotFound: a variant or every example is gone.
        ModelFailed: one of the variants answered not one example.
    """
    store, opened = calls.store, dict[str, JournaledModel]()
    variants = _variants(run, store)
    examples = [one for one in _examples(run, family, store).values() if one is not None]
    if not examples:
        raise NotFound(f"None of the examples of {run.id} is there any more. Compare anew.", run=run.id)

    def opener(purpose: str) -> Callable[[str], JournaledModel]:
        def open_model(name: str) -> JournaledModel:
            opened[name] = calls.journaled(name, family=family.name, purpose=purpose)
            return opened[name]

        return open_model

    evaluator = Evaluator(
        family,
        scorer_for(family),
        opener(EVALUATION),
        judge=JudgeAccess(open_model=opener(JUDGE), calibration=lambda: latest_calibration(family, store)),
        shelves=Shelves.of(store, calls.models),
    )
    keep, stopped = calls.counted(), None

    try:
        for variant in variants:
            results = evaluator.evaluate(variant, examples, keep=keep)
            if all(one.output is None for one in results):
                raise ModelFailed(
                    f"{variant.id} got no answer to any of {len(results)} examples. First failure: {results[0].error}",
                    kind="unreachable",
                )
    except (BudgetExhausted, StudyStopped) as ended:
        stopped = str(ended)
    spend = calls.spend()
    return ComparisonResult(
        n_calls=spend.n_calls,
        usd=spend.usd if run.request["is_priced"] else None,
        revisions={name: model.revision for name, model in opened.items()},
        stopped=stopped,
    )


def grid_of(run: ComparisonRun, family: Family, *, store: Store, models: ModelCatalogue, scorer: Scorer) -> VariantGrid:
    """The answers of a run's variants, scored as the family's file says now; asks no model. While it runs, those that
    are there.

    An example is left out where it, or an answer to it, exists no more. Raises Conflict where none is left.
    """
    variants, answers = _variants(run, store), JournaledAnswers(run, store, models)
    evaluator = Evaluator(
        family,
        scorer,
        answers.model,
        own=answers.own,
        judge=JudgeAccess(calibration=lambda: latest_calibration(family, store)),
        shelves=Shelves.of(store, models),
    )
    answered = []
    for example in filter(None, _examples(run, family, store).values()):
        results = list[ExampleResult]()
        with suppress(BudgetExhausted):  # nothing may be asked here
            for variant in variants:
                results += evaluator.evaluate(variant, [example])
        if results and (len(results) == len(variants) or not run.has_ended):
            answered.append((example, results))
    if not answered and not run.has_ended:
        raise Conflict(f"Nothing of {run.id} was answered yet.", run=run.id)
    if not answered:
        raise Conflict(
            f"What {run.id} compared was deleted, or {family.name}'s file asks otherwise by now.", run=run.id
        )
    spend, result = answers.spend, run.result
    n_calls, usd = (spend.n_calls, spend.usd) if result is None else (result["n_calls"], result["usd"])
    return variant_grid(
        family.name,
        SPLIT,
        [one.id for one in variants],
        answered,
        n_gone=len(run.request["example_ids"]) - len(answered) if run.has_ended else 0,
        n_calls=n_calls,
        spent_usd=usd if run.request["is_priced"] else None,
    )


class JournaledAnswers:
    """What the journal holds of a run: its own answers and failures, and what others had asked before it ended."""

    def __init__(self, run: ComparisonRun, store: Store, models: ModelCatalogue) -> None:
        self._run, self._store, self._models = run, store, models
        with store.read() as tx:
            self.own, self.spend = store.journal.answers(tx, run.id), store.journal.spend(tx, run.id)
            calls = store.journal.calls(tx, run.id)
        # Until its end its own calls alone say whom it asks.
        revisions = {call.model: str(call.request["revision"]) for call in calls if call.request is not None}
        self._revisions: Mapping[str, str] = run.result["revisions"] if run.result is not None else revisions
        failed = {call.key: call.error or "It failed." for call in calls if call.status == "failed"}
        open_keys = {call.key for call in calls if call.status in ("settled", "sent")}
        self.failures = {key: error for key, error in failed.items() if key not in open_keys}

    def model(self, name: str) -> ReplayedModel:
        """Raises BudgetExhausted for a model that the run did not ask."""
        if name not in self._revisions:
            raise BudgetExhausted(f"{self._run.id} asked no model {name!r}.")
        return ReplayedModel(self, self._revisions[name], self._models.price(name))

    def answers(self, keys: Collection[str], price: ModelPrice | None) -> dict[str, ModelAnswer]:
        open_keys, run = [key for key in keys if key not in self.failures], self._run
        assert run.started_at is not None
        with self._store.read() as tx:
            answers = self._store.journal.find_all(tx, open_keys, study=run.id, not_before=run.started_at - SHARED_FOR)
        return {key: answer if key in self.own else at_todays_price(answer, price) for key, answer in answers.items()}


class ReplayedModel:
    """A model of a run as its journal knows it; nothing is sent."""

    concurrency = 1

    def __init__(self, answers: JournaledAnswers, revision: str, price: ModelPrice | None) -> None:
        self.revision = revision
        self._answers, self._price = answers, price

    def known(self, keys: Collection[str]) -> Mapping[str, ModelAnswer]:
        return self._answers.answers(keys, self._price)

    async def complete(self, request: ModelRequest, *, looked_up: bool = False) -> ModelAnswer:
        """Raises ModelFailed as the call did, and BudgetExhausted where there is no answer."""
        if (failure := self._answers.failures.get(request.key)) is not None:
            raise ModelFailed(failure, kind="unreachable")
        answers = self.known([request.key])
        if request.key not in answers:
            raise BudgetExhausted("The answer was deleted.")
        return answers[request.key]


def _variants(run: ComparisonRun, store: Store) -> list[Variant]:
    with store.read() as tx:
        records = {id: store.variants.get(tx, run.family, id) for id in run.request["variants"]}
    if gone := [id for id, record in records.items() if record is None]:
        raise NotFound(f"{run.family} has no variant {gone[0]!r} any more.", variant=gone[0])
    return [record.variant for record in records.values() if record is not None]


def _examples(run: ComparisonRun, family: Family, store: Store) -> dict[str, Example | None]:
    """Id -> example, in the order in which they were drawn, as they are served; None for those that are gone."""
    ids = run.request["example_ids"]
    with store.read() as tx:
        examples = {one.id: one for one in store.examples.of_split(tx, run.family, split=SPLIT, ids=ids)}
    return {id: cut_as_served(family, examples[id]) if id in examples else None for id in ids}
