"""Every rule on every pool, kept pool by pool, and what it all says with intervals over the pools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from common import Cell

from fixed_pool import models, product, rejects
from fixed_pool.pools import MEANS, Pool, draw
from fixed_pool.race_rules import ExpectedGain, Halving, SignedRank
from optimizer.core.search.racing import ContinuousRejects

WIDTH = 8  # calls that expected gain gives out at once
SHARES = (0.10, 0.20, 0.33, 0.50)  # of the calls of evaluating everybody in full
OURS = "continuous rejects, ours"
CHOSEN = ContinuousRejects()
ALL_DRAWS, DRAWS_OF_MEANS, FEWER_DRAWS = 30, 10, 5

RULES: dict[str, rejects.Rule] = {
    OURS: rejects.continuous_rejects(weight=CHOSEN.weight, first=CHOSEN.first, step=CHOSEN.step, several=True),
    "continuous rejects, CR-A": rejects.continuous_rejects(),
    "continuous rejects, CR-C": rejects.continuous_rejects(against="closest"),
    "TRIPLE-CR, examples not shared": rejects.continuous_rejects(own_orders=True),
    "successive rejects": rejects.each(rejects.successive_rejects),
    "sequential halving": rejects.each(rejects.sequential_halving),
    "fewer examples for all": rejects.each(rejects.fewer_examples),
    "random subset in full": rejects.each(rejects.random_subset),
    "Thompson, paired differences": rejects.each(models.thompson),
    "Rasch on scattered cells": rejects.each(models.rasch),
    "expected gain (racing.py)": product.cut_short(ExpectedGain(width=WIDTH)),
    "signed rank (racing.py)": product.cut_short(SignedRank()),
    "halving (racing.py)": product.cut_short(Halving()),
}
BY_RACE = {"expected gain (racing.py)", "signed rank (racing.py)", "halving (racing.py)"}
SLOW = {"Thompson, paired differences", "Rasch on scattered cells", *BY_RACE}  # fewer draws
NOT_ON_MEANS = {"Thompson, paired differences", *BY_RACE}  # of 200 variants: minutes for each draw
THROUGH_RACE = product.through_race(lambda calls: ContinuousRejects(calls=calls, share=1.0))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """``lost``: rule -> share -> points lost in each draw.

    ``agreed``: of so many choices of ours the product's own code made the same.
    """

    pool: str
    shape: tuple[int, int]
    n_left_out: int
    lost: Mapping[str, Sequence[Sequence[float]]]
    agreed: tuple[int, int]


def measure(pool: Pool, part: str, kept: Path, n_draws: int | None = None) -> Measured:
    """Measures, or reads what the same code measured before."""
    path = kept / f"{part}-{pool.name.replace('/', '-')}.json"
    n_draws = n_draws or (DRAWS_OF_MEANS if part == MEANS else ALL_DRAWS)
    what = {"code": code_digest(), "n_draws": n_draws}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("what") == what:
            return Measured(**{**found, "shape": tuple(found["shape"]), "agreed": tuple(found["agreed"])})
    measured = _measure(pool, part, n_draws)
    kept.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"what": what, **vars(measured)}), encoding="utf-8")
    return measured


def code_digest() -> str:
    """Of the modules that decide what is measured: another rule is measured anew."""
    files = [
        *sorted(Path(__file__).parent.glob("*.py")),
        Path(str(models.__file__)).parents[2] / "optimizer" / "core" / "search" / "racing.py",
    ]
    return sha256(b"".join(path.read_bytes() for path in files if path.name != "page.py")).hexdigest()


def _measure(pool: Pool, part: str, n_draws: int) -> Measured:
    draws = draw(pool, range(n_draws))
    budgets = [int(share * draws.scores[0].size) for share in SHARES]
    lost: dict[str, list[list[float]]] = {}
    for name, rule in RULES.items():
        if part == MEANS and name in NOT_ON_MEANS:
            continue
        n = min(n_draws, FEWER_DRAWS) if name in SLOW else n_draws
        lost[name] = [draws.lost(chosen, n) for chosen in rule(draws.scores[:n], budgets)]
    ours, theirs = RULES[OURS](draws.scores[:1], budgets), THROUGH_RACE(draws.scores[:1], budgets)
    return Measured(
        pool=pool.name, shape=draws.scores[0].shape, n_left_out=pool.n_left_out, lost=lost,
        agreed=(int((ours == theirs).sum()), ours.size)
    )  # fmt: skip


def cells(part: str, found: Sequence[Measured]) -> list[Cell]:
    """For each share and rule the mean over the pools, against ours on the same draws; then both by pool."""
    made = []
    for at, share in enumerate(SHARES):
        means = np.array([np.mean(one.lost[OURS][at]) for one in found])
        low, high = interval(means)
        made.append(
            Cell(
                case=f"{part}: points lost at {share:.0%}: {OURS}", ours=float(means.mean()), other=None,
                other_name="full evaluation", ratio=None,
                low=low, high=high, unit="hundredths of score; bounds of the mean over the tables", n=len(found),
            )
        )  # fmt: skip
        made += [
            _against(part, at, found, name) for name in RULES if name != OURS and all(name in one.lost for one in found)
        ]
    return made + [_by_pool(part, one, at) for one in found for at in range(len(SHARES))]


def _against(part: str, at: int, found: Sequence[Measured], name: str) -> Cell:
    other = np.array([np.mean(one.lost[name][at]) for one in found])
    ours = np.array([np.mean(one.lost[OURS][at][: len(one.lost[name][at])]) for one in found])
    low, high = interval(ours - other)
    a, b = float(ours.mean()), float(other.mean())
    return Cell(
        case=f"{part}: points lost at {SHARES[at]:.0%}: {name}", ours=a, other=b, other_name=name,
        ratio=a / b if b else None, low=low, high=high,
        unit="hundredths of score; bounds of ours - other over the tables", n=len(found),
    )  # fmt: skip


def _by_pool(part: str, one: Measured, at: int) -> Cell:
    name = "continuous rejects, CR-A"
    ours, other = np.array(one.lost[OURS][at]), np.array(one.lost[name][at])
    low, high = interval(ours - other)
    n_variants, n_examples = one.shape
    return Cell(
        case=(
            f"{part}, {one.pool} ({n_variants} x {n_examples}, {one.n_left_out} left out): points lost at"
            f" {SHARES[at]:.0%}"
        ),
        ours=float(ours.mean()),
        other=float(other.mean()),
        other_name=name,
        ratio=None,
        low=low,
        high=high,
        unit="hundredths of score; bounds of ours - other over the draws",
        n=len(ours),
    )


def interval(values: Any) -> tuple[float, float]:
    """95 % interval of the mean by bootstrap."""
    values = np.asarray(values, float)
    drawn = values[np.random.default_rng(1).integers(len(values), size=(4000, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
