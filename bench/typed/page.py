"""docs/reference/commands-measured.md from bench/results/commands.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = """# What the command finds on recorded cascades

Made by `python bench/commands.py` from [commands.json](../../bench/results/commands.json) at commit {commit} ({machine}). Each draw takes as many rows of a recorded table (gpt-4o-mini and gpt-4o) as
it has, with replacement, every copy in a group of its own; the whole table is the truth. The study is the one of

    detent study run FAMILY --strategy replay --aim cost --budget-calls 100000

with `margin: 0.05`, `gates: {{aim: cost, confidence: 0.9, n: 30}}`, through the same jobs; the draws counted as typed were made again by that command in a process of its own, on a copy of the home, and had to end alike. A draw in which nothing was
nominated saves and loses nothing. *Core rule*: the confident rule alone (margin .05, level .9, no holdout) on the very rows that the study was free to see; *on all rows*: as if nothing had to be sealed. The sealed fifth costs what lies between: it
has to show again, on a quarter of the rows that found the thresholds, that less than the margin is lost.

| table | draws | nominated | saved (95 % interval) | core rule | ratio | core rule on all rows | points lost where nominated | loss above the margin (95 % interval), core rule | tested of proposed | typed, the same |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

TAIL = """
Rows of a table that are drawn again are the same question; what a table does not hold, other questions, other models, is not measured here.
"""


def page(result: Mapping[str, Any]) -> str:
    by_case = {cell["case"]: cell for cell in result["cells"]}
    names = list(dict.fromkeys(case.split(":")[0] for case in by_case))
    return HEAD.format(commit=result["commit"], machine=result["machine"]) + "".join(_row(name, by_case) for name in names) + TAIL


def _row(name: str, by_case: Mapping[str, Mapping[str, Any]]) -> str:
    def of(case: str) -> Mapping[str, Any]:
        return by_case[f"{name}: {case}"]

    saved, above, tested = of("saved, 0 where refused"), of("loss above the margin"), of("proposals tested")
    typed = of("typed again, the same outcome")
    ratio = "–" if saved["ratio"] is None else f"{saved['ratio']:.2f}"
    cells = [
        name.removeprefix("rlc_"), str(saved["n"]), f"{of('nominated')['ours']:.0%}",
        f"{saved['ours']:.3f} ({saved['low']:.3f} to {saved['high']:.3f})", f"{saved['other']:.3f}", ratio,
        f"{of('saved by the core rule on all rows of the draw')['ours']:.3f}", f"{of('points lost where nominated')['ours']:.2f}",
        f"{above['ours']:.3f} ({above['low']:.3f} to {above['high']:.3f}), {above['other']:.3f}", f"{tested['ours']:.1f} of {tested['other']:.1f}",
        f"{round(typed['ours'] * typed['other'])} of {typed['other']:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"
