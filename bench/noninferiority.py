"""How often "not lower by the margin" passes by the test of confirmations, where it must not and where it should.

    python bench/noninferiority.py

Exact for 0/1 scores (every table counted; for each number of discordant pairs the fewest wins that pass), simulated for
grades, for margins taken from the holdout's own champion mean and for rows that are alike in groups. Writes
bench/results/noninferiority.json and docs/reference/noninferiority-measured.md. Exits 1 where a size of the test
exceeds its level (simulated ones: beyond two standard errors).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import cache
from math import sqrt

import numpy as np
from common import Cell, options_of, write_result
from scipy.stats import binom

from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.statistics.noninferiority import exact_p, gaffke_p, not_lower

MARGIN = 0.05
SIZES, LEVELS, DISCORDANCES = (60, 100), (0.1, 0.2, 0.0125), (0.05, 0.1, 0.2, 0.4)
RUNS = 1000


def main() -> int:
    options_of(__doc__)
    cells = [*exact_cells(), *own_margin_cells(), *graded_cells(), *grouped_cells()]
    write_result("noninferiority", cells)
    missed = [cell.case for cell in cells if "size" in cell.case and (cell.ours or 0) > _allowed(cell)]
    print("\n".join(missed) or "No size exceeds its level.")
    return 1 if missed else 0


def exact_cells() -> list[Cell]:
    cells = []
    for n in SIZES:
        p_of = cache(lambda wins, losses, n=n: exact_p(n, wins, losses, MARGIN))
        for level in LEVELS:
            fewest = [_fewest(p_of, d, level) for d in range(n + 1)]
            for what, difference in (("size", MARGIN), ("power", 0.0)):
                for psi in DISCORDANCES:
                    if psi < difference:
                        continue
                    case = f"0/1 scores, level {level:g}, discordance {psi:g}: {what}"
                    cells.append(_cell(case, n, passes(n, fewest, psi, difference)))
    return cells


def own_margin_cells() -> list[Cell]:
    """h is a tenth of the champion's mean on the very same examples, as where no margin is declared;
    the candidate is worse by a tenth of the true mean.
    """
    cells, n = list[Cell](), SIZES[-1]
    for champion in (0.15, 0.3):
        rng, passed = random.Random(5), dict.fromkeys(LEVELS[:2], 0)
        for _ in range(RUNS // 3):
            lost, won, right = 0, 0, 0
            for _ in range(n):
                x = rng.random()
                right += x < champion
                lost += x < 0.1 * champion + 0.05
                won += 1 - x < 0.05
            p = exact_p(n, won, lost, quality_margin(right / n))
            for level in passed:
                passed[level] += p <= level
        for level, times in passed.items():
            case = (
                f"0/1 scores, level {level:g}, margin from the same examples, champion at {champion:g}: size"
                " (simulated)"
            )
            cells.append(_cell(case, n, times / (RUNS // 3)))
    return cells


def graded_cells() -> list[Cell]:
    """Grades whose difference is mostly small, with a full loss now and then: where a t-test fails."""
    cells, n = list[Cell](), SIZES[-1]
    for what, lost in (("size", MARGIN), ("power", 0.0)):
        rng, passed = random.Random(6), dict.fromkeys(LEVELS[:2], 0)
        for _ in range(RUNS):
            differences = [-1.0 if rng.random() < lost else rng.uniform(-0.05, 0.05) for _ in range(n)]
            p = gaffke_p(differences, margin=MARGIN)
            for level in passed:
                passed[level] += p <= level
        for level in passed:
            case = f"grades with rare full losses, level {level:g}: {what} (simulated)"
            cells.append(_cell(case, n, passed[level] / RUNS))
    return cells


def grouped_cells() -> list[Cell]:
    """A hundred groups of five rows, each row with its group's own difference or, with .3, one drawn for itself; the
    candidate is worse by the margin. Once the groups are known, once each row stands alone.
    """
    rng, n_groups, n_rows = random.Random(7), 100, 500
    groups = [row // 5 for row in range(n_rows)]
    passed = {(level, known): 0 for level in LEVELS[:2] for known in (True, False)}
    for _ in range(RUNS):
        own = [_difference(rng) for _ in range(n_groups)]
        differences = [own[group] if rng.random() < 0.7 else _difference(rng) for group in groups]
        champion, candidate = [float(d < 0) for d in differences], [float(d > 0) for d in differences]
        for level, known in passed:
            test = not_lower(champion, candidate, margin=MARGIN, level=level, groups=groups if known else None)
            passed[level, known] += test["p"] <= level
    return [
        _cell(
            f"0/1 scores, level {level:g}, groups of five rows that are alike, "
            + ("named: size (simulated)" if known else "not named: passes (simulated)"),
            n_groups if known else n_rows,
            times / RUNS,
        )
        for (level, known), times in passed.items()
    ]


def _difference(rng: random.Random) -> int:
    """1, 0 or -1 with discordance .2; worse by the margin in the mean."""
    return rng.choices((1, 0, -1), ((0.2 - MARGIN) / 2, 0.8, (0.2 + MARGIN) / 2))[0]


def passes(n: int, fewest: list[int], psi: float, difference: float) -> float:
    """Chance that so many wins come, for P(loss) - P(win) = difference."""
    share = (psi - difference) / (2 * psi)
    d = np.arange(n + 1)
    return float(binom.pmf(d, n, psi) @ binom.sf(np.array(fewest) - 1, d, share))


def _fewest(p_of: Callable[[int, int], float], d: int, level: float) -> int:
    """Of d discordant pairs the fewest wins that pass; d + 1: none does. For a given d the p falls with every win."""
    low, high = 0, d + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if p_of(middle, d - middle) <= level else (middle + 1, high)
    return low


def _cell(case: str, n: int, ours: float) -> Cell:
    return Cell(case=case, ours=ours, unit="chance of passing", n=n)


def _allowed(cell: Cell) -> float:
    level = float(cell.case.split("level ")[1].split(",")[0].split(":")[0])
    return level + (2 * sqrt(level * (1 - level) / (RUNS // 3)) if "simulated" in cell.case else 1e-9)


if __name__ == "__main__":
    sys.exit(main())
