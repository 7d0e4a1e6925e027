"""docs/reference/speed.md, of the results that SECTIONS names: those that are withdrawn have no section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.pages import text_of

Result = Mapping[str, Any]
SECTIONS = {  # by the name of their result
    "client": "In process",
    "serving": "Prompts",
    "ingestion": "Feedback",
    "growth": "What is stored already",
    "dashboard": "Pages",
    "open_pages": "Open pages",
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
    ("answers with outcomes (two rows each), batches of 100 over", "ours at least", 12_000),
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
    return text_of(
        "speed",
        left_out=left_out,
        **by_name,
        bar_of=bar_of,
        left_out_of_them=left_out,
        missed=missed,
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
