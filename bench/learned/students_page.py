"""docs/reference/students-measured.md, made of the results of students.py, student_gain.py, student_drift.py and
nearest.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pages import Cell, apart, bounded, bounds, lines, matching, text_of

FIRST = "intent_routing"
NEAREST = "right labels, 4 nearest examples"
CHANGES = ("none", "merged", "new", "errs")
AUDIT_SHARES = ("0.05", "0.1", "0.2")


def page(
    students: Mapping[str, Any], gain: Mapping[str, Any], drift: Mapping[str, Any], nearest: Mapping[str, Any]
) -> str:
    cells, of_nearest = ({cell["case"]: cell for cell in result["cells"]} for result in (students, nearest))
    learned = {
        name: (n_rows, n_labels)
        for (name, n_rows, n_labels), _ in matching(
            cells.values(), r"(\w+), (\d+) train rows, (\d+) labels: points lost"
        )
    }
    sets = sorted(learned, key=lambda name: name != FIRST)
    return text_of(
        "students-measured",
        **students,
        far=lines([name, *learned[name], *_far(cells, name, *learned[name])] for name in sets),
        curves=lines([name, *_curve(cells, name)] for name in sets),
        often=lines([name, *_often(cells, name)] for name in sets),
        soon=lines(_soon(drift["cells"])),
        gain=lines(_gains(gain["cells"])),
        gain_commit=gain["commit"],
        drift_commit=drift["commit"],
        right=lines(_right(nearest["cells"])),
        dearer=lines(_dearer(nearest["cells"])),
        of_cascade=of_nearest.get("cascade beside the better of its parts, all sets"),
        nearest_commit=nearest["commit"],
        look_up=of_nearest["look-up among 10,000 examples"],
        leaks=bounded(of_nearest["leaks without a scope"]),
        scoped=bounded(of_nearest["leaks in the scope of the customer"]),
        mean_gain=of_nearest["mean gain over static over the sets"],
        us=_ends(students, "microseconds a decision", ".0f"),
        mb=_ends(students, "megabytes", ".1f"),
        seconds=_ends(students, "seconds of learning", ".1f"),
    )


def _far(cells: Mapping[str, Cell], name: str, n_rows: str, n_labels: str) -> Iterator[str]:
    what = f"{name}, {n_rows} train rows, {n_labels} labels"
    yield bounded(cells[f"{what}: right labels"])
    yield bounded(cells[f"{what}: share answered by the student"])
    yield bounded(cells[f"{what}: points lost"], ".2f")


def _curve(cells: Mapping[str, Cell], name: str) -> Iterator[str]:
    for n_rows in (50, 100, 200, 500):
        yield f"{cells[f'{name}, {n_rows} train rows: right labels']['ours']:.3f}"


def _often(cells: Mapping[str, Cell], name: str) -> Iterator[str]:
    for (what,), cell in matching(cells.values(), rf"{name}, 200 times 200 of \d+ train rows: (.*)"):
        yield bounded(cell) if what.startswith("share of draws") else f"{cell['ours']:.3f}"
    left_out = [cell for _, cell in matching(cells.values(), rf"{name}, one of \d+ labels left out at a time: (.*)")]
    yield from map(bounded, left_out) if left_out else ("–", "–")


def _gains(cells: list[Cell]) -> Iterator[list[str]]:
    studies = dict[str, dict[str, Cell]]()
    for (study, what), cell in matching(cells, "(.*): (.*)"):
        studies.setdefault(study, {})[what.partition(",")[0]] = cell
    for study, figures in studies.items():
        score, share = figures["score of the winner"], figures["share answered by the student"]
        usd, ms = figures["dollars of a million requests"], figures["milliseconds a request"]
        yield [
            study.partition(",")[0],
            bounded(figures["lift on the sealed holdout"], "+.3f"),
            f"{score['other']:.3f} > {score['ours']:.3f}",
            apart(score),
            f"{share['ours']:.2f}",
            f"{usd['other']:.2f} > {usd['ours']:.2f}",
            f"{ms['other']:,.0f} > {ms['ours']:,.0f}",
            share["unit"].replace(" of the study", ""),
        ]


def _by_set(cells: list[Cell]) -> Mapping[str, Mapping[tuple[str, str], Cell]]:
    """The cells of each set, by what was measured and what stands beside it."""
    sets = dict[str, dict[tuple[str, str], Cell]]()
    for (name, what), cell in matching(cells, "(.*): (.*)"):
        sets.setdefault(name, {})[what, cell["other_name"]] = cell
    return sets


def _right(cells: list[Cell]) -> Iterator[list[str]]:
    """Right labels by set; what was not measured is a dash."""
    for name, figures in _by_set(cells).items():
        nearest = {beside: cell for (what, beside), cell in figures.items() if what == NEAREST}
        static = nearest["4 searched static examples"]
        cascade = figures.get(("right labels, cascade of student and nearest", "the better of its parts"))
        others = (nearest.get(beside) for beside in ("KNNFewShot of DSPy", "no examples", "the student"))
        yield [
            name,
            str(static["n"]),
            f"{static['ours']:.3f}",
            f"{static['other']:.3f}",
            *(f"{cell['other']:.3f}" if cell else "–" for cell in others),
            f"{cascade['ours']:.3f} ({cascade['unit'].split('; ')[1].split()[-1]})" if cascade else "–",
            bounds(static, "+.3f"),
        ]


def _dearer(cells: list[Cell]) -> Iterator[list[str]]:
    """What nearest examples cost by set; what was not measured is a dash."""
    for name, figures in _by_set(cells).items():
        ms = figures["milliseconds a call, nearest", "static"]
        cold = figures.get(("milliseconds a call, static without the cache", "static"))
        usd = figures.get(("dollars of a million prompts, nearest", "static"))
        yield [
            name,
            f"{ms['other']:,.0f} > {ms['ours']:,.0f}",
            f"{cold['ours']:,.0f}" if cold else "–",
            f"{usd['other']:.2f} > {usd['ours']:.2f}" if usd else "–",
        ]


def _soon(cells: list[Cell]) -> Iterator[list[str]]:
    by_case = {cell["case"]: cell for cell in cells}
    for (name,), _ in matching(cells, r"(\w+), none: lost before"):
        for change in CHANGES:
            what = f"{name}, {change}"
            shares = (_stream(by_case, f"{what}, audit_share {share}") for share in AUDIT_SHARES)
            yield [name, change, f"{by_case[f'{what}: lost before']['ours']:.1f}", *shares]


def _stream(cells: Mapping[str, Cell], what: str) -> str:
    early, never = (
        f"{cells[f'{what}: streams {end}']['ours']:.0f}" for end in ("bypassed before the change", "never bypassed")
    )
    audits, days, lost = (
        cells[f"{what}: {name} until the bypass"]["ours"] for name in ("audited requests", "days", "points lost")
    )
    noticed = "–" if audits is None else f"{audits:,.0f}, {days:.1f}, {lost:.1f}"
    unnoticed = cells[f"{what}: points lost by streams never bypassed"]["ours"]
    return f"{noticed} ({early}, {never}{'' if unnoticed is None else f': {unnoticed:.1f}'})"


def _ends(result: Mapping[str, Any], what: str, form: str) -> str:
    values = [cell["ours"] for _, cell in matching(result["cells"], rf"\w+, \d+ train rows, \d+ labels: {what}")]
    return f"{min(values):{form}} to {max(values):{form}}"
