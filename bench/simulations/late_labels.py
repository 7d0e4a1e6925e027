"""Labels that come later in one arm and a window that somebody has fixed: how rollouts end,
by the functions that the tick calls: by the product's default, and by the rule before it counted late labels and days.

Forty units an hour, each of which gives feedback in the end; a unit whose label has not come yet is not known (an
application that reports feedback alone), so that no comparison of feedback rates helps. Every hour the cohorts close
whose window is over, and those whose late labels are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from re import search
from typing import Any

import numpy as np
from common import Cell, beside

from optimizer.core.rollout import evidence_state
from optimizer.core.rollout.next_action import next_action
from optimizer.core.serving.rollout import iso
from optimizer.core.statistics.quality_gate import ROLL_WEIGHTS
from simulations.late_feedback import BAD_H, GOOD_H, SLOWER, arrivals, window
from simulations.own_rule import LADDER
from simulations.tally import BASE, BLOCK, DELTA, Tally, progress, share_cell
from simulations.whole_rollout import MAX_HOURS, SETTINGS, START, counts, first_state, rollout_at, stored

BEFORE = "rule before"
PER_ARM = ("candidate", "champion")
ENOUGH = window(0.99, SLOWER)
WINDOWS = (24, window(0.99, 1.0), ENOUGH)


@dataclass(frozen=True, kw_only=True)
class Delays:
    """``slower``: how many times as long as usual labels take, per arm; ``silent``: share of the unhappy of both arms
    who say nothing.
    """

    window_h: int
    difference: float
    slower: tuple[float, float] = (1.0, 1.0)
    ladder: tuple[float, ...] = LADDER
    silent: float = 0.0
    counted: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The product's default, or the rule before 2026-11-23."""
        if not self.counted:
            return {**SETTINGS, "feedback_window": {"hours": self.window_h}, "whole_days": False}
        hours = {"hours": self.window_h, "late_hours": self.window_h}
        return {**SETTINGS, "feedback_window": hours, "whole_days": True, "roll_weights": ROLL_WEIGHTS}


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Labels of one hour's units per arm: [in time, of these good, late, hours that these were late]."""

    stage: int
    labels: Mapping[str, tuple[int, int, int, float]]

    def quality(self, hour: int, window_h: int) -> dict[str, Any]:
        start = START + timedelta(hours=hour)
        return {
            "stage": self.stage,
            "cohort": iso(start),
            "closes": iso(start + timedelta(hours=window_h + 1)),
            "units": {arm: self.labels[arm][0] for arm in PER_ARM},
            "left_out": 0,
            "outcomes": {arm: counts(*self.labels[arm][:2]) for arm in PER_ARM},
        }

    def late(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "late": {arm: counts(n + late, late) for arm, (n, _, late, _) in self.labels.items()},
            "hours": {arm: hours for arm, (*_, hours) in self.labels.items()},
        }


def draw_cohort(rng: np.random.Generator, stage: int, case: Delays) -> Cohort:
    n_c = int(rng.binomial(BLOCK, case.ladder[stage]))
    rows = {}
    arms = zip(PER_ARM, (n_c, BLOCK - n_c), (BASE + case.difference, BASE), case.slower, strict=True)
    for arm, n, success, slower in arms:
        good = int(rng.binomial(n, success))
        bad = n - good if not case.silent else int(rng.binomial(n - good, 1 - case.silent))
        in_time, late, hours = [0, 0], 0, 0.0
        for at, (k, mean_h) in enumerate(((good, GOOD_H), (bad, BAD_H))):
            come, n_late, hours_late = drawn(rng, k, mean_h * slower, case.window_h)
            in_time[at], late, hours = come, late + n_late, hours + hours_late
        rows[arm] = (sum(in_time), in_time[0], late, hours)
    return Cohort(stage=stage, labels=rows)


def drawn(rng: np.random.Generator, n: int, mean_h: float, window_h: int) -> tuple[int, int, float]:
    """Of ``n`` labels: how many came in the window, in the next one, and how late the latter were, in hours added up.

    Each counts as come in the middle of its hour.
    """
    come = rng.multinomial(n, arrivals(mean_h))
    late = come[window_h + 1 : 2 * window_h + 1]
    return int(come[: window_h + 1].sum()), int(late.sum()), float(late @ (np.arange(len(late)) + 0.5))


