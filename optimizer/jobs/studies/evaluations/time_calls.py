"""Times fresh calls where the journal has the answers: what was answered a week ago says nothing of today's latency.

The calls are journaled under purpose ``timing``, and each is a sample of its own, so that no study finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from optimizer.core.base.errors import BudgetExhausted
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.timing import Timing, turns
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.evaluation_calls import Completes
from optimizer.jobs.studies.evaluation import Evaluator

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
    variant: Variant,
    champion: Variant | None,
    examples: Sequence[Example],
    *,
    run: str,
    open_model: Callable[[str], Completes],
    evaluator: Callable[[Callable[[str], Completes]], Evaluator],
) -> Timing:
    """Latencies of ``N_TIMED`` fresh answers of the Variant and, where there is one to compare with, of the champion,
    in turns of a few calls each, now the one first and now the other.

    Where the budget ends before, what was measured until then does not count: the first calls are the coldest.

    Args:
        run: names this timing, as in TimedModel.
        evaluator: makes one of a way to open models.
    """
    opened: dict[str, TimedModel] = {}

    def timed(name: str) -> Completes:
        if name not in opened:
            opened[name] = TimedModel(open_model(name), run)
        return opened[name]

    def latency_ms(asked: Variant, example: Example) -> float | None:
        (result,) = evaluator(timed).evaluate(asked, [example])  # a new one, which remembers nothing
        return result.latency_ms

    mine: list[float] = []
    pairs: list[tuple[float, float]] = []
    try:
        for i, block in enumerate(turns(examples)):
            found: dict[str, list[float | None]] = {}
            both = [variant] if champion is None else [variant, champion]
            for asked in both if i % 2 == 0 else reversed(both):
                found[asked.id] = [latency_ms(asked, example) for example in block]
            mine += [ms for ms in found[variant.id] if ms is not None]
            if champion is not None:
                of_both = zip(found[variant.id], found[champion.id], strict=True)
                pairs += [(ms, theirs) for ms, theirs in of_both if ms is not None and theirs is not None]
    except BudgetExhausted as exhausted:
        return Timing(why=f"the budget ended while fresh calls were timed. {exhausted}")
    return Timing(mine=mine, pairs=pairs, why="" if mine else "no fresh call was answered")
