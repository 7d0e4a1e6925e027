"""Recorded judge scores and people's ratings of the same answers, both brought to [0, 1]."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

# Where a set's ratings begin and end; a dimension without an entry has its set's.
SCALES = {
    "data2text": (1, 6),
    "qags": (0, 1),
    "topical_chat": (1, 3),
    "topical_chat/understandability": (0, 1),
    "topical_chat/groundedness": (0, 1),
    "topical_chat/overall": (1, 5),
    "hanna": (1, 5),
}
_GROUPS = {"data2text": "meaning", "qags": "source", "topical_chat": "conversation", "hanna": "prompt_no"}
MODELS = ("Beluga-13B", "ChatGPT", "Llama-13B", "Mistral-7B", "OrcaPlatypus")


@dataclass(frozen=True, kw_only=True)
class RatedScores:
    """One judge and one dimension on one split: score, people's mean rating and group of each answer."""

    name: str
    scores: np.ndarray
    ratings: np.ndarray
    groups: tuple[str, ...]


@cache
def rows_of(folder: Path, name: str, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def unieval(folder: Path, split: str) -> list[RatedScores]:
    """UniEval's recorded scores, a dimension each, of three sets."""
    rated = list[RatedScores]()
    for name in ("data2text", "qags", "topical_chat"):
        rows = rows_of(folder, name, split)
        for dimension in rows[0]["expected"]["human"]:
            scores = [row["expected"]["logged_judge"]["unieval"][dimension] for row in rows]
            ratings = [row["expected"]["human"][dimension] for row in rows]
            scale = SCALES.get(f"{name}/{dimension}", SCALES[name])
            rated.append(
                RatedScores(
                    name=f"{name}, {dimension}",
                    scores=np.clip(scores, 0, 1),  # the recorded engagingness is a sum over sentences
                    ratings=_within(ratings, scale),
                    groups=_groups(name, rows),
                )
            )
    return rated


def hanna(folder: Path, split: str) -> dict[str, RatedScores]:
    """Five models on stories, each under the one of its four prompts that ranks train's stories best.

    A story's score and rating are the means over the six criteria; a score off the scale is taken to its end.
    """
    rows = rows_of(folder, "hanna", split)
    ratings = _within([np.mean(list(row["expected"]["human"].values())) for row in rows], SCALES["hanna"])
    return {
        model: RatedScores(
            name=f"hanna, {model}",
            scores=_hanna_scores(rows, prompt),
            ratings=ratings,
            groups=_groups("hanna", rows),
        )
        for model, prompt in _prompts(folder).items()
    }


def committee(members: dict[str, RatedScores]) -> RatedScores:
    first = next(iter(members.values()))
    scores = np.mean([member.scores for member in members.values()], axis=0)
    return RatedScores(name="hanna, committee of five", scores=scores, ratings=first.ratings, groups=first.groups)


def spread(members: dict[str, RatedScores]) -> np.ndarray:
    """Highest less lowest score of the members."""
    scores = np.array([member.scores for member in members.values()])
    return scores.max(axis=0) - scores.min(axis=0)


@cache
def _prompts(folder: Path) -> dict[str, str]:
    rows = rows_of(folder, "hanna", "train")
    ratings = [np.mean(list(row["expected"]["human"].values())) for row in rows]
    names = list(rows[0]["expected"]["logged_judge"])
    agreement = {name: spearmanr(_hanna_scores(rows, name), ratings)[0] for name in names}
    return {model: max((n for n in names if n.startswith(f"{model}/")), key=agreement.__getitem__) for model in MODELS}


def _hanna_scores(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return _within([np.mean(row["expected"]["logged_judge"][name]) for row in rows], SCALES["hanna"])


def _within(values: list[Any], scale: tuple[float, float]) -> np.ndarray:
    low, high = scale
    return np.clip((np.array(values, dtype=float) - low) / (high - low), 0, 1)


def _groups(name: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(str(row["input"][_GROUPS[name]]) for row in rows)
