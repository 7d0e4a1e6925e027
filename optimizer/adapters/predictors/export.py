"""How a predictor is trained (features, number of trees, calibration), and scikit-learn's fitted models
as JSON values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.core.predictor.parts import READ_CHARS, Analyzer


@dataclass(frozen=True, slots=True, kw_only=True)
class GramRecipe:
    """Which pieces of which text are counted.

    A piece in fewer than ``least_rows`` rows is left out, and the ``most`` frequent are kept.
    """

    text: str
    analyzer: Analyzer
    low: int = 1
    high: int = 1
    lower: bool = True
    least_rows: int = 2
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to train.

    ``penalty``: L2, more is smoother. ``number_strength``: how much a number counts beside a text's pieces, whose
    length is 1.

    ``trusted``: features that the penalty hardly holds back, such as a recorded confidence beside what is guessed from
    the query.
    """

    name: str
    model: Literal["linear", "trees"]
    features: tuple[str, ...] = ()
    grams: tuple[GramRecipe, ...] = ()
    penalty: float = 1.0
    number_strength: float = 1.0
    trusted: tuple[str, ...] = ()
    n_trees: int = 60
    learning_rate: float = 0.06


_ALL_LEFT = 1e15  # in place of infinity, which JSON lacks; below 2**53, so canonical JSON keeps it a number
_LEAST_SLOPE = 1e-6
_TRUST = 10.0  # a hundredth of the penalty
_CONSTANT = 1e-6  # a number that varies less than this tells nothing: its scale becomes 1


def fitted_linear(
    matrix: Sequence[Sequence[float]],
    texts: Sequence[Sequence[str]],
    targets: Sequence[float],
    recipe: Recipe,
    *,
    probability: bool,
) -> list[dict[str, Any]]:
    """Logistic regression (or ridge, for a score) on standardised numbers and TF-IDF of the texts, one part each."""
    import numpy as np
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression, Ridge

    blocks: list[Any] = []
    numbers = np.asarray(matrix, dtype=float).reshape(len(targets), len(recipe.features))
    centre, scale = _centre_and_scale(numbers)
    strength = np.array(
        [recipe.number_strength * (_TRUST if name in recipe.trusted else 1.0) for name in recipe.features]
    )
    if recipe.features:
        standard = np.nan_to_num((numbers - centre) / scale, nan=0.0)  # not measured: the centre
        blocks.append(csr_matrix(standard * strength))
    counted = [
        (gram, each, block)
        for gram, column in zip(recipe.grams, texts, strict=True)
        if (block := _counted(each := vectorizer(gram), column)) is not None
    ]
    blocks += [block for _, _, block in counted]
    known = hstack(blocks).tocsr()
    if probability:
        model = LogisticRegression(C=1 / recipe.penalty, max_iter=2000, tol=1e-6).fit(known, np.asarray(targets) > 0.5)
        weights, intercept = model.coef_[0], float(model.intercept_[0])
    else:
        model = Ridge(recipe.penalty, solver="sparse_cg", tol=1e-5).fit(known, targets)
        weights, intercept = model.coef_, float(model.intercept_)
    parts = [
        {
            "kind": "linear",
            "centre": centre.tolist(),
            "scale": scale.tolist(),
            "weights": (weights[: len(recipe.features)] * strength).tolist(),
            "intercept": intercept,
        }
    ]
    start = len(recipe.features)
    for gram, each, _ in counted:
        n = len(each.vocabulary_)
        parts.append(gram_part(gram, each, weights[start : start + n]))
        start += n
    return parts


def _counted(fitted: Any, texts: Sequence[str]) -> Any | None:
    """The texts' pieces as a sparse matrix; None where no piece is in enough of them (scikit-learn raises then)."""
    try:
        return fitted.fit_transform([text[:READ_CHARS] for text in texts])
    except ValueError as error:
        if "no terms remain" in str(error) or "empty vocabulary" in str(error):
            return None
        raise


