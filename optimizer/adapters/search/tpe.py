"""Points of a space: all of them where the search may try as many, else those that Optuna's TPE proposes.

In memory; the journal and the seed replay it after a kill. Strategy ``settings``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.space import (
    ChoiceDimension,
    Dimension,
    FloatRange,
    Point,
    apply_point,
    drawn_points,
    instruction_of,
    n_points,
    neighbours,
    parse_space,
    point_near,
    point_of,
)
from optimizer.core.search.strategy import Proposal, SearchSetting, strategy
from optimizer.core.search.study import POINTS

MAX_REPEATS = 5  # of TPE in a row; after these an unseen point is drawn
N_STARTUP = 4  # random points before TPE models the scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The searched space: dimensions, the Variant at a point, and the start's point (None: outside).

    ``listed``: as near to the start as may be, with each listed instruction, where the space lists some.
    """

    dimensions: Sequence[Dimension]
    variant_at: Callable[[Point], Variant]
    start: Point | None
    listed: Sequence[Point] = ()


class PointSearch:
    """Proposes points that were not seen. TPE is told the start first, so that it knows what to beat.

    A space of at most ``n`` points is tried whole, in an order drawn by the seed: an enumeration needs no model of the
    scores. A point that was seen, or that does not fit, counts as no proposal.

    Args:
        n: the most points to propose.
        n_beside: of these, neighbours of the start that come first, with one dimension changed at a time; those with
            a listed instruction come before them.
        proposer: whose name the proposals carry.
    """

    def __init__(self, setting: SearchSetting, space: Space, *, n: int, n_beside: int, proposer: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._setting, self._space = setting, space
        self._n, self._n_proposed, self._proposer = n, 0, proposer
        self._n_points = n_points(space.dimensions) - (space.start is not None)  # that may be proposed
        self._is_enumerated = self._n_points <= n
        self._n_beside = 0 if self._is_enumerated else n_beside
        self._points = drawn_points(space.dimensions, seed=setting.seed, n_wanted=n)
        sampler = optuna.samplers.TPESampler(seed=setting.seed, n_startup_trials=N_STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {d.name: distribution(d) for d in space.dimensions}
        self._scores: dict[str, float | None] = {setting.start.id: None}  # variant id -> score told
        self._open: dict[str, tuple[Point, Any]] = {}  # variant id -> its point, and Optuna's trial where TPE asked

    def ask(self) -> Proposal | None:
        proposal = self._next() if self._space.dimensions else None
        if proposal is None:
            possible = int(self._n_points) if self._n_points != inf else None
            self._setting.keep_finding(POINTS, {"tried": self._n_proposed, "possible": possible, "most": self._n})
        return proposal

    def _next(self) -> Proposal | None:
        repeats = 0
        while self._n_proposed < self._n:
            trial = None
            if self._is_enumerated or repeats >= MAX_REPEATS:
                point = next(self._points, None)
                if point is None:
                    return None
            else:
                trial = self._study.ask(self._distributions)
                point = dict(trial.params)
            variant = self._space.variant_at(point)
            if variant.id in self._scores or variant.id in self._open or not self._setting.fits(variant):
                self._tell_optuna(point, trial, self._scores.get(variant.id))
                repeats += 1
                continue
            self._n_proposed += 1
            self._open[variant.id] = point, trial
            return Proposal(variant=variant, proposer=self._proposer, params=point)
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        variant = proposal.variant
        self._scores[variant.id] = score
        if variant.id in self._open:
            self._tell_optuna(*self._open.pop(variant.id), score)
        elif variant.id == self._setting.start.id and score is not None:
            first = [point for point in self._space.listed if point != self._space.start]
            if self._space.start:
                self._tell_optuna(self._space.start, None, score)
                others = neighbours(self._space.start, self._space.dimensions)[: self._n_beside]
                first += [point for point in others if point not in first][: max(0, self._n_beside - len(first))]
            for point in first:
                self._study.enqueue_trial(point)

    def _tell_optuna(self, point: Point, trial: Any, score: float | None) -> None:
        from optuna.trial import TrialState, create_trial

        if trial is None and score is not None:
            self._study.add_trial(create_trial(params=dict(point), distributions=self._distributions, value=score))
        elif trial is not None:
            self._study.tell(trial, score, state=TrialState.FAIL if score is None else None)


@strategy(
    name="settings",
    does="searches what the space lets vary, by a tree of Parzen estimators",
    calls=strategy_calls.settings_calls,
)
class SettingsSearch(PointSearch):
    """The declared space around the start. Listed instructions come first; half of the proposals may go to them and the
    start's neighbours, and TPE has the rest.
    """

    def __init__(self, setting: SearchSetting) -> None:
        n = int(setting.definition["n_settings"])
        dimensions = dimensions_of(setting)
        near, own = point_near(setting.start, dimensions), instruction_of(setting.start)
        texts = next((d.options for d in dimensions if isinstance(d, ChoiceDimension) and d.name == "instruction"), ())
        space = Space(
            dimensions=dimensions,
            variant_at=lambda point: apply_point(setting.start, point),
            start=point_of(setting.start, dimensions),
            listed=[{**near, "instruction": text} for text in sorted(texts, key=lambda text: text == own)],  # own last
        )
        super().__init__(setting, space, n=n, n_beside=n // 2, proposer="settings")


def dimensions_of(setting: SearchSetting) -> tuple[Dimension, ...]:
    """What the study's space, else the family's, lets vary around the start."""
    return parse_space(setting.space, setting.start, max_examples=int(setting.definition["max_examples"]))


def distribution(dimension: Dimension) -> Any:
    """The dimension as Optuna draws it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, ChoiceDimension):
        return CategoricalDistribution(dimension.options)
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high)
    return IntDistribution(dimension.low, dimension.high)
