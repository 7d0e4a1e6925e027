"""docs/reference/reliability.md, made of bench/results/siege.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import in_columns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "reliability.md"
LOAD = "load: "  # begins the cases of the second part
FILE = "file: "  # begins those of the first that are no bodies of requests

HEAD = """# Under siege

Made by `make siege` from `bench/results/siege.json` (commit {commit}, {machine}): two hostile tests of a default
installation on one machine, on which its clients run too. Bars are what the product promises; {verdict}

## Mixed load while faults come in turn

`detent serve` (api, gateway, worker; no MLflow) with a key for prompts and one for feedback, before a provider on
loopback. First clients in a closed loop find the capacity of one mixture of prompt fetches, feedback in posts of ten
events, and chats. Then well-behaved clients ask for half of that at random moments (Poisson), whether or not earlier
requests were answered, for {minutes:.1f} minutes ({turns} turns of all faults). Meanwhile faults come one after
the other, each as soon as the one before it is over and everything is ready, among them connections that send a byte
every half second, bodies of {body_mb:.0f} MB that come as slowly, the largest hostile bodies, wrong keys, another
process that holds the store's write lock, a worker that is stopped (SIGSTOP), and kill -9 of worker, gateway and api,
which the supervisor starts again.

A wait counts from the moment at which a request was due; a prompt that did not come within two seconds waited two.
Clients send feedback again, with the same ids, until it is acknowledged. A fetch counts to the api's restarts if it
overlaps the time from a kill until everything is ready. Ready again counts from the end of a fault, and means that
every process has announced itself and `/ready` calls store, families, gateway and worker well. Growth is the most that
a process ever held (resident memory, read twice a second) less what it held at the start; a process that was started
again is held to the first one's start.

"""
TEXTS = """
## Each entrance fed its worst text

One request of the largest size that the entrance takes by default, to an application in a process of its own. Processor
time, since other programs may share the machine; memory is the growth of the peak. The gateway answers chats; `answer`
is what a model says and a parser reads; `file` is what `detent import` reads from a disk.

| text | processor time (s) | memory (MB) | answer (bytes) |
| --- | --- | --- | --- |
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    load = [cell for cell in cells if cell["case"].startswith(LOAD)]
    begun = next(cell for cell in load if cell["unit"] == "minutes")
    texts = [cell for cell in cells if cell not in load]
    bodies = max(
        int(cell["case"].rsplit("(", 1)[1].split(" ")[0].replace(",", ""))
        for cell in texts
        if not cell["case"].startswith(FILE)
    )
    not_kept = missed(cells)
    verdict = (
        f"not kept here: {'; '.join(not_kept)}."
        if not_kept
        else f"all {sum(c['other_name'] == 'bar' for c in cells)} were kept."
    )
    head = HEAD.format(
        commit=result["commit"],
        machine=result["machine"],
        verdict=verdict,
        minutes=begun["ours"],
        turns=begun["n"],
        body_mb=bodies / 1e6,
    )
    rows = ["| measured | figure | bar | of |", "| --- | --- | --- | --- |", *map(_load_row, load)]
    return head + "\n".join(rows) + "\n" + TEXTS + "\n".join(_text_rows(texts)) + "\n"


def is_kept(cell: Mapping[str, Any]) -> bool:
    """A count that may be nothing else has the bar 0; every other figure lies below its bar."""
    return cell["other_name"] != "bar" or (cell["ours"] == 0 if cell["other"] == 0 else cell["ours"] < cell["other"])


def missed(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return [cell["case"].removeprefix(LOAD) for cell in cells if not is_kept(cell)]


def _load_row(cell: Mapping[str, Any]) -> str:
    bar = (
        ""
        if cell["other"] is None
        else f"{cell['other']:g}"
        if cell["other"] == 0
        else f"< {cell['other']:g} {cell['unit']}"
    )
    value = cell["ours"]
    figure = f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"
    return f"| {cell['case'].removeprefix(LOAD)} | {figure} {cell['unit']} | {bar} | {cell['n']:,} |"


def _text_rows(cells: list[Mapping[str, Any]]) -> list[str]:
    """Three cells make a row: they come one after the other, with the same case."""
    by_case: dict[str, list[float]] = {}
    for cell in cells:
        by_case.setdefault(cell["case"], []).append(cell["ours"])
    return [f"| {case} | {cpu:.2f} | {mb:.0f} | {answer:,} |" for case, (cpu, mb, answer) in by_case.items()]
