"""What is measured on one set, as cells of the result file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt

import numpy as np
from common import Cell

from cascade_logs.resampling import Draws, chain_draws, pair_draws
from cascade_logs.rules import MARGIN, OURS, Judged, Learned, best_on, judge, judged_by_rule, thresholds_of
from cascade_logs.tables import Logs
from optimizer.core.search.cascade.replay import replay
from optimizer.core.search.cascade.thresholds import LeastCost, search
from optimizer.core.search.cascade.weighted import LOSSES, figure
from optimizer.core.statistics.interval import wilson_interval

CHEAP, STRONG = "gpt-4o-mini", "gpt-4o"
CHAINS = (("llama3.1-8b", CHEAP, STRONG), (CHEAP, "llama3.1-70b", "llama3.1-405b"))
N_BOOT = 400
ALLOWED = 0.1
N_AGAIN, AGAIN = 3000, 1000  # draws of a pair that was above what is allowed, and where their seeds begin
FOURS = 7  # every so manieth chain of four is searched


def with_confidence(logs: Logs, *, n_draws: int, n_chain_draws: int) -> list[Cell]:
    """Pairs, chains and resamplings of one set whose answers come with a confidence."""
    learned, pairs = Learned(logs), list(logs.pairs())
    judged: dict[str, list[Judged]] = {}
    cells = list[Cell]()
    for at, (cheap, strong) in enumerate(pairs):
        train, dev = logs.train.chain([cheap, strong]), logs.dev.chain([cheap, strong])
        by_rule = {**judged_by_rule(train, dev, learned), "best on dev": best_on(dev)}
        for rule, found in by_rule.items():
            judged.setdefault(rule, []).append(found)
        drawn = pair_draws(logs.pool.chain([cheap, strong]), len(train), n_draws, seed=at)
        cells += _pair_cells(logs, cheap, strong, by_rule, drawn)
        if drawn[OURS].above > ALLOWED:
            again = pair_draws(logs.pool.chain([cheap, strong]), len(train), N_AGAIN, seed=AGAIN + at)
            cells.append(_again(f"{logs.name}: {cheap} > {strong}", again))
    cells += _all_pairs(logs, judged, pairs)
    for tiers in CHAINS:
        cells += [
            _chain_draw(logs, tiers, name, d) for name, d in chain_draws(logs, tiers, n_chain_draws, seed=1).items()
        ]
    return cells + _chains(logs)


def _again(case: str, drawn: dict[str, Draws]) -> Cell:
    """Of many pairs some are above by luck: more draws, and other ones, tell which."""
    ours = drawn[OURS]
    between = wilson_interval(round(ours.above * ours.n), ours.n)
    return cell_of(
        f"{case}: drawn again",
        ours.above,
        drawn["plain bound"].above,
        "plain bound",
        between.lower,
        between.upper,
        "share of other draws with a true loss above .01; bounds of ours",
        ours.n,
    )


def _pair_cells(logs: Logs, cheap: str, strong: str, by_rule: dict[str, Judged], drawn: dict[str, Draws]) -> list[Cell]:
    case, dev = f"{logs.name}: {cheap} > {strong}", logs.dev
    usd = dev.chain([strong]).cost_usd[:, 0]
    cells = []
    for rule in (
        [r for r in by_rule if r != OURS]
        if (cheap, strong) == (CHEAP, STRONG)
        else ["best on dev", "expected", "plain bound"]
    ):
        saved, low, high = _saved(by_rule[OURS], usd)
        cells.append(
            cell_of(
                f"{case}: saved on dev vs {rule}",
                saved,
                _saved(by_rule[rule], usd)[0],
                rule,
                low,
                high,
                "share of the strong model's cost; bounds of ours",
                len(dev),
            )
        )
        ours, other = (figure(by_rule[r].loss, np.ones(len(dev)), LOSSES) for r in (OURS, rule))
        bounds = (0.0, 0.0) if by_rule[OURS].refused else (ours.low, ours.high)
        cells.append(
            cell_of(
                f"{case}: loss on dev vs {rule}",
                ours.mean,
                other.mean,
                rule,
                *bounds,
                "mean score, strong less cascade; bounds of ours",
                len(dev),
            )
        )
    for rule in [r for r in drawn if r != OURS]:
        n = drawn[OURS].n
        between = wilson_interval(round(drawn[OURS].above * n), n)
        cells += [
            cell_of(
                f"{case}: above a point vs {rule}",
                drawn[OURS].above,
                drawn[rule].above,
                rule,
                between.lower,
                between.upper,
                "share of draws with a true loss above .01; bounds of ours",
                n,
            ),
            cell_of(
                f"{case}: saved over draws vs {rule}",
                drawn[OURS].saved,
                drawn[rule].saved,
                rule,
                None,
                None,
                "mean true saving, share of the strong model's cost",
                n,
            ),
        ]
    return cells


def _all_pairs(logs: Logs, judged: dict[str, list[Judged]], pairs: Sequence[tuple[str, str]]) -> list[Cell]:
    """Means over all pairs, with intervals from drawing dev queries again (bootstrap; the pairs share them)."""
    n = len(logs.dev)
    share = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=N_BOOT) / n
    strong = np.column_stack([logs.dev.chain([b]).cost_usd[:, 0] for _, b in pairs])
    means = {}
    for rule, found in judged.items():
        cost, loss = np.column_stack([f.cost for f in found]), np.column_stack([f.loss for f in found])
        means[rule] = (
            1 - cost.mean(axis=0) / strong.mean(axis=0),
            loss.mean(axis=0),
            (1 - (share @ cost) / (share @ strong)).mean(axis=1),
            (share @ loss).mean(axis=1),
        )
    cells = []
    for rule in [r for r in judged if r != OURS]:
        (saved, loss, saved_drawn, loss_drawn), (o_saved, o_loss, o_saved_drawn, o_loss_drawn) = (
            means[OURS],
            means[rule],
        )
        for what, ours, other, drawn in (
            ("saved", saved, o_saved, saved_drawn - o_saved_drawn),
            ("loss", loss, o_loss, loss_drawn - o_loss_drawn),
        ):
            low, high = (float(x) for x in np.quantile(drawn, [0.025, 0.975]))
            cells.append(
                cell_of(
                    f"{logs.name}: all pairs: {what} vs {rule}",
                    ours.mean(),
                    other.mean(),
                    rule,
                    low,
                    high,
                    f"mean {what} on dev; bounds of ours - other",
                    len(pairs),
                )
            )
        above = [float((x > MARGIN + 1e-12).mean()) for x in (loss, o_loss)]
        cells.append(
            cell_of(
                f"{logs.name}: all pairs: above a point vs {rule}",
                *above,
                rule,
                None,
                None,
                "share of pairs with a dev loss above .01",
                len(pairs),
            )
        )
    return cells


def _chains(logs: Logs) -> list[Cell]:
    """Chains of three and four that end with the strong model, by both rules: on train, and on dev."""
    cheaper = logs.train.tiers[: logs.train.tiers.index(STRONG)]
    cells = []
    for length, chains in ((3, list(ending(cheaper, 2))), (4, list(ending(cheaper, 3))[::FOURS])):
        found: dict[str, list[tuple[float, float, float]]] = {"expected": [], OURS: []}
        for tiers in chains:
            train, dev = logs.train.chain(tiers), logs.dev.chain(tiers)
            for rule in (OURS, "expected"):
                one = search(train, LeastCost(rule="expected" if rule == "expected" else "confident"))
                judged = replay(dev, one.setting) if one.setting else None
                found[rule].append(
                    (one.replay.saved_share.mean, judged.saved_share.mean, judged.loss.mean)
                    if one.replay and judged
                    else (0.0, 0.0, 0.0)
                )
        mean = {rule: np.mean(values, axis=0) for rule, values in found.items()}
        above = {rule: float(np.mean([v[2] > MARGIN + 1e-12 for v in values])) for rule, values in found.items()}
        for at, what in enumerate(("saved on train", "saved on dev", "loss on dev")):
            cells.append(
                cell_of(
                    f"{logs.name}: chains of {length}: {what} vs expected",
                    mean[OURS][at],
                    mean["expected"][at],
                    "expected",
                    None,
                    None,
                    "mean over chains",
                    len(chains),
                )
            )
        cells.append(
            cell_of(
                f"{logs.name}: chains of {length}: above a point vs expected",
                above[OURS],
                above["expected"],
                "expected",
                None,
                None,
                "share of chains with a dev loss above .01",
                len(chains),
            )
        )
    return cells


def ending(cheaper: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [(*some, STRONG) for some in combinations(cheaper, n)]


def _chain_draw(logs: Logs, tiers: Sequence[str], name: str, drawn: Draws) -> Cell:
    between = wilson_interval(round(drawn.above * drawn.n), drawn.n)
    case = f"{logs.name}: {' > '.join(tiers)}: above a point, {name}"
    return cell_of(
        case,
        drawn.above,
        drawn.saved,
        "mean true saving",
        between.lower,
        between.upper,
        "share of draws with a true loss above .01",
        drawn.n,
    )


def query_only(logs: Logs) -> list[Cell]:
    """Sets without a recorded confidence: routed by RouteLLM's rule on the query alone, prices set by hand."""
    cheap, strong = next(logs.pairs())
    train, dev = Learned(logs).router(cheap, strong)
    found, usd = thresholds_of(train, before_call=True), dev.cost_usd[:, 1]
    by_rule = {
        OURS: judge(dev, found[OURS], before_call=True),
        "expected": judge(dev, found["expected"], before_call=True),
        "RouteLLM, half of the calls": judge(dev, float(np.quantile(train.confidence[:, 0], 0.5)), before_call=True),
        "always cheap": Judged(cost=dev.cost_usd[:, 0], loss=dev.score[:, 1] - dev.score[:, 0]),
    }
    cells = []
    for rule in [r for r in by_rule if r != OURS]:
        saved, low, high = _saved(by_rule[OURS], usd)
        ours, other = (figure(by_rule[r].loss, np.ones(len(dev)), LOSSES) for r in (OURS, rule))
        bounds = (0.0, 0.0) if by_rule[OURS].refused else (ours.low, ours.high)
        cells += [
            cell_of(
                f"{logs.name}: query only: saved vs {rule}",
                saved,
                _saved(by_rule[rule], usd)[0],
                rule,
                low,
                high,
                "share of the strong model's cost on dev; bounds of ours",
                len(dev),
            ),
            cell_of(
                f"{logs.name}: query only: loss vs {rule}",
                ours.mean,
                other.mean,
                rule,
                *bounds,
                "mean score on dev, strong less routed; bounds of ours",
                len(dev),
            ),
        ]
    return cells


def _saved(found: Judged, strong_usd: np.ndarray) -> tuple[float, float, float]:
    """Share of the strong model's cost, with a 95 % interval (delta method); 0 for certain where refused."""
    if found.refused:
        return 0.0, 0.0, 0.0
    ratio, n = found.cost.mean() / strong_usd.mean(), len(strong_usd)
    half = 1.96 * float(np.std((found.cost - ratio * strong_usd) / strong_usd.mean())) / sqrt(n)
    return 1 - float(ratio), 1 - float(ratio) - half, 1 - float(ratio) + half


def cell_of(
    case: str, ours: float, other: float | None, name: str, low: float | None, high: float | None, unit: str, n: int
) -> Cell:
    ours, other = round(float(ours), 6), None if other is None else round(float(other), 6)
    return Cell(
        case=case,
        ours=ours,
        other=other,
        other_name=name,
        ratio=round(ours / other, 4) if other else None,
        low=None if low is None else round(float(low), 6),
        high=None if high is None else round(float(high), 6),
        unit=unit,
        n=n,
    )
