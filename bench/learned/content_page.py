"""docs/reference/content-quality-measured.md, made of bench/results/content_quality.json
and content_commands.json, and of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from common import ROOT
from pages import in_columns
from simulations.page import table

from learned.content_commands_page import section

PAGE = ROOT / "docs" / "reference" / "content-quality-measured.md"
HEAD = """# A learned score of content, measured

Made by `python bench/content_quality.py` from `bench/results/content_quality.json` (commit {commit}, {machine}). The
data are read from the folder that `DETENT_SHARED` names. Full processing costs 1, lightweight processing .15: 65 % of
the time is saved when 23.5 % of the items are processed fully, 80 % when 5.9 % are. *Quality* is the mean mark, from 0
to 1, of what is processed fully; a random choice has .50. The marks are ranks within each content type, so every type
has a score and a threshold of its own, the same share of each is processed fully, and types are not compared.

**How dev was kept honest.** Recipe and point were chosen on train alone ({n_train} items), by cross-validation in three
foldings that keep a debate's topic, a thread and a dialogue on one side. Dev ({n_dev} items of other threads and debate
sides; some of its debates have their other side in train) was scored with the final choice and with the plain rules,
and neither recipe nor point was changed afterwards; only the plain rules at thresholds of train (below) were added to
the report after that look. The recipes listed were themselves found by trying on train, so train's figures are a little
lucky. Intervals: 95 %, bootstrap over groups. *Score*: {recipe}, ridge regression, one predictor for each type with at
least 100 items in train; story, which has fewer, goes by its length. The predictors of all types are {size:.1f} MB of
JSON, read by plain Python.
"""
BAR = """
## The bar by the study: above .70 at a point between 65 and 80 % of the time saved

From here on: the study on which the command's two scores rest, with ten recipes and all of train, by itself and not by
a command. The point chosen on train is {point:.0%}. On dev the score reaches **{ours:.3f}** there (95 % interval
{low:.3f} to {high:.3f}; {n} items processed fully). {verdict}
"""
BESIDE = """
## Beside plain rules, at equal saving

All on dev. In brackets: what the score is better by, with its 95 % interval. *Overall score* and *tuned filter* read
the five parts of the default filter from the text and have one threshold for all types; the tuned filter has the best
of 400 weightings on train. The default filter itself sends {default:.1%} to full processing, so it has no quality at
these points.
"""
TRAIN = """
## What was tried, on train

Cross-fitted: no item is scored by a predictor that has seen it or its group. Mean of three foldings.
"""
TRAIN_BESIDE = """
The chosen recipe beside the two yardsticks that are learned too, in the first folding: what it is better by, with the
95 % interval. Train has more than three times dev's items.
"""
TYPES = """
## Per content type, on dev

Score, its interval, and length alone. With few items the intervals are wide: 5 stories say nothing.
"""
CURVE = """
## The whole curve, on dev
"""
SERVED = """
## Thresholds found on train

As a pipeline would run it: each type's threshold is the quantile of train's cross-fitted scores, and dev's saving is
what it turns out to be: mean quality at the time really saved.
"""
UNSEEN = """
## A type that was not seen in training

