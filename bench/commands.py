"""What a user's command finds on recorded cascades: draws of each table,
through the jobs that `detent study run` calls.

    python bench/commands.py [--draws 200] [--typed 10] [--minutes M] [--sets rlc_mmlu ...]

Each draw takes as many rows of a table as it has, with replacement, every copy in a group of its own; the whole table
is the truth. Rows are split as at every import, the study searches and confirms (margin .05, gates.confidence .9,
gates.n 30), and what it nominates is judged on the whole table. Answers are the recorded ones, from the journal after
the first draw. Beside it: the core rule (confident, margin .05, level .9) on the very rows that the study was free to
see, and on all rows of the draw; the boldest proposal as if the holdout let it pass; and the boldest threshold that
passes the holdout's test by itself, picked after the look as no rule may: more cannot be kept by any order of tests.
The first draws are typed again: `detent study run` in a process of its own on the same home,
which has to nominate the same.

A draw that is done is kept under var/bench/commands and not done again. Writes bench/results/commands.json and
docs/reference/commands-measured.md. Exits 1 where a bar is missed: saving at least .9 of the core rule's on mmlu,
medmcqa and triviaqa, and a loss above the margin in at most 10 % of the draws within binomial error on every set.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev

from cascade_logs.tables import CONFIDENT_SETS, read
from common import ROOT, Bounds, Cell, beside, data_of, options_of, write_result
from simulations.tally import wilson
from typed.draws import CHEAP, MARGIN, STRONG, Draw, Table

KEPT = ROOT / "var" / "bench" / "commands"
ALLOWED = 0.10
SAVING_SETS = ("rlc_mmlu", "rlc_medmcqa", "rlc_triviaqa")
SHARE_OF_CORE = 0.9


def main() -> int:
    options = options_of(__doc__, draws=200, typed=10, minutes=float, sets=list(CONFIDENT_SETS))
    data_of("cascade_logs")
    tables = {
        name: Table(name, pool=logs.pool.chain((CHEAP, STRONG)), folder=KEPT / name)
        for name in options.sets
        if (logs := read(name))
    }
    started = time.monotonic()
    for number in range(options.draws):
        for name, table in tables.items():
            if options.minutes is not None and time.monotonic() - started > 60 * options.minutes:
                break
            begun = time.process_time()
            if table.draw(number, typed=number < options.typed):
                print(f"{name} {number}: {time.process_time() - begun:.1f} s of CPU", file=sys.stderr, flush=True)
    done = {name: table.done() for name, table in tables.items()}
    cells = [cell for name, draws in done.items() if draws for cell in cells_of(name, draws)]
    write_result("commands", cells)
    return verdict(cells)


def cells_of(name: str, draws: Sequence[Draw]) -> list[Cell]:
    n = len(draws)
    saved, core, whole = ([getattr(d, f) for d in draws] for f in ("saved", "core_saved", "core_saved_all"))
    above = sum(d.lost > MARGIN + 1e-12 for d in draws) / n
    core_above = sum(d.core_lost > MARGIN + 1e-12 for d in draws) / n
    typed = [float(bool(d.typed_same)) for d in draws if d.typed_same is not None]
    rule, share = "core rule, same rows", "share of gpt-4o's dollars"

    def cell(
        case: str, ours: float, unit: str, other: float | None = None, by: str = "", bounds: Bounds = (None, None)
    ) -> Cell:
        return beside(f"{name}: {case}", ours, other, by, unit, n, bounds)

    return [
        cell("saved, 0 where refused", mean(saved), share, mean(core), rule, _interval(saved)),
        cell("saved by the core rule on all rows of the draw", mean(whole), share),
        cell("saved by the boldest proposal", mean(d.boldest_saved for d in draws), share),
        cell("saved by the boldest that passes alone", mean(d.passing_saved for d in draws), share, mean(core), rule),
        cell("loss above the margin", above, "share of draws", core_above, rule, wilson(above, n, z=1.96)),
        cell("nominated", mean(d.winner is not None for d in draws), "share of draws"),
        cell("points lost where nominated", mean([100 * d.lost for d in draws if d.winner] or [0.0]), "points"),
        cell(
            "proposals tested", mean(d.n_tested for d in draws), "a draw", mean(d.n_proposed for d in draws), "proposed"
        ),
        cell("typed again, the same outcome", mean(typed or [0.0]), "share", len(typed), "typed"),
    ]


def verdict(cells: Sequence[Cell]) -> int:
    """Prints every bar that is missed; 0 if none is."""
    by_case, missed = {cell.case: cell for cell in cells}, list[str]()
    for name in SAVING_SETS:
        cell = by_case.get(f"{name}: saved, 0 where refused")
        if cell is not None and (cell.ratio is None or cell.ratio < SHARE_OF_CORE):
            missed.append(f"{cell.case}: {cell.ratio or 0:.2f} of the core rule's")
    for cell in cells:
        if cell.case.endswith(": loss above the margin") and (cell.ours or 0) > ALLOWED + 1.645 * sqrt(
            ALLOWED * (1 - ALLOWED) / cell.n
        ):
            missed.append(f"{cell.case}: {cell.ours:.3f} of {cell.n} draws")
        if cell.case.endswith("the same outcome") and cell.other and cell.ours != 1:
            missed.append(f"{cell.case}: {cell.ours:.2f}")
    print("\n".join(["Every bar is held."] if not missed else ["Missed:", *missed]))
    return 1 if missed else 0


def _interval(values: Sequence[float]) -> tuple[float, float]:
    half = 1.96 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    return mean(values) - half, mean(values) + half


if __name__ == "__main__":
    sys.exit(main())
