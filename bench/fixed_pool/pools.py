"""Recorded tables (score of each variant on each example) as pools, and the draws that every rule searches.

A draw is a pool with its variants and its examples in another random order. The first variant of a draw stands for the
champion: it is a contender like the others, and it wins ties. All rules meet the variants and the examples of a draw in
that order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

DEVELOPMENT, CONFIRMATION, MEANS = "development", "confirmation", "means"
PARTS = {  # fixed before anything was measured by table; what each part is for stands on the page
    DEVELOPMENT: ("babe_bias_*.json", "llmbar_*.json"),
    CONFIRMATION: ("trec_*.json", "ups_*.json", "llmjudge_*.json"),
}
MEANS_FILE = "means_slab_paraphrases.json"
MEANS_EXAMPLES = 100  # calls in full of a paraphrase: as many as its published mean is made of

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """``scores``: variants x examples, 0 to 1.

    ``means``: given where only means are published; a draw then makes scores of them.
    """

    name: str
    scores: Array
    n_left_out: int = 0  # examples on which some variant has no score
    means: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Draws:
    """``scores``: draws x variants x examples. ``worth``: draws x variants, what the choice is judged by."""

    scores: Array
    worth: Array

    def lost(self, chosen: Array, n: int | None = None) -> list[float]:
        """Points (hundredths of score) by which each choice of the first ``n`` draws is worth less than
        that of evaluating everybody in full.
        """
        rows = np.arange(len(self.scores))[:n]
        in_full = self.scores[:n].mean(axis=2).argmax(axis=1)
        return [float(x) for x in (self.worth[rows, in_full] - self.worth[rows, chosen]) * 100]


def pools(folder: Path, part: str) -> list[Pool]:
    """The pools of a part, by name; empty where the data are absent."""
    if part == MEANS:
        return _published_means(folder / MEANS_FILE)
    return [_recorded(path) for pattern in PARTS[part] for path in sorted(folder.glob(pattern))]


def draw(pool: Pool, numbers: Sequence[int]) -> Draws:
    """The draws of these numbers, each always the same."""
    scores, worth = zip(*(_one(pool, number) for number in numbers), strict=True)
    return Draws(scores=np.array(scores), worth=np.array(worth))


def _one(pool: Pool, number: int) -> tuple[Array, Array]:
    rng = np.random.default_rng([crc32(pool.name.encode()), number])
    n_variants, n_examples = pool.scores.shape
    variants, examples = rng.permutation(n_variants), rng.permutation(n_examples)
    if pool.means is None:
        return pool.scores[np.ix_(variants, examples)], pool.scores.mean(axis=1)[variants]
    means = pool.means[variants]
    return (rng.random((n_variants, n_examples)) < means[:, None]).astype(float), means


def _recorded(path: Path) -> Pool:
    rows = json.loads(path.read_text(encoding="utf-8"))["scores"]
    scores = np.array([[np.nan if x is None else x for x in row] for row in rows], float)
    whole = ~np.isnan(scores).any(axis=0)
    return Pool(name=path.stem, scores=scores[:, whole], n_left_out=int((~whole).sum()))


def _published_means(path: Path) -> list[Pool]:
    """One model for each task, another with each task, so that no choice of ours is in it."""
    if not path.exists():
        return []
    found = []
    for number, (task, table) in enumerate(json.loads(path.read_text(encoding="utf-8"))["tasks"].items()):
        model = number % len(table["models"])
        means = np.array([np.nan if x is None else x for x in table["mean"][model]], float)
        means = means[~np.isnan(means)]
        name = f"{task} by {table['models'][model]}"
        found.append(Pool(name=name, scores=np.zeros((len(means), MEANS_EXAMPLES)), means=means))
    return found
