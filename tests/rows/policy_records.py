"""Records for tests of policies: drawn by chance, nothing measured."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st

from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, replay
from optimizer.core.search.cascade.sweep import NEVER

TIERS = ("tiny", "small", "middle", "large")


def records_of(score, confidence, cost_usd=None, weight=None, latency_ms=None) -> TierRecords:
    """Columns as nested lists, a row per query; by default a tier costs three times the one before."""
    score = np.array(score, dtype=float)
    n, n_tiers = score.shape
    return TierRecords(
        tiers=TIERS[-n_tiers:],
        score=score,
        cost_usd=np.tile(3.0 ** np.arange(n_tiers), (n, 1)) if cost_usd is None else np.array(cost_usd, dtype=float),
        latency_ms=np.full((n, n_tiers), 100.0) if latency_ms is None else np.array(latency_ms, dtype=float),
        confidence=np.array([[np.nan if x is None else x for x in row] for row in confidence], dtype=float),
        weight=np.ones(n) if weight is None else np.array(weight, dtype=float),
    )


def drawn_records(n: int, n_tiers: int = 2, *, seed: int = 1, loss: float = 0.3, binary: bool = True) -> TierRecords:
    """Confidences that mean something: the surer a tier, the more often it is right; the last is right most often."""
    rng = np.random.default_rng(seed)
    confidence = rng.random((n, n_tiers)).round(2)
    right = 0.9 - loss * (1 - confidence) * (np.arange(n_tiers) < n_tiers - 1)
    score = (rng.random((n, n_tiers)) < right).astype(float) if binary else right
    return records_of(score, confidence, latency_ms=rng.random((n, n_tiers)) * 1000)


@st.composite
def small_records(draw: st.DrawFn, n_tiers: int, *, most: int = 7) -> TierRecords:
    """Few rows, few distinct confidences (ties are common), some not recorded, any weights and costs."""
    n = draw(st.integers(2, most))
    rows = st.lists(st.sampled_from([None, 0.0, 0.2, 0.5, 0.7, 1.0]), min_size=n_tiers, max_size=n_tiers)
    amounts = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n_tiers, max_size=n_tiers)
    scores = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=n_tiers, max_size=n_tiers)
    return records_of(
        [draw(scores) for _ in range(n)],
        [draw(rows) for _ in range(n)],
        cost_usd=[draw(amounts) for _ in range(n)],
        weight=draw(st.lists(st.sampled_from([1.0, 2.5, 50.0]), min_size=n, max_size=n)),
    )


def every_setting(records: TierRecords) -> list[tuple[CascadeSetting | None, float, float]]:
    """By brute force: every chain of some of the tiers with every distinct threshold, its cost and its loss.

    None: the last tier alone.
    """
    share = records.weight / records.weight.sum()
    found: list[tuple[CascadeSetting | None, float, float]] = [(None, float(share @ records.cost_usd[:, -1]), 0.0)]
    values = [
        [*sorted({float(x) for x in records.confidence[:, at] if not np.isnan(x)}), NEVER]
        for at in range(len(records.tiers) - 1)
    ]
    for accept in product(*values):
        kept = [(tier, value) for tier, value in zip(records.tiers, accept, strict=False) if value != NEVER]
        if kept:
            setting = CascadeSetting(tiers=(*(t for t, _ in kept), records.tiers[-1]), accept=tuple(v for _, v in kept))
            replayed = replay(records, setting)
            found.append((setting, replayed.cost_usd.mean, replayed.loss.mean))
    return found
