"""Is a learned confidence better than the recorded one?

Claim: where train says with 90 % that a learned confidence is better, it is used, and dev says what that saves. Data:
the recorded cascades of DETENT_SHARED (data/cascade_logs). Peers: the recorded confidence, random mixing.

python bench/confidence.py     every set, the result and its page (a quarter of an hour)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import SHARED, Cell, cell, options_of, write_result
from learned.cascade_rows import TierPair, at_threshold, best_threshold, random_mixing, read

from optimizer.adapters.predictors.export import GramRecipe, Recipe
from optimizer.adapters.predictors.learning import RECORDED, RECORDED_FEATURES as SEEN, log_loss_gain
from optimizer.adapters.predictors.measures import (
    area,
    brier,
    calibration_error,
    reliability,
    with_interval,
)
from optimizer.adapters.predictors.training import TrainedPredictor, TrainingRow, train
from optimizer.core.evaluation.comparison import group_draws
from optimizer.core.predictor.parts import logistic
from optimizer.core.predictor.request_features import FEATURES
from optimizer.core.search.cascade.learned import beats

DATA = SHARED / "data" / "cascade_logs"
RECORDED_SETS = ("rlc_mmlu", "rlc_medmcqa", "rlc_triviaqa", "rlc_truthfulqa", "rlc_gsm8k")
PAIRS = (
    ("gpt-4o-mini", "gpt-4o"),
    ("llama3.1-8b", "llama3.1-405b"),
    ("llama3.2-3b", "llama3.1-70b"),
    ("qwen2.5-32b-coder-instruct", "gpt-4o"),
)
N_DRAWS = 500
MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float | None]] = {
    "AUC": area,
    "Brier": brier,
    "ECE": calibration_error,
}

LEARNED = (
    *(
        Recipe(
            name=f"recorded and query, penalty {penalty:g}",
            model="linear",
            features=(*SEEN, *FEATURES),
            penalty=penalty,
            trusted=SEEN,
        )
        for penalty in (30, 300)
    ),
    Recipe(name="recorded and query, trees", model="trees", features=(*SEEN, *FEATURES), n_trees=40, penalty=10),
    Recipe(
        name="recorded, query and its words",
        model="linear",
        features=(*SEEN, *FEATURES),
        grams=(GramRecipe(text="query", analyzer="word", low=1, high=2, least_rows=3),),
        penalty=5,
        number_strength=0.2,
        trusted=SEEN,
    ),
)


def rows_of(pair: TierPair, wanted: np.ndarray) -> list[TrainingRow]:
    columns = zip(pair.ids, pair.numbers, pair.texts, wanted, strict=True)
    return [
        TrainingRow(numbers=numbers, texts=texts, target=float(target), group=name)
        for name, numbers, texts, target in columns
    ]


def answers(predictor: TrainedPredictor, pair: TierPair) -> np.ndarray:
    return np.array(
        [predictor.predictor.predict(numbers, texts) for numbers, texts in zip(pair.numbers, pair.texts, strict=True)]
    )


def cost_cells(
    case: str, name: str, known: TierPair, out: np.ndarray, dev: TierPair, confidence: np.ndarray
) -> list[Cell]:
    """The threshold that loses at most a point on train's cross-fitted confidences, applied to dev;
    loss with a bootstrap interval.
    """
    threshold = best_threshold(known, out)
    chosen, inside = at_threshold(dev, confidence, threshold), at_threshold(known, out, threshold)
    each = 100 * np.where(confidence >= threshold, dev.strong - dev.cheap, 0.0)
    drawn = [float(each[rows].mean()) for rows in group_draws(dev.ids, seed=3, n_draws=2000)]
    n, train_says = len(dev.ids), "train, cross-fitted"
    share = "share of the strong model's cost, dev"
    return [
        cell(f"{case}: saved, {name}", chosen.saved, share, n, None, inside.saved, train_says),
        cell(f"{case}: lost, {name}", chosen.lost, "points, dev", n, _between(drawn), inside.lost, train_says),
    ]


def recorded_set(name: str, cheap: str, strong: str) -> list[Cell]:
    case = f"{name}, {cheap} > {strong}"
    known, dev = (read(DATA / name / f"{split}.jsonl", cheap, strong) for split in ("train", "dev"))
    rows = rows_of(known, known.cheap)
    says = {"set": name, "model": cheap, "rows": len(rows)}
    predictors = {"recorded": train(rows, RECORDED, trained_on=says), "learned": train(rows, LEARNED, trained_on=says)}
    best, n = predictors["learned"], len(dev.ids)
    gain = log_loss_gain(best, predictors["recorded"], list(known.cheap), known.ids)
    inside = {
        kind: at_threshold(known, out, best_threshold(known, out))
        for kind, out in {kind: np.array(each.out_of_fold) for kind, each in predictors.items()}.items()
    }
    used = beats(gain.low, saved=inside["learned"].saved, saved_recorded=inside["recorded"].saved)
    recipe, unit = (
        f"{best.recipe.name}, {best.calibration}",
        "log loss of recorded - learned, cross-fitted; low: one-sided 90 %",
    )
    both = {kind: answers(each, dev) for kind, each in predictors.items()}
    cells = [
        cell(f"{case}: learned is used ({recipe})", float(used), "1 yes, 0 no", n),
        cell(f"{case}: log loss less, train", gain.mean, unit, len(rows), (gain.low, None)),
        *measure_cells(case, both, dev),
    ]
    for kind, each in predictors.items():
        cells += cost_cells(case, kind, known, np.array(each.out_of_fold), dev, both[kind])
    cells.append(cell(f"{case}: saved, random mixing", random_mixing(dev), "share, dev", n))
    if (cheap, strong) == PAIRS[0]:
        for kind, values in both.items():
            for i, row in enumerate(reliability(list(values), list(dev.cheap), n_bins=5)):
                mean, unit = row.promised, f"share right; promised {row.promised:.3f}"
                title = f"{case}: reliability {i + 1}, {kind}"
                cells.append(cell(title, row.right, unit, row.n, (row.low, row.high), mean, "promised"))
    print(case, recipe, {k: round(v, 4) for k, v in best.losses.items()}, flush=True)
    return cells


def measure_cells(case: str, both: Mapping[str, np.ndarray], dev: TierPair) -> list[Cell]:
    """The measures of the confidence as recorded, calibrated and learned, and what the last is better by."""
    cells, n, targets = list[Cell](), len(dev.ids), list(dev.cheap)
    raw = [logistic(numbers["answer.confidence_logit"] or 0.0) for numbers in dev.numbers]
    for measure in ("Brier", "ECE"):
        one = with_interval(MEASURES[measure], raw, targets, dev.ids, seed=7, n_draws=N_DRAWS)
        title = f"{case}: {measure}, not calibrated"
        cells.append(cell(title, one.value or 0.0, f"{measure}, dev", n, (one.low, one.high)))
    for measure, of in MEASURES.items():
        kinds = {kind: with_interval(of, both[kind], targets, dev.ids, seed=7, n_draws=N_DRAWS) for kind in both}
        for kind, one in kinds.items():
            if one.value is not None:
                cells.append(cell(f"{case}: {measure}, {kind}", one.value, f"{measure}, dev", n, (one.low, one.high)))
        if kinds["recorded"].value is None:  # every answer of dev is right: nothing to tell apart
            continue
        draws = group_draws(dev.ids, seed=7, n_draws=N_DRAWS)
        apart = [(of(both["learned"][d], dev.cheap[d]), of(both["recorded"][d], dev.cheap[d])) for d in draws]
        between = _between([a - b for a, b in apart if a is not None and b is not None])
        gained = (kinds["learned"].value or 0.0) - (kinds["recorded"].value or 0.0)
        cells.append(cell(f"{case}: {measure}, learned - recorded", gained, f"{measure}, dev", n, between))
    return cells


def _between(drawn: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    options_of(__doc__)
    recorded = [cell for name in RECORDED_SETS for pair in PAIRS for cell in recorded_set(name, *pair)]
    write_result("confidence", recorded)


if __name__ == "__main__":
    main()
