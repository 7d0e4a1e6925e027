"""docs/reference/statistics-measured.md, made of bench/results/rollout_*.json and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common import RESULTS, ROOT
from pages import Cell, bounded, in_columns, matching, table

PAGE = ROOT / "docs" / "reference" / "statistics-measured.md"
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
DAYS = """
## Where the difference swings with the hour or the week

Made by `python bench/rollout_days.py` (commit {commit}); {n} rollouts per row by the default (`whole_days: true`), with
95 % interval, beside the rule without whole days (`whole_days: false`), which the sections above measure. Forty labels
an hour, base .80, margin .05; the mean difference over a day is 0 or minus the margin, the best hour lies 5 or 10
points above it, and the rollout begins at any hour. Where nothing else is said, labels may be used without end.
*Labels jump tenfold*: for six hours, once a day on average, whatever the hour. *A tenth of the labels by night*: the
mean that is 0 or minus the margin weighs by labels. *168 h*: with `min_duration_hours: 168`. *Wrong*: promoted at -5,
rolled back at 0. The rule was fixed on 2026-11-23 by runs with other seeds.
"""
DAYS_NOT_HELD = """
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
DELAYS = """
## Labels that come later in one arm

Made by `python bench/rollout_delays.py` (commit {commit}); {n} rollouts per row by the product's default, with 95 %
interval, beside the rule before 2026-11-23 on the same draws, which knew neither late labels nor whole days. Good news
takes nine hours in the mean and bad news one, in one arm twice as long, and somebody has fixed the window (`auto`
learns it): 24 hours, 40 (99 % of the usual labels) or 79 (99 % of the slower ones). Forty units an hour, each of which
answers in the end, ladder 10, 25, 50, 75 % where nothing else is said; the application reports feedback alone, so that
no comparison of feedback rates helps. A row is how such rollouts end: `later` = inconclusive, since labels come later
in one arm; *window named*: by the reason of those.
"""
HAPPIER = """
### Where the promise ends: users who answer more often when they are happy

By the same command: a part of the unhappy users of both arms say nothing, and the window holds all labels. The
candidate is worse by the margin (.75 against .80) and looks worse by less (by 3.2 points where half are silent, by 1.5
where four in five are). No rate that can be compared shows it.
"""
INTERVALS = """
## The interval beside the estimate

Made by `python bench/rollout_intervals.py` (commit {commit}); {n} whole rollouts per row, with 95 % interval, looked at
after every block that the gate counts, until the product's rule without whole days ends them. Shares grow by the
ladder. Where the
difference stays the same, at most .08 of the rollouts may show an interval that misses it at any look. *{normal}*: of
the same blocks, by the formula that is right at one look. The last width is from end to end.
"""
SILENT = """
## Where the promise ends: users who are unhappy and say nothing

Made by `python bench/rollout_limits.py` (commit {commit}); {n} rollouts per row, with 95 % interval. A candidate that
is worse by the margin (.75 against .80; blocks of 40, ladder 10, 25, 50, 75 %) ships, while a share of those who are
unhappy sends no outcome. All rows but the one that says so are by the rule without whole days (`whole_days: false`),
which passes more. *{seen}*: in how many rollouts the product's comparison of feedback rates noticed. It looks
for arms that report at very different rates and notices hardly any of this; a random sample that people or a judge
label has no such silence, and keeps what table B shows.
"""
HARDEST = """
## The hardest case so far

By the same command and the rule without whole days. Shares of 5, 20 and 40 %, 6,000 users who come back, the n-th of
them 1 / n times as often as the first (Zipf), 160 requests an hour, two outcomes of one user correlated by .5, a base
rate that swings between .70 and .90 by the day. *Reference table*: wrong ends that another simulation of this case
counted, 172 of 4,000.
"""


def write_page() -> None:
    PAGE.write_text(page(), encoding="utf-8")


@in_columns
def page() -> str:
    """The sections that have been measured."""
    sections = {"statistics": statistics, "days": days, "intervals": intervals, "delays": delays, "limits": limits}
    files = {RESULTS / f"rollout_{name}.json": section for name, section in sections.items()}
    return "".join(section(json.loads(file.read_text("utf-8"))) for file, section in files.items() if file.exists())


