"""Rows of content with a quality mark, and how good a ranking of them is: read in place, nothing of them is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.adapters.predictors.measures import group_draws
from optimizer.content.core.policy.text_statistics import text_statistics

LIGHT_COST = 0.15  # of full processing
POINTS = (0.65, 0.70, 0.75, 0.80)  # time saved
CURVE = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80)


@dataclass(frozen=True, kw_only=True)
class Content:
    """One item.

    ``group``: what its quality mark may share with others, a debate's topic or a thread; ``side`` the debate's side.
    """

    content_type: str
    title: str
    text: str
    quality: float
    group: str
    statistics: Mapping[str, float]


def read(path: Path) -> list[Content]:
    return [
        _content(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line
    ]  # splitlines() would cut at U+2028 too


def _content(row: Mapping[str, object]) -> Content:
    given, expected = row["input"], row["expected"]
    title = given["title"]  # type: ignore[index]
    return Content(
        content_type=given["content_type"],  # type: ignore[index]
        title=title,
        text=given["text"],  # type: ignore[index]
        quality=expected["quality"],  # type: ignore[index]
        group=title.split(" / ")[0],  # a debate's two sides hold the same words
        statistics=text_statistics(given["text"], title),  # type: ignore[index]
    )


def full_share(saved: float) -> float:
    """Which share may be processed fully when ``saved`` of the time is to be saved:
    65 % leaves 23.5 %, 80 % leaves 5.9 %.
    """
    return 1 - saved / (1 - LIGHT_COST)


def saved_at(share: float) -> float:
    return (1 - share) * (1 - LIGHT_COST)


def kept(rows: Sequence[Content], scores: Sequence[float], saved: float) -> np.ndarray:
    """Row numbers processed fully: the same share of each type, best scores first,
    so that no type's scores meet another's.
    """
    types, values = np.array([row.content_type for row in rows]), np.asarray(scores, dtype=float)
    chosen = []
    for each in np.unique(types):
        members = np.flatnonzero(types == each)
        chosen.append(members[np.argsort(-values[members], kind="stable")[: round(full_share(saved) * len(members))]])
    return np.concatenate(chosen)


def kept_together(scores: Sequence[float], saved: float) -> np.ndarray:
    """The same by one threshold for all types, as a plain filter has it."""
    values = np.asarray(scores, dtype=float)
    return np.argsort(-values, kind="stable")[: round(full_share(saved) * len(values))]


def quality_of(rows: Sequence[Content], chosen: np.ndarray) -> float:
    return float(np.mean([rows[i].quality for i in chosen])) if len(chosen) else float("nan")


def quality_draws(
    rows: Sequence[Content], scores: Sequence[float], saved: float, *, together: bool = False, n_draws: int = 1000
) -> np.ndarray:
    """Mean quality in ``n_draws`` bootstrap samples of whole groups;
    the same seed draws the same samples for every score.
    """
    values, draws = np.asarray(scores, dtype=float), group_draws([row.group for row in rows], seed=11, n_draws=n_draws)
    found = []
    for drawn in draws:
        its_rows, its_scores = [rows[i] for i in drawn], values[drawn]
        chosen = kept_together(its_scores, saved) if together else kept(its_rows, its_scores, saved)
        found.append(quality_of(its_rows, chosen))
    return np.array(found)
