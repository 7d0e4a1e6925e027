"""docs/reference/search-measured.md, made of bench/results/search_recorded.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import in_columns

OURS = "ours"
DSPY = "DSPy's random search"
HEAD = """# The search, measured

Made by `python bench/search_recorded.py` from `bench/results/search_recorded.json` (commit {commit}, {machine}). The
embedded model answered every example with every variant of a task once (`python bench/record_answers.py`: four
instructions, each with eight choices of none to four examples, temperature 0); {n} searches by each rule are then
simulated on these answers, each with another half of the examples to search on and the other half held out. *Simple
regret*: the best held-out mean of any variant of the table less that of the one that would be chosen. All rules see the
same splits; intervals (95 %, paired bootstrap) are over these splits, so they speak of these tasks and this model, not
of others. A call is one variant on one example; nothing is asked twice.

**No claim on the present strategy `race` rests on this page.** *Ours* is the rule that it had before
[0039](../adr/0039-race-uses-continuous-rejects.md) (record 0011); it was not run again, since that takes the answers
once more. [The rules on recorded tables](search-tables-measured.md) has the present one.

Ours is strategy `race` with the rule `ExpectedGain` of `bench/fixed_pool/race_rules.py`, at
the calls with which it has also paid for the last examples of leader and champion.
Its contenders come as a study's
proposers make them: choices of examples with the champion's instruction, then instructions beside the examples of the
leader, 11 or 14 of the 32 variants; *all variants in one race* has no such order. *DSPy's random search*: the schedule
of BootstrapFewShotWithRandomSearch with its own settings, 19 candidates each on all examples, drawn from all 32
variants (its calls for bootstrapping are not counted against it). By itself that optimizer varies examples only:
*random search over examples* asks the eight choices with the champion's instruction, and has then no more to ask.
*Random search* goes on to all variants, the champion somewhere among them. *Optuna*: TPE over instruction and choice of
examples, without and with its WilcoxonPruner. Successive halving and the signed-rank race are the other two rules of
that file.
"""
BAR = """
## Ours after a third of the calls, DSPy's after all

No claim rests on this table. Earlier editions called it "DSPy's quality with a third of its calls on four of five
tasks"; that is withdrawn, for two reasons. The pools differ: ours meets 11 or 14 variants in the order in which a
study's proposers make them, DSPy's schedule draws 19 from all 32. And that order was chosen after a first look at these
tables. With one pool and no order, *all variants in one race* of the next section is the figure to read.

| family | ours | DSPy | ours - DSPy | 95 % interval | ours at least as high |
| --- | --- | --- | --- | --- | --- |
"""
CURVES = """
## The whole curve

Simple regret after so many calls (lower is better); the best of each column is bold.
"""
LOSSES = """
## Where we lose

Rules with a lower regret than ours, the whole interval of the difference on their side:

"""
NONE = "Nowhere in these tables.\n"
BIAS = """
## What a study reports

A study searches, and its winner is looked at once on the held-out examples, through the product's own gates
(`core/evaluation/gates.py`; the gate on n asks for as many as are held out). *Shuffled*: each example's scores are
dealt out among the variants by chance, so that none is better than another; then at most .05 of the studies may report
an improvement. *Leads on dev*: what a tool would report that believes the score it selected on.

| family | scores | reports an improvement | 95 % interval | leads on dev |
| --- | --- | --- | --- | --- |
"""
LIFTS = """
The lift of the winner over the champion, on the examples it was selected on and on those held out:

| family | selected on | held out | difference, 95 % interval |
| --- | --- | --- | --- |
"""


@in_columns
def page(result: Mapping[str, Any], families: Sequence[str]) -> str:
    """The page; families without cells are shown as not recorded."""
    cells = result["cells"]
    by_case = {cell["case"]: cell for cell in cells}
    recorded = [f for f in families if f"{f}: held-out quality" in by_case]
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n=max((c["n"] for c in cells), default=0))
    text = head + BAR + "".join(_bar_row(f, by_case.get(f"{f}: held-out quality")) for f in families) + CURVES
    for family in recorded:
        text += f"\n### {family}\n\n{_curve([c for c in cells if c['case'].startswith(f'{family}: regret')])}"
    text += LOSSES + (_losses(cells) or NONE) + BIAS
    for family in recorded:
        for how in ("as recorded", "shuffled"):
            cell = by_case[f"{family}: improvement reported, {how}"]
            text += (
                f"| {family} | {how} | {cell['ours']:.2f} | {cell['low']:.3f} to {cell['high']:.3f} |"
                f" {cell['other']:.2f} |\n"
            )
    text += LIFTS
    for family in recorded:
        cell = by_case.get(f"{family}: lift of the winner")
        if cell:
            text += (
                f"| {family} | {cell['other']:+.3f} | {cell['ours']:+.3f} | {cell['low']:+.3f} to"
                f" {cell['high']:+.3f} |\n"
            )
    return text


def _bar_row(family: str, cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return f"| {family} | not recorded | | | | |\n"
    ours, other = cell["ours"], cell["other"]
    reached = "yes" if ours >= other else "no"
    return (
        f"| {family} | {ours:.3f} | {other:.3f} | {ours - other:+.3f} | {cell['low']:+.3f} to {cell['high']:+.3f} |"
        f" {reached} |\n"
    )


def _curve(cells: Sequence[Mapping[str, Any]]) -> str:
    rows: dict[str, dict[int, float]] = {OURS: {}}
    for cell in cells:
        n_calls, name = _place(cell)
        rows[OURS][n_calls] = cell["ours"]
        rows.setdefault(name, {})[n_calls] = cell["other"]
    columns = sorted(rows[OURS])
    best = {n: min(row[n] for row in rows.values()) for n in columns}
    lines = [f"| calls | {' | '.join(map(str, columns))} |", "| --- |" + " --- |" * len(columns)]
    for name, row in rows.items():
        shown = [f"**{row[n]:.3f}**" if row[n] <= best[n] + 1e-9 else f"{row[n]:.3f}" for n in columns]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _losses(cells: Sequence[Mapping[str, Any]]) -> str:
    lost: dict[tuple[str, str], list[int]] = {}
    for cell in cells:
        if ": regret" in cell["case"] and cell["low"] > 0:
            n_calls, name = _place(cell)
            lost.setdefault((cell["case"].split(":")[0], name), []).append(n_calls)
    return "".join(
        f"* {family}: {name}, after {', '.join(map(str, calls))} calls\n" for (family, name), calls in lost.items()
    )


def _place(cell: Mapping[str, Any]) -> tuple[int, str]:
    match = re.search(r": regret after (\d+) calls vs (.*)", cell["case"])
    assert match is not None
    return int(match.group(1)), match.group(2)
