"""docs/reference/speed.md, made of bench/results/client.json and the other files of FILES, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import RESULTS
from bench.pages import in_columns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "speed.md"
FILES = ("client", "serving", "memory", "ingestion", "growth")
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
    ("growth of memory", "ours at most", 1.0),
    ("answers with outcomes (two rows each), batches of 100 over", "ours at least", 15_000),
    ("outcomes (one row each), batches of 100 over", "ours at least", 15_000),
    ("answers with outcomes (two rows each), one by one over", "ratio at least", 0.4),
    ("outcomes (one row each), one by one over", "ratio at least", 0.4),
    ("batches beside mlflow.log_trace", "ratio at least", 100),
)
GROWTH_BAR = ("ratio at most", 1.3)

HEAD = """# How fast

What stands in the path of every request: fetching a prompt, and reporting what came of it. Clients are wrk with one
thread, on the same machine as the server; each row's two sides were asked in turns, and a figure is the median of the
rounds, with the least and the most behind it. A ratio's interval (95 %, bootstrap over rounds) stands in brackets. A
rate is also what a machine has to give: where the rounds lie far apart, other programs had their part of it, on both
sides, and the ratio is what to compare.

A bare route is Starlette on uvicorn that does nothing but the one thing: hash the unit and return the same bytes, or
write the same rows and answer once they are on disk. Detent's side checks the key, its role, its families and its
limits, signs the token of each answer, counts the exposure, masks, and answers with the headers that browsers heed.
[Where a request's time goes](../explanation/where-a-requests-time-goes.md) shows the parts.

"""
WITHDRAWN = """Figures of prompts, chats, single events and memory are withdrawn until they are measured again: they
were taken before every request passed one ASGI application.

"""
SECTIONS = {
    "client": """## In process

`python bench/client.py` (commit {commit}, {machine}): [the client](../../client/README.md) in a process of its own,
during a rollout, 20,000 units in turn, exposures counted; half of the calls waited no longer than a figure says, or 99
in a hundred of them (p99). Langfuse's client answers from its cache, which holds one prompt for everybody: it draws no
version for a user and counts nothing. OpenFeature's provider asks this server for each decision. One client calls while
the others wait. With 1,000 threads a figure is the time of all calls together, by their number.

""",
    "serving": """## Prompts

`python bench/serving.py` (commit {commit}, {machine}): one api process, with the process for feedback beside it, as
`detent serve` starts them, during a rollout, 20,000 units in turn. MLflow's server reads the prompt by alias over REST
from SQLite, which is a database read for each request; Detent answers from memory that is at most a quarter of a second
behind the store. A chat goes through api and gateway to a model that answers at once, and is on record: the
milliseconds that it takes longer than the same request sent to that model. A client sends its next one as soon as it
has its answer, so all cores are busy.

""",
    "memory": """## Memory

`python bench/serving.py --minutes N` (commit {commit}, {machine}): resident memory of the api and of the process for
feedback together under 500 prompts and ten batches of a hundred events a second, looked at each second. Growth is that
of a line through what was seen from the second minute on, its interval (95 %) a bootstrap over half minutes.

""",
    "ingestion": """## Feedback

`python bench/ingestion.py` (commit {commit}, {machine}): each answer means on disk (`synchronous=FULL`). Each side has
a database of its own, with the product's tables and indexes. A trace of MLflow has spans, which an event has not.

""",
    "growth": """## What is stored already

`python bench/ingestion.py --growth N` (commit {commit}, {machine}): microseconds of a request, waiting included, of an
installation with much in its store, beside one with a thousand events. Their clients ask in turns.

""",
}


@in_columns
def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [HEAD, *([] if "serving" in results else [WITHDRAWN])]
    for name in FILES:
        if name not in results:
            continue
        found = results[name]
        parts.append(SECTIONS[name].format(commit=found["commit"], machine=found["machine"]))
        parts.append(_table(found["cells"], name == "growth"))
    missed = [cell["case"] for name, found in results.items() for cell in found["cells"] if not _kept(cell, name)]
    verdict = f"Not kept here: {'; '.join(missed)}." if missed else "All bars were kept."
    return "".join(parts) + f"## Bars\n\n{verdict}\n"


def write_page() -> None:
    found = {name: RESULTS / f"{name}.json" for name in FILES}
    results = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in found.items() if file.exists()}
    PAGE.write_text(page(results), encoding="utf-8")


def bar_of(case: str, name: str) -> tuple[str, float] | None:
    if name == "growth":
        return GROWTH_BAR
    return next(((what, bound) for begins, what, bound in BARS if case.startswith(begins)), None)


def _kept(cell: Mapping[str, Any], name: str) -> bool:
    bar = bar_of(cell["case"], name)
    if bar is None:
        return True
    what, bound = bar
    figure = cell["ours"] if what.startswith("ours") else cell["high"] if name == "growth" else cell["ratio"]
    return bool(figure >= bound if what.endswith("least") else figure <= bound)


def _table(cells: Sequence[Mapping[str, Any]], is_growth: bool) -> str:
    rows = ["| measured | Detent | beside it | ratio | bar |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*rows, *(_row(cell, "growth" if is_growth else "") for cell in cells)]) + "\n\n"


def _row(cell: Mapping[str, Any], name: str) -> str:
    unit, _, spread = cell["unit"].partition("; ")
    mine, _, theirs = spread.partition(" beside ")
    bounds = "" if cell["low"] is None else f" ({cell['low']:.3g} to {cell['high']:.3g})"
    bar = bar_of(cell["case"], name)
    is_alone = cell["other"] is None
    ours = f"{_figure(cell['ours'])} {unit}" + (f" ({mine})" if theirs or (is_alone and mine) else "")
    other = "" if is_alone else f"{cell['other_name']}: {_figure(cell['other'])}" + (f" ({theirs})" if theirs else "")
    ratio = "" if cell["ratio"] is None else f"{cell['ratio']:.3g}{bounds}"
    shown = "" if bar is None else f"{bar[0]} {bar[1]:,g}"
    return f"| {cell['case']} | {ours} | {other} | {ratio} | {shown} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
