"""Table B: rules that drive the ramp themselves, the product's among them; and the same while the base rate moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common import Cell
from rules.deciders import full_information
from rules.ramps import Clock, FailedChecks, Ramp, SafeRollout
from rules.totals import asymptotic_bounds, pooled

from optimizer.core.statistics.decision import Standing, decide
from optimizer.core.statistics.quality_gate import QualityGate
from simulations.fixed_ramp import RAMP_A
from simulations.tally import (
    BASE,
    BLOCK,
    DELTA,
    REFERENCE,
    Tally,
    as_block,
    draw_block,
    mean_cell,
    p90,
    plain_cell,
    progress,
    share_cell,
)

LADDER = (0.10, 0.25, 0.50, 0.75)
BUDGET_B = 8_000
CLOCK_LABELS = 3_200  # what the gate needs in the mean at -5 points: the same for rules with a fixed duration
REFERENCE_B = {  # ship, roll back, inconclusive, mean labels, labels on the candidate, p90 of labels
    -0.20: (0.000, 1.000, 0.000, 526, 53, 920),
    -0.15: (0.000, 1.000, 0.000, 821, 85, 1480),
    -0.10: (0.001, 0.999, 0.000, 1458, 185, 2640),
    -0.05: (0.036, 0.945, 0.019, 3191, 892, 5440),
    -0.025: (0.428, 0.372, 0.200, 4602, 1754, 8000),
    0.0: (0.966, 0.024, 0.010, 2585, 963, 4680),
    0.05: (1.000, 0.000, 0.000, 1117, 391, 1600),
    0.10: (1.000, 0.000, 0.000, 880, 329, 1040),
}
ENDS = ("promote", "roll_back", "inconclusive")
RIVALS: dict[str, Callable[[], Ramp]] = {
    "failed checks (Flagger)": lambda: FailedChecks(least=BASE - DELTA),
    "clock with sequential stop": lambda: Clock(duration=CLOCK_LABELS, delta=DELTA),
    "safe rollout (GrowthBook)": lambda: SafeRollout(duration=CLOCK_LABELS, delta=DELTA),
}


def run_gate(rng: np.random.Generator, difference: float, base: Callable[[int], float] = lambda n: BASE) -> tuple[str, int, float]:
    """One rollout by the product's gate and decision: how it ended, labels in all, labels on the candidate."""
    gate, stage, seen, on_candidate = QualityGate.start(margin=DELTA, champion_mean=base(0)), 0, 0, 0
    while True:
        p_b = base(seen)
        counts = draw_block(rng, LADDER[stage], p_b + difference, p_b)
        seen, on_candidate = seen + BLOCK, on_candidate + counts[0]
        gate = gate.after(as_block(stage, counts))
        spent = "the labels are used up" if seen >= BUDGET_B else None
        standing = Standing(ladder=LADDER, stage=stage, peaks=gate.peaks, labelled_in_stage=gate.labelled_in_stage, budget_spent=spent)
        decision = decide(standing)
        if decision.action == "advance":
            stage += 1
        elif decision.action != "hold":
            return decision.action, seen, on_candidate


def run_rival(rng: np.random.Generator, ramp: Ramp, difference: float) -> tuple[str, int, float]:
    seen = on_candidate = 0
    while seen < BUDGET_B:
        counts = draw_block(rng, ramp.share, BASE + difference, BASE, ramp.champion_share)
        seen, on_candidate = seen + BLOCK, on_candidate + counts[0]
        ending = ramp.after(*counts)
        if ending:
            return ending, seen, on_candidate
    return "inconclusive", seen, on_candidate


def table_b(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell | None] = []
    for difference, reference in REFERENCE_B.items():
        ours, rivals = Tally(), {name: Tally() for name in RIVALS}
        for run in range(runs):
            at = [seed, 2, round(difference * 1000) + 1000, run]
            ours.add(*run_gate(np.random.default_rng(at), difference))
            for name, make in RIVALS.items():
                rivals[name].add(*run_rival(np.random.default_rng(at), make(), difference))
        case = f"B {100 * difference:+.1f} pt"
        for name in (REFERENCE, *rivals):
            t = rivals.get(name)
            figures = (
                reference if t is None else (*map(t.share, ENDS), float(np.mean(t.labels)), float(np.mean(t.on_candidate)), p90(t.labels))
            )
            cells += [share_cell(f"{case}: {end}", ours, end, figures[i], name) for i, end in enumerate(ENDS)]
            cells.append(mean_cell(f"{case}: labels", [float(x) for x in ours.labels], figures[3], name, "labels, mean"))
            cells.append(plain_cell(f"{case}: labels, p90 vs {name}", p90(ours.labels), figures[5], name, "labels", runs))
            cells.append(mean_cell(f"{case}: on candidate", ours.on_candidate, figures[4], name, "labels on the candidate, mean"))
        progress(f"B {difference:+.3f}")
    return [c for c in cells if c]


def run_totals(rng: np.random.Generator, difference: float, base: Callable[[int], float]) -> tuple[str, int, float]:
    """Totals over all stages on a fixed ramp, with an interval that is valid at every look: what moving base rates do to it."""
    total, on_candidate = [0, 0, 0, 0], 0
    for start in range(0, BUDGET_B, BLOCK):
        stage = next(i for i, (until, _) in enumerate(RAMP_A) if start < until)
        counts = draw_block(rng, RAMP_A[stage][1], base(start) + difference, base(start))
        on_candidate += counts[0]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        d = pooled(*total) if 0 < total[1] < total[0] else None
        if d is None or d.variance <= 0:
            continue
        found = asymptotic_bounds(d, best_information=full_information(DELTA), alpha=0.05)
        if found.upper < 0 or found.lower > -DELTA:
            return "roll_back" if found.upper < 0 else "promote", start + BLOCK, on_candidate
    return "inconclusive", BUDGET_B, on_candidate


def table_drift(runs: int, seed: int) -> list[Cell]:
    bases = {
        "falls .90 to .70": lambda n: 0.90 - 0.20 * min(1.0, n / 3000),
        "rises .70 to .90": lambda n: 0.70 + 0.20 * min(1.0, n / 3000),
    }
    cells = []
    for name, base in bases.items():
        for difference, end in ((0.0, "roll_back"), (-0.05, "promote")):
            ours, totals = Tally(), Tally()
            for run in range(runs):
                at = [seed, 3, round(difference * 1000) + 1000, run]
                ours.add(*run_gate(np.random.default_rng(at), difference, base))
                totals.add(*run_totals(np.random.default_rng(at), difference, base))
            case = f"drift, base {name}, {100 * difference:+.0f} pt: {end}"
            cells.append(share_cell(case, ours, end, totals.share(end), "totals over stages"))
            progress(case)
    return cells