def run_delayed(rng: np.random.Generator, case: Delays) -> tuple[str, int, str]:
    """How it ended, labels used, and the reason; ``later``: for labels that come later in one arm."""
    settings = case.settings
    state, stage, cohorts = first_state(settings), 0, list[Cohort]()
    for hour in range(MAX_HOURS):
        cohorts.append(draw_cohort(rng, stage, case))
        for age, kind in ((case.window_h, "quality"), (2 * case.window_h, "late")):
            if hour < age or (kind == "late" and not case.counted):
                continue
            closed = cohorts[hour - age]
            content = closed.quality(hour - age, case.window_h) if kind == "quality" else closed.late()
            state = evidence_state.after(state, stored(kind, content), settings, case.ladder)  # type: ignore[arg-type]
        if hour < case.window_h:
            continue
        now = START + timedelta(hours=hour + 1)
        rollout = replace(rollout_at(stage, settings), ladder=case.ladder)
        action = next_action(rollout, state, at=now, clock_at=now)
        if action.act == "advance":
            stage += 1
        elif action.act == "promote":
            return "promote", state.quality.labelled, action.reason
        elif action.act == "rollback":
            ends = {"inconclusive": "later" if state.late.later is not None else "inconclusive"}
            return ends.get(action.outcome, "roll_back"), state.quality.labelled, action.reason
    return "inconclusive", state.quality.labelled, ""


def cells_of(name: str, case: Delays, runs: int, seed: int, *, before: bool = True) -> list[Cell]:
    """The shares of all ends, beside those of the rule without the count, and the windows that were named."""
    tallies, windows = dict[bool, Tally](), list[int]()
    for counted in (True, False) if before else (True,):
        tallies[counted] = Tally()
        for run in range(runs):
            rng = np.random.default_rng([seed, 32, round(1000 * case.difference) + 1000, run])
            ended, labels, reason = run_delayed(rng, replace(case, counted=counted))
            tallies[counted].add(ended, labels, 0.0)
            named = search(r"about (\d+) hours would do", reason)
            windows += [int(named[1])] if named and counted else []
    cells = [
        share_cell(f"{name}: {end}", tallies[True], end, tallies[False].share(end) if before else None, BEFORE)
        for end in ("promote", "roll_back", "later", "inconclusive")
    ]
    if len(windows) >= runs / 10:
        for what, q in (("first quarter", 0.25), ("median", 0.5), ("third quarter", 0.75)):
            hours = float(np.quantile(windows, q))
            cells.append(beside(f"{name}: window named, {what}", hours, None, BEFORE, "hours", len(windows)))
    progress(cells[0].case)
    return cells


def table_champion(runs: int, seed: int) -> list[Cell]:
    """A candidate that is worse by the margin, and a champion whose good news is cut off."""
    slower, cells = (1.0, SLOWER), list[Cell]()
    for hours in WINDOWS:
        case = Delays(window_h=hours, difference=-DELTA, slower=slower)
        cells += cells_of(f"delayed, champion's labels twice as slow, window {hours} h, -5 pt", case, runs, seed)
    case = Delays(window_h=24, difference=-DELTA, slower=slower, ladder=(0.5,))
    name = "delayed, champion's labels twice as slow, window 24 h, -5 pt, one stage of 50 %"
    return cells + cells_of(name, case, runs, seed)


def table_candidate(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for hours in WINDOWS:
        case = Delays(window_h=hours, difference=0.0, slower=(SLOWER, 1.0))
        cells += cells_of(f"delayed, candidate's labels twice as slow, window {hours} h, +0 pt", case, runs, seed)
    return cells


def table_one_stage(runs: int, seed: int) -> list[Cell]:
    """All evidence at the share at which the difference between early labels weighs most."""
    case = Delays(window_h=24, difference=0.0, slower=(SLOWER, 1.0), ladder=(0.5,))
    name = "delayed, candidate's labels twice as slow, window 24 h, one stage of 50 %, +0 pt"
    return cells_of(name, case, runs, seed)


def table_alike(runs: int, seed: int) -> list[Cell]:
    """Both arms' labels take as long: how often they are found different."""
    cells: list[Cell] = []
    for slower, difference in ((1.0, 0.0), (SLOWER, 0.0), (SLOWER, -DELTA), (SLOWER, 0.10)):
        case = Delays(window_h=24, difference=difference, slower=(slower, slower))
        which = "as usual" if slower == 1.0 else "twice as slow"
        name = f"delayed, labels {which} in both arms, window 24 h, {100 * difference:+.0f} pt"
        cells += cells_of(name, case, runs, seed, before=False)
    return cells


def table_happier(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for silent in (0.5, 0.8):
        case = Delays(window_h=ENOUGH, difference=-DELTA, silent=silent)
        cells += cells_of(f"happier, {silent:.0%} of the unhappy of both arms say nothing, -5 pt", case, runs, seed)
    return cells
