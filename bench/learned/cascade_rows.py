"""Recorded answers of two models to the same queries, and what a threshold on a confidence saves:
read in place, nothing of them is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.core.predictor.answer_features import logit
from optimizer.core.predictor.request_features import request_features

LOSS = 0.01  # one point of quality


@dataclass(frozen=True, kw_only=True)
class TierPair:
    """Columns over queries. ``cheap`` and ``strong``: right (1, 0); costs are per query."""

    ids: Sequence[str]
    numbers: Sequence[Mapping[str, float | None]]
    texts: Sequence[Mapping[str, str]]
    cheap: np.ndarray
    strong: np.ndarray
    cheap_cost: np.ndarray
    strong_cost: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Share of the strong model's cost that is saved, and the points of quality that are lost (negative: gained)."""

    saved: float
    lost: float


def read(path: Path, cheap: str, strong: str) -> TierPair:
    rows = [
        json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line
    ]  # splitlines() would cut at U+2028 too
    models = [row["expected"]["models"] for row in rows]
    numbers: list[dict[str, float | None]] = []
    for row, answered in zip(rows, models, strict=True):
        recorded = answered[cheap]["confidence"]
        features: dict[str, float | None] = dict(request_features(row["input"]["query"]))
        features["answer.confidence_logit"] = None if recorded is None else logit(recorded)
        features["answer.confidence_given"] = float(recorded is not None)
        numbers.append(features)

    def column(model: str, name: str) -> np.ndarray:
        return np.array([each[model][name] for each in models], dtype=float)

    return TierPair(
        ids=[row["id"] for row in rows],
        numbers=numbers,
        texts=[{"query": row["input"]["query"]} for row in rows],
        cheap=column(cheap, "correct"),
        strong=column(strong, "correct"),
        cheap_cost=column(cheap, "cost_usd"),
        strong_cost=column(strong, "cost_usd"),
    )


def at_threshold(pair: TierPair, confidence: np.ndarray, threshold: float) -> Saving:
    """Cheap answers of this confidence or more are accepted, the others are asked of the strong model, too."""
    if np.isinf(threshold):
        return Saving(saved=0.0, lost=0.0)  # nothing cheaper is safe: no cascade, so no cheap call either
    accepted = confidence >= threshold
    paid = np.where(accepted, pair.cheap_cost, pair.strong_cost + pair.cheap_cost)
    quality = np.where(accepted, pair.cheap, pair.strong)
    return Saving(
        saved=float(1 - paid.sum() / pair.strong_cost.sum()), lost=float(100 * (pair.strong - quality).mean())
    )


def best_threshold(pair: TierPair, confidence: np.ndarray, loss: float = LOSS) -> float:
    """The threshold that saves most on these rows with a mean loss of at most ``loss``;
    infinity (all to the strong model) where none saves anything.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))  # equal confidences are accepted together
    lost = np.cumsum((pair.strong - pair.cheap)[order])[last] / len(order)
    paid = np.cumsum((pair.cheap_cost - pair.strong_cost - pair.cheap_cost)[order])[last]
    saved = -paid - pair.cheap_cost.sum()
    allowed = np.flatnonzero((lost <= loss + 1e-12) & (saved > 0))
    return float(confidence[order][last[allowed[np.argmax(saved[allowed])]]]) if len(allowed) else float("inf")


def random_mixing(pair: TierPair, loss: float = LOSS) -> float:
    """What is saved when as many queries, drawn at random, go to the cheap model as one point of loss allows."""
    gap = float((pair.strong - pair.cheap).mean())
    share = 1.0 if gap <= loss else loss / gap
    return share * (1 - float(pair.cheap_cost.sum() / pair.strong_cost.sum()))
