"""Whether a family holds its bar, from the answers of both seeds to the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common import ratio_interval

from lifts.plan import ABSOLUTE, AT_CEILING, FORMAT_RISES, INVENTION_FALLS, LEAST_BASE, PLAN, REPEATED
from optimizer.core.evaluation.comparison import compare_scores

Pair = tuple[float, float]  # an interval's ends
MISSED = "**missed**"


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


def claimed(name: str, lift: Lift) -> float | None:
    """The gain that is claimed: the lower end of its interval, of the lowest where it was measured again; None where
    such an interval holds 0.
    """
    intervals = [lift.interval, *([REPEATED[name].interval] if name in REPEATED else [])]
    least = min(-high if PLAN[name].falls else low for low, high in intervals)
    return least if least > 0 else None


def percent(share: float, decimals: int = 0) -> str:
    return f"{100 * share:+.{decimals}f} %"


def verdicts(result: Mapping[str, Any]) -> list[Verdict]:
    return [verdict(name, cells) for name, cells in by_family(result).items()]


def by_family(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    by_family: dict[str, list[Mapping[str, Any]]] = {}
    for cell in result["cells"]:
        by_family.setdefault(cell["family"], []).append(cell)
    return by_family


def verdict(name: str, cells: Sequence[Mapping[str, Any]]) -> Verdict:
    plan, lift = PLAN[name], lift_of(name, cells)
    sign = -1 if plan.falls else 1
    if lift.relative is None:
        bar = f"{sign * ABSOLUTE:+.2f}"
        is_held = sign * lift.absolute >= ABSOLUTE
    else:
        bar = percent(sign * plan.relative)
        is_held = sign * lift.relative >= plan.relative
    is_sure = lift.interval[1] < 0 if plan.falls else lift.interval[0] > 0
    return Verdict(family=name, lift=lift, bar=bar, is_held=is_held and is_sure)


def lift_of(name: str, cells: Sequence[Mapping[str, Any]]) -> Lift:
    lift = lift_in(cells, "figure", falls=bool(PLAN[name].falls))
    assert lift is not None  # every answer has its figure
    return lift


def lift_in(cells: Sequence[Mapping[str, Any]], part: str, *, falls: bool = False) -> Lift | None:
    """Of rows whose answers of every seed, by base and winner, have this part; None where there is no such row.

    Each row counts once, by its mean over the seeds: seeds share their rows, and rows are what is drawn.
    """
    sides = [
        [{one["row"]: one[part] for one in cell["answers"][side]} for cell in cells] for side in ("base", "winner")
    ]
    tables = [table for side in sides for table in side]
    rows = [row for row in tables[0] if all(table.get(row) is not None for table in tables)]
    if not rows:
        return None
    base, winner = ([_mean([table[row] for table in side], falls) for row in rows] for side in sides)
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


def _mean(values: Sequence[float], falls: bool) -> float:
    mean = sum(values) / len(values)
    return 1 - mean if falls else mean


def format_held(lift: Lift) -> str:
    """Whether format compliance rose by a fifth with its interval above 0, or stands at its ceiling."""
    if lift.winner >= AT_CEILING:
        return "held, at its ceiling"
    rose = lift.base == 0 < lift.winner or (lift.base > 0 and lift.absolute / lift.base >= FORMAT_RISES)
    return "held" if rose and lift.interval[0] > 0 else MISSED


def invention_held(lift: Lift) -> str:
    """Whether unsupported names fell by three tenths with their interval below 0, or stand at their floor."""
    if lift.winner <= 1 - AT_CEILING:
        return "held, at its floor"
    fell = lift.base > 0 and lift.absolute / lift.base <= -INVENTION_FALLS
    return "held" if fell and lift.interval[1] < 0 else MISSED
