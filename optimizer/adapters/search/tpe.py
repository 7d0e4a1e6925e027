"""Points of a space proposed by Optuna's TPE, in memory; the journal and the seed replay it after a kill.

Strategy ``settings``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.space import (
    ChoiceDimension,
    Dimension,
    FloatRange,
    Point,
    apply_point,
    neighbours,
    parse_space,
    point_of,
)
from optimizer.core.search.strategy import Proposal, SearchSetting

MAX_REPEATS = 5  # proposals in a row that were seen before: the space has nothing new nearby
N_STARTUP = 4  # random points before TPE models the scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is searched: dimensions, the Variant at a point,
    and the point of the variant that the search starts from (None: outside).
    """

    dimensions: Sequence[Dimension]
    variant_at: Callable[[Point], Variant]
    start: Point | None


class PointSearch:
    """Asks TPE for points that were not seen; it is told the start first, so that it knows what to beat.

    Args:
        n: points proposed at most.
        n_beside: of these so many neighbours of the start first, one dimension changed at a time.
        proposer: whose name the proposals carry.
    """

    def __init__(self, setting: SearchSetting, space: Space, *, n: int, n_beside: int, proposer: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._start_id = setting.start.id
        self._fits = setting.fits
        self._space = space
        self._left, self._n_beside, self._proposer = n, n_beside, proposer
        sampler = optuna.samplers.TPESampler(seed=setting.seed, n_startup_trials=N_STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {d.name: distribution(d) for d in space.dimensions}
        self._scores: dict[str, float | None] = {}  # variant id -> score told
        self._open: dict[str, Any] = {}  # variant id -> Optuna's trial, asked and not told

    def ask(self) -> Proposal | None:
        if not self._space.dimensions:
            return None
        repeats = 0
        while self._left > 0 and repeats < MAX_REPEATS:
            trial = self._study.ask(self._distributions)
            point = dict(trial.params)
            variant = self._space.variant_at(point)
            if variant.id in self._scores or variant.id in self._open or not self._fits(variant):
                self._tell_optuna(trial, self._scores.get(variant.id))
                repeats += 1
                continue
            self._left -= 1
            self._open[variant.id] = trial
            return Proposal(variant=variant, proposer=self._proposer, params=point)
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        variant = proposal.variant
        self._scores[variant.id] = score
        trial = self._open.pop(variant.id, None)
        if trial is not None:
            self._tell_optuna(trial, score)
        elif variant.id == self._start_id and score is not None:
            self._add_start(score)

    def _add_start(self, score: float) -> None:
        import optuna

        if not self._space.start:
            return
        start: Mapping[str, Any] = self._space.start
        self._study.add_trial(
            optuna.trial.create_trial(params=dict(start), distributions=self._distributions, value=score)
        )
        for beside in neighbours(start, self._space.dimensions)[: self._n_beside]:
            self._study.enqueue_trial(beside)

    def _tell_optuna(self, trial: Any, score: float | None) -> None:
        import optuna

        if score is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)


class SettingsSearch(PointSearch):
    """The declared space around the start. Half of the proposals may go to its neighbours; TPE has the rest."""

    def __init__(self, setting: SearchSetting) -> None:
        n = int(setting.definition["n_settings"])
        dimensions = dimensions_of(setting)
        space = Space(
            dimensions=dimensions,
            variant_at=lambda point: apply_point(setting.start, point),
            start=point_of(setting.start, dimensions),
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
