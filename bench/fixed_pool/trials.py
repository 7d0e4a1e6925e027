"""Every rule on every pool, kept pool by pool, and what it all says with intervals over the pools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from common import Cell, beside

from fixed_pool import models, product, rejects
from fixed_pool.pools import Pool, draw, pools, published_means
from optimizer.core.search.racing import ContinuousRejects

SHARES = (0.10, 0.20, 0.33, 0.50)  # of the calls of evaluating everybody in full
SIZES = (60, 200, None)  # examples that a search may ask about; None: all of the table
OURS, BEFORE = "continuous rejects, ours", "ours before (weight 4)"
ALL_DRAWS, DRAWS_OF_MEANS, FEWER_DRAWS = 100, 8, 10
MOST_RACED = 200  # examples of a table on which the product's code, which takes its time, chooses too

RULES: dict[str, rejects.Rule] = {
    OURS: rejects.each(rejects.within_the_rows),
    BEFORE: rejects.continuous_rejects(weight=4.0, first=4, step=4, several=True),
    "continuous rejects, CR-A": rejects.continuous_rejects(),
    "continuous rejects, CR-C": rejects.continuous_rejects(against="closest"),
    "TRIPLE-CR, examples not shared": rejects.continuous_rejects(own_orders=True),
    "successive rejects": rejects.each(rejects.successive_rejects),
    "sequential halving": rejects.each(rejects.sequential_halving),
    "fewer examples for all": rejects.each(rejects.fewer_examples),
    "random subset in full": rejects.each(rejects.random_subset),
    "Thompson, paired differences": rejects.each(models.thompson),
    "Rasch on scattered cells": rejects.each(models.rasch),
}
CONSIDERED: dict[str, rejects.Rule] = {  # beside RULES, when ours was chosen on the development tables
    "ours, gaps do not count": rejects.each(partial(rejects.within_the_rows, weight=0.0)),
    "ours, weight 2": rejects.each(partial(rejects.within_the_rows, weight=2.0)),
    "ours, weight 4": rejects.each(partial(rejects.within_the_rows, weight=4.0)),
    "ours, first look at 1": rejects.each(partial(rejects.within_the_rows, first=1)),
    "ours, first look at 2": rejects.each(partial(rejects.within_the_rows, first=2)),
    "ours, first look at 4": rejects.each(partial(rejects.within_the_rows, first=4)),
    "ours, looks after each fourth": rejects.each(partial(rejects.within_the_rows, step=4)),
}
SLOW = {"Thompson, paired differences", "Rasch on scattered cells"}  # fewer draws, and none of 200 variants
THROUGH_RACE = product.through_race(lambda calls: ContinuousRejects(calls=calls, share=1.0))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables that are told together: ``n_examples`` of each may be asked about, None: all."""

    name: str
    pools: Sequence[Pool]
    n_examples: int | None = None


def groups(folder: Path, part: str) -> list[Group]:
    """Of a part its tables of answers with few, more and all examples, and its tables of means."""
    answers, means = pools(folder, part), published_means(folder, part)
    sized = [Group(name=f"{part}, {size or 'all'} rows", pools=answers, n_examples=size) for size in SIZES]
    return [group for group in (*sized, Group(name=f"{part}, means", pools=means)) if group.pools]


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """``lost``: rule -> share -> points lost in each draw.

    ``agreed``: of so many choices of ours the product's own code made the same.
    """

    pool: str
    shape: tuple[int, int]
    n_left_out: int
    lost: Mapping[str, Sequence[Sequence[float]]]
    agreed: tuple[int, int]


def measure(
    pool: Pool,
    folder: Path,
    n_draws: int | None = None,
    *,
    n_examples: int | None = None,
    rules: Mapping[str, rejects.Rule] = RULES,
) -> TableResult:
    """Measures, or reads what the same code measured before."""
    path = folder / f"{pool.name.replace('/', '-')}-{n_examples or 'all'}.json"
    n_draws = n_draws or (ALL_DRAWS if pool.means is None else DRAWS_OF_MEANS)
    what = {"code": code_digest(), "n_draws": n_draws, "rules": list(rules)}
    if path.exists():
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("what") == what:
            return TableResult(**{**value, "shape": tuple(value["shape"]), "agreed": tuple(value["agreed"])})
    measured = _measure(pool, n_draws, n_examples, rules)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"what": what, **vars(measured)}), encoding="utf-8")
    return measured


def code_digest() -> str:
    """Of the modules that decide what is measured: another rule is measured anew."""
    files = [
        *sorted(Path(__file__).parent.glob("*.py")),
        Path(str(models.__file__)).parents[2] / "optimizer" / "core" / "search" / "racing.py",
    ]
    return sha256(b"".join(path.read_bytes() for path in files if path.name != "page.py")).hexdigest()


def _measure(pool: Pool, n_draws: int, n_examples: int | None, rules: Mapping[str, rejects.Rule]) -> TableResult:
    draws = draw(pool, range(n_draws), n_examples)
    budgets = [int(share * draws.scores[0].size) for share in SHARES]
    lost: dict[str, list[list[float]]] = {}
    for name, rule in rules.items():
        if name in SLOW and pool.means is not None:
            continue
        n = min(n_draws, FEWER_DRAWS) if name in SLOW else n_draws
        lost[name] = [draws.lost(chosen, n) for chosen in rule(draws.scores[:n], budgets)]
    one = draws.scores[: draws.scores.shape[2] <= MOST_RACED]
    ours, theirs = (rule(one, budgets) for rule in (RULES[OURS], THROUGH_RACE))
    return TableResult(
        pool=pool.name,
        shape=draws.scores[0].shape,
        n_left_out=pool.n_left_out,
        lost=lost,
        agreed=(int((ours == theirs).sum()), ours.size),
    )


def cells(group: str, trials: Sequence[TableResult]) -> list[Cell]:
    """For each share and rule the mean over the pools, against ours on the same draws."""
    rows = []
    for at, share in enumerate(SHARES):
        case, means = f"{group}: points lost at {share:.0%}", np.array([np.mean(one.lost[OURS][at]) for one in trials])
        unit = "hundredths of score; bounds of the mean over the tables"
        whole = "full evaluation"
        rows.append(beside(f"{case}: {OURS}", float(means.mean()), None, whole, unit, len(trials), interval(means)))
        for name in trials[0].lost:
            if name != OURS:
                other = np.array([np.mean(one.lost[name][at]) for one in trials])
                ours = np.array([np.mean(one.lost[OURS][at][: len(one.lost[name][at])]) for one in trials])
                both, unit = (
                    (float(ours.mean()), float(other.mean())),
                    "hundredths of score; bounds of ours - other over the tables",
                )
                rows.append(beside(f"{case}: {name}", *both, name, unit, len(trials), interval(ours - other)))
    return rows


def interval(values: Any) -> tuple[float, float]:
    """95 % interval of the mean by bootstrap."""
    values = np.asarray(values, float)
    drawn = values[np.random.default_rng(1).integers(len(values), size=(4000, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
