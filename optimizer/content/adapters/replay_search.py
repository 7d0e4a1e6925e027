"""Strategy ``replay`` for policy families: replays thousands of settings on the recorded training items.

Optuna's NSGA-II (Deb et al. 2002) draws the settings, for score and time at once; a replay is columns of numbers,
without a model call. The few best are proposed; the study evaluates them on dev, and the sealed holdout decides as for
any candidate. A score of content is learned with scikit-learn, which is loaded when training starts; the result is data
(``content/core/policy/learned_knob.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.adapters.predictors.export import GramRecipe, Recipe
from optimizer.adapters.predictors.training import TrainingRow, fit, group_folds, out_of_fold
from optimizer.adapters.search.tpe import dimensions_of, distribution
from optimizer.content.core.policy.learned_knob import TEXT, read_text, text_statistics
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.learned_score import (
    CHARACTERS,
    LENGTH,
    PLAIN,
    JudgedItem,
    LearnedScore,
    LearnScore,
    Method,
)
from optimizer.content.core.search.replay import (
    Records,
    ReplayedSetting,
    candidates,
    outcome,
    records_of,
)
from optimizer.core.base.canonical import round_floats
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.family import kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.predictor.predictor import FORMAT, Predictor
from optimizer.core.search import strategy_calls
from optimizer.core.search.space import apply_point, point_of
from optimizer.core.search.strategy import REPLAY, Proposal, SearchSetting, Strategy, strategy
from optimizer.core.search.study import KEEP

FEW_STATISTICS = tuple(
    f"text.{name}"
    for name in (
        "log_words",
        "log_chars",
        "log_sentences",
        "sentence_mean",
        "sentence_deviation",
        "log_paragraphs",
        "distinct_share",
        "distinct_root",
        "word_length",
        "long_words",
        "syllables",
        "connectives",
        "stop_words",
        "first_person",
        "second_person",
        "hedges",
        "modals",
        "digits",
        "upper",
        "punctuation",
        "questions",
        "exclamations",
        "commas",
        "brackets",
        "ends",
    )
)
RECIPES: Mapping[Method, Recipe] = {  # the best of each kind by cross-validation on the training rows
    PLAIN: Recipe(name=PLAIN, model="linear", features=FEW_STATISTICS, penalty=100),
    CHARACTERS: Recipe(
        name=CHARACTERS,
        model="linear",
        features=tuple(text_statistics("")),
        grams=(GramRecipe(text=TEXT, analyzer="char", low=1, high=3, lower=False, least_rows=2),),
        penalty=4,
        number_strength=0.03,
    ),
}
WORDS_OF_LENGTH = "text.log_words"
_IDENTITY = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}


def learn_score(
    items: Sequence[JudgedItem], method: Method, *, trained_on: Mapping[str, Any], seed: int
) -> LearnedScore:
    """content.core.search.learned_score.LearnScore.

    Of an item that was not released only its statistics are learned from, never its words.
    """
    from threadpoolctl import threadpool_limits

    rows: list[TrainingRow] = []
    for item in items:
        numbers, texts = read_text(item.text, item.title)
        rows.append(
            TrainingRow(numbers=numbers, texts=texts if item.released else {}, target=item.quality, group=item.group)
        )
    says = {**trained_on, "recipe": method, "rows": len(rows)}
    if method == LENGTH:
        data = {
            "format": FORMAT,
            "answers": "score",
            "features": [WORDS_OF_LENGTH],
            "parts": [_IDENTITY],
            "trained_on": says,
        }
        lengths: list[float] = []
        for row in rows:
            length = row.numbers[WORDS_OF_LENGTH]
            assert length is not None
            lengths.append(length)
        return LearnedScore(predictor=Predictor.from_data(data).to_data(), out_of_fold=tuple(lengths))
    with threadpool_limits(1):
        scores = out_of_fold(
            rows, RECIPES[method], group_folds([row.group for row in rows], seed=seed), probability=False
        )
        data = {**fit(rows, RECIPES[method], probability=False), "trained_on": says}
    return LearnedScore(predictor=Predictor.from_data(round_floats(data)).to_data(), out_of_fold=tuple(scores))


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
    return ReplaySearch(setting, learn_score)


class ReplaySearch(Strategy):
    """Deterministic given the seed and the records; what it is told changes nothing.

    Args:
        learn: trains a score of content; called where a saving or a quality is to be kept, or where the space names a
            score without data.
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
        """The policies; only those with a learned score where one is asked for, or where something is to be kept."""
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
            records = records_of(measured)
            start = replay_setting(records, setting.start)
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
            replayed_setting = replay_setting(records, apply_point(self._setting.start, trial.params))
            study.tell(trial, [replayed_setting.score, replayed_setting.cost])
            settings.setdefault(replayed_setting.variant.id, replayed_setting)
        return list(settings.values())


def replay_setting(records: Records, variant: Variant) -> ReplayedSetting:
    """Mean score and mean share of the time of full processing. Every record's quality is known."""
    shares = outcome(records, parse_pipeline(variant.policy))
    assert shares.score is not None
    return ReplayedSetting(variant=variant, score=shares.score, cost=1 - shares.time_saved_share)
