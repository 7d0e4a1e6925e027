"""docs/reference/statistics-measured.md, made of bench/results/rollout_*.json and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pages import Cell, bounded, matching, table, text_of

Result = Mapping[str, Any]
OURS = "**Detent**"
LEAST_LABELS = {
    "-20 roll": "290",
    "-10 roll": "730",
    "-5 roll": "1880",
    "+0 ship": "1810",
    "+5 ship": "670",
}  # the reference table's last row
WITHIN = 0.06  # a rate of .05 is measured below this by 2,000 runs
WEEK, TURN, COMES_BACK = "± 10 by the week", "+ 5 for 48 hours", "come back twice a day"
WINDOW = ", window 24 h"
BEYOND = (
    WEEK,
    "± 20 by the day",
    "± 20 by the day, 400 labels an hour",
    "± 20 by the day, 2,000 labels an hour",
    "± 20 by the day, 400 labels an hour, begins with its bad half",
    "400 labels an hour, begins with its bad half",
    "frozen in the bad half of the second day",
    COMES_BACK,
)


def page(statistics: Result, days: Result, intervals: Result, delays: Result, limits: Result) -> str:
    cells = statistics["cells"]
    n = max(c["n"] for c in cells if c["case"].startswith("B"))
    silent = next(cell for cell in limits["cells"] if cell["case"].startswith("silent, "))
    days_held, days_beyond = _days([*days["cells"], *limits["cells"]])
    return text_of(
        "statistics-measured",
        statistics=statistics,
        days=days,
        intervals=intervals,
        delays=delays,
        limits=limits,
        n=n,
        error=2 * (0.05 * 0.95 / n) ** 0.5,
        bars=_bars([*cells, *limits["cells"]]),
        labels=_labels(cells),
        better=_better(cells),
        ramp=_ramp(cells),
        own_ramps=_own_ramps(cells),
        alarms=_alarms(cells),
        monitors=_monitors(cells),
        beside=beside,
        days_held=days_held,
        days_beyond=days_beyond,
        normal=intervals["cells"][0]["other_name"].capitalize(),
        seen=silent["other_name"].capitalize(),
        n_silent=silent["n"],
    )


def _bars(cells: Sequence[Cell]) -> str:
    """The worst measured rate of each promise, and whether it stays within .05."""
    promises = {
        "ships at -margin (table B)": r"B -5\.0 pt: promote",
        "ships at -margin, whole rollouts": r"whole, quality -5 pt: promote",
        "rolls an equal candidate back (table B)": r"B \+0\.0 pt: roll_back",
        "rolls an equal candidate back, quality gate and guardrails together": r"whole, equal: roll_back",
        "rolls an equal candidate back, both together by the default": r"whole, equal, by the default: roll_back",
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


def _days(cells: Sequence[Cell]) -> tuple[str, str]:
    """Where both promises are kept, and beyond."""
    held: dict[str, dict[str, str]] = {}
    other: dict[str, dict[str, str]] = {}
    ends = {"promote": "promoted", "roll_back": "rolled back", "inconclusive": "inconclusive"}
    for (name, mean, what), cell in matching(cells, r"days, (.*), ([+-]\d) pt: (.*) vs .*"):
        is_beyond = name.removesuffix(WINDOW).endswith(BEYOND) or name.startswith(TURN)
        rows = other if is_beyond else held
        row = rows.setdefault(f"{name}, {mean} pt", {})
        of_days = ".2f" if what == "days more" else ".1f"
        form = ".3f" if cell["unit"].startswith("share") else of_days if cell["unit"].startswith("days") else ".0f"
        is_wrong = (what, mean) in (("promote", "-5"), ("roll_back", "+0"))
        column = "wrong" if is_wrong else ends.get(what, what)
        row[column] = bounded(cell, form)
        if is_wrong or (what not in ends and cell["other"] is not None):
            row[f"{column} before"] = f"{cell['other']:{form}}"
        if what == "days":
            row["days more"] = f"{cell['ours'] - cell['other']:.2f}"  # with its interval where both were kept by run
    counts = ("labels", "labels before", "days", "days before", "days more")
    headers = ("told in the holdback's week", "days from the turn until told")
    columns = (
        ("wrong", "wrong before", "inconclusive", *counts),
        ("wrong", "wrong before", "promoted", *counts, *headers),
    )
    both = [
        table("case", {name: {c: row[c] for c in shown if c in row} for name, row in rows.items()})
        for rows, shown in zip((held, other), columns, strict=True)
    ]
    return both[0], both[1]