def statistics(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    n = max(c["n"] for c in cells if c["case"].startswith("B"))
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n=n, error=2 * (0.05 * 0.95 / n) ** 0.5)
    late = [c for c in cells if "twice as slow" not in c["case"]]
    parts = (
        (BARS, _bars(cells)),
        (LABELS, _labels(cells)),
        (BETTER, _better(cells)),
        (A, _ramp(cells)),
        (B, _own_ramps(cells)),
        (DRIFT, beside(cells, "drift, ")),
        (LATE, beside(late, "late, ")),
        (RETURNING, beside(cells, "returning, ")),
        (WHOLE, beside(cells, "whole, ")),
        (C, _alarms(cells)),
        (FALSE, beside(cells, "C false alarm, ")),
        (HEAVY, beside(cells, "heavy user, ")),
        (D, _monitors(cells)),
        (DIP, beside(cells, "D dip, ")),
    )
    return head + "".join(text + rows for text, rows in parts)


def _bars(cells: Sequence[Cell]) -> str:
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
    rows = {}
    for promise, pattern in promises.items():
        measured = [cell for _, cell in matching(cells, f"(?:{pattern}) vs .*")]
        if measured:
            worst = max(measured, key=lambda c: c["ours"])
            holds = "yes" if worst["ours"] <= 0.05 else "**no**"
            rows[promise] = {"measured": bounded(worst), "at most": "0.050", "holds": holds}
    return table("a rollout", rows)


def _labels(cells: Sequence[Cell]) -> str:
    rows = {}
    for (case,), cell in matching(cells, r"([AB] \S+ pt.*): labels vs reference table"):
        if cell["low"] is not None and cell["other"]:
            error = (cell["high"] - cell["low"]) / (2 * 1.96) * 2**0.5
            apart = (cell["ours"] - cell["other"]) / error
            rows[case] = {
                "measured": bounded(cell, ".0f"),
                "reference": f"{cell['other']:.0f}",
                "apart": f"{apart:+.1f}",
                "no more within error": "yes" if apart < 1.96 else "**no**",
            }
    return table("case", rows)


def _better(cells: Sequence[Cell]) -> str:
    wrong: dict[str, float] = {}
    for (name,), cell in matching(cells, r"A (?:-5 pt ship|\+0 pt roll): rate vs (.*)"):
        if cell["other"] is not None:
            wrong[name] = max(wrong.get(name, 0.0), cell["other"])
    lines = [
        f"- {case}: {name}, {cell['other']:.0f} labels; ours {cell['ours']:.0f}\n"
        for (case, name), cell in matching(cells, r"A (\S+ pt \w+): labels vs (.*)")
        if name != "reference table" and wrong.get(name, 1.0) <= WITHIN and cell["other"] < cell["low"]
    ]
    return "".join(lines) or "- none\n"


def _ramp(cells: Sequence[Cell]) -> str:
    rows: dict[str, dict[str, str]] = {OURS: {}}
    for (difference, end, kind, name), cell in matching(cells, r"A (\S+) pt (\w+): (labels|rate) vs (.*)"):
        right = (end == "roll") == (float(difference) < 0)
        if (kind == "labels") == right:
            column = f"{difference} {end}" if right else f"false {end} at {difference}"
            rows[OURS][column] = _number(cell["ours"])
            rows.setdefault(name, {})[column] = _number(cell["other"])
    return table("rule", {**rows, "no rule can be below": LEAST_LABELS})


def _own_ramps(cells: Sequence[Cell]) -> str:
    rows: dict[str, dict[str, str]] = {}
    for (difference, column, name), cell in matching(cells, r"B (\S+) pt: (.*) vs (.*)"):
        rows.setdefault(f"{difference} · {OURS}", {})[column] = _number(cell["ours"])
        rows.setdefault(f"{difference} · {name}", {})[column] = _number(cell["other"])
    return table("points · rule", rows)


def beside(cells: Iterable[Cell], start: str) -> str:
    """One row per case: ours with its interval, then each other rule."""
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        if cell["case"].startswith(start):
            case = cell["case"].removeprefix(start).rsplit(" vs ", 1)[0]
            form = ".3f" if cell["unit"].startswith("share") else ".0f"
            row = rows.setdefault(case, {OURS: bounded(cell, form)})
            if cell["other"] is not None:
                row[cell["other_name"]] = f"{cell['other']:{form}}"
    return table("case", rows)


