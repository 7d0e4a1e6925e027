"""Table B: rules that drive the ramp themselves, the product's among them; and the same while the base rate moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from common import Cell, beside
from rules.deciders import full_information
from rules.gbstats_package import sequential
from rules.ramps import Clock, FailedChecks, Ramp, SafeRollout
from rules.totals import asymptotic_bounds, pooled

from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.quality_gate import ALPHA_ROLL, ALPHA_SHIP, QualityGate
from simulations.fixed_ramp import RAMP_A
from simulations.own_rule import BUDGET, OwnRule
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
    progress,
    share_cell,
)

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


def exposed(tally: Tally) -> list[float]:
    """Of the first 8,000 labelled units, those that got the candidate: a promoted one goes on to everybody."""
    runs = zip(tally.ends, tally.labels, tally.on_candidate, strict=True)
    return [on + (BUDGET - n if end == "promote" else 0) for end, n, on in runs]


def run_ramp(rng: np.random.Generator, ramp: Ramp, difference: float) -> tuple[str, int, float]:
    """One rollout: how it ended, labels in all, labels on the candidate."""
    seen = on_candidate = 0
    while seen < BUDGET:
        counts = draw_block(rng, ramp.share, BASE + difference, BASE, ramp.champion_share)
        seen, on_candidate = seen + BLOCK, on_candidate + counts[0]
        ending = ramp.after(*counts)
        if ending:
            return ending, seen, on_candidate
    return "inconclusive", seen, on_candidate


def table_b(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for difference, reference in REFERENCE_B.items():
        ours, rivals = Tally(), {name: Tally() for name in RIVALS}
        for run in range(runs):
            at = [seed, 2, round(difference * 1000) + 1000, run]
            ours.add(*run_ramp(np.random.default_rng(at), OwnRule(), difference))
            for name, make in RIVALS.items():
                rivals[name].add(*run_ramp(np.random.default_rng(at), make(), difference))
        case = f"B {100 * difference:+.1f} pt"
        for name in (REFERENCE, *rivals):
            t = rivals.get(name)
            figures = (
                reference
                if t is None
                else (*map(t.share, ENDS), float(np.mean(t.labels)), float(np.mean(t.on_candidate)), p90(t.labels))
            )
            cells += [share_cell(f"{case}: {end}", ours, end, figures[i], name) for i, end in enumerate(ENDS)]
            cells += mean_cell(f"{case}: labels", ours.labels, figures[3], name, "labels, mean")
            cells.append(beside(f"{case}: labels, p90 vs {name}", p90(ours.labels), figures[5], name, "labels", runs))
            cells += mean_cell(
                f"{case}: on candidate", ours.on_candidate, figures[4], name, "labels on the candidate, mean"
            )
            if t is not None and difference < 0:
                cells += mean_cell(
                    f"{case}: exposed",
                    exposed(ours),
                    float(np.mean(exposed(t))),
                    name,
                    "of the first 8,000 labelled units, mean",
                )
        progress(f"B {difference:+.3f}")
    return cells


Share = Callable[[int], float]  # of the candidate, by outcomes so far
Base = Callable[[int], float]


def on_ramp(seen: int) -> float:
    """Table A's ramp."""
    return next(share for until, share in RAMP_A if seen < until)


def in_turns(seen: int) -> float:
    """A small share by day and a large one by night, 400 outcomes each."""
    return 0.10 if seen // 400 % 2 == 0 else 0.75


def draw_ramp(rng: np.random.Generator, difference: float, base: Base, share: Share) -> Iterator[list[int]]:
    for seen in range(0, BUDGET, BLOCK):
        yield draw_block(rng, share(seen), base(seen) + difference, base(seen))


def watch_blocks(blocks: Iterable[list[int]], base: float) -> tuple[str, int, float]:
    """The product's evidence at its own thresholds, on shares that somebody else chooses;
    every change of share is a new stage.
    """
    gate, n = QualityGate.start(margin=DELTA, champion_mean=base), 0
    for counts in blocks:
        n += BLOCK
        gate = gate.after(as_block(n // 400, counts))
        if gate.peaks["roll"] >= threshold(ALPHA_ROLL):
            return "roll_back", n, 0.0
        if gate.peaks["ship1"] >= threshold(ALPHA_SHIP):
            return "promote", n, 0.0
    return "inconclusive", n, 0.0


def watch_totals(blocks: Iterable[list[int]], *, by_package: bool) -> tuple[str, int, float]:
    """Totals over everything so far, with an interval that is valid at every look:
    of GrowthBook's package, or a tighter one.
    """
    total, n = (0, 0, 0, 0), 0
    for counts in blocks:
        n += BLOCK
        total = tuple(a + b for a, b in zip(total, counts, strict=True))  # type: ignore[assignment]
        if not 0 < total[1] < total[0] or not 0 < total[3] < total[2]:
            continue
        runs = (
            sequential(total)
            if by_package
            else asymptotic_bounds(pooled(*total), best_information=full_information(DELTA), alpha=0.05)
        )
        if runs is not None and (runs.upper < 0 or runs.lower > -DELTA):
            return "roll_back" if runs.upper < 0 else "promote", n, 0.0
    return "inconclusive", n, 0.0


MOVING: dict[str, tuple[Base, Share]] = {
    "base falls .90 to .70 under a growing share": (lambda n: 0.90 - 0.20 * min(1.0, n / 3000), on_ramp),
    "base rises .70 to .90 under a growing share": (lambda n: 0.70 + 0.20 * min(1.0, n / 3000), on_ramp),
    "base .90 by day at share .10, .70 by night at .75": (lambda n: 0.90 if n // 400 % 2 == 0 else 0.70, in_turns),
}


def table_drift(runs: int, seed: int) -> list[Cell]:
    cells = []
    for name, (base, share) in MOVING.items():
        for difference, end in ((0.0, "roll_back"), (-DELTA, "promote")):
            tallies = {rule: Tally() for rule in ("ours", "totals over stages", "gbstats sequential")}
            for run in range(runs):
                at = [seed, 3, round(difference * 1000) + 1000, run]
                blocks = list(draw_ramp(np.random.default_rng(at), difference, base, share))
                tallies["ours"].add(*watch_blocks(blocks, base(0)))
                tallies["totals over stages"].add(*watch_totals(blocks, by_package=False))
                tallies["gbstats sequential"].add(*watch_totals(blocks, by_package=True))
            ours = tallies.pop("ours")
            case = f"drift, {name}, {100 * difference:+.0f} pt: {end}"
            cells += [share_cell(case, ours, end, tally.share(end), rule) for rule, tally in tallies.items()]
            progress(case)
    return cells
