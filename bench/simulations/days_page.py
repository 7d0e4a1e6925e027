"""The section of docs/reference/statistics-measured.md on differences that swing, made of
bench/results/rollout_days.json and of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulations.page import table

HEAD = """
## Where the difference swings with the hour or the week

Made by `python bench/rollout_days.py` (commit {commit}); {n} rollouts per row by the default (`whole_days: true`), with
95 % interval, beside the rule without whole days (`whole_days: false`), which the sections above measure. Forty labels
an hour, base .80, margin .05; the mean difference over a day is 0 or minus the margin, the best hour lies 5 or 10
points above it, and the rollout begins at any hour. Where nothing else is said, labels may be used without end.
*Labels jump tenfold*: for six hours, once a day on average, whatever the hour. *A tenth of the labels by night*: the
mean that is 0 or minus the margin weighs by labels. *168 h*: with `min_duration_hours: 168`. *Wrong*: promoted at -5,
rolled back at 0. The rule was fixed on 2026-11-23 by runs with other seeds.
"""
NOT_HELD = """
### What whole days cannot know

* A swing by the week that is longer than the rollout. With `min_duration_hours: 168` both limits hold (above).
* Hours that are missing or weigh less: a share that rises within the day (a rollout that begins with its bad half sees
  more of the good one), and a freeze or an outage.
* Users who come back often. A user counts once per stage, so that most labels of a stage fall into its first hours, and
  two such stages may see the same hours. Where units send more than one request a day on average the forecast says so.
  A finer unit (a conversation) has no such hours.
* A candidate that is liked at first, five points better for two days and ten worse from then on. The holdback has two
  labels an hour to compare with and seldom tells within its week; the watch on drift (table D) does.
"""
WEEK, TURN, COMES_BACK = "± 10 by the week", "+ 5 for 48 hours", "come back twice a day"
BEYOND = (WEEK, "400 labels an hour, begins with its bad half", "frozen in the bad half of the second day", COMES_BACK)


def days_section(result: Mapping[str, Any]) -> str:
    held: dict[str, dict[str, str]] = {}
    other: dict[str, dict[str, str]] = {}
    for cell in result["cells"]:
        match = re.fullmatch(r"days, (.*), ([+-]\d) pt: (.*) vs .*", cell["case"])
        assert match is not None
        name, mean, what = match.groups()
        rows = other if name.endswith(BEYOND) or name.startswith(TURN) else held
        row = rows.setdefault(f"{name}, {mean} pt", {})
        shown = _shown(cell)
        if (what, mean) in (("promote", "-5"), ("roll_back", "+0")):
            row.update({"wrong": shown, "wrong before": _plain(cell)})
        elif what in ("promote", "roll_back", "inconclusive"):
            row[{"promote": "promoted", "roll_back": "rolled back", "inconclusive": "inconclusive"}[what]] = shown
        elif cell["other"] is None:
            row[what] = shown
        else:
            row.update({what: shown, f"{what} before": _plain(cell)})
    n = f"{result['cells'][0]['n']:,}"
    head = HEAD.format(commit=result["commit"], n=n)
    columns = ("wrong", "wrong before", "inconclusive", "labels", "labels before", "days", "days before")
    beyond = (
        "wrong",
        "wrong before",
        "promoted",
        *columns[3:],
        "told in the holdback's week",
        "days from the turn until told",
    )
    return head + table("case", _kept(held, columns)) + NOT_HELD + table("case", _kept(other, beyond))


def _kept(rows: Mapping[str, Mapping[str, str]], columns: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: {c: row[c] for c in columns if c in row} for name, row in rows.items()}


def _digits(cell: Mapping[str, Any]) -> int:
    return 3 if cell["unit"].startswith("share") else 1 if cell["unit"].startswith("days") else 0


def _shown(cell: Mapping[str, Any]) -> str:
    d = _digits(cell)
    return f"{cell['ours']:.{d}f} ({cell['low']:.{d}f} to {cell['high']:.{d}f})"


def _plain(cell: Mapping[str, Any]) -> str:
    return f"{cell['other']:.{_digits(cell)}f}"
