"""Table A: a ramp that nobody steers (10 % for 400 labels, 25 % for 600, then 50 %), watched by many rules at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from common import Cell
from rules.deciders import RULES, Look

from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.quality_gate import QualityGate
from simulations.tally import (
    BASE,
    BLOCK,
    DELTA,
    REFERENCE,
    Tally,
    as_block,
    draw_block,
    mean_cell,
    progress,
    share_cell,
)

BUDGET_A = 16_000
RAMP_A = ((400, 0.10), (1000, 0.25), (BUDGET_A, 0.50))
REFERENCE_A: dict[float, dict[str, tuple[float | None, float | None]]] = {  # end: (mean labels, share)
    -0.20: {"roll": (406, None)},
    -0.10: {"roll": (900, None)},
    -0.05: {"roll": (2335, None), "ship": (None, 0.032)},
    0.0: {"ship": (2108, None), "roll": (None, 0.030)},
    0.05: {"ship": (839, None)},
}


def fixed_ramp(rng: np.random.Generator, difference: float) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, BUDGET_A, BLOCK):
        stage = next(i for i, (until, _) in enumerate(RAMP_A) if start < until)
        yield stage, draw_block(rng, RAMP_A[stage][1], BASE + difference, BASE)


def table_a(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for difference, reference in REFERENCE_A.items():
        tallies = {name: Tally() for name in ("ours", *RULES)}
        for run in range(runs):
            watch_ramp(np.random.default_rng([seed, 1, round(difference * 1000) + 1000, run]), difference, tallies)
        ours = tallies.pop("ours")
        for end, (labels, share) in reference.items():
            case = f"A {100 * difference:+.0f} pt {end}"
            others = {REFERENCE: (labels, share)} | {
                name: (float(np.mean(t.labels_of(end))) if t.labels_of(end) else None, t.share(end))
                for name, t in tallies.items()
            }
            for name, (n, s) in others.items():
                if n is not None:
                    cells += mean_cell(f"{case}: labels", ours.labels_of(end), n, name, "labels, mean")
                if s is not None:
                    cells.append(share_cell(f"{case}: rate", ours, end, s, name))
        progress(f"A {difference:+.2f}")
    return cells


def watch_ramp(rng: np.random.Generator, difference: float, tallies: dict[str, Tally]) -> None:
    """One run; every rule sees the same blocks and stops when it has decided."""
    gate = QualityGate.start(margin=DELTA, champion_mean=BASE)
    rules = {name: make(DELTA) for name, make in RULES.items()}
    open_rules = {"ours", *rules}
    strata = [(0, 0, 0, 0)] * len(RAMP_A)
    seen = on_candidate = 0
    for stage, counts in fixed_ramp(rng, difference):
        seen += BLOCK
        on_candidate += counts[0]
        strata[stage] = tuple(a + b for a, b in zip(strata[stage], counts, strict=True))  # type: ignore[assignment]
        verdicts: dict[str, str | None] = {}
        if "ours" in open_rules:
            gate = gate.after(as_block(stage, counts))
            roll, ship = gate.peaks["roll"] >= threshold(0.05), gate.peaks["ship1"] >= threshold(0.05)
            verdicts["ours"] = "roll" if roll else "ship" if ship else None
        if any(n_c and n_b for n_c, _, n_b, _ in strata):
            look = Look(strata)
            verdicts |= {name: rules[name](look) for name in open_rules - {"ours"}}
        for name, verdict in verdicts.items():
            if verdict:
                tallies[name].add(verdict, seen, on_candidate)
                open_rules.discard(name)
        if not open_rules:
            return
    for name in open_rules:
        tallies[name].add("none", seen, on_candidate)
