"""Group-sequential bounds by alpha spending: a few planned looks. Needs numpy and scipy; computed once per plan."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

NORMAL = NormalDist()
POINTS = 4001
REACH = 8.0


def obrien_fleming_spent(information: float, alpha: float) -> float:
    """Lan and DeMets (1983), one-sided: 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t))."""
    return 2 - 2 * NORMAL.cdf(NORMAL.inv_cdf(1 - alpha / 2) / information**0.5)


def lan_demets_bounds(information: Sequence[float], *, alpha: float) -> list[float]:
    """z at each look (fractions of the full information, rising to 1)
    so that exactly the O'Brien-Fleming alpha is spent.

    The density of the score process among trials not yet stopped is carried from look to look on a grid (Armitage,
    McPherson and Rowe 1969), and each bound found by bisection.
    """
    bounds: list[float] = []
    spent = 0.0
    grid = np.array([0.0])
    density = np.array([1.0])  # times the grid's step: probabilities
    before = 0.0
    for t in information:
        step_sd = (t - before) ** 0.5
        to_spend = obrien_fleming_spent(t, alpha) - spent
        low, high = -REACH, REACH
        while high - low > 1e-10:
            z = (low + high) / 2
            crossing = float(np.sum(density * ndtr((grid - z * t**0.5) / step_sd)))
            low, high = (z, high) if crossing > to_spend else (low, z)
        z = (low + high) / 2
        bounds.append(z)
        spent += to_spend
        following = np.linspace(-REACH * t**0.5, z * t**0.5, POINTS)
        width = following[1] - following[0]
        kernel = np.exp(-0.5 * ((following[:, None] - grid[None, :]) / step_sd) ** 2) / (step_sd * (2 * np.pi) ** 0.5)
        weights = np.full(POINTS, width)
        weights[[0, -1]] /= 2
        density = (kernel @ density) * weights
        grid, before = following, t
    return bounds
