"""What is measured on one set, as cells of the result file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt

import numpy as np
from common import Bounds, Cell

from cascade_logs.resampling import Draws, chain_draws, expected_setting, hardest_case, pair_draws
from cascade_logs.rules import MARGIN, OURS, RuleOutcome, TextRouters, best_on, judge, judged_by_rule, thresholds_of
from cascade_logs.tables import Logs
from optimizer.core.search.cascade.records import LOSSES, figure, replay
from optimizer.core.search.cascade.thresholds import LeastCost, search
from optimizer.core.statistics.interval import wilson_interval

CHEAP, STRONG = "gpt-4o-mini", "gpt-4o"
CHAINS = (("llama3.1-8b", CHEAP, STRONG), (CHEAP, "llama3.1-70b", "llama3.1-405b"))
N_BOOT = 400
ALLOWED = 0.1
N_AGAIN, AGAIN = 3000, 1000  # draws of a pair that was above what is allowed, and where their seeds begin
FOURS = 7  # every so manieth chain of four is searched


def with_confidence(logs: Logs, *, n_draws: int, n_chain_draws: int) -> list[Cell]:
    """Pairs, chains and resamplings of one set whose answers come with a confidence."""
    learned, pairs = TextRouters(logs), list(logs.pairs())
    judged: dict[str, list[RuleOutcome]] = {}
    cells = list[Cell]()
    for at, (cheap, strong) in enumerate(pairs):
        train, dev = logs.train.chain([cheap, strong]), logs.dev.chain([cheap, strong])
        by_rule = {**judged_by_rule(train, dev, learned), "best on dev": best_on(dev)}
        for rule, choice in by_rule.items():
            judged.setdefault(rule, []).append(choice)
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
    ours, unit = drawn[OURS], "share of other draws with a true loss above .01; bounds of ours"
    plain = drawn["plain bound"].above
    return cell_of(f"{case}: drawn again", ours.above, plain, "plain bound", unit, ours.n, _wilson(ours))


def hardest(n_rows: int) -> Cell:
    n = 20_000
    drawn = Draws(n=n, above=hardest_case(n_rows, n, seed=1), saved=0.0)
    unit = "share of draws accepted though the true loss is .0101"
    return cell_of(f"hardest case, {n_rows} records", drawn.above, ALLOWED, "allowed", unit, n, _wilson(drawn))


def _wilson(drawn: Draws) -> Bounds:
    between = wilson_interval(round(drawn.above * drawn.n), drawn.n)
    return between.lower, between.upper


def _pair_cells(
    logs: Logs, cheap: str, strong: str, by_rule: dict[str, RuleOutcome], drawn: dict[str, Draws]
) -> list[Cell]:
    case, usd = f"{logs.name}: {cheap} > {strong}", logs.dev.chain([strong]).cost_usd[:, 0]
    is_key = (cheap, strong) == (CHEAP, STRONG)
    rules = [r for r in by_rule if r != OURS] if is_key else ["best on dev", "expected", "plain bound"]
    cells = []
    for rule in rules:
        units = ("share of the strong model's cost; bounds of ours", "mean score, strong less cascade; bounds of ours")
        cells += _against(case, " on dev", rule, by_rule, usd, units)
    ours, above = drawn[OURS], "share of draws with a true loss above .01; bounds of ours"
    for rule in [r for r in drawn if r != OURS]:
        case_of, other = f"{case}: above a point vs {rule}", drawn[rule]
        cells.append(cell_of(case_of, ours.above, other.above, rule, above, ours.n, _wilson(ours)))
        unit = "mean true saving, share of the strong model's cost"
        cells.append(cell_of(f"{case}: saved over draws vs {rule}", ours.saved, other.saved, rule, unit, ours.n))
    return cells


def _against(
    case: str, where: str, rule: str, by_rule: dict[str, RuleOutcome], usd: np.ndarray, units: tuple[str, str]
) -> list[Cell]:
    """What ours saves and loses, record by record, beside one other rule."""
    n, (saved, low, high) = len(usd), _saved(by_rule[OURS], usd)
    ours, other = (figure(by_rule[r].loss, np.ones(n), LOSSES) for r in (OURS, rule))
    bounds = (0.0, 0.0) if by_rule[OURS].refused else (ours.low, ours.high)
    theirs = _saved(by_rule[rule], usd)[0]
    return [
        cell_of(f"{case}: saved{where} vs {rule}", saved, theirs, rule, units[0], n, (low, high)),
        cell_of(f"{case}: loss{where} vs {rule}", ours.mean, other.mean, rule, units[1], n, bounds),
    ]


def _all_pairs(logs: Logs, judged: dict[str, list[RuleOutcome]], pairs: Sequence[tuple[str, str]]) -> list[Cell]:
    """Means over all pairs, with intervals from drawing dev queries again (bootstrap; the pairs share them)."""
    n, n_pairs, case = len(logs.dev), len(pairs), f"{logs.name}: all pairs"
    share = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=N_BOOT) / n
    strong = np.column_stack([logs.dev.chain([b]).cost_usd[:, 0] for _, b in pairs])
    means = {}
    for rule, outcome in judged.items():
        cost, loss = np.column_stack([f.cost for f in outcome]), np.column_stack([f.loss for f in outcome])
        means[rule] = {
            "saved": (
                1 - cost.mean(axis=0) / strong.mean(axis=0),
                (1 - (share @ cost) / (share @ strong)).mean(axis=1),
            ),
            "loss": (loss.mean(axis=0), (share @ loss).mean(axis=1)),
        }
    cells = []
    for rule in [r for r in judged if r != OURS]:
        for what in ("saved", "loss"):
            (ours, our_draws), (other, other_draws) = means[OURS][what], means[rule][what]
            low, high = (float(x) for x in np.quantile(our_draws - other_draws, [0.025, 0.975]))
            unit = f"mean {what} on dev; bounds of ours - other"
            cells.append(
                cell_of(f"{case}: {what} vs {rule}", ours.mean(), other.mean(), rule, unit, n_pairs, (low, high))
            )
        above = [float((means[r]["loss"][0] > MARGIN + 1e-12).mean()) for r in (OURS, rule)]
        unit = "share of pairs with a dev loss above .01"
        cells.append(cell_of(f"{case}: above a point vs {rule}", *above, rule, unit, n_pairs))
    return cells


def _chains(logs: Logs) -> list[Cell]:
    """Chains of three and four that end with the strong model, by both rules: on train, and on dev."""
    cheaper = logs.train.tiers[: logs.train.tiers.index(STRONG)]
    cells = []
    for length, chains in ((3, list(ending(cheaper, 2))), (4, list(ending(cheaper, 3))[::FOURS])):
        gains: dict[str, list[tuple[float, float, float]]] = {"expected": [], OURS: []}
        for tiers in chains:
            train, dev = logs.train.chain(tiers), logs.dev.chain(tiers)
            for rule in (OURS, "expected"):
                setting = search(train, LeastCost()).setting if rule == OURS else expected_setting(train)
                if setting is None:
                    gains[rule].append((0.0, 0.0, 0.0))
                else:
                    judged = replay(dev, setting)
                    saved = replay(train, setting).saved_share.mean
                    gains[rule].append((saved, judged.saved_share.mean, judged.loss.mean))
        case, n = f"{logs.name}: chains of {length}", len(chains)
        mean = {rule: np.mean(values, axis=0) for rule, values in gains.items()}
        for at, what in enumerate(("saved on train", "saved on dev", "loss on dev")):
            both = mean[OURS][at], mean["expected"][at]
            cells.append(cell_of(f"{case}: {what} vs expected", *both, "expected", "mean over chains", n))
        above = [float(np.mean([v[2] > MARGIN + 1e-12 for v in gains[rule]])) for rule in (OURS, "expected")]
        unit = "share of chains with a dev loss above .01"
        cells.append(cell_of(f"{case}: above a point vs expected", *above, "expected", unit, n))
    return cells


def ending(cheaper: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [(*some, STRONG) for some in combinations(cheaper, n)]


def _chain_draw(logs: Logs, tiers: Sequence[str], name: str, drawn: Draws) -> Cell:
    case, unit = f"{logs.name}: {' > '.join(tiers)}: above a point, {name}", "share of draws with a true loss above .01"
    return cell_of(case, drawn.above, drawn.saved, "mean true saving", unit, drawn.n, _wilson(drawn))


def query_only(logs: Logs) -> list[Cell]:
    """Sets without a recorded confidence: routed by RouteLLM's rule on the query alone, prices set by hand."""
    cheap, strong = next(logs.pairs())
    train, dev = TextRouters(logs).router(cheap, strong)
    thresholds, usd = thresholds_of(train, before_call=True), dev.cost_usd[:, 1]
    by_rule = {
        OURS: judge(dev, thresholds[OURS], before_call=True),
        "expected": judge(dev, thresholds["expected"], before_call=True),
        "RouteLLM, half of the calls": judge(dev, float(np.quantile(train.confidence[:, 0], 0.5)), before_call=True),
        "always cheap": RuleOutcome(cost=dev.cost_usd[:, 0], loss=dev.score[:, 1] - dev.score[:, 0]),
    }
    units = (
        "share of the strong model's cost on dev; bounds of ours",
        "mean score on dev, strong less routed; bounds of ours",
    )
    others = [r for r in by_rule if r != OURS]
    return [cell for rule in others for cell in _against(f"{logs.name}: query only", "", rule, by_rule, usd, units)]


def _saved(judged: RuleOutcome, strong_usd: np.ndarray) -> tuple[float, float, float]:
    """Share of the strong model's cost, with a 95 % interval (delta method); 0 for certain where refused."""
    if judged.refused:
        return 0.0, 0.0, 0.0
    ratio, n = judged.cost.mean() / strong_usd.mean(), len(strong_usd)
    half = 1.96 * float(np.std((judged.cost - ratio * strong_usd) / strong_usd.mean())) / sqrt(n)
    return 1 - float(ratio), 1 - float(ratio) - half, 1 - float(ratio) + half


def cell_of(case: str, ours: float, other: float, name: str, unit: str, n: int, bounds: Bounds = (None, None)) -> Cell:
    ours, other = round(float(ours), 6), round(float(other), 6)
    low, high = (None if bound is None else round(float(bound), 6) for bound in bounds)
    ratio = round(ours / other, 4) if other else None
    return Cell(case=case, ours=ours, other=other, other_name=name, ratio=ratio, low=low, high=high, unit=unit, n=n)
