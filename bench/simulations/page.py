"""docs/reference/statistics-measured.md, made of bench/results/rollout_statistics.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pages import in_columns

OURS = "**Detent**"
LEAST_LABELS = {
    "-20 roll": "290",
    "-10 roll": "730",
    "-5 roll": "1880",
    "+0 ship": "1810",
    "+5 ship": "670",
}  # the reference table's last row
WITHIN = 0.06  # a rate of .05 is measured below this by 2,000 runs
HEAD = """# The statistics, measured

Made by `python bench/rollout_statistics.py` from `bench/results/rollout_statistics.json` (commit {commit}, {machine});
{n} simulated runs per cell, through the product's own gates. Base .80, margin .05, blocks of 40 labelled outcomes, each
unit's arm drawn as a hash would. Up to the section on differences that swing, the rule goes without whole days
(`whole_days: false`): what it decides at once, the default decides at the end of a day. Rates carry an error of about
{error:.3f} (two standard errors at .05). *Reference table*: figures reached earlier by another implementation of the
same rules; it is not run here. Real logs are replayed in [gate-trial.md](gate-trial.md).
"""
BARS = """
## What is promised, and what was measured

A candidate worse by the margin ships, or one that is not worse is rolled back, in at most 5 of 100 rollouts, however
often anybody looks.
"""
LABELS = """
### Labels, beside the reference table

Mean labelled outcomes until the end (all ends in table B, the right one in table A). *Apart*: the difference in
standard errors, those of the reference table taken to be as large as ours; from 1.96 on we need more than chance
explains.

"""
BETTER = """
### Where another rule is better

Of the rules of table A that keep both errors at .05 (within the error of the simulation), these needed fewer labels
than ours:

"""
A = """
## A. Many rules watch the same ramp

10 % of units for 400 labels, 25 % for 600, then 50 %. Mean labelled outcomes to the right verdict, and rates of wrong
ones; all at .05, as the other rules are run (the product rolls back at .03, which table B uses). O'Brien-Fleming needs
its looks and its number of labels planned before; the two marked wrong decide sooner and err more. gbstats gets totals
over all stages, as its users give them; the others compare within each stage. *Its package* or *its formulas*: what
computed its rows; both agree to 15 digits.
"""
B = """
## B. Rules that steer the ramp themselves

Ladder 10, 25, 50, 75 %, at least 200 labels per stage, 8,000 in all. *Failed checks*: five blocks in which fewer than
75 % of the candidate's outcomes are good end it, every other block adds 10 %, promotion at 50 %. *Clock*: the ladder in
equal steps over 3,200 labels, stopped by a one-sided sequential test of "not worse", else shipped. *Safe rollout*:
coverage of 10, 25, 50, 75 % in the first quarter of 3,200 labels, then 100 %, half of it on each arm, a one-sided
sequential test of "not worse" by GrowthBook's defaults, inconclusive shipped. All three ship what they could not tell
apart; sources in [statistics](statistics.md). *Exposed*: of the first 8,000 labelled units, those that got a candidate
which is worse; a shipped one goes on to everybody.
"""
DRIFT = """
## While base rate and shares move

The evidence of the gate at its own thresholds, beside intervals on totals over everything so far that are valid at
every look: a tight one, and gbstats'. First a growing share (the ramp of table A) while the base rate moves over 3,000
labels, then a share of 10 % by day and 75 % by night. Moving shares and a moving base make totals wrong, in one
direction or the other.
"""
LATE = """
## Late feedback, and bad news first

