"""Whether a rollout ended as it should, given what both variants score on every row that its users brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lifts.plan import PLAN

Cell = Mapping[str, Any]
RIGHT, WRONG, TOO_FEW = "right", "**wrong**", "safe, but a gain was left lying"

ROLLED_OUT = """
## Rolled out

Made by `python bench/family_rollouts.py` (`make bench-family-rollouts`) from
[family_rollouts.json](../../bench/results/family_rollouts.json), at commit {commits}. In a copy of the home where its
study ran, each family is served by `detent serve` with the best of its bases as the champion, and `detent rollout
start` lets the winner of the first seed that changed something out against it. At most {per_second} users a second
fetch the prompt over HTTP; each has one of the rows, reports what the variant that it was served had answered to that
row when it was measured, and as outcome the family's own score of that answer. No model is asked in the rollout. The
worker then advances, promotes or rolls back by itself: ladder, margin, gates and the {most:,} outcomes after which it
gives up are the defaults, only its clock runs {scale:,} times as fast. `detent rollout verify` holds for each of them.

Rows come again and again, so that a rollout judges these rows and not all that there might be, and on these the
difference is known: a promotion is right where it lies above minus the margin, and being called worse where it lies
below 0. Each rollout is another draw of users, so how earlier ones of the same pair ended stands beside. Of candidates
that are worse by the margin at most 5 of 100 may be promoted. Labelled are the outcomes that served as evidence: those
that came within their hour of rollout time, which is 1.25 s here, and whose hour was over at the end. Latencies are not
reported: base and winner were asked at different hours of a busy machine. A winner that shows examples takes longer
([what it takes](#what-it-takes)), and in production the latency guardrail sees that.

**The difference here is of the family's own score, as a whole**, since that is what its outcomes report; the gains
above are of the one measure that the table names, and of the mean of two seeds. So the two can differ.

{started}

| family | candidate | rows | score of the champion | difference (95 %) | margin | started | ended | requests, of the candidate | labelled | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""  # noqa: E501
STARTED = (
    "**Started** as nominated are those whose winner `detent study confirm` had confirmed before, on the rows of the"
    " home that the import had sealed and no study had opened; the other gates were met, too. The gates ask for 100"
    " sealed rows by default, and 200 imported ones give 30 to 50: the family's file was made to ask for as many as"
    " there are (`rollout.gates.n`), all else is the default. The figures are the means of base and winner there."
    " **Forced** are those that `detent rollout start` refused without `--confirm`: a gate was not met, or no"
    " confirmation was asked for. Where a study changed nothing, a worse base is let out in its place, to see it fall:"
    " there is nothing to confirm. {confirmed}"
)


def judged(cell: Cell) -> str:
    """Of a cell: right, wrong, or what was not found out."""
    if cell["outcome"] == "promoted":
        return RIGHT if cell["difference"] > -cell["margin"] else WRONG
    if cell["outcome"] == "worse":
        return RIGHT if cell["difference"] < 0 else WRONG
    if cell["outcome"] in ("inconclusive", None):
        return RIGHT if cell["difference"] <= 0 else TOO_FEW
    return WRONG  # a guardrail, or an invalid comparison: these answers have no errors, and the arms their shares


def earlier(cell: Cell, before: Cell | None) -> list[str | None]:
    """How rollouts of the same pair on the same rows ended before this one: each is another draw of users."""
    if before is None or any(before[name] != cell[name] for name in ("candidate", "n_rows", "difference")):
        return []
    return [*before.get("earlier", ()), before["outcome"]]


def ended(cell: Cell) -> str:
    words = {
        "promoted": "promoted",
        "worse": "rolled back as worse",
        "inconclusive": "ended as inconclusive",
        None: "not ended in time",
    }
    return words.get(cell["outcome"], f"rolled back: {cell['outcome']}")


def rolled_out(result: Mapping[str, Any] | None) -> str:
    """The section of the page; empty where nothing was rolled out yet."""
    if result is None:
        return ""
    cells = by_name(result)
    commits = " and ".join(dict.fromkeys(str(cell["commit"]) for cell in cells.values()))
    started = STARTED.format(confirmed=_confirmed(cells))
    top = ROLLED_OUT.format(**result["setting"], commits=commits, started=started)
    return top + "".join(f"| [{name}](families/{name}.md) | {_row(cell)} |\n" for name, cell in cells.items())


def by_name(result: Mapping[str, Any] | None) -> dict[str, Cell]:
    """By family, in the plan's order."""
    cells: Sequence[Cell] = [] if result is None else result["cells"]
    return {cell["family"]: cell for cell in sorted(cells, key=lambda cell: list(PLAN).index(cell["family"]))}


def _confirmed(cells: Mapping[str, Cell]) -> str:
    """Which confirmations were asked for, and what became of them, in a sentence."""
    groups: dict[str, list[str]] = {
        "confirmed": [],
        "asked and not confirmed": [],
        "rolled out without having been asked": [],
    }
    for name, cell in cells.items():
        if found := cell.get("confirmed"):
            groups["confirmed" if found["outcome"] == "nominated" else "asked and not confirmed"].append(name)
        elif not _is_base(cell):
            groups["rolled out without having been asked"].append(name)
    return f"Of the winners: {'; '.join(f'{what}: ' + ', '.join(of) for what, of in groups.items() if of)}."


def _is_base(cell: Cell) -> bool:
    return bool(cell["candidate"].startswith("base "))


def _started(cell: Cell) -> str:
    """As nominated or as forced, and on which ground."""
    found = cell.get("confirmed")
    if not found:
        return "forced: a base, not searched for" if _is_base(cell) else "forced: no confirmation asked for"
    on = f"{found['champion_mean']:.3f} > {found['winner_mean']:.3f} on {found['n']} sealed rows"
    if not cell["refused"]:
        return f"nominated: {on}"
    missed = f"{', '.join(found['missed'])} not met" if found["missed"] else cell["refused"]
    return f"forced: {missed}: {on}"


def _row(cell: Cell) -> str:
    difference = f"**{cell['difference']:+.3f}** ({cell['low']:+.3f} to {cell['high']:+.3f})"
    requests = f"{cell['n_requests']:,}, {cell['n_candidate']:,}"
    scores = f"{cell['champion_mean']:.3f} | {difference} | {cell['margin']:.3f}"
    labelled = "-" if cell["n_labelled"] is None else f"{cell['n_labelled']:,}"
    others = Counter(ended({"outcome": outcome}) for outcome in cell.get("earlier", ()))
    before = f" (before: {', '.join(f'{n} x {what}' for what, n in others.items())})" if others else ""
    of_rows = f"{cell['n_rows']} {cell['rows']}"
    return (
        f"{cell['candidate']} | {of_rows} | {scores} | {_started(cell)} | {ended(cell)}{before} | {requests} |"
        f" {labelled} | {judged(cell)}"
    )
