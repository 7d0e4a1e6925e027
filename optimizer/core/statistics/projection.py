"""The point of a null hypothesis that is hardest to tell from an alternative: the reverse information projection."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

TOLERANCE = 1e-12  # of a Newton step; the error left after it is of the order of its square
MAX_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """``m_c`` and ``m_b`` lie on the line m_c - m_b = d0.

    ``growth``: expected log e-value per outcome under the alternative.
    """

    m_c: float
    m_b: float
    growth: float


def null_projection(theta_c: float, theta_b: float, *, w: float, d0: float) -> Projection:
    """Minimises w KL(theta_c | m_c) + (1 - w) KL(theta_b | m_b) over the line m_c = m_b + d0.

    Args:
        theta_c, theta_b: success rates of the alternative, in (0, 1).
        w: share of the block's outcomes that are the candidate's, in (0, 1).
        d0: boundary of the null in mean_c - mean_b, in (-1, 1).
    Returns:
        Projection; theta (.8, .8), w .5, d0 -.05 gives m_c .7727, m_b .8227, growth .00195.
    Raises:
        ValueError: an argument outside its range.
    Source:
        Turner, Ly and Grünwald (2024), JSPI 230, 106116; with a margin: Turner and Grünwald (2022), arXiv 2203.09785.
    """
    m_c, m_b = projected(theta_c, theta_b, w=w, d0=d0)
    return Projection(m_c=m_c, m_b=m_b, growth=w * divergence(theta_c, m_c) + (1 - w) * divergence(theta_b, m_b))


def projected(theta_c: float, theta_b: float, *, w: float, d0: float) -> tuple[float, float]:
    """(m_c, m_b) of ``null_projection`` without the growth, which costs four logarithms and which no block needs."""
    if not (0 < theta_c < 1 and 0 < theta_b < 1 and 0 < w < 1 and -1 < d0 < 1):
        raise ValueError(f"rates and w lie in (0, 1), d0 in (-1, 1); got {theta_c}, {theta_b}, w {w}, d0 {d0}")
    v = 1 - w
    low, high = max(0.0, -d0), min(1.0, 1.0 - d0)
    spread_c, spread_b = theta_c * (1 - theta_c) / w, theta_b * (1 - theta_b) / v
    # Exact for equal variances, near otherwise.
    m_b = theta_b + (theta_c - theta_b - d0) * spread_b / (spread_c + spread_b)
    if not low < m_b < high:
        m_b = (low + high) / 2
    for _ in range(MAX_STEPS):
        # f is the derivative of the objective times m_c (1 - m_c) m_b (1 - m_b): same sign, no pole. It has one root
        # in (low, high), since the objective is convex. Newton's step is taken while it stays between the bounds, else
        # half of the way.
        m_c = m_b + d0
        var_c, var_b, e_c, e_b = m_c * (1 - m_c), m_b * (1 - m_b), m_c - theta_c, m_b - theta_b
        f = w * e_c * var_b + v * e_b * var_c
        if f > 0:
            high = m_b
        else:
            low = m_b
        slope = w * (var_b + e_c * (1 - 2 * m_b)) + v * (var_c + e_b * (1 - 2 * m_c))
        following = m_b - f / slope if slope > 0 else inf
        if not low < following < high and following != m_b:
            following = (low + high) / 2
        step, m_b = abs(following - m_b), following
        if step <= TOLERANCE:
            break
    return m_b + d0, m_b


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions with p and q in (0, 1), in nats."""
    return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))
