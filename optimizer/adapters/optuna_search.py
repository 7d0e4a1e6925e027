"""Strategy ``settings``: Optuna's TPE over the declared space, in memory; the journal and the seed replay it after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optimizer.core.space import Choice, Dimension, FloatRange, apply_point, neighbours, parse_space, point_of
from optimizer.core.strategy import Proposal, SearchSetting
from optimizer.core.study import ExampleResult

MAX_REPEATS = 5  # proposals in a row that were seen before: the space has nothing new nearby
N_STARTUP = 4  # random points before TPE models the scores


class SettingsSearch:
    """Proposes settings around the start variant, which is told first, so that TPE knows what to beat.

    Half of the proposals may go to its neighbours, one setting changed at a time; TPE has the rest.
    """

    def __init__(self, setting: SearchSetting) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._start = setting.start
        self._fits = setting.fits
        self._left = int(setting.definition["n_settings"])
        space = setting.definition.get("space") or setting.family.space
        self._dimensions = parse_space(space, setting.start, max_examples=int(setting.definition["max_examples"]))
        sampler = optuna.samplers.TPESampler(seed=setting.seed, n_startup_trials=N_STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {d.name: _distribution(d) for d in self._dimensions}
        self._scores: dict[str, float | None] = {}  # variant id -> score told
        self._open: dict[str, Any] = {}  # variant id -> Optuna's trial, asked and not told

    def ask(self) -> Proposal | None:
        if not self._dimensions:
            return None
        repeats = 0
        while self._left > 0 and repeats < MAX_REPEATS:
            trial = self._study.ask(self._distributions)
            point = dict(trial.params)
            variant = apply_point(self._start, point)
            if variant.id in self._scores or variant.id in self._open or not self._fits(variant):
                self._tell_optuna(trial, self._scores.get(variant.id))
                repeats += 1
                continue
            self._left -= 1
            self._open[variant.id] = trial
            return Proposal(variant=variant, proposer="settings", params=point)
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        variant = proposal.variant
        self._scores[variant.id] = score
        trial = self._open.pop(variant.id, None)
        if trial is not None:
            self._tell_optuna(trial, score)
        elif variant.id == self._start.id and score is not None:
            self._add_start(score)

    def _add_start(self, score: float) -> None:
        import optuna

        point = point_of(self._start, self._dimensions)
        if not point:
            return
        self._study.add_trial(optuna.trial.create_trial(params=point, distributions=self._distributions, value=score))
        for beside in neighbours(point, self._dimensions)[: self._left // 2]:
            self._study.enqueue_trial(beside)

    def _tell_optuna(self, trial: Any, score: float | None) -> None:
        import optuna

        if score is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.options)
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high)
    return IntDistribution(dimension.low, dimension.high)
