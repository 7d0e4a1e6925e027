"""docs/reference/commands-measured.md from bench/results/commands.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import Cell, bounded, in_columns

SAVING_SETS = ("rlc_mmlu", "rlc_medmcqa", "rlc_triviaqa")
SHARE_OF_CORE = 0.9

HEAD = """# What the command finds on recorded cascades

Made by `python bench/commands.py` from [commands.json](../../bench/results/commands.json) at commit {commit}
({machine}). Each draw takes as many rows of a recorded table (gpt-4o-mini and gpt-4o) as it has, with replacement,
every copy in a group of its own; the whole table is the truth. The study is the one of

    detent study run FAMILY --strategy replay --aim cost --budget-calls 100000

with `margin: 0.05`, `gates: {{aim: cost, confidence: 0.9, n: 30}}`, through the same jobs; the draws counted as typed
were made again by that command in a process of its own, on a copy of the home, and had to end alike. A draw in which
nothing was nominated saves and loses nothing. *Core rule*: the confident rule alone (margin .05, level .9, no holdout)
on the very rows that the study was free to see; *on all rows*: as if nothing had to be sealed. *Boldest*: the last
proposal, as if the holdout had let it pass. *Ceiling*: the boldest threshold that passes the holdout's test by itself,
picked after the look as no rule may; what has to pass that test saves no more, in whatever order it is tested. The
steps of the sequence were chosen on other draws, with other seeds, and fixed before these were made.

| table | draws | nominated | saved (95 % interval) | core rule | ratio | core rule on all rows | boldest | ceiling | points lost where nominated | loss above the margin (95 % interval), core rule | tested of proposed | typed, the same |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""  # noqa: E501

TAIL = """
Rows of a table that are drawn again are the same question; what a table does not hold, other questions, other models,
is not measured here.
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    by_case = {cell["case"]: cell for cell in result["cells"]}
    names = list(dict.fromkeys(case.split(":")[0] for case in by_case))
    head = HEAD.format(commit=result["commit"], machine=result["machine"])
    return (
        head
        + "".join(_row(name, by_case) for name in names)
        + "".join(_below(name, by_case) for name in names if name in SAVING_SETS)
        + TAIL
    )


def _below(name: str, by_case: Mapping[str, Cell]) -> str:
    """Where less is kept than was aimed at: how much, and how much of it no other order would have kept."""
    saved, ceiling = (
        by_case[f"{name}: saved, 0 where refused"],
        by_case[f"{name}: saved by the boldest that passes alone"],
    )
    if saved["ratio"] is None or saved["ratio"] >= SHARE_OF_CORE:
        return ""
    within = "So no order of tests reaches the aim. " if ceiling["ratio"] < SHARE_OF_CORE else ""
    proposed = by_case[f"{name}: saved by the boldest proposal"]["ours"]
    return (
        f"\n**{name.removeprefix('rlc_')}: not reached.** {SHARE_OF_CORE:g} of what the core rule saves was the aim,"
        f" and the command saves {saved['ratio']:.3f} of it. The boldest threshold that passes the holdout's test by"
        f" itself, picked after the look, would save {ceiling['ratio']:.3f}. {within}Thresholds are not the lack: what"
        f" is proposed saves {proposed:.3f} of the dollars. The study has to show again, on a fifth of the rows, that"
        " less than the margin is lost, and so few rows cannot show it of the boldest proposals. More rows can: the"
        " test's error falls with their root.\n"
    )


def _row(name: str, by_case: Mapping[str, Cell]) -> str:
    def of(case: str) -> Cell:
        return by_case[f"{name}: {case}"]

    saved, above, tested = of("saved, 0 where refused"), of("loss above the margin"), of("proposals tested")
    typed = of("typed again, the same outcome")
    ratio = "–" if saved["ratio"] is None else f"{saved['ratio']:.2f}"
    cells = [
        name.removeprefix("rlc_"),
        str(saved["n"]),
        f"{of('nominated')['ours']:.0%}",
        bounded(saved),
        f"{saved['other']:.3f}",
        ratio,
        f"{of('saved by the core rule on all rows of the draw')['ours']:.3f}",
        f"{of('saved by the boldest proposal')['ours']:.3f}",
        f"{of('saved by the boldest that passes alone')['ours']:.3f}",
        f"{of('points lost where nominated')['ours']:.2f}",
        f"{bounded(above)}, {above['other']:.3f}",
        f"{tested['ours']:.1f} of {tested['other']:.1f}",
        f"{round(typed['ours'] * typed['other'])} of {typed['other']:.0f}",
    ]
    return f"| {' | '.join(cells)} |\n"
