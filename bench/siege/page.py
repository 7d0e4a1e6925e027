"""docs/reference/reliability.md, made of bench/results/siege.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.pages import lines, text_of

LOAD = "load: "  # begins the cases of the second part
FILE = "file: "  # begins those of the first that are no bodies of requests


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    load = [cell for cell in cells if cell["case"].startswith(LOAD)]
    texts = [cell for cell in cells if cell not in load]
    bodies = [cell["case"].rsplit("(", 1)[1].split(" ")[0] for cell in texts if not cell["case"].startswith(FILE)]
    not_kept = missed(cells)
    sentence = f"all {sum(c['other_name'] == 'bar' for c in cells)} were kept."
    return text_of(
        "reliability",
        **result,
        verdict=f"not kept here: {'; '.join(not_kept)}." if not_kept else sentence,
        begun=next(cell for cell in load if cell["unit"] == "minutes"),
        body_mb=max(int(body.replace(",", "")) for body in bodies) / 1e6,
        load=lines(map(_load_row, load)),
        texts=lines(_text_rows(texts)),
    )


def is_kept(cell: Mapping[str, Any]) -> bool:
    """A count that may be nothing else has the bar 0; every other figure lies below its bar."""
    return cell["other_name"] != "bar" or (cell["ours"] == 0 if cell["other"] == 0 else cell["ours"] < cell["other"])


def missed(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return [cell["case"].removeprefix(LOAD) for cell in cells if not is_kept(cell)]


def _load_row(cell: Mapping[str, Any]) -> Sequence[str]:
    bar, value = cell["other"], cell["ours"]
    shown = "" if bar is None else f"{bar:g}" if bar == 0 else f"< {bar:g} {cell['unit']}"
    figure = f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"
    return cell["case"].removeprefix(LOAD), f"{figure} {cell['unit']}", shown, f"{cell['n']:,}"


def _text_rows(cells: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Three cells make a row: they come one after the other, with the same case."""
    by_case: dict[str, list[float]] = {}
    for cell in cells:
        by_case.setdefault(cell["case"], []).append(cell["ours"])
    return [(case, f"{cpu:.2f}", f"{mb:.0f}", f"{answer:,}") for case, (cpu, mb, answer) in by_case.items()]
