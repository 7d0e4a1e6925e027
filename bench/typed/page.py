"""docs/reference/commands-measured.md from bench/results/commands.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import Cell, bounded, lines, text_of

SAVING_SETS = ("rlc_mmlu", "rlc_medmcqa", "rlc_triviaqa")
SHARE_OF_CORE = 0.9


def page(result: Mapping[str, Any]) -> str:
    by_case = {cell["case"]: cell for cell in result["cells"]}
    names = list(dict.fromkeys(case.split(":")[0] for case in by_case))
    below = "".join(_below(name, by_case) for name in names if name in SAVING_SETS)
    return text_of("commands-measured", **result, rows=lines(_row(name, by_case) for name in names), below=below)


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


def _row(name: str, by_case: Mapping[str, Cell]) -> list[str]:
    def of(case: str) -> Cell:
        return by_case[f"{name}: {case}"]

    saved, above, tested = of("saved, 0 where refused"), of("loss above the margin"), of("proposals tested")
    typed = of("typed again, the same outcome")
    ratio = "–" if saved["ratio"] is None else f"{saved['ratio']:.2f}"
    return [
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
