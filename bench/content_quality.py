"""How good is what a learned score sends to full processing, at 65 to 80 % of the time saved?

Trained on train alone, dev looked at once.

python bench/content_quality.py              choose on train, measure on dev, write the result and its page (ten
minutes) python bench/content_quality.py --train      the choice on train only; dev is not opened python
bench/content_quality.py --page       the page again from the stored result
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import RESULTS, SHARED, Cell, write_result
from learned import content_rules as rules
from learned.content_page import PAGE, page
from learned.content_rows import (
    CURVE,
    POINTS,
    Content,
    full_share,
    kept,
    kept_together,
    quality_draws,
    quality_of,
    read,
    saved_at,
)
from scipy.stats import spearmanr

from optimizer.adapters.predictors.recipe import GramRecipe, Recipe
from optimizer.adapters.predictors.training import TrainingRow, fit, group_folds, out_of_fold
from optimizer.content.adapters.score_learning import FEW_STATISTICS
from optimizer.content.core.policy.learned_knob import TEXT, ContentScore
from optimizer.content.core.policy.text_statistics import text_statistics
from optimizer.core.predictor.predictor import Predictor

DATA = SHARED / "data" / "content_quality"
BAR = 0.70
SEEDS = (0, 1, 2)
LEAST_ROWS = 100  # a type with fewer rows in train gets its length as score: nothing can be learned or checked on it
NUMBERS = tuple(text_statistics(""))
LONG = Recipe(name="length", model="linear", features=("text.log_words",), penalty=1.0)


def _grams(low: int, high: int, analyzer: str = "char", least_rows: int = 2) -> tuple[GramRecipe, ...]:
    return (
        GramRecipe(text=TEXT, analyzer=analyzer, low=low, high=high, lower=analyzer == "word", least_rows=least_rows),
    )  # type: ignore[arg-type]


RECIPES = (
    Recipe(name="25 statistics", model="linear", features=FEW_STATISTICS, penalty=100),
    Recipe(name="25 statistics, trees", model="trees", features=FEW_STATISTICS),
    Recipe(name="63 statistics", model="linear", features=NUMBERS, penalty=300),
    Recipe(name="63 statistics, trees", model="trees", features=NUMBERS),
    Recipe(name="words, 1 and 2", model="linear", grams=_grams(1, 2, "word"), penalty=2),
    Recipe(name="characters, 1 to 3", model="linear", grams=_grams(1, 3), penalty=2),
    Recipe(name="characters, 1 to 4", model="linear", grams=_grams(1, 4, least_rows=3), penalty=2),
    Recipe(
        name="characters, 1 to 3, and statistics",
        model="linear",
        features=NUMBERS,
        grams=_grams(1, 3),
        penalty=2,
        number_strength=0.03,
    ),
    Recipe(
        name="characters, 1 to 3, and statistics, smoother",
        model="linear",
        features=NUMBERS,
        grams=_grams(1, 3),
        penalty=4,
        number_strength=0.03,
    ),
    Recipe(
        name="characters, 1 to 4, and statistics",
        model="linear",
        features=NUMBERS,
        grams=_grams(1, 4, least_rows=3),
        penalty=2,
        number_strength=0.03,
    ),
)
PLAIN = ("25 statistics", "25 statistics, trees")  # yardsticks; the others may be chosen


def training_row(row: Content) -> TrainingRow:
    return TrainingRow(numbers=row.statistics, texts={TEXT: row.text}, target=row.quality, group=row.group)


def by_type(rows: Sequence[Content]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        found.setdefault(row.content_type, []).append(i)
    return found


def cross_fitted(rows: Sequence[Content], recipe: Recipe, seed: int) -> np.ndarray:
    """Scores of predictors that saw neither the row nor its group, one predictor for each type."""
    scores = np.zeros(len(rows))
    for places in by_type(rows).values():
        its = [training_row(rows[i]) for i in places]
        used = recipe if len(its) >= LEAST_ROWS else LONG
        scores[places] = (
            rules.length([rows[i] for i in places])
            if used is LONG
            else out_of_fold(its, used, group_folds(its, seed=seed), probability=False)
        )
    return scores


def trained(rows: Sequence[Content], recipe: Recipe) -> dict[str, Predictor]:
    found = {}
    for name, places in by_type(rows).items():
        if len(places) >= LEAST_ROWS:
            found[name] = Predictor.from_data(fit([training_row(rows[i]) for i in places], recipe, probability=False))
        else:
            identity = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}
            data = {
                "format": "detent-predictor-1",
                "answers": "score",
                "features": ["text.log_words"],
                "parts": [identity],
            }
            found[name] = Predictor.from_data(data)
    return found


def scored(rows: Sequence[Content], predictors: Mapping[str, Predictor]) -> np.ndarray:
    return np.array([predictors[row.content_type].predict(row.statistics, {TEXT: row.text}) for row in rows])


def choose(rows: Sequence[Content]) -> tuple[Recipe, float, dict[str, list[np.ndarray]], list[Cell]]:
    """The recipe of best mean quality over the points by cross-validation on train,
    and the point whose lower bound lies highest over the bar.
    """
    scores, cells = {}, []
    for recipe in RECIPES:
        scores[recipe.name] = [cross_fitted(rows, recipe, seed) for seed in SEEDS]
        for saved in POINTS:
            mean = float(np.mean([quality_of(rows, kept(rows, each, saved)) for each in scores[recipe.name]]))
            cells.append(
                _cell(f"train, cross-fitted, {recipe.name}: {saved:.0%} saved", mean, "mean quality", n=len(rows))
            )
            print(cells[-1].case, f"{mean:.3f}", flush=True)
    gained = {
        r.name: np.mean([c.ours for c in cells if c.case.startswith(f"train, cross-fitted, {r.name}:")])
        for r in RECIPES
    }
    recipe = max((r for r in RECIPES if r.name not in PLAIN), key=lambda r: gained[r.name])
    margins = {}
    for saved in POINTS:
        draws = quality_draws(rows, scores[recipe.name][0], saved, n_draws=400)
        mean = np.mean([quality_of(rows, kept(rows, each, saved)) for each in scores[recipe.name]])
        margins[saved] = (mean - BAR) / (draws.std() * np.sqrt(len(rows) / 413))  # as sure as dev's size will let it be
        for name in PLAIN:
            apart = draws - quality_draws(rows, scores[name][0], saved, n_draws=400)
            found, other = (quality_of(rows, kept(rows, scores[each][0], saved)) for each in (recipe.name, name))
            unit = "mean quality, first folding (interval: ours - other)"
            cells.append(
                _cell(
                    f"train, cross-fitted: {saved:.0%} saved, beside {name}", found, unit, apart, other, name, len(rows)
                )
            )
    point = max(POINTS, key=lambda saved: margins[saved])
    cells.append(_cell("chosen point: time saved", point, "share", n=len(rows)))
    cells.append(
        _cell(
            f"chosen recipe: {recipe.name}",
            float(gained[recipe.name]),
            "mean quality over 65 to 80 % saved",
            n=len(rows),
        )
    )
    print("chosen:", recipe.name, point, margins, flush=True)
    return recipe, point, scores, cells


def transfer(rows: Sequence[Content], recipe: Recipe, point: float) -> list[Cell]:
    """Each type scored by a predictor that was trained on the other types: on train's rows,
    so that dev is not looked at again.
    """
    cells = []
    for name, places in by_type(rows).items():
        others = [training_row(row) for row in rows if row.content_type != name]
        its = [rows[i] for i in places]
        predictor = Predictor.from_data(fit(others, recipe, probability=False))
        scores = [predictor.predict(row.statistics, {TEXT: row.text}) for row in its]
        quality = quality_of(its, kept(its, scores, point))
        draws = quality_draws(its, scores, point)
        own = cross_fitted(its, recipe, 0) if len(its) >= LEAST_ROWS else rules.length(its)
        cells.append(
            _cell(
                f"unseen type {name}: {point:.0%} saved",
                quality,
                "mean quality",
                draws,
                quality_of(its, kept(its, own, point)),
                "own type",
                len(its),
            )
        )
        plain = quality_of(its, kept(its, rules.length(its), point))
        cells.append(_cell(f"unseen type {name}: length", plain, "mean quality", n=len(its)))
        cells.append(
            _cell(
                f"unseen type {name}: rank correlation",
                float(spearmanr(scores, [r.quality for r in its])[0]),
                "Spearman",
                n=len(its),
            )
        )
    return cells


def on_dev(
    train: Sequence[Content], dev: Sequence[Content], recipe: Recipe, point: float, out: Mapping[str, list[np.ndarray]]
) -> list[Cell]:
    """The one look at dev: the chosen recipe, every yardstick, per type, the curve, and thresholds found on train."""
    predictors = trained(train, recipe)
    ours = scored(dev, predictors)
    others: dict[str, tuple[np.ndarray, bool]] = {
        "overall score": (rules.overall(dev), True),
        "length": (rules.length(dev), True),
        "length per type": (rules.length(dev), False),
        "tuned filter": (rules.parts(dev) @ rules.tuned_weights(train), True),
        **{name: (scored(dev, trained(train, next(r for r in RECIPES if r.name == name))), False) for name in PLAIN},
    }
    cells = []
    for saved in CURVE:
        draws = quality_draws(dev, ours, saved)
        found = quality_of(dev, kept(dev, ours, saved))
        cells.append(
            _cell(f"dev, all types: {saved:.0%} saved", found, "mean quality", draws, n=len(kept(dev, ours, saved)))
        )
        if saved in POINTS:
            for name, (scores, together) in others.items():
                rows = kept_together(scores, saved) if together else kept(dev, scores, saved)
                apart = draws - quality_draws(dev, scores, saved, together=together)
                unit = "mean quality (interval: ours - other)"
                cells.append(
                    _cell(
                        f"dev, all types: {saved:.0%} saved, beside {name}",
                        found,
                        unit,
                        apart,
                        quality_of(dev, rows),
                        name,
                        len(rows),
                    )
                )
    for name, places in by_type(dev).items():
        its, scores = [dev[i] for i in places], ours[places]
        for saved in POINTS:
            rows = kept(its, scores, saved)
            plain = quality_of(its, kept(its, rules.length(its), saved))
            draws = quality_draws(its, scores, saved)
            if len(rows):
                cells.append(
                    _cell(
                        f"dev, {name}: {saved:.0%} saved",
                        quality_of(its, rows),
                        "mean quality",
                        draws,
                        plain,
                        "length",
                        len(rows),
                    )
                )
    passed = np.flatnonzero(rules.default_filter(dev))
    cells.append(_cell("dev, default filter: share processed fully", len(passed) / len(dev), "share", n=len(dev)))
    served = {
        recipe.name: (ours, out[recipe.name][0]),
        "length per type": (rules.length(dev), rules.length(train)),
        **{name: (others[name][0], out[name][0]) for name in PLAIN},
    }
    for saved in POINTS:
        for name, (on_these, on_train) in served.items():
            cells += _by_thresholds(train, dev, name, on_train, on_these, saved)
    size = len(
        json.dumps(
            ContentScore.from_data(
                {n: {"predictor": p.to_data(), "full_from": 0.0} for n, p in predictors.items()}
            ).to_data()
        )
    )
    cells.append(_cell("size of the score as JSON", size / 1e6, "MB", n=len(predictors)))
    return cells


def _by_thresholds(
    train: Sequence[Content], dev: Sequence[Content], name: str, on_train: np.ndarray, on_dev: np.ndarray, saved: float
) -> list[Cell]:
    """As it would be served: each type's threshold is the quantile of train's cross-fitted scores;
    dev's saving is what it turns out to be.
    """
    full_from = {
        its: float(np.quantile(on_train[places], 1 - full_share(saved))) for its, places in by_type(train).items()
    }
    full = np.array([value >= full_from[row.content_type] for row, value in zip(dev, on_dev, strict=True)])
    chosen = np.flatnonzero(full)
    return [
        _cell(
            f"dev, thresholds of train for {saved:.0%}, {name}: time saved",
            saved_at(float(full.mean())),
            "share",
            n=len(dev),
        ),
        _cell(
            f"dev, thresholds of train for {saved:.0%}, {name}: quality",
            quality_of(dev, chosen),
            "mean quality",
            n=len(chosen),
        ),
    ]


def _cell(
    case: str,
    ours: float,
    unit: str,
    draws: np.ndarray | None = None,
    other: float | None = None,
    name: str = "",
    n: int = 0,
) -> Cell:
    low, high = (None, None) if draws is None else (float(each) for each in np.nanquantile(draws, [0.025, 0.975]))
    return Cell(case=case, ours=ours, other=other, other_name=name, ratio=None, low=low, high=high, unit=unit, n=n)


def main(arguments: Sequence[str], write: Callable[..., object] = write_result) -> None:
    if "--page" not in arguments:
        train = read(DATA / "train.jsonl")
        recipe, point, out, cells = choose(train)
        if "--train" in arguments:
            return
        cells += transfer(train, recipe, point)
        cells += on_dev(train, read(DATA / "dev.jsonl"), recipe, point, out)
        write("content_quality", cells)
    results = [
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("content_quality", "content_commands")
    ]
    PAGE.write_text(page(*results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