Forty labelled units an hour; good news takes nine hours in the mean, bad news one. The product counts the units of an
hour together, after a window, with what has come until then, and never again. *Blocks by arrival*: the same gate on
what came in each hour; *totals by arrival*: an always-valid interval on what has come so far. Where one arm's feedback
comes later stands [below](#labels-that-come-later-in-one-arm).
"""
RETURNING = """
## The same users again and again

Five hundred users, forty requests an hour, two outcomes of one user correlated by .5. Ours: a user counts once per
stage, in its first cohort there. Once per block, the same few users are taken for many. With so few users most rollouts
end inconclusive: the forecast says so before the start, and asks for a finer unit.
"""
WHOLE = """
## Whole rollouts: gate, guardrails and integrity checks at once

Five requests a second, each from another unit, 40 labels an hour; guardrail blocks of ten seconds and quality blocks of
an hour through `evidence_state.after`, decisions by `next_action`, exactly as in the tick, with the product's alphas.
The safe rollout gets the same traffic for 80 hours and looks every hour at success, errors, latency and cost, each
one-sided at .05 without a margin. It sees small harm to quality sooner, since it puts half of all users on the
candidate after a quarter of its time; what it does not see, it ships. Units: those that got the candidate until it
ended.
"""
C = """
## C. Guardrails at a share of 10 %

Blocks of ten seconds, six hours at most, alpha .01 as in the reference table unless named; the product's .008 and .006
need about a tenth more. Latency and cost are log-normal (deviations .8 and 1.2 of the logs: the reference names none,
these reproduce its counts of requests). *Threshold*: five one-minute checks of the candidate below 99 % success, which
is Flagger's example.
"""
FALSE = """
### Alarms without a cause
"""
HEAVY = """
### One user that always fails

A user of the candidate sends ten requests a minute for two hours, and all fail; everybody else fails in 1 % of requests
under both variants. Shares of rollouts in which the error guardrail alarms although this user is the only cause, given
that the user is in the candidate's arm (one rollout in ten at the first stage). One user gives a value at once, then
after 1, 2, 4, 8 … minutes (*growing waits*): a value every minute, or every request, would let one user decide where
traffic is thin.
"""
D = """
## D. Monitors of the champion

Outcomes until an alarm, mean and p90; the first two cases have no lasting change, so longer is better there. Thresholds
of the other monitors are set for about 10,000 outcomes without a change. A week has 2,800 outcomes, and a stream begins
anywhere in it. No monitor with a fixed reference survives a weekly swing of four points. Every detector starts from
nothing at the change; the reference table's had run before.
"""
DIP = """
### With the usual weekly dip taken off the reference

The product lowers its reference by the dip of the weakest weekday: fewer false alarms, and drops of that size go
unseen.
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    n = max(c["n"] for c in cells if c["case"].startswith("B"))
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n=n, error=2 * (0.05 * 0.95 / n) ** 0.5)
    return (
        head
        + BARS
        + _bars(cells)
        + LABELS
        + _labels(cells)
        + BETTER
        + _better(cells)
        + A
        + _ramp(cells)
        + B
        + _own_ramps(cells)
        + DRIFT
        + beside(cells, "drift, ")
        + LATE
        + beside([c for c in cells if "twice as slow" not in c["case"]], "late, ")
        + RETURNING
        + beside(cells, "returning, ")
        + WHOLE
        + beside(cells, "whole, ")
        + C
        + _alarms(cells)
        + FALSE
        + beside(cells, "C false alarm, ")
        + HEAVY
        + beside(cells, "heavy user, ")
        + D
        + _monitors(cells)
        + DIP
        + beside(cells, "D dip, ")
    )


def _bars(cells: Sequence[Mapping[str, Any]]) -> str:
    """The worst measured rate of each promise, and whether it stays within .05."""
    promises = {
        "ships at -margin (table B)": r"B -5\.0 pt: promote",
        "ships at -margin, whole rollouts": r"whole, quality -5 pt: promote",
        "rolls an equal candidate back (table B)": r"B \+0\.0 pt: roll_back",
        "rolls an equal candidate back, quality gate and guardrails together": r"whole, equal: roll_back",
        "either, while base rate and shares move (worst)": r"drift, .*",
        "either, late feedback, window long enough (worst)": r"late, both arms alike, .*",
        "either, 500 returning users (worst)": r"returning, .* \+0 pt: roll_back|returning, .* -5 pt: promote",
    }
    found = {}
    for promise, pattern in promises.items():
        worst = max(
            (c for c in cells if re.fullmatch(f"(?:{pattern}) vs .*", c["case"])), key=lambda c: c["ours"], default=None
        )
        if worst is not None:
            measured = f"{worst['ours']:.3f} ({worst['low']:.3f} to {worst['high']:.3f})"
            found[promise] = {
                "measured": measured,
                "at most": "0.050",
                "holds": "yes" if worst["ours"] <= 0.05 else "**no**",
            }
    return table("a rollout", found)


def _labels(cells: Sequence[Mapping[str, Any]]) -> str:
    found = {}
    for cell in cells:
        match = re.fullmatch(r"([AB] \S+ pt.*): labels vs reference table", cell["case"])
        if match and cell["low"] is not None and cell["other"]:
            error = (cell["high"] - cell["low"]) / (2 * 1.96) * 2**0.5
            apart = (cell["ours"] - cell["other"]) / error
            found[match[1]] = {
                "measured": f"{cell['ours']:.0f} ({cell['low']:.0f} to {cell['high']:.0f})",
                "reference": f"{cell['other']:.0f}",
                "apart": f"{apart:+.1f}",
                "no more within error": "yes" if apart < 1.96 else "**no**",
            }
    return table("case", found)