Each type scored by a predictor that was trained on the others only, beside cross-fitted predictors of its own; train's
items at {point:.0%} saved. {verdict} Whether it carries over to a given type is not known without marks of that type,
so a type that was not trained has no score (`ContentScore.score` answers None) and goes by the filter.
"""


@in_columns
def page(result: Mapping[str, Any], commands: Mapping[str, Any]) -> str:
    """``commands``: what bench/content_commands.py found."""
    cells = {cell["case"]: cell for cell in result["cells"]}
    recipe = next(case for case in cells if case.startswith("chosen recipe: ")).removeprefix("chosen recipe: ")
    point = cells["chosen point: time saved"]["ours"]
    at_point = cells[f"dev, all types: {point:.0%} saved"]
    head = HEAD.format(
        commit=result["commit"],
        machine=result["machine"],
        n_train=cells["chosen point: time saved"]["n"],
        n_dev=cells["dev, default filter: share processed fully"]["n"],
        recipe=recipe,
        size=cells["size of the score as JSON"]["ours"],
    )
    verdict = f"{_verdict(at_point)} {_beaten(cells, point)}"
    bar = BAR.format(
        point=point, n=at_point["n"], ours=at_point["ours"], low=at_point["low"], high=at_point["high"], verdict=verdict
    )
    default = cells["dev, default filter: share processed fully"]["ours"]
    return "".join(
        (
            head,
            section(commands),
            bar,
            BESIDE.format(default=default),
            table("rule", _beside(cells)),
            TRAIN,
            table("recipe", _train(cells)),
            TRAIN_BESIDE,
            table("rule", _train_beside(cells)),
            TYPES,
            table("type", _types(cells)),
            CURVE,
            table("time saved", _curve(cells)),
            SERVED,
            table("score", _served(cells)),
            UNSEEN.format(point=point, verdict=_transfer_verdict(cells)),
            table("type", _unseen(cells)),
        )
    )


def _verdict(cell: Mapping[str, Any]) -> str:
    if cell["low"] > 0.70:
        return "The bar is met, and its interval lies above it."
    if cell["ours"] > 0.70:
        return (
            "The bar is met by the measured mean; the interval reaches below it, so another sample of this size may"
            " miss it."
        )
    return "The bar is missed."


def _beaten(cells: Mapping[str, Mapping[str, Any]], point: float) -> str:
    """Which plain rules are as good as the score at the chosen point, and at which points none is."""
    beside: dict[str, list[Mapping[str, Any]]] = {}
    for case, cell in cells.items():
        match = re.fullmatch(r"dev, all types: (\d+%) saved, beside .*", case)
        if match:
            beside.setdefault(match[1], []).append(cell)
    level = [f"{c['other_name']} ({c['other']:.3f})" for c in beside[f"{point:.0%}"] if c["other"] >= c["ours"]]
    above = [saved for saved, found in beside.items() if all(c["ours"] > c["other"] for c in found)]
    said = (
        f"At this point {' and '.join(level)} do as well or better on dev, within the interval."
        if level
        else "Every plain rule lies below it there."
    )
    return f"{said} At {', '.join(above) or 'no point'} of the time saved it lies above every plain rule."


def _transfer_verdict(cells: Mapping[str, Mapping[str, Any]]) -> str:
    found = [c for case, c in cells.items() if re.fullmatch(r"unseen type .*: \d+% saved", case) and c["n"] >= 100]
    carried = [c for c in found if c["low"] > 0.5]
    least = min(c["ours"] - c["other"] for c in found)
    if not carried:
        return (
            f"It does not carry over: no type is told apart better than by chance, and up to {-least:.2f} of quality is"
            " lost."
        )
    names = ", ".join(c["case"].removeprefix("unseen type ").split(":")[0] for c in carried)
    longer = [
        c["case"].split(":")[0] for c in found if cells[f"{c['case'].split(':')[0]}: length"]["ours"] >= c["ours"]
    ]
    plain = (
        f"; length alone does as well for {', '.join(n.removeprefix('unseen type ') for n in longer)}" if longer else ""
    )
    return (
        f"It carries over in part: better than chance for {names}, yet up to {-least:.2f} below predictors of the"
        f" type's own{plain}."
    )


def _beside(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {"**learned score**": {}}
    for case, cell in cells.items():
        match = re.fullmatch(r"dev, all types: (\d+%) saved, beside (.*)", case)
        if match:
            saved, name = match.groups()
            rows["**learned score**"][saved] = f"**{cell['ours']:.3f}**"
            apart = f"{cell['ours'] - cell['other']:+.3f}, {cell['low']:+.3f} to {cell['high']:+.3f}"
            rows.setdefault(name, {})[saved] = f"{cell['other']:.3f} ({apart})"
    return rows


def _train(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return _grid(cells, r"train, cross-fitted, (.*): (\d+%) saved", lambda c: f"{c['ours']:.3f}")


def _train_beside(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for case, c in cells.items():
        match = re.fullmatch(r"train, cross-fitted: (\d+%) saved, beside (.*)", case)
        if match:
            rows.setdefault(match[2], {})[match[1]] = (
                f"{c['ours'] - c['other']:+.3f} ({c['low']:+.3f} to {c['high']:+.3f})"
            )
    return rows


def _types(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return _grid(
        {case: c for case, c in cells.items() if "all types" not in case},
        r"dev, (.*): (\d+%) saved",
        lambda c: f"{c['ours']:.3f} ({c['low']:.2f} to {c['high']:.2f}; n {c['n']}), length {c['other']:.3f}",
    )


def _curve(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found = {m[1]: c for case, c in cells.items() if (m := re.fullmatch(r"dev, all types: (\d+%) saved", case))}
    return {
        saved: {
            "quality": f"{c['ours']:.3f}",
            "95 % interval": f"{c['low']:.3f} to {c['high']:.3f}",
            "items": str(c["n"]),
        }
        for saved, c in found.items()
    }


def _served(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for case, cell in cells.items():
        match = re.fullmatch(r"dev, thresholds of train for (\d+%), (.*): time saved", case)
        if match:
            meant, name = match.groups()
            quality = cells[case.removesuffix("time saved") + "quality"]
            rows.setdefault(name, {})[f"for {meant}"] = (
                f"{quality['ours']:.3f} at {cell['ours']:.1%} (n {quality['n']})"
            )
    return rows


def _unseen(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for case, cell in cells.items():
        match = re.fullmatch(r"unseen type (.*): (\d+% saved|rank correlation|length)", case)
        if match and match[2] == "rank correlation":
            rows.setdefault(match[1], {})["rank correlation with quality"] = f"{cell['ours']:+.2f}"
        elif match and match[2] == "length":
            rows.setdefault(match[1], {})["length"] = f"{cell['ours']:.3f}"
        elif match:
            interval = f"{cell['ours']:.3f} ({cell['low']:.2f} to {cell['high']:.2f})"
            rows.setdefault(match[1], {}).update(
                {"items": str(cell["n"]), "trained on others": interval, "trained on its own": f"{cell['other']:.3f}"}
            )
    return rows


def _grid(cells: Mapping[str, Mapping[str, Any]], pattern: str, shown: Any) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for case, cell in cells.items():
        match: Sequence[str] | None = re.fullmatch(pattern, case)  # type: ignore[assignment]
        if match:
            rows.setdefault(match[1], {})[match[2]] = shown(cell)
    return rows
