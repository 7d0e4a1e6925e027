"""Labelled blocks drawn by chance, how the runs ended, and the cells made of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist

import numpy as np
from common import Cell, beside

from optimizer.core.statistics.outcomes import Block, Outcomes

BASE, DELTA, BLOCK = 0.80, 0.05, 40
REFERENCE = "reference table"
STARTED = time.perf_counter()


@dataclass(kw_only=True)
class Tally:
    """Ends of the runs of one rule in one case, with labelled outcomes used (all, and on the candidate) per run."""

    ends: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    on_candidate: list[float] = field(default_factory=list)

    def add(self, end: str, labels: int, on_candidate: float) -> None:
        self.ends.append(end)
        self.labels.append(labels)
        self.on_candidate.append(on_candidate)

    def share(self, end: str) -> float:
        return self.ends.count(end) / len(self.ends)

    def labels_of(self, end: str | None) -> list[int]:
        return [n for n, e in zip(self.labels, self.ends, strict=True) if end is None or e == end]


def share_cell(case: str, ours: Tally, end: str, other: float | None, other_name: str) -> Cell:
    share, n = ours.share(end), len(ours.ends)
    unit = "share of rollouts; bounds of ours"
    return beside(f"{case} vs {other_name}", share, other, other_name, unit, n, wilson(share, n))


def wilson(share: float, n: int, z: float = NormalDist().inv_cdf(0.975)) -> tuple[float, float]:
    middle, half = (
        (share + z * z / (2 * n)) / (1 + z * z / n),
        z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    return max(0.0, middle - half), middle + half


def mean_cell(case: str, ours: Sequence[float], other: float | None, other_name: str, unit: str) -> list[Cell]:
    """None without a value."""
    if not ours:
        return []
    values = np.asarray(ours, dtype=float)
    mean, half = float(values.mean()), 1.96 * float(values.std()) / sqrt(len(values))
    bounds, unit = (mean - half, mean + half), f"{unit}; bounds of ours"
    return [beside(f"{case} vs {other_name}", mean, other, other_name, unit, len(values), bounds)]


def p90(values: Sequence[float]) -> float:
    return float(sorted(values)[int(0.9 * len(values))])


def draw_block(
    rng: np.random.Generator, share: float, p_c: float, p_b: float, champion_share: float | None = None
) -> list[int]:
    """n_c, s_c, n_b, s_b of 40 labelled units: each unit's arm is drawn as a hash would."""
    n_c = int(rng.binomial(BLOCK, share))
    rest = 1 - share
    n_b = (
        BLOCK - n_c
        if champion_share is None or champion_share >= rest - 1e-12
        else int(rng.binomial(BLOCK - n_c, champion_share / rest))
    )
    return [n_c, int(rng.binomial(n_c, p_c)), n_b, int(rng.binomial(n_b, p_b))]


def as_block(stage: int, counts: list[int]) -> Block:
    n_c, s_c, n_b, s_b = counts
    return Block(stage=stage, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(n_b, s_b))


def progress(what: str) -> None:
    print(f"{time.perf_counter() - STARTED:7.0f} s  {what}", file=sys.stderr, flush=True)
