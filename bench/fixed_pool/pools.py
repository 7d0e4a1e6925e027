"""Recorded tables (score of each variant on each example) as pools, and the draws that every rule searches.

A draw is a pool with its variants and its examples in another random order. The first variant of a draw stands for the
champion: it is a contender like the others, and it wins ties. All rules meet the variants and the examples of a draw in
that order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

DEVELOPMENT, CONFIRMATION = "development", "confirmation"
PARTS = {  # fixed before anything was measured by table; what each part is for stands on the page
    DEVELOPMENT: ("babe_bias_*.json", "llmbar_*.json"),
    CONFIRMATION: ("trec_*.json", "ups_*.json", "llmjudge_*.json"),
}
MEANS_FILE = "means_slab_paraphrases.json"
MEANS_EXAMPLES = 100  # calls in full of a paraphrase: as many as its published mean is made of
MODELS_APART = 3  # of the means, to keep the time in bounds; another with each task
SCALE = 4  # of people's and judges' marks of a story, 1 to 5

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
class TableDraws:
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
    pools = [
        _whole(path.stem, json.loads(path.read_text(encoding="utf-8"))["scores"])
        for pattern in PARTS[part]
        for path in sorted(folder.glob(pattern))
    ]
    if part == CONFIRMATION:
        pools += [*_judges(folder.parent / "judge_calibration" / "hanna"), *_models(folder.parent / "cascade_logs")]
    return pools


def published_means(folder: Path, part: str) -> list[Pool]:
    """Of every other task every third model: the first, third, ... task of the file are for development."""
    path = folder / MEANS_FILE
    if not path.exists():
        return []
    tasks = list(json.loads(path.read_text(encoding="utf-8"))["tasks"].items())
    pools = []
    for number, (task, table) in enumerate(tasks[part != DEVELOPMENT :: 2]):
        of_models = list(zip(table["models"], table["mean"], strict=True))
        for model, row in of_models[number % MODELS_APART :: MODELS_APART]:
            means = np.array([x for x in row if x is not None], float)
            name = f"{task} by {model}"
            pools.append(Pool(name=name, scores=np.zeros((len(means), MEANS_EXAMPLES)), means=means))
    return pools


def draw(pool: Pool, numbers: Sequence[int], n_examples: int | None = None) -> TableDraws:
    """The draws of these numbers, each always the same; of so many examples of the pool (None: all)."""
    scores, worth = zip(*(_one(pool, number, n_examples) for number in numbers), strict=True)
    return TableDraws(scores=np.array(scores), worth=np.array(worth))


def _one(pool: Pool, number: int, n_searched: int | None) -> tuple[Array, Array]:
    rng = np.random.default_rng([crc32(pool.name.encode()), number])
    n_variants, n_examples = pool.scores.shape
    variants, examples = rng.permutation(n_variants), rng.permutation(n_examples)[:n_searched]
    if pool.means is None:
        return pool.scores[np.ix_(variants, examples)], pool.scores.mean(axis=1)[variants]
    means = pool.means[variants]
    return (rng.random((n_variants, n_examples)) < means[:, None]).astype(float), means


def _whole(name: str, rows: Sequence[Sequence[float | None]]) -> Pool:
    """Without the examples on which some variant has no score."""
    scores = np.array([[np.nan if x is None else x for x in row] for row in rows], float)
    whole = ~np.isnan(scores).any(axis=0)
    return Pool(name=name, scores=scores[:, whole], n_left_out=int((~whole).sum()))


def _judges(folder: Path) -> list[Pool]:
    """Of each of six criteria how near five judging models under four prompts come to people's marks of a story."""
    stories = [row["expected"] for row in _lines(folder)]
    if not stories:
        return []
    judges = sorted(stories[0]["logged_judge"])
    return [
        _whole(f"hanna_{criterion}", [[_near(story, judge, at) for story in stories] for judge in judges])
        for at, criterion in enumerate(stories[0]["human"])
    ]


def _near(story: Mapping[str, Any], judge: str, at: int) -> float | None:
    marks = story["logged_judge"].get(judge)
    if marks is None or marks[at] is None:
        return None
    return max(0.0, 1 - abs(float(marks[at]) - float(list(story["human"].values())[at])) / SCALE)


def _models(folder: Path) -> list[Pool]:
    """Nine models on the same questions: no prompts, but arms like them."""
    pools = []
    for place in sorted(folder.glob("rlc_*")):
        rows = [{name: one["correct"] for name, one in row["expected"]["models"].items()} for row in _lines(place)]
        pools.append(_whole(place.name, [[row.get(model) for row in rows] for model in sorted(rows[0])]))
    return pools


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