def _monitors(cells: Sequence[Cell]) -> str:
    """One row per monitor, one column per case: mean / p90."""
    rows: dict[str, dict[str, str]] = {OURS: {}}
    for (case, what, name), cell in matching(cells, r"D (?!dip)(.*): (mean|p90) vs (.*)"):
        if what == "mean":
            rows[OURS][case] = f"{cell['ours']:.0f}"
            rows.setdefault(name, {})[case] = f"{cell['other']:.0f}"
    for (case, what, name), cell in matching(cells, r"D (?!dip)(.*): (mean|p90) vs (.*)"):
        if what == "p90":
            rows[OURS][case] = f"{rows[OURS][case].split(' / ')[0]} / {cell['ours']:.0f}"
            rows[name][case] = f"{rows[name][case]} / {cell['other']:.0f}"
    return table("monitor", rows)


def _alarms(cells: Sequence[Cell]) -> str:
    rows: dict[str, dict[str, str]] = {}
    pattern = r"C (?!false alarm)(.*?/s(?:, the product's alpha)?)(?:: (.*?))?(?: vs (.*))?"
    for (case, what, name), cell in matching(cells, pattern):
        row = rows.setdefault(case, {})
        ours, other = _number(cell["ours"]), _number(cell["other"])
        if what is None:
            row["median, s"] = ours
            row["reference, s" if name == "reference table" else "threshold, s"] = other
        elif what.startswith("alarmed"):
            shown = ours if other == "-" else f"{ours} (reference {other})"
            row["alarmed in 30 min (errors), 60 (latency), 120 (cost)"] = shown
        else:
            row[{"p90": "p90, s", "candidate requests": "candidate requests, mean"}[what]] = ours
    return table("case", rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value <= 1 else f"{value:.0f}"


def days(result: Mapping[str, Any]) -> str:
    held: dict[str, dict[str, str]] = {}
    other: dict[str, dict[str, str]] = {}
    ends = {"promote": "promoted", "roll_back": "rolled back", "inconclusive": "inconclusive"}
    for (name, mean, what), cell in matching(result["cells"], r"days, (.*), ([+-]\d) pt: (.*) vs .*"):
        rows = other if name.endswith(BEYOND) or name.startswith(TURN) else held
        row = rows.setdefault(f"{name}, {mean} pt", {})
        form = ".3f" if cell["unit"].startswith("share") else ".1f" if cell["unit"].startswith("days") else ".0f"
        is_wrong = (what, mean) in (("promote", "-5"), ("roll_back", "+0"))
        column = "wrong" if is_wrong else ends.get(what, what)
        row[column] = bounded(cell, form)
        if is_wrong or (what not in ends and cell["other"] is not None):
            row[f"{column} before"] = f"{cell['other']:{form}}"
    head = DAYS.format(commit=result["commit"], n=f"{result['cells'][0]['n']:,}")
    counts = ("labels", "labels before", "days", "days before")
    of_both = ("wrong", "wrong before", "inconclusive", *counts)
    told = ("told in the holdback's week", "days from the turn until told")
    beyond = ("wrong", "wrong before", "promoted", *counts, *told)
    return head + table("case", _kept(held, of_both)) + DAYS_NOT_HELD + table("case", _kept(other, beyond))


def _kept(rows: Mapping[str, Mapping[str, str]], columns: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: {c: row[c] for c in columns if c in row} for name, row in rows.items()}


def delays(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    head = DELAYS.format(commit=result["commit"], n=f"{cells[0]['n']:,}")
    return head + beside(cells, "delayed, ") + HAPPIER + beside(cells, "happier, ")


def intervals(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    head = INTERVALS.format(commit=result["commit"], n=f"{cells[0]['n']:,}", normal=cells[0]["other_name"].capitalize())
    return head + beside(cells, "interval, ")


def limits(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    silent = next(cell for cell in cells if cell["case"].startswith("silent, "))
    head = SILENT.format(commit=result["commit"], n=f"{silent['n']:,}", seen=silent["other_name"].capitalize())
    return head + beside(cells, "silent, ") + HARDEST + beside(cells, "hardest, ")
