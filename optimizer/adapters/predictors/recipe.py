"""How a predictor is to be trained: which features, how many trees, how it is calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizer.core.predictor.parts import Analyzer


@dataclass(frozen=True, slots=True, kw_only=True)
class GramRecipe:
    """Which pieces of which text are counted; a piece in fewer than ``least_rows`` rows is left out,
    and the ``most`` frequent are kept.
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
