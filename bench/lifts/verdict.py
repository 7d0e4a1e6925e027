"""Whether a family holds its bar, from the answers of both seeds to the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common import ratio_interval

from lifts.plan import ABSOLUTE, AT_CEILING, LEAST_BASE, PLAN
from optimizer.core.evaluation.comparison import compare_scores

Pair = tuple[float, float]  # an interval's ends


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Of the figure, means over seeds and rows, with 95 % intervals by paired bootstrap over rows.

    ``relative`` None: the base is below the least one of which a share says anything.
    """

    base: float
    winner: float
    n_rows: int
    n_seeds: int
    absolute: float
    interval: Pair
    relative: float | None
    relative_interval: Pair | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    family: str
    lift: Lift
    bar: str
    is_held: bool

    @property
    def said(self) -> str:
        return f"{self.family}: {'held' if self.is_held else 'missed'} ({self.bar}; gain {self.lift.absolute:+.3f})"


def verdicts(result: Mapping[str, Any]) -> list[Verdict]:
    return [verdict(name, cells) for name, cells in by_family(result).items()]


def by_family(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in result["cells"]:
        found.setdefault(cell["family"], []).append(cell)
    return found


def verdict(name: str, cells: Sequence[Mapping[str, Any]]) -> Verdict:
    plan, lift = PLAN[name], lift_of(name, cells)
    sign = -1 if plan.falls else 1
    if lift.relative is None:
        bar = f"{sign * ABSOLUTE:+.2f}, interval beyond 0"
        is_held = sign * lift.absolute >= ABSOLUTE
    else:
        bar = f"{sign * plan.relative:+.0%}, interval beyond 0"
        is_held = sign * lift.relative >= plan.relative
    is_sure = lift.interval[1] < 0 if plan.falls else lift.interval[0] > 0
    return Verdict(family=name, lift=lift, bar=bar, is_held=is_held and is_sure)


def lift_of(name: str, cells: Sequence[Mapping[str, Any]]) -> Lift:
    """Of rows that every seed was asked, each row's mean over the seeds: seeds share their rows, and rows are drawn."""
    base, winner = (_by_row(cells, side, PLAN[name].falls) for side in ("base", "winner"))
    compared = compare_scores(base, winner, seed=0)
    is_told = compared.champion_mean >= LEAST_BASE
    low, high = ratio_interval(winner, base) if is_told else (0.0, 0.0)
    return Lift(
        base=compared.champion_mean,
        winner=compared.candidate_mean,
        n_rows=compared.n,
        n_seeds=len(cells),
        absolute=compared.lift,
        interval=(compared.interval.lower, compared.interval.upper),
        relative=compared.lift / compared.champion_mean if is_told else None,
        relative_interval=(low - 1, high - 1) if is_told else None,
    )


def _by_row(cells: Sequence[Mapping[str, Any]], side: str, falls: bool) -> list[float]:
    tables = [{one["row"]: one["figure"] for one in cell["answers"][side]} for cell in cells]
    rows = [row for row in tables[0] if all(row in table for table in tables)]
    means = (sum(table[row] for table in tables) / len(tables) for row in rows)
    return [1 - mean if falls else mean for mean in means]


def is_formed(base: float, winner: float) -> bool:
    """Whether format compliance rose by a fifth, or stands at its ceiling."""
    return winner >= AT_CEILING or (base > 0 and winner / base - 1 >= 0.20)