def fitted_trees(
    matrix: Sequence[Sequence[float]], targets: Sequence[float], recipe: Recipe, *, probability: bool
) -> list[dict[str, Any]]:
    """Small histogram gradient-boosted trees; they read a number that was not measured as such."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if probability else HistGradientBoostingRegressor
    model = kind(
        max_iter=recipe.n_trees,
        learning_rate=recipe.learning_rate,
        max_leaf_nodes=6,
        min_samples_leaf=20,
        l2_regularization=recipe.penalty,
        early_stopping=False,
        random_state=0,
    )
    wanted = np.asarray(targets) > 0.5 if probability else np.asarray(targets, dtype=float)
    return [trees_part(model.fit(np.asarray(matrix, dtype=float), wanted))]


def trees_part(model: Any) -> dict[str, Any]:
    """The trees of a fitted HistGradientBoosting model with one output."""
    trees = [stage[0].nodes for stage in model._predictors]
    return {
        "kind": "trees",
        "start": float(model._baseline_prediction.ravel()[0]),
        "trees": [_tree(nodes) for nodes in trees],
    }


def vectorizer(gram: GramRecipe) -> Any:
    """scikit-learn's TfidfVectorizer that counts the pieces which GramsPart counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=_whole if gram.analyzer == "value" else gram.analyzer,
        ngram_range=(gram.low, gram.high),
        lowercase=gram.lower,
        min_df=gram.least_rows,
        max_features=gram.most,
        sublinear_tf=True,
    )


def gram_part(gram: GramRecipe, fitted: Any, weights: Sequence[float]) -> dict[str, Any]:
    rows = {piece: [float(fitted.idf_[i]), float(weights[i])] for piece, i in fitted.vocabulary_.items()}
    return {
        "kind": "grams",
        "text": gram.text,
        "analyzer": gram.analyzer,
        "low": gram.low,
        "high": gram.high,
        "lower": gram.lower and gram.analyzer != "value",
        "intercept": 0.0,
        "grams": rows,
    }


def fitted_platt(
    margins: Sequence[float], targets: Sequence[float], weights: Sequence[float] | None = None
) -> dict[str, Any]:
    """Slope and intercept by maximum likelihood; ``weights``: how often each counts.

    Margins that tell nothing (or the wrong way round) give the base rate to all.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    wanted = np.asarray(targets) > 0.5
    if wanted.all() or not wanted.any():
        rate = (float(wanted.sum()) + 0.5) / (len(wanted) + 1)
        return {"kind": "platt", "slope": _LEAST_SLOPE, "intercept": math.log(rate / (1 - rate))}
    model = LogisticRegression(C=1e6, max_iter=1000).fit(
        np.asarray(margins).reshape(-1, 1), wanted, sample_weight=weights
    )
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= _LEAST_SLOPE:
        rate = float(np.average(wanted, weights=weights))
        slope, intercept = _LEAST_SLOPE, math.log(rate / (1 - rate))
    return {"kind": "platt", "slope": slope, "intercept": intercept}


def fitted_isotonic(margins: Sequence[float], targets: Sequence[float]) -> dict[str, Any]:
    """Knots of an isotonic regression of the targets on the uncalibrated probabilities, at least a millionth apart."""
    import numpy as np
    from sklearn.isotonic import IsotonicRegression

    probability = 1 / (1 + np.exp(-np.clip(np.asarray(margins, dtype=float), -500, 500)))
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(np.round(probability, 6), targets)
    return {"kind": "isotonic", "x": model.X_thresholds_.tolist(), "y": model.y_thresholds_.tolist()}


def _tree(nodes: Any) -> dict[str, Any]:
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "feature": [-1 if end else int(feature) for end, feature in zip(leaf, nodes["feature_idx"], strict=True)],
        "threshold": [min(float(each), _ALL_LEFT) for each in nodes["num_threshold"]],
        "left": [int(each) for each in nodes["left"]],
        "right": [int(each) for each in nodes["right"]],
        "missing_left": [bool(each) for each in nodes["missing_go_to_left"]],
        "value": [float(each) for each in nodes["value"]],
    }


def _centre_and_scale(numbers: Any) -> tuple[Any, Any]:
    import numpy as np

    measured = ~np.isnan(numbers)
    n = np.maximum(measured.sum(axis=0), 1)
    centre = np.where(measured, numbers, 0.0).sum(axis=0) / n
    scale = np.sqrt((np.where(measured, numbers - centre, 0.0) ** 2).sum(axis=0) / n)
    return centre, np.where(scale > _CONSTANT, scale, 1.0)


def _whole(text: str) -> list[str]:
    return [text]
