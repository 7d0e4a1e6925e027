"""docs/reference/judges-measured.md, made of bench/results/judges.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pages import Cell, bounded, bounds, grid, in_columns

HEAD = """# Judges, measured

Made by `python bench/judges.py` from `bench/results/judges.json` (commit {commit}, {machine}). The data are recorded
scores of judges beside people's ratings of the same answers, read from the folder that `DETENT_SHARED` names: UniEval
on data2text, qags and topical_chat, five language models on hanna's stories (each under the one of its four prompts
that ranks train's stories best; mean of six criteria). Scores and ratings are brought to 0 to 1. No model was asked for
this page. Intervals: 95 %; answers to one input are drawn together.

## Does a calibrated judge come nearer to people?

Maps are fitted on train and measured on dev. The rule, chosen on train: the logistic curve; from 200 ratings on the
isotonic map where its squared error out of fold is less. *Less than*: squared error of the calibrated judge less that
of the other; below 0 is better. Beside the raw judge the interval lies below 0 for {n_raw} of {n} judges, beside the
mean rating (which asks no judge) for {n_mean}; above 0 it lies for {n_worse}. On average over the judges the calibrated
one has {all_raw} less than the raw one and {all_mean} less than the mean rating. A curve keeps the order of the scores;
an isotonic map makes ties, and so moves the rank correlation a little.
"""
FEW = """
## How many ratings does a map need?

Maps of 20, 50 and 100 ratings, drawn {draws} times from train: mean squared error on dev, and in brackets the share of
the draws in which it is less than that of the mean of the same ratings. With 20 ratings the map is better than that
mean in {at_20} of the draws.
"""
COMMITTEE = """
## A committee, or one judge?

The mean of five judges on hanna's dev stories, beside each of them. The interval is that of committee less judge.
"""
SPREAD = """
## Is a wide spread a sign that people disagree?

Members whose scores lie more than .3 apart send an answer to a person. *Precision*: the share of such answers on which
the committee is wrong; it should be well above the share of all answers on which it is. *Recall*: the share of the
wrong ones that are sent. The rank correlation of the spread with the committee's distance from people is {rank}.
{verdict}
"""
INTERVALS = """
## Do the intervals hold?

{n_judged} judged answers are drawn from dev's, the first n of them are rated, and the interval of the mean rating is
taken; {draws} times for each figure ({slow} times cje-eval, which takes a tenth of a second each). {n_figures} figures:
the judges above, and the share of answers that pass. Nominal coverage is .95. *Width*: beside that of people's ratings
alone, with the same correction of skewness. Detent: prediction-powered with a slope from 0 to 1.5, Student's t, the
leverage of the draw and Hall's correction of skewness; of the forms tried on train (normal quantile, Student's t, with
and without leverage and correction) the narrowest that covers .94 in every case from 20 ratings on, up to the error of
the simulation. Towards an end of the scale from which no rating came, it reaches as far as that many draws without one
leave possible. ppi-python: PPI++ with its own choice of lambda and its normal quantile. cje-eval: its default. A
judge that agrees little with people saves little: the width says so, and the coverage does not suffer.
"""
PREDICTED = """
## Does the predicted width come true?

`detent review draw` says what further ratings would narrow. Predicted at 30 ratings for 100, beside the mean width
obtained with 100: the ratio lies from {low:.2f} to {high:.2f}, on average at {mean:.2f}.
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = {cell["case"]: cell for cell in result["cells"]}
    return "".join(
        (
            _calibrated(result, cells),
            _few(cells),
            _committee(cells),
            _spread(cells),
            _intervals(cells),
            _predicted(cells),
        )
    )


def _calibrated(result: Mapping[str, Any], cells: Mapping[str, Cell]) -> str:
    judges = [case.partition(": ")[0] for case in cells if case.endswith("beside the raw judge")]
    raw, mean = (
        [cells[f"{j}: squared error beside the {what}"] for j in judges] for what in ("raw judge", "mean rating")
    )
    rows = []
    for judge, beside_raw, beside_mean in zip(judges, raw, mean, strict=True):
        rank, ece = cells[f"{judge}: Spearman"], cells[f"{judge}: calibration error"]
        rows.append(
            [
                judge,
                str(beside_raw["n"]),
                beside_raw["unit"].split(", ")[1].split(" ")[0],
                f"{beside_raw['other']:.3f} > {beside_raw['ours']:.3f}",
                _apart(beside_raw),
                f"{beside_mean['other']:.3f}",
                _apart(beside_mean),
                f"{rank['other']:.2f} > {rank['ours']:.2f} ({rank['low']:.2f} to {rank['high']:.2f})",
                f"{ece['other']:.3f} > {ece['ours']:.3f}",
            ]
        )
    head = HEAD.format(
        commit=result["commit"],
        machine=result["machine"],
        n=len(judges),
        n_raw=sum(cell["high"] < 0 for cell in raw),
        n_mean=sum(cell["high"] < 0 for cell in mean),
        n_worse=sum(cell["low"] > 0 for cell in (*raw, *mean)) or "none",
        all_raw=_gain(cells["all judges: squared error less than the raw judge"]),
        all_mean=_gain(cells["all judges: squared error less than the mean rating"]),
    )
    titles = ["judge", "answers", "map", "raw > calibrated", "less than raw", "mean rating", "less than mean"]
    return head + "\n" + grid([*titles, "Spearman, raw > calibrated", "calibration error"], rows)


