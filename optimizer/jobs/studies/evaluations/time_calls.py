"""Times fresh calls where the journal has the answers: what was answered a week ago says nothing of today's latency.

The calls are journaled under purpose ``timing``, and each is a sample of its own, so that no study finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from optimizer.core.base.errors import BudgetExhausted
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.timing import MOST_ROUNDS, TimedPair, Timing, turns
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
    tells: Callable[[Timing], bool] = lambda timing: True,
) -> Timing:
    """Latencies of ``N_TIMED`` fresh answers of the Variant and, where there is one to compare with, of the champion,
    in turns of a few calls each, now the one first and now the other; again, ``MOST_ROUNDS`` times at most, while they
    do not tell.

    Where the budget ends within a round, what that round measured does not count: the first calls are the coldest.

    Args:
        run: names this timing, as in TimedModel.
        evaluator: makes one of a way to open models.
        tells: whether what was measured until now is enough.
    """
    opened: dict[str, TimedModel] = {}

    def timed(name: str) -> Completes:
        if name not in opened:
            opened[name] = TimedModel(open_model(name), run)
        return opened[name]

    def latency_ms(asked: Variant, example: Example) -> float | None:
        (result,) = evaluator(timed).evaluate(asked, [example])  # a new one, which remembers nothing
        return result.latency_ms

    found = Timing()
    for _ in range(MOST_ROUNDS):
        try:
            more = _round(variant, champion, examples, latency_ms)
        except BudgetExhausted as exhausted:
            return found if found.mine else Timing(why=f"the budget ended while fresh calls were timed. {exhausted}")
        found = Timing(mine=[*found.mine, *more.mine], pairs=[*found.pairs, *more.pairs])
        if not more.mine or tells(found):
            break
    return found if found.mine else Timing(why="no fresh call was answered")


def _round(
    variant: Variant,
    champion: Variant | None,
    examples: Sequence[Example],
    latency_ms: Callable[[Variant, Example], float | None],
) -> Timing:
    mine: list[float] = []
    pairs: list[TimedPair] = []
    both = [variant] if champion is None else [variant, champion]
    for i, block in enumerate(turns(examples)):
        found: dict[str, list[float | None]] = {}
        for asked in both if i % 2 == 0 else reversed(both):
            found[asked.id] = [latency_ms(asked, example) for example in block]
        mine += [ms for ms in found[variant.id] if ms is not None]
        if champion is not None:
            of_both = zip(block, found[variant.id], found[champion.id], strict=True)
            pairs += [TimedPair(e.id, ms, theirs) for e, ms, theirs in of_both if ms is not None and theirs is not None]
    return Timing(mine=mine, pairs=pairs)
