"""docs/reference/speed.md, of the results that SECTIONS names: those that are withdrawn have no section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.pages import bounds, lines, text_of

Result = Mapping[str, Any]
SECTIONS = {  # by the name of their result
    "client": "In process",
    "serving": "Prompts",
    "ingestion": "Feedback",
    "growth": "What is stored already",
    "dashboard": "Pages",
}
BARS: tuple[tuple[str, str, float], ...] = (  # beginning of a case, what is bounded, the bound
    ("a decision in process,", "ours at most", 5.0),
    ("a prompt in process, decided", "ours at most", 20.0),
    ("requests to the server while", "ratio at most", 1.5),  # one a second, with jitter
    ("prompt fetches with", "ratio at least", 0.6),
    ("p99 of a prompt fetch", "ratio at most", 2.0),
    ("prompts filled in", "ratio at least", 0.4),
    ("p99 of a prompt filled in", "ratio at most", 2.0),
    ("p99 of prompts while feedback", "ratio at most", 3.0),
    ("p99 of a chat, 16 ", "ours at most", 20),
    ("answers with outcomes (two rows each), batches of 100 over", "ours at least", 15_000),
    ("outcomes (one row each), batches of 100 over", "ours at least", 15_000),
    ("answers with outcomes (two rows each), one by one over", "ratio at least", 0.4),
    ("outcomes (one row each), one by one over", "ratio at least", 0.4),
    ("batches beside mlflow.log_trace", "ratio at least", 100),
    ("first byte of", "ours at most", 150.0),
    ("50 open pages while", "ours at most", 5.0),
    ("prompt fetches beside 50", "ratio at least", 0.9),
)
GROWTH_BAR = ("ratio at most", 1.3)


def page(*results: Result) -> str:
    by_name = {result["name"]: result for result in results}
    missed = [cell["case"] for result in results for cell in result["cells"] if not _is_met(cell, result["name"])]
    left_out = [title for name, title in SECTIONS.items() if name not in by_name]
    verdicts = [f"Not measured here: {', '.join(left_out)}."] if left_out else []
    verdicts.append(f"Not kept here: {'; '.join(missed)}." if missed else "All bars of what was measured were kept.")
    return text_of(
        "speed",
        left_out=left_out,
        **by_name,
        rows={name: lines(_row(cell, name) for cell in result["cells"]) for name, result in by_name.items()},
        verdict="\n\n".join(verdicts),
    )


def bar_of(case: str, name: str) -> tuple[str, float] | None:
    if name == "growth":
        return GROWTH_BAR
    return next(((what, bound) for begins, what, bound in BARS if case.startswith(begins)), None)


def _is_met(cell: Mapping[str, Any], name: str) -> bool:
    bar = bar_of(cell["case"], name)
    if bar is None:
        return True
    what, bound = bar
    if cell["ours"] is None:
        return False  # what could not be measured is not shown
    figure = cell["ours"] if what.startswith("ours") else cell["high"] if name == "growth" else cell["ratio"]
    return bool(figure >= bound if what.endswith("least") else figure <= bound)


def _row(cell: Mapping[str, Any], name: str) -> Sequence[str]:
    unit, _, spread = cell["unit"].partition("; ")
    mine, _, theirs = spread.partition(" beside ")
    interval = "" if cell["low"] is None else f" ({bounds(cell, '.3g')})"
    bar = bar_of(cell["case"], name)
    is_alone = cell["other"] is None
    if cell["ours"] is None:
        return cell["case"], f"not measured ({spread})", "", "", "" if bar is None else f"{bar[0]} {bar[1]:,g}"
    ours = f"{_figure(cell['ours'])} {unit}" + (f" ({mine})" if theirs or (is_alone and mine) else "")
    other = "" if is_alone else f"{cell['other_name']}: {_figure(cell['other'])}" + (f" ({theirs})" if theirs else "")
    ratio = "" if cell["ratio"] is None else f"{cell['ratio']:.3g}{interval}"
    return cell["case"], ours, other, ratio, "" if bar is None else f"{bar[0]} {bar[1]:,g}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
