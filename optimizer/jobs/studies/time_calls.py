"""Times fresh calls where the journal has the answers: an answer from last week says nothing of today's latency.

The calls are journaled under purpose ``timing``, each as a sample of its own, so that no study finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import BudgetExhausted
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.timing import N_TIMED, RowRatios, TimedPair, Timing, rounds, timed_rows, turns
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.evaluation_calls import Completes
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.plan_evaluation import EvaluationPlan

PURPOSE = "timing"


class TimedModel:
    """A model that is asked afresh, one call after the other.

    Args:
        run: tells these calls apart from those of other timings. One that was cut off goes on under its name: what it
            has measured is not asked again.
    """

    concurrency = 1  # calls that wait for one another would be timed together

    def __init__(self, model: Completes, run: str) -> None:
        self._model, self._run, self._n = model, run, 0
        self.revision = model.revision

    def known(self, keys: Collection[str]) -> Mapping[str, ModelAnswer]:
        return {}

    async def complete(self, request: ModelRequest, *, looked_up: bool = False) -> ModelAnswer:
        self._n += 1
        sample = f"{request.sample}:{PURPOSE}:{self._run}:{self._n}"
        answer = await self._model.complete(replace(request, sample=sample))
        return replace(answer, from_journal=False)  # no other timing has asked for it


def time_calls(
    plan: EvaluationPlan,
    *,
    run: str,
    open_model: Callable[[str], Completes],
    evaluator: Callable[[Callable[[str], Completes]], Evaluator],
    earlier: Callable[[str], Sequence[Sequence[RowRatios]]],
) -> Timing:
    """Latencies of ``N_TIMED`` fresh answers of the plan's Variant.

    Where they are compared with the champion's, both are asked in as many ``rounds`` as it takes to tell, in turns of a
    few calls each, now the one first and now the other. The first call of each is not counted, since it is the coldest.
    Where the budget ends within a round, that round does not count.

    Args:
        run: names this timing, as in TimedModel.
        evaluator: makes one of a way to open models.
        earlier: from the name of these examples and models, what each earlier evaluation measured: an item for every
            example, in order.
    """
    opened: dict[str, TimedModel] = {}

    def timed(name: str) -> Completes:
        if name not in opened:
            opened[name] = TimedModel(open_model(name), run)
        return opened[name]

    def latency_ms(variant: Variant, example: Example) -> float | None:
        (result,) = evaluator(timed).evaluate(variant, [example])  # a new one, which remembers nothing
        return result.latency_ms

    champion = plan.beside if plan.times_pairs else None
    if champion is None:
        both, rows, n_each = [plan.variant], list(plan.examples), [N_TIMED]
    else:
        both, rows = [plan.variant, champion], timed_rows(plan.examples)
        n_each = [repeats * len(rows) for repeats in rounds(len(rows))]
    timing = Timing()
    try:
        if champion is not None:
            for variant in both:
                latency_ms(variant, rows[0])
            ids = [example.id for example in rows]
            models = {name: model.revision for name, model in opened.items()}
            timed_as = digest(canonical_json({"examples": ids, "models": models}))[:12]
            before = [dict(zip(ids, round, strict=True)) for round in earlier(timed_as)]
            timing = replace(timing, examples=ids, timed_as=timed_as, earlier=before)
        for n in n_each:
            more = _round(both, turns(rows, n), latency_ms)
            timing = replace(timing, mine=[*timing.mine, *more.mine], pairs=[*timing.pairs, *more.pairs])
            if not more.mine or plan.tells(timing):
                break
    except BudgetExhausted as exhausted:
        if not timing.mine:
            return Timing(why=f"the budget ended while fresh calls were timed. {exhausted}")
    return timing if timing.mine else Timing(why="no fresh call was answered")


def _round(
    both: Sequence[Variant],
    blocks: Sequence[Sequence[Example]],
    latency_ms: Callable[[Variant, Example], float | None],
) -> Timing:
    """``both``: the Variant, and the champion where there is one."""
    mine: list[float] = []
    pairs: list[TimedPair] = []
    for i, block in enumerate(blocks):
        by_variant: dict[str, list[float | None]] = {}
        for variant in both if i % 2 == 0 else reversed(both):
            by_variant[variant.id] = [latency_ms(variant, example) for example in block]
        first, last = by_variant[both[0].id], by_variant[both[-1].id]
        mine += [ms for ms in first if ms is not None]
        if len(both) > 1:
            of_both = zip(block, first, last, strict=True)
            pairs += [TimedPair(e.id, ms, theirs) for e, ms, theirs in of_both if ms is not None and theirs is not None]
    return Timing(mine=mine, pairs=pairs)
