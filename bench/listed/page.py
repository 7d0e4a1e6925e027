"""docs/reference/listed-instructions-measured.md, made of bench/results/listed_instructions.json alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import Cell, bounds, in_columns

MARGIN = 0.2  # points
HEAD = """# Searches of a list of instructions, measured

Made by `python bench/listed_instructions.py` from `bench/results/listed_instructions.json` (commit {commit},
{machine}). `space: {{instruction: {{choices: [...]}}}}` lists 26 or 100 instructions of 15 to 1,300 bytes; the first is
the champion's. What a model answers under each is recorded, right or wrong, on 581 to 600 rows: relevance judgements of
two models under 26 prompts (TREC Deep Learning) and 100 sentiment templates (SST-2, OPT 2.7B). An answer under examples
is the same as without.

*Points lost*: the mean of the best of the list less that of the one chosen, in hundredths of score, on the rows that
the search may ask about, and on all rows of the table. *The rule alone* is `ContinuousRejects` on the same rows in an
order of its own, with as many calls as the whole search made.

## By the command

`detent study run --strategy race` or `joint`, in a home of its own each, {n_dev} dev rows, a holdout of 100,
answered by a stand-in provider on loopback. Seed 1 has the least cap that pays for four rows of each instruction, and a
definition with nothing but the list (`n_candidates: 0`, `max_examples: 0`, `n_run_off: 0`). Seed 2 has more calls
and every size as it comes: sets of examples, whose making takes calls, too, and a run-off on up to 200 further dev
rows, whose calls are counted and whose rows the rule sees. A single run tells little of the loss; the replays tell
that. **All instructions were tried in {n_whole} of {n_runs} runs**; the command makes twelve.

| list | strategy, cap in calls | tried | calls before the confirmation | points lost on dev | the rule alone |
| --- | --- | --- | --- | --- | --- |
{runs}
{same} of the {n_same} races with the least cap chose what the replay in memory on the same rows chooses.

## Replayed

{n} races of each size in memory, through the strategy and its proposer, another order of the list and other rows each;
nothing but the list, no run-off. *Cap*: of the search, over four rows of each instruction. The interval is of ours less
the rule's over the draws (95 %, bootstrap; below zero: ours loses less).

| list | dev rows | cap | calls made | lost on dev | the rule alone | ours - the rule's | on all rows |
| --- | --- | --- | --- | --- | --- | --- | --- |
{replays}
{summary}
"""
READING = """
## What this says, and what not

* A race spends its calls as its rule does; what the rule leaves goes to champion and leader, on the same rows. Where
  the cap pays for no more, the choice rests on the rows that both have met, fewer than all, and the study says how
  many. The sealed holdout decides in any case.
* With the same rows and contenders in the same order, and the same cap, a race over a list chooses what its rule alone
  chooses, which a test holds it to. The differences above come of the orders, and of the few calls that the rule leaves
  over: with 599 of them its first look is at two rows of 100 instructions, with 600 at three.
* `joint` races like that where its cap does not pay for all dev rows of each point; where it does, each meets all.
* Without a cap on calls (a cap in dollars alone is none) a study tries `n_settings` (8) of the list by TPE, and its
  first sentence says how many there are and what tries more.
* An instruction that is listed twice is one point, the champion's own is not tried again, and one that is longer than
  the champion's may be.
