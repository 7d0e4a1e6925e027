"""Monitors of one stream of 0/1 outcomes, run side by side over many streams: what table D compares.

Page (1954), Biometrika 41 (CUSUM; Page-Hinkley is its form for the mean); e-CUSUM: Shin, Ramdas and Rinaldo (2023),
NEJSDS. Each takes the next outcome of every stream and returns its statistic per stream; an alarm is a statistic at or
above the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np

DROPS, WEIGHTS = (0.05, 0.10, 0.20), (0.40, 0.35, 0.25)
Monitor = Callable[[np.ndarray], np.ndarray]


def cusum(p0: float, drop: float) -> Monitor:
    up, down = log((p0 - drop) / p0), log((1 - p0 + drop) / (1 - p0))
    state: list[np.ndarray | float] = [0.0]

    def step(y: np.ndarray) -> np.ndarray:
        state[0] = np.maximum(0.0, state[0] + np.where(y, up, down))
        return np.asarray(state[0])

    return step


def three_cusums(p0: float) -> Monitor:
    """The largest of three CUSUMs, one for each drop that the product's detector looks for."""
    steps = [cusum(p0, drop) for drop in DROPS]

    def step(y: np.ndarray) -> np.ndarray:
        return np.asarray(np.max([one(y) for one in steps], axis=0))

    return step


def page_hinkley(p0: float, *, slack: float = 0.025) -> Monitor:
    """How far the mean lies below ``p0`` by more than half of the smallest drop looked for, summed, never below 0."""
    state: list[np.ndarray | float] = [0.0]

    def step(y: np.ndarray) -> np.ndarray:
        state[0] = np.maximum(0.0, state[0] + p0 - slack - y)
        return np.asarray(state[0])

    return step


def e_cusum(p0: float) -> Monitor:
    """Like the product's detector, but M <- max(M, 1) L."""
    ratios = [(log((p0 - d) / p0), log((1 - p0 + d) / (1 - p0))) for d in DROPS]
    logs: list[np.ndarray | float] = [0.0] * len(DROPS)

    def step(y: np.ndarray) -> np.ndarray:
        for i, (up, down) in enumerate(ratios):
            logs[i] = np.maximum(0.0, logs[i]) + np.where(y, up, down)
        return np.asarray(np.log(sum(w * np.exp(m) for w, m in zip(WEIGHTS, logs, strict=True))))

    return step


def window_mean(p0: float, *, n: int = 200) -> Monitor:
    """How far the mean of the last 200 outcomes lies below ``p0``; at first the window is full of what is usual."""
    shares: list[np.ndarray | float] = [p0] * n
    total: list[np.ndarray | float] = [p0 * n]

    def step(y: np.ndarray) -> np.ndarray:
        shares.append(y)
        total[0] = total[0] + y - shares.pop(0)
        return p0 - np.asarray(total[0]) / n

    return step


MONITORS: dict[
    str, tuple[Callable[[float], Monitor], float]
] = {  # thresholds for about 10,000 outcomes without change at .80
    "CUSUM, drop .10": (lambda p0: cusum(p0, 0.10), 5.40),
    "three CUSUMs": (three_cusums, 6.59),
    "Page-Hinkley": (page_hinkley, 14.5),
    "e-CUSUM": (e_cusum, 5.59),
    "window of 200": (window_mean, 0.085 - 1e-9),
}