def _few(cells: Mapping[str, Cell]) -> str:
    found: dict[str, dict[int, Cell]] = {}
    for case, cell in cells.items():
        judge, _, what = case.partition(": ")
        if what.endswith(" ratings"):
            found.setdefault(judge, {})[int(what.split(" ")[0])] = cell
    sizes = sorted({n for its in found.values() for n in its})
    rows = [
        [
            judge,
            *(f"{its[n]['ours']:.3f} ({its[n]['ratio']:.0%})" if n in its else "-" for n in sizes),
            f"{cells[f'{judge}: squared error beside the raw judge']['ours']:.3f}",
            f"{next(iter(its.values()))['other']:.3f}",
        ]
        for judge, its in found.items()
    ]
    first = [its[sizes[0]] for its in found.values()]
    text = FEW.format(draws=first[0]["n"], at_20=f"{np.mean([cell['ratio'] for cell in first]):.0%}")
    return text + "\n" + grid(["judge", *(f"{n} ratings" for n in sizes), "all of train", "raw"], rows)


def _committee(cells: Mapping[str, Cell]) -> str:
    names = [case.rpartition(" ")[2] for case in cells if case.startswith("committee: Spearman")]
    rows = []
    for name in names:
        rank, error = cells[f"committee: Spearman beside {name}"], cells[f"committee: squared error beside {name}"]
        rows.append(
            [
                name,
                f"{rank['other']:.3f}",
                f"{rank['ours'] - rank['other']:+.3f} ({rank['low']:+.3f} to {rank['high']:+.3f})",
                f"{error['other']:.4f}",
                f"{error['ours'] - error['other']:+.4f} ({error['low']:+.4f} to {error['high']:+.4f})",
            ]
        )
    titles = ["judge alone", "Spearman", "committee's more", "squared error, calibrated", "committee's less"]
    return COMMITTEE + "\n" + grid(titles, rows)


def _spread(cells: Mapping[str, Cell]) -> str:
    rank = cells["spread: rank correlation with the distance"]
    rows = []
    for case, precision in cells.items():
        if not case.startswith("spread over") or not case.endswith(": precision"):
            continue
        recall = cells[case.replace(": precision", ": recall")]
        limit, wrong = case.removeprefix("spread over ").removesuffix(": precision").split(", ", 1)
        row = [limit, wrong, f"{recall['other']:.0%}", _share(precision), f"{precision['other']:.3f}", _share(recall)]
        rows.append(row)
    tells = rank["low"] > 0
    verdict = (
        "The spread tells something of it."
        if tells
        else "**So on these stories it tells nothing of where the committee is wrong**: judges with different scales"
        " lie apart everywhere. An answer that is sent to a person for its spread is a question, not a finding; ratings"
        " for an interval are drawn at random instead."
    )
    text = SPREAD.format(rank=bounded(rank, ".2f"), verdict=verdict)
    titles = ["spread over", "wrong: the committee is", "sent", "precision", "wrong among all", "recall"]
    return text + "\n" + grid(titles, rows)


def _intervals(cells: Mapping[str, Cell]) -> str:
    found: dict[tuple[int, str], list[Cell]] = {}
    single: dict[tuple[str, int], dict[str, Cell]] = {}
    for case, cell in cells.items():
        if cell["other_name"] != "width":
            continue
        figure, _, name = case.rpartition(": ")
        judge, _, n = figure.rpartition(", n ")
        found.setdefault((int(n), name), []).append(cell)
        single.setdefault((judge, int(n)), {})[name] = cell
    rows = [
        [
            str(n),
            name,
            f"{np.mean([c['ours'] for c in its]):.3f}",
            f"{min(c['ours'] for c in its):.3f}",
            f"{sum(c['ours'] < 0.93 for c in its)} of {len(its)}",
            f"{np.mean([c['ratio'] for c in its]):.2f} ({min(c['ratio'] for c in its):.2f} to"
            f" {max(c['ratio'] for c in its):.2f})",
        ]
        for (n, name), its in found.items()
    ]
    draws = {name: its[0]["n"] for (_, name), its in found.items()}
    text = INTERVALS.format(
        n_judged="1,000",
        draws=f"{draws['Detent']:,}",
        slow=draws["cje-eval"],
        n_figures=len({judge for judge, _ in single}),
    )
    summary = grid(["ratings", "interval", "mean coverage", "least coverage", "figures below .93", "width"], rows)
    names = list(next(iter(single.values())))
    each = [
        [judge, str(n), *(f"{its[name]['ours']:.3f}, {its[name]['other']:.3f}" for name in names)]
        for (judge, n), its in single.items()
    ]
    each_text = "\nEach figure: coverage, width.\n\n" + grid(["figure", "ratings", *names], each)
    return text + "\n" + summary + each_text


def _predicted(cells: Mapping[str, Cell]) -> str:
    ratios: Sequence[float] = [cell["ratio"] for cell in cells.values() if cell["other_name"] == "width obtained"]
    return PREDICTED.format(low=min(ratios), high=max(ratios), mean=float(np.mean(ratios)))


def _apart(cell: Cell) -> str:
    return f"{cell['ours'] - cell['other']:+.3f} ({bounds(cell, '+.3f')})"


def _gain(cell: Cell) -> str:
    return f"{-cell['ours']:.3f} ({-cell['high']:.3f} to {-cell['low']:.3f})"


def _share(cell: Cell) -> str:
    return "-" if cell["ours"] is None else bounded(cell, ".2f")
