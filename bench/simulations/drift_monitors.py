"""Table D: how long a monitor of the champion runs without a false alarm, and how soon it sees a drop."""

from __future__ import annotations

from math import pi

import numpy as np
from common import Cell, beside
from rules.monitors import MONITORS

from optimizer.core.rollout.drift import DriftDetector
from simulations.tally import BASE, REFERENCE, Tally, mean_cell, p90, progress, share_cell

WEEK = 2_800  # outcomes, 400 a day
SWING = 0.04
LONGEST = 60_000  # a run is cut here; at a mean of 10,000 one in 400 is
ALARM_WITHIN = 10_000
OURS = "e-detector"
REFERENCE_D: dict[str, float | None] = {  # case -> mean outcomes to an alarm; its week is not named
    "no change": 11690,
    "weekly swing of 4 points": None,
    "-3 pt": 941,
    "-5 pt": 427,
    "-10 pt": 164,
    "-20 pt": 66,
}


def rate(case: str, i: np.ndarray | int, phase: np.ndarray | float) -> np.ndarray:
    """The champion's success rate at outcome ``i``; ``phase`` in [0, 1) = where in the week a stream begins."""
    if case.startswith("weekly"):
        return BASE + SWING * np.sin(2 * pi * (i / WEEK + phase))
    drop = float(case.split()[0]) / 100 if case.endswith("pt") else 0.0
    return np.asarray(BASE + drop + 0 * phase)


def run_length(outcomes: list[float], reference: float) -> int:
    """Outcomes until the product's detector alarms; all of them when it does not."""
    detector = DriftDetector(reference=reference)
    for i, y in enumerate(outcomes):
        detector = detector.after(y)
        if detector.alarmed:
            return i + 1
    return len(outcomes)


def own_lengths(runs: int, seed: int, case: str, reference: float, longest: int = LONGEST) -> list[float]:
    rows = []
    for run in range(runs):
        rng = np.random.default_rng([seed, 8, list(REFERENCE_D).index(case), run])
        outcomes = rng.random(longest) < rate(case, np.arange(longest), rng.random())
        rows.append(float(run_length(outcomes.astype(float).tolist(), reference)))
    return rows


def other_lengths(runs: int, seed: int, case: str) -> dict[str, list[float]]:
    """All monitors over the same number of streams, side by side."""
    rng = np.random.default_rng([seed, 8, list(REFERENCE_D).index(case)])
    phase = rng.random(runs)
    monitors = {name: (make(BASE), threshold) for name, (make, threshold) in MONITORS.items()}
    ends = {name: np.full(runs, float(LONGEST)) for name in monitors}
    for i in range(LONGEST):
        y = (rng.random(runs) < rate(case, i, phase)).astype(float)
        for name, (step, threshold) in list(monitors.items()):
            alarmed = (step(y) >= threshold) & (ends[name] == LONGEST)
            ends[name][alarmed] = i + 1
            if alarmed.any() and (ends[name] < LONGEST).all():
                del monitors[name]
        if not monitors:
            break
    return {name: lengths.tolist() for name, lengths in ends.items()}


def table_d(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for case, reference in REFERENCE_D.items():
        ours, others = own_lengths(runs, seed, case, BASE), other_lengths(runs, seed, case)
        for name, lengths in others.items():
            cells += mean_cell(f"D {case}: mean", ours, float(np.mean(lengths)), name, "outcomes to an alarm, mean")
            cells.append(
                beside(f"D {case}: p90 vs {name}", p90(ours), p90(lengths), name, "outcomes to an alarm", runs)
            )
        if reference is not None:
            cells += mean_cell(f"D {case}: mean", ours, reference, REFERENCE, "outcomes to an alarm, mean")
        if case.startswith("weekly"):
            dipped, early = Tally(), sum(length <= ALARM_WITHIN for length in ours) / runs
            for length in own_lengths(runs, seed, case, BASE - SWING, ALARM_WITHIN + 1):
                dipped.add("alarm" if length <= ALARM_WITHIN else "none", int(length), 0)
            cells.append(share_cell(f"D dip, {case}: false alarm within {ALARM_WITHIN}", dipped, "alarm", early, OURS))
        elif case not in ("no change", "-3 pt"):  # at -3 points it has nothing to see
            dipped_lengths = own_lengths(runs, seed, case, BASE - SWING)
            cells += mean_cell(
                f"D dip, {case}: mean", dipped_lengths, float(np.mean(ours)), OURS, "outcomes to an alarm, mean"
            )
        progress(f"D {case}")
    return cells