def _better(cells: Sequence[Mapping[str, Any]]) -> str:
    wrong: dict[str, float] = {}
    for cell in cells:
        match = re.fullmatch(r"A (?:-5 pt ship|\+0 pt roll): rate vs (.*)", cell["case"])
        if match and cell["other"] is not None:
            wrong[match[1]] = max(wrong.get(match[1], 0.0), cell["other"])
    lines = []
    for cell in cells:
        match = re.fullmatch(r"A (\S+ pt \w+): labels vs (.*)", cell["case"])
        if (
            match
            and match[2] != "reference table"
            and wrong.get(match[2], 1.0) <= WITHIN
            and cell["other"] < cell["low"]
        ):
            lines.append(f"- {match[1]}: {match[2]}, {cell['other']:.0f} labels; ours {cell['ours']:.0f}\n")
    return "".join(lines) or "- none\n"


def _ramp(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {OURS: {}}
    for cell in cells:
        match = re.fullmatch(r"A (\S+) pt (\w+): (labels|rate) vs (.*)", cell["case"])
        if match:
            difference, end, kind, name = match.groups()
            right = (end == "roll") == (float(difference) < 0)
            if (kind == "labels") == right:
                column = f"{difference} {end}" if right else f"false {end} at {difference}"
                found[OURS][column] = _number(cell["ours"])
                found.setdefault(name, {})[column] = _number(cell["other"])
    return table("rule", {**found, "no rule can be below": LEAST_LABELS})


def _own_ramps(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        match = re.fullmatch(r"B (\S+) pt: (.*) vs (.*)", cell["case"])
        if match:
            difference, column, name = match.groups()
            found.setdefault(f"{difference} · {OURS}", {})[column] = _number(cell["ours"])
            found.setdefault(f"{difference} · {name}", {})[column] = _number(cell["other"])
    return table("points · rule", found)


def beside(cells: Sequence[Mapping[str, Any]], start: str) -> str:
    """One row per case: ours with its interval, then each other rule."""
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        if cell["case"].startswith(start):
            case = cell["case"].removeprefix(start).rsplit(" vs ", 1)[0]
            digits = 3 if cell["unit"].startswith("share") else 0
            bounds = "" if cell["low"] is None else f" ({cell['low']:.{digits}f} to {cell['high']:.{digits}f})"
            row = found.setdefault(case, {OURS: f"{cell['ours']:.{digits}f}{bounds}"})
            if cell["other"] is not None:
                row[cell["other_name"]] = f"{cell['other']:.{digits}f}"
    return table("case", found)


def _monitors(cells: Sequence[Mapping[str, Any]]) -> str:
    """One row per monitor, one column per case: mean / p90."""
    found: dict[str, dict[str, dict[str, float]]] = {OURS: {}}
    for cell in cells:
        match = re.fullmatch(r"D (?!dip)(.*): (mean|p90) vs (.*)", cell["case"])
        if match:
            case, what, name = match.groups()
            found[OURS].setdefault(case, {})[what] = cell["ours"]
            found.setdefault(name, {}).setdefault(case, {})[what] = cell["other"]
    rows = {
        name: {
            case: " / ".join(f"{values[w]:.0f}" for w in ("mean", "p90") if w in values) for case, values in row.items()
        }
        for name, row in found.items()
    }
    return table("monitor", rows)


def _alarms(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        match = re.fullmatch(
            r"C (?!false alarm)(.*?/s(?:, the product's alpha)?)(?:: (.*?))?(?: vs (.*))?", cell["case"]
        )
        if not match:
            continue
        case, what, name = match.groups()
        row = found.setdefault(case, {})
        ours, other = _number(cell["ours"]), _number(cell["other"])
        if what is None:
            row["median, s"] = ours
            row["reference, s" if name == "reference table" else "threshold, s"] = other
        elif what.startswith("alarmed"):
            row["alarmed in 30 min (errors), 60 (latency), 120 (cost)"] = (
                ours if other == "-" else f"{ours} (reference {other})"
            )
        else:
            row[{"p90": "p90, s", "candidate requests": "candidate requests, mean"}[what]] = ours
    return table("case", found)


def table(corner: str, found: Mapping[str, Mapping[str, str]]) -> str:
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    lines: Iterable[list[str]] = ([name, *(row.get(c, "-") for c in columns)] for name, row in found.items())
    return (
        "\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in ([corner, *columns], ["---"] * (len(columns) + 1), *lines))
        + "\n"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value <= 1 else f"{value:.0f}"
