"""The rules of a search, run on a recorded table: which score is asked for next,
and which Variant would be chosen after each call.
"""

from __future__ import annotations

import random
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.proposers.race import RacedSearch
from optimizer.core.search.racing import Race, RaceRule
from optimizer.core.search.strategy import Proposal
from recorded.tables import Arm

DSPY_CANDIDATES = 19  # BootstrapFewShotWithRandomSearch: 16 drawn ones, and its three fixed ones
ASKS_PER_ARM = 2  # of a sampler that proposes again what was tried: then it has nothing new
CHECK_EVERY = 8  # examples between two of WilcoxonPruner's tests


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A search: Variants with their scores on the dev examples, the champion first,
    the others in the order proposed.
    """

    arms: Sequence[Arm]  # scores on all examples of the table
    dev: Sequence[int]  # which of them the search may ask for
    seed: int

    def scores(self, arm: int) -> list[float]:
        return [self.arms[arm].scores[i] for i in self.dev]


@dataclass
class Trace:
    """Which arm would be chosen after how many calls."""

    calls: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    n_calls: int = 0  # made in all

    def choose(self, n_calls: int, arm: int) -> None:
        if not self.chosen or self.chosen[-1] != arm:
            self.calls.append(n_calls)
            self.chosen.append(arm)
        self.n_calls = n_calls

    def after(self, n_calls: int) -> int:
        """The choice after ``n_calls``; before the first it is the champion."""
        at = bisect_right(self.calls, n_calls)
        return self.chosen[at - 1] if at else 0


Schedule = Callable[[Problem], Trace]


def in_full(n_candidates: int | None = None) -> Schedule:
    """Random search: each candidate on every example, the best mean so far is chosen."""

    def run(problem: Problem) -> Trace:
        trace, best = Trace(), -1.0
        n = len(problem.dev)
        for number, arm in enumerate(range(len(problem.arms))[:n_candidates], start=1):
            mean = _mean(problem.scores(arm))
            if mean > best:
                best = mean
                trace.choose(number * n, arm)
            trace.n_calls = number * n
        return trace

    return run


def shuffled(schedule: Schedule) -> Schedule:
    """``schedule`` with the champion among the others, as a search that does not know it."""

    def run(problem: Problem) -> Trace:
        order = random.Random(f"order {problem.seed}").sample(range(len(problem.arms)), len(problem.arms))
        return _among(order, schedule, problem)

    return run


def over_examples(schedule: Schedule) -> Schedule:
    """``schedule`` over the choices of examples alone, with the champion's instruction:
    all that DSPy's random search varies by itself.
    """

    def run(problem: Problem) -> Trace:
        own = [i for i, arm in enumerate(problem.arms) if arm.instruction == problem.arms[0].instruction]
        return _among(own, schedule, problem)

    return run


def raced_search(*, staged: bool = True) -> Schedule:
    """As a study with strategy ``race`` asks: the champion on a few examples, the others in waves,
    at the end leader and champion on all.

    Args:
        staged: contenders come as the product's proposers make them: choices of examples with the champion's
            instruction, then instructions with the examples of whoever leads. False: every Variant of the table, in the
            order of the problem.
    """

    def run(problem: Problem) -> Trace:
        proposals = [_proposal(arm) for arm in range(len(problem.arms))]
        arms = {proposal.variant.id: arm for arm, proposal in enumerate(proposals)}
        by_example = {f"{i}": i for i in problem.dev}
        champion = proposals[0].variant

        def listed(fits: Callable[[Arm], bool]) -> _Listed:
            return _Listed([proposal for proposal, arm in zip(proposals, problem.arms, strict=True) if fits(arm)])

        def examples(_: Variant) -> _Listed:
            return listed(lambda arm: arm.instruction == problem.arms[0].instruction)

        def instructions(leader: Variant) -> _Listed:
            return listed(lambda arm: arm.choice == problem.arms[arms[leader.id]].choice)

        proposers = [examples, instructions] if staged else [lambda _: listed(lambda arm: True)]
        search = RacedSearch(champion, proposers, list(by_example), seed=problem.seed)
        trace, n_calls = Trace(), 0
        while heats := search.heats():
            for heat in heats:
                arm = problem.arms[arms[heat.proposal.variant.id]]
                search.tell(
                    heat,
                    [
                        ExampleResult(example=e, score=arm.scores[by_example[e]], output=None)
                        for e in heat.turn.examples
                    ],
                )
                n_calls += len(heat.turn.examples)
            leader = search.leader()
            n_last = sum(len(heat.turn.examples) for heat in search.last())
            trace.choose(max(trace.n_calls, n_calls + n_last), arms[leader.variant.id] if leader is not None else 0)
        return trace

    return run


def _among(arms: Sequence[int], schedule: Schedule, problem: Problem) -> Trace:
    """``schedule`` with these arms only, in this order."""
    trace = schedule(Problem(arms=[problem.arms[i] for i in arms], dev=problem.dev, seed=problem.seed))
    return Trace(calls=trace.calls, chosen=[arms[arm] for arm in trace.chosen], n_calls=trace.n_calls)


class _Listed:
    """A Strategy that proposes what it is given and learns nothing."""

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self._left = list(proposals)

    def ask(self) -> Proposal | None:
        return self._left.pop(0) if self._left else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        pass


@cache
def _proposal(arm: int) -> Proposal:
    """A name in the race; what is in it is in the table."""
    return Proposal(
        variant=Variant(messages=({"role": "user", "content": f"{arm}"},), model={"name": "table"}), proposer="table"
    )


def racing(rule: RaceRule, n_candidates: int | None = None) -> Schedule:
    """A Rule of ``optimizer/core/search/racing.py`` with all candidates at the start."""

    def run(problem: Problem) -> Trace:
        names = [f"{arm}" for arm in range(len(problem.arms))[:n_candidates]]
        by_example = {f"{i}": i for i in problem.dev}
        race = Race(list(by_example), rule, seed=problem.seed)
        for name in names:
            race.enter(name)
        trace = Trace()
        while turns := race.turns():
            for turn in turns:
                arm = problem.arms[int(turn.variant)]
                race.tell(turn, [arm.scores[by_example[e]] for e in turn.examples])
                trace.n_calls += len(turn.examples)
                leader = race.leader()
                trace.choose(trace.n_calls, int(leader) if leader is not None else 0)
        return trace

    return run


def tpe(*, pruned: bool = False) -> Schedule:
    """Optuna's TPE over instruction and choice of examples, as its users write it;
    ``pruned``: with its WilcoxonPruner.
    """

    def run(problem: Problem) -> Trace:
        import optuna

        _remember_tests()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        where = {(arm.instruction, arm.choice): i for i, arm in enumerate(problem.arms)}
        pruner: Any = (
            optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=CHECK_EVERY)
            if pruned
            else optuna.pruners.NopPruner()
        )
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=problem.seed), pruner=pruner
        )
        study.enqueue_trial({"instruction": problem.arms[0].instruction, "choice": problem.arms[0].choice})
        space = {
            "instruction": optuna.distributions.CategoricalDistribution(
                sorted({arm.instruction for arm in problem.arms})
            ),
            "choice": optuna.distributions.CategoricalDistribution(sorted({arm.choice for arm in problem.arms})),
        }
        order = random.Random(problem.seed).sample(list(problem.dev), len(problem.dev))
        trace, means, asked = Trace(), dict[int, float](), [0] * len(problem.arms)
        for _ in range(ASKS_PER_ARM * len(problem.arms)):
            trial = study.ask(space)
            arm = where.get((trial.params["instruction"], trial.params["choice"]))
            if arm is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            scores: list[float] = []
            for step, i in enumerate(order):
                scores.append(problem.arms[arm].scores[i])
                trial.report(scores[-1], step)
                if len(scores) > asked[arm]:  # what was asked before is remembered
                    trace.n_calls += 1
                if pruned and step % CHECK_EVERY == CHECK_EVERY - 1 and trial.should_prune():
                    break
            asked[arm] = max(asked[arm], len(scores))
            study.tell(trial, _mean(scores))  # Optuna's advice for this pruner: the mean so far, also of a pruned trial
            if len(scores) == len(order):
                means[arm] = _mean(scores)
                trace.choose(trace.n_calls, max(means, key=lambda a: means[a]))
        return trace

    return run


@cache
def _remember_tests() -> None:
    """SciPy's test, as WilcoxonPruner calls it, asked once for equal differences:
    with ties it takes a quarter of a second.
    """
    import scipy.stats

    test = scipy.stats.wilcoxon

    @lru_cache(maxsize=100_000)
    def remembered(differences: tuple[float, ...], options: tuple[tuple[str, Any], ...]) -> Any:
        return test(list(differences), **dict(options))

    def wilcoxon(differences: Sequence[float], **options: Any) -> Any:
        return remembered(tuple(sorted(float(d) for d in differences)), tuple(sorted(options.items())))

    scipy.stats.wilcoxon = wilcoxon


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
