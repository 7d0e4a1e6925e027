"""What a self-test found: how often rollouts over a family's own recorded traffic would have shipped or rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from optimizer.core.base.values import Interval
from optimizer.core.statistics.wilson import wilson_interval

Ending = Literal["shipped", "rolled_back", "inconclusive", "invalid", "unfinished"]
ENDINGS: dict[str | None, Ending] = {
    "promoted": "shipped",
    "worse": "rolled_back",
    "guardrail": "rolled_back",
    "inconclusive": "inconclusive",
    "invalid": "invalid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One replayed rollout. ``ending`` unfinished: the record ended first. Hours are the rollout clock's."""

    ending: Ending
    labelled: int
    hours: float
    stage: int  # index of the last one
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequency:
    """``n`` of all runs, with a 95 % interval of the share in [0, 1]."""

    n: int
    share: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All runs with one injected drop.

    ``drop``: by how much the candidate's mean is lower, absolute; 0 = A against A.
    """

    injected: float  # chance that a success of the candidate's units becomes a failure
    drop: float
    n_runs: int
    endings: dict[Ending, Frequency]
    mean_labelled: float | None  # of the runs that ended; None where none did
    mean_hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """``cannot_tell``: too little traffic was recorded, and ``summary`` says what is missing;
    there are no cells then."""

    verdict: Literal["done", "cannot_tell"]
    summary: str
    since: datetime | None = None
    until: datetime | None = None
    n_requests: int = 0
    n_units: int = 0
    n_labelled_units: int = 0
    margin: float | None = None
    seed: int = 0
    cells: tuple[Cell, ...] = ()

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def cell_of(runs: Sequence[Run], *, injected: float, drop: float) -> Cell:
    """Args: ``runs`` at least one."""
    ended = [run for run in runs if run.ending != "unfinished"]
    names: tuple[Ending, ...] = ("shipped", "rolled_back", "inconclusive", "invalid", "unfinished")
    counts = {name: sum(run.ending == name for run in runs) for name in names}
    return Cell(
        injected=injected,
        drop=drop,
        n_runs=len(runs),
        endings={
            name: Frequency(n=n, share=n / len(runs), interval=wilson_interval(n, len(runs)))
            for name, n in counts.items()
        },
        mean_labelled=sum(run.labelled for run in ended) / len(ended) if ended else None,
        mean_hours=sum(run.hours for run in ended) / len(ended) if ended else None,
    )


def summary_of(cells: Sequence[Cell], *, margin: float) -> str:
    """What the cells say about the two promises, in words."""
    sentences = []
    for cell in cells:
        unfinished = cell.endings["unfinished"]
        if unfinished.n == cell.n_runs:
            sentences.append(f"Cannot tell for {_who(cell, margin)}: in all {cell.n_runs} runs the record ended first.")
            continue
        wrong: Ending = "rolled_back" if cell.drop == 0 else "shipped"
        ending = cell.endings[wrong]
        low, high = 100 * ending.interval.lower, 100 * ending.interval.upper
        promise = (
            "; at most 5 in 100 are promised"
            if cell.drop == 0 or cell.drop >= margin
            else "; smaller than the margin, so that is allowed"
        )
        did = "been rolled back" if wrong == "rolled_back" else "shipped"
        rest = f"; in {unfinished.n} runs the record ended first" if unfinished.n else ""
        sentences.append(
            f"{_who(cell, margin).capitalize()} would have {did} in {ending.n} of {cell.n_runs} runs ({low:.1f} to"
            f" {high:.1f} %{promise}){rest}."
        )
    return " ".join(sentences)


def _who(cell: Cell, margin: float) -> str:
    if cell.drop == 0:
        return "an equal candidate"
    return f"a candidate worse by {100 * cell.drop:.1f} points ({cell.drop / margin:.1f} margins)"
