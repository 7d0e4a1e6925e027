"""Searches simulated on recorded answers: how good is the chosen Variant after so many calls, under which rule?

    python bench/search_recorded.py [--seeds 100]

Needs the tables that bench/record_answers.py makes (DETENT_RECORDED as there). Every rule searches the same splits of
the same tables: half of the examples to search on, half held out, another split with every seed. Simple regret is the
best held-out mean in the table less that of the Variant that would be chosen. Writes bench/results/search_recorded.json
and docs/reference/search-measured.md.

Exits 1 unless ours has the held-out quality of DSPy's random search with a third of its calls on four of the five
families, and at most 5 % of studies report an improvement where there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from common import RESULTS, ROOT, Cell, write_result
from fixed_pool.race_rules import ExpectedGain, Halving, SignedRank
from recorded.schedules import DSPY_CANDIDATES, Schedule, in_full, over_examples, raced_search, racing, shuffled, tpe
from recorded.search_page import DSPY, OURS, page
from recorded.tables import Table, read_table, recorded_folder
from recorded.tasks import TASKS
from recorded.trials import Reported, curves, deal, paired_interval, report, without_differences
from recorded.without_model import RECORDED, with_stored_section

from optimizer.core.statistics.wilson import wilson_interval

LEAST_VARIANTS, LEAST_EXAMPLES = 30, 100
SHARES = (1 / 24, 1 / 12, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)  # of the calls of DSPy's random search
THIRD = SHARES.index(1 / 3)
FAMILIES_NEEDED = 4
MOST_FALSE = 0.05
PAGE = ROOT / "docs" / "reference" / "search-measured.md"

SCHEDULES: dict[str, Schedule] = {
    OURS: raced_search(),
    "ours, all variants in one race": raced_search(staged=False),
    "expected gain, all at the start": racing(ExpectedGain()),
    "successive halving": racing(Halving()),
    "signed-rank race": racing(SignedRank()),
    "random search": shuffled(in_full()),
    DSPY: in_full(DSPY_CANDIDATES),
    "random search over examples": over_examples(in_full()),
    "Optuna TPE": tpe(),
    "Optuna TPE, WilcoxonPruner": tpe(pruned=True),
}


def main() -> int:
    options = _options()
    folder = recorded_folder()
    tables = [
        read_table(folder / task.name, least_variants=LEAST_VARIANTS, least_examples=LEAST_EXAMPLES) for task in TASKS
    ]
    found = [table for table in tables if table is not None]
    if not found:
        print(
            f"Skipped: no family is recorded in {folder} with {LEAST_VARIANTS} variants x {LEAST_EXAMPLES} examples;"
            " run bench/record_answers.py."
        )
        return 0
    seeds = range(1, options.seeds + 1)
    cells = [cell for table in found for cell in measure(table, seeds)]
    path = write_result("search_recorded", cells, RESULTS)
    whole = page(json.loads(path.read_text(encoding="utf-8")), [task.name for task in TASKS])
    PAGE.write_text(with_stored_section(whole, RECORDED), encoding="utf-8")
    return verdict(cells)


def measure(table: Table, seeds: Sequence[int]) -> list[Cell]:
    """All cells of one family."""
    started = time.monotonic()
    full = DSPY_CANDIDATES * (len(table.examples) // 2)
    checkpoints = [int(share * full) for share in SHARES]
    found = curves(table, SCHEDULES, seeds, checkpoints)
    print(
        f"{table.family}: {len(seeds)} searches by each of {len(SCHEDULES)} rules, {time.monotonic() - started:.0f} s",
        file=sys.stderr,
    )
    cells = [_bar(table, found, checkpoints, seeds)]
    for name in found:
        cells += [
            _regret(table, checkpoints[at], name, found[OURS][at], found[name][at])
            for at in range(len(checkpoints))
            if name != OURS
        ]
    dealt = [deal(table, seed) for seed in seeds]
    recorded = [report(one, SCHEDULES[OURS]) for one in dealt]
    shuffled_scores = [report(without_differences(one), SCHEDULES[OURS]) for one in dealt]
    print(
        f"{table.family}: and {2 * len(seeds)} studies with their confirmation, {time.monotonic() - started:.0f} s",
        file=sys.stderr,
    )
    return [
        *cells,
        _reported(table, "as recorded", recorded),
        _reported(table, "shuffled", shuffled_scores),
        *_lifts(table, recorded),
    ]


def verdict(cells: Sequence[Cell]) -> int:
    bars = [c for c in cells if c.case.endswith(": held-out quality")]
    reached = [c.case.split(":")[0] for c in bars if c.other is not None and c.ours >= c.other]
    false = [c for c in cells if c.case.endswith(": improvement reported, shuffled")]
    n_false, n = sum(round(c.ours * c.n) for c in false), sum(c.n for c in false)
    print(
        f"A third of the calls is enough on {len(reached)} of {len(TASKS)} families ({', '.join(reached)});"
        f" {FAMILIES_NEEDED} are asked for."
    )
    print(f"Shuffled, {n_false} of {n} studies report an improvement; at most {MOST_FALSE:.0%} may.")
    return 0 if len(reached) >= FAMILIES_NEEDED and n_false <= MOST_FALSE * n else 1


def _bar(table: Table, found: dict[str, list[list[float]]], checkpoints: Sequence[int], seeds: Sequence[int]) -> Cell:
    best = [max(deal(table, seed).quality) for seed in seeds]
    ours = [b - r for b, r in zip(best, found[OURS][THIRD], strict=True)]
    other = [b - r for b, r in zip(best, found[DSPY][-1], strict=True)]
    between = paired_interval(ours, other)
    a, b = sum(ours) / len(ours), sum(other) / len(other)
    return Cell(
        case=f"{table.family}: held-out quality",
        ours=a,
        other=b,
        other_name=DSPY,
        ratio=a / b if b else None,
        low=between.lower,
        high=between.upper,
        unit=(
            f"held-out score, ours after {checkpoints[THIRD]} calls, the other after {checkpoints[-1]}; bounds of ours"
            " - other"
        ),
        n=len(ours),
    )


def _regret(table: Table, n_calls: int, name: str, ours: Sequence[float], other: Sequence[float]) -> Cell:
    between = paired_interval(ours, other)
    a, b = sum(ours) / len(ours), sum(other) / len(other)
    return Cell(
        case=f"{table.family}: regret after {n_calls} calls vs {name}",
        ours=a,
        other=b,
        other_name=name,
        ratio=a / b if b else None,
        low=between.lower,
        high=between.upper,
        unit="simple regret, held-out score; bounds of ours - other",
        n=len(ours),
    )


def _reported(table: Table, how: str, studies: Sequence[Reported]) -> Cell:
    n_improved, n = sum(s.improved for s in studies), len(studies)
    bounds = wilson_interval(n_improved, n)
    leading = sum(s.selection_lift is not None for s in studies) / n
    return Cell(
        case=f"{table.family}: improvement reported, {how}",
        ours=n_improved / n,
        other=leading,
        other_name="the score selected on",
        ratio=n_improved / n / leading if leading else None,
        low=bounds.lower,
        high=bounds.upper,
        unit="share of studies; bounds of ours",
        n=n,
    )


def _lifts(table: Table, studies: Sequence[Reported]) -> list[Cell]:
    lifts = [
        (s.holdout_lift, s.selection_lift)
        for s in studies
        if s.holdout_lift is not None and s.selection_lift is not None
    ]
    if not lifts:
        return []
    held, selected = [a for a, _ in lifts], [b for _, b in lifts]
    between = paired_interval(held, selected)
    a, b = sum(held) / len(held), sum(selected) / len(selected)
    return [
        Cell(
            case=f"{table.family}: lift of the winner",
            ours=a,
            other=b,
            other_name="the score selected on",
            ratio=a / b if b else None,
            low=between.lower,
            high=between.upper,
            unit="score, held out against selected on; bounds of the difference",
            n=len(lifts),
        )
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