"""
RUN = re.compile(r"run, (\S+) \((\d+)\), (\w+), seed (\d), cap of (\d+) calls: (.*)")
REPLAYED = re.compile(r"replayed, (\S+) \((\d+)\), (\d+) dev rows, ([\d.]+) x: (.*)")


@in_columns
def page(result: Mapping[str, Any]) -> str:
    runs, replays = _grouped(result, RUN), _grouped(result, REPLAYED)
    whole = [cells["tried"]["ours"] == cells["tried"]["other"] for cells in runs.values()]
    same = [cells["chosen by the replay too"]["ours"] for cells in runs.values() if "chosen by the replay too" in cells]
    head = HEAD.format(
        commit=result["commit"],
        machine=result["machine"],
        n_dev=20,
        n_whole=sum(whole),
        n_runs=len(whole),
        runs="".join(_run(*item) for item in runs.items()),
        same=round(sum(same)),
        n_same=len(same),
        n=next((cells["tried"]["n"] for cells in replays.values()), 0),
        replays="".join(_replay(*item) for item in replays.items()),
        summary=_summary(replays),
    )
    return head + READING


def _grouped(result: Mapping[str, Any], form: re.Pattern[str]) -> dict[tuple[str, ...], dict[str, Cell]]:
    groups: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in result["cells"]:
        if match := form.fullmatch(cell["case"]):
            *group, name = match.groups()
            groups.setdefault(tuple(group), {})[name] = cell
    return groups


def _run(group: tuple[str, ...], cells: Mapping[str, Cell]) -> str:
    table, n, strategy, seed, cap = group
    tried, calls, lost = cells["tried"], cells["calls of its search"], cells["points lost on dev"]
    return (
        f"| {n}, {table} | `{strategy}`, seed {seed}, {int(cap):,} | {tried['ours']:.0f} of {tried['other']:.0f} |"
        f" {calls['ours']:,.0f} | {lost['ours']:.1f} | {lost['other']:.1f} |\n"
    )


def _replay(group: tuple[str, ...], cells: Mapping[str, Cell]) -> str:
    table, n, n_dev, cap = group
    calls, lost, on_all = cells["calls"], cells["points lost on dev"], cells["points lost on all rows"]
    return (
        f"| {n}, {table} | {n_dev} | {cap} x ({calls['other']:,.0f}) | {calls['ours']:,.0f} | {lost['ours']:.2f} |"
        f" {lost['other']:.2f} | {_difference(lost)} | {_difference(on_all)} |\n"
    )


def _difference(cell: Cell) -> str:
    return f"{cell['ours'] - cell['other']:+.2f} ({bounds(cell, '+.2f')})"


def _summary(replays: Mapping[tuple[str, ...], Mapping[str, Cell]]) -> str:
    """By cap: the mean over the sizes on dev."""
    cells = [{**cell, "case": f"{group[3]} x: {name}"} for group, of in replays.items() for name, cell in of.items()]
    told = []
    for cap in sorted({group[3] for group in replays}, key=float):
        mean, n = mean_difference(cells, float(cap))
        told.append(
            f"* With {cap} x four rows each ours loses {mean:+.2f} points on dev against the rule in the mean of {n}"
            f" races (bar: {MARGIN})."
        )
    whole = [
        f"{group[1]}, {group[0]}, {group[2]} rows, {group[3]} x: {_difference(cell)}"
        for group, of in replays.items()
        if not (cell := of["points lost on dev"])["low"] <= 0 <= cell["high"]
    ]
    by_list = {
        name: [of["points lost on dev"] for g, of in replays.items() if g[:2] == name]
        for name in {g[:2] for g in replays}
    }
    lost = {
        name: sum((c["ours"] - c["other"]) * c["n"] for c in of) / sum(c["n"] for c in of)
        for name, of in by_list.items()
    }
    each = "; ".join(f"{size}, {name} {lost[name, size]:+.2f}" for name, size in sorted(lost))
    missed = [f"{size}, {name}" for name, size in sorted(lost) if lost[name, size] > MARGIN]
    holds = f"It is missed by {', '.join(missed)}." if missed else "It holds for each list."
    told.append(f"* By list, all caps together: {each}. The bar is about the mean of all lists. {holds}")
    told.append(
        f"* {len(whole)} of the {len(replays)} cells differ by their whole interval ({'; '.join(whole)}). Cells of one"
        " list share its draws, so that they err to one side together."
    )
    return "\n".join(told)


def mean_difference(cells: Sequence[Any], cap: float) -> tuple[float | None, int]:
    """(points that ours loses on dev beyond the rule in the mean of a cap's replays, how many these are)."""
    rows = [cell if isinstance(cell, Mapping) else vars(cell) for cell in cells]
    of = [row for row in rows if row["case"].endswith(f"{cap:g} x: points lost on dev")]
    n = sum(row["n"] for row in of)
    return (sum((row["ours"] - row["other"]) * row["n"] for row in of) / n if n else None), n
