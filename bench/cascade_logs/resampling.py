"""How often a rule loses more than it may: training rows drawn with replacement from a pool that is taken
for the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade_logs.chain_choice import choose_chain
from cascade_logs.rules import MARGIN, OURS, thresholds_of
from cascade_logs.tables import Logs
from optimizer.core.search.cascade.cross_fitted import best_thresholds, setting_of
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, replay
from optimizer.core.search.cascade.sweep import NEVER, Limit, curve
from optimizer.core.search.cascade.thresholds import LeastCost, search

RULES = (OURS, "score test in sequence", "plain bound", "expected")
SLACK = 1e-12


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Of ``n`` draws: share with a true loss above a point, and the mean true saving (0 where refused)."""

    n: int
    above: float
    saved: float


def pair_draws(pool: TierRecords, n_rows: int, n_draws: int, seed: int) -> dict[str, Draws]:
    """Each rule on the same draws of one pair."""
    rng = np.random.default_rng(seed)
    truth, strong = curve(pool), float(pool.cost_usd[:, 1].mean())
    place = {float(t): at for at, t in enumerate(truth.threshold)}
    above, saved = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0.0)
    for _ in range(n_draws):
        drawn = pool.take(rng.integers(len(pool), size=n_rows))
        for rule, threshold in thresholds_of(drawn).items():
            if threshold != NEVER:
                above[rule] += bool(truth.loss[place[threshold]] > MARGIN + SLACK)
                saved[rule] += 1 - float(truth.cost_usd[place[threshold]]) / strong
    return {rule: Draws(n=n_draws, above=above[rule] / n_draws, saved=saved[rule] / n_draws) for rule in RULES}


def expected_setting(records: TierRecords) -> CascadeSetting | None:
    """The rule that believes the records as they are, without a bound."""
    thresholds = best_thresholds(records, [Limit(most=MARGIN)])[0]
    return setting_of(records.tiers, thresholds) if thresholds is not None else None


def chain_draws(logs: Logs, tiers: Sequence[str], n_draws: int, seed: int) -> dict[str, Draws]:
    """A chain of three: its expected and confident thresholds, and the choice between it and its pairs.

    Equal rows share a part.
    """
    rng, pool = np.random.default_rng(seed), logs.pool.chain(tiers)
    names = ("chain, expected", "chain, confident", "pair or chain, chosen")
    above, saved = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for _ in range(n_draws):
        rows = rng.integers(len(pool), size=len(logs.train))
        drawn, folds = pool.take(rows), [int(x) for x in rows % 5]
        settings = (
            expected_setting(drawn),
            search(drawn, LeastCost(), folds=folds).setting,
            choose_chain(drawn, LeastCost(), folds=folds).setting,
        )
        for name, setting in zip(names, settings, strict=True):
            if setting is not None:
                outcome = replay(pool, setting)
                above[name] += bool(outcome.loss.mean > MARGIN + SLACK)
                saved[name] += outcome.saved_share.mean
    return {name: Draws(n=n_draws, above=above[name] / n_draws, saved=saved[name] / n_draws) for name in names}


def hardest_case(n_rows: int, n_draws: int, seed: int, *, loss: float = 0.0101) -> float:
    """Share of draws in which ours accepts the worst world there is for it: one confidence for all,
    losses just above a point, never a win.
    """
    rng = np.random.default_rng(seed)
    lost = np.unique(rng.binomial(n_rows, loss, size=n_draws), return_counts=True)
    accepted = 0
    for n_lost, times in zip(*lost, strict=True):
        score = np.ones((n_rows, 2))
        score[:n_lost, 0] = 0
        columns = {
            "cost_usd": np.tile([0.1, 1.0], (n_rows, 1)),
            "latency_ms": np.ones((n_rows, 2)),
            "confidence": np.ones((n_rows, 2)),
        }
        drawn = TierRecords(tiers=("cheap", "strong"), score=score, weight=np.ones(n_rows), **columns)
        accepted += int(times) * (thresholds_of(drawn)[OURS] != NEVER)
    return accepted / n_draws
