"""Strategy ``replay`` for policy families:
thousands of settings replayed on the recorded training items, the best few proposed.

Optuna's NSGA-II (Deb et al. 2002) draws the settings, for score and time at once; a replay is columns of numbers, no
model call. The study then evaluates what is proposed on dev, and the sealed holdout decides as for any candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.adapters.search.tpe import dimensions_of, distribution
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.learned_score import LearnScore
from optimizer.content.core.search.replay import (
    Records,
    ReplayedSetting,
    candidates,
    outcome,
    read_columns,
    rows_to_columns,
)
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.family import kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.space import apply_point, point_of
from optimizer.core.search.strategy import REPLAY, Proposal, SearchSetting, Strategy, strategy
from optimizer.core.search.study import KEEP


@strategy(
    name=REPLAY,
    does="finds the thresholds of a cascade or the knobs of a content pipeline",
    calls=strategy_calls.replay_calls,
)
def replay(setting: SearchSetting) -> Strategy:
    """Thresholds of a cascade where the family has a prompt, else knobs of its policy."""
    if kind_of(setting.family).asks_models:
        from optimizer.adapters.predictors.learning import learn_confidence
        from optimizer.core.search.cascade.strategy import CascadeSearch

        return CascadeSearch(setting, learn_confidence)
    from optimizer.content.adapters.score_learning import learn_score

    return ReplaySearch(setting, learn_score)


class ReplaySearch:
    """Deterministic given the seed and the records; it learns nothing from what it is told.

    Args:
        learn: trains a score of content; asked where a saving or a quality is to be kept, or the space names a score
            without data.
    """

    def __init__(self, setting: SearchSetting, learn: LearnScore) -> None:
        self._setting = setting
        self._learn = learn
        self._waiting: list[Proposal] | None = None

    def ask(self) -> Proposal | None:
        if self._waiting is None:
            self._waiting = self._proposals()
        return self._waiting.pop(0) if self._waiting else None

    def _proposals(self) -> list[Proposal]:
        """Policies with a learned score where one is asked for; a wish to keep something leaves no other."""
        from optimizer.content.core.search.score_strategy import ScoreSearch, asks_for_score

        scored = (
            ScoreSearch(self._setting, self._learn).proposals()
            if asks_for_score(self._setting.definition, self._setting.space)
            else []
        )
        if any(self._setting.definition.get(name) is not None for name in KEEP):
            return scored
        setting = self._setting
        measured = [e for e in setting.train if e.expected.get("quality") is not None]
        if not measured:
            setting.remark(
                "Nothing was replayed: of no training item it is known what it turned out to be worth"
                " (expected.quality)."
            )
            settings = []
        else:
            records = read_columns(rows_to_columns([{**e.input, "quality": e.expected["quality"]} for e in measured]))
            start = replayed(records, setting.start)
            margin = quality_margin(start.score, setting.family.rollout.margin)
            settings = candidates(
                self._drawn(records), start, setting.aim, margin=margin, n=int(setting.definition["n_settings"])
            )
        return [
            *scored,
            *(
                Proposal(
                    variant=setting.variant,
                    proposer=REPLAY,
                    params={"score_on_train": setting.score, "time_share_on_train": setting.cost},
                )
                for setting in settings
            ),
        ]

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        pass

    def _drawn(self, records: Records) -> list[ReplayedSetting]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        setting = self._setting
        dimensions = dimensions_of(setting)
        if not dimensions:
            setting.remark(
                "Nothing was replayed: the space lets no knob vary. Name some in family.yaml, such as"
                " policy.filter.min_overall."
            )
            return []
        distributions = {d.name: distribution(d) for d in dimensions}
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=setting.seed)
        )
        if (start := point_of(setting.start, dimensions)) is not None:
            study.enqueue_trial(start)
        settings: dict[str, ReplayedSetting] = {}
        for _ in range(int(setting.definition["n_replayed"])):
            trial = study.ask(distributions)
            replayed_setting = replayed(records, apply_point(self._setting.start, trial.params))
            study.tell(trial, [replayed_setting.score, replayed_setting.cost])
            settings.setdefault(replayed_setting.variant.id, replayed_setting)
        return list(settings.values())


def replayed(records: Records, variant: Variant) -> ReplayedSetting:
    """Mean score and mean share of the time of full processing. Every record's quality is known."""
    shares = outcome(records, parse_pipeline(variant.policy))
    assert shares.score is not None
    return ReplayedSetting(variant=variant, score=shares.score, cost=1 - shares.time_saved_share)
