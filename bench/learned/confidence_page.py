"""docs/reference/confidence-measured.md, made of bench/results/confidence.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pages import Cell, bounded, bounds, in_columns, table

HEAD = """# Learned confidence, measured

Made by `python bench/confidence.py` from `bench/results/confidence.json` (commit {commit}, {machine}). The data are
read from the folder that `DETENT_SHARED` names. Predictors are trained on train, cross-fitted: each row's confidence
comes from a predictor that has not seen it, calibration included. They are judged on dev. *Recorded*: the confidence
that came with the answer (probability of the answer's token, or a question to the model), calibrated. *Learned*: that
and features of the query (length, how and why, specificity, ambiguity, numbers, code, form, also its words), the best
of {n_recipes} recipes by cross-fitted log loss. Both are data (JSON) that plain Python reads. Intervals: 95 %,
bootstrap.
"""
USED = """
## Recorded or learned

**A learned confidence is used only where its cross-fitted log loss on train is less than the recorded one's with 90 %
(one-sided, paired bootstrap), and where it saves more on train at one point of loss.** That is so for {n_used} of {n}
pairs: {names}. Elsewhere the recorded one is kept. The second condition was added after a first look at dev: less log
loss alone would choose {n_sure} pairs, of which {n_sure_less} save less on dev than with the recorded one. AUC: how
often a right answer has the higher confidence than a wrong one. Brier and ECE: lower is better; ECE is never zero on so
few rows. *Log loss less*: recorded less learned on train, its lower bound in brackets. On dev the learned one has the
higher AUC in {n_auc} of {n_told} pairs, with an interval above 0 in {n_auc_sure} and below 0 in {n_auc_worse}; of the
pairs for which it is used, in {n_used_auc} of {n_used}.
"""
COST = """
## Money saved

The threshold is the one that saves most with at most one point lost on train's cross-fitted confidences; the table says
what it saves and loses on dev. This is the plain *expected* rule: on other rows it loses more than a point about as
often as not; the intervals of the loss show how little {least} to {most} rows of dev can say. *Random*: as many queries
drawn at random as one point of loss on dev allows.
"""
CALIBRATION = """
## What calibration does

gpt-4o-mini on dev. ECE of the confidence as recorded, calibrated, and learned.
"""
RELIABILITY = """
Reliability on rlc_mmlu, five bins of like size: what was promised > what was right, with its 95 % interval.
"""
QUERY = """
## Features of the query alone

No confidence is recorded in these sets, so the query is routed before any call, to Mixtral 8x7B or to GPT-4 Turbo, at
the prices that RouteLLM's paper sets: $.24 and $24.70 per million tokens, both taken to write as many. Threshold as
above. *At a point of dev*: the best threshold on dev itself, which is not known beforehand: how good the order is.
{verdict}
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    pairs: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in cells:
        case, _, what = cell["case"].partition(": ")
        pairs.setdefault(case, {})[what] = cell
    recorded = {case: found for case, found in pairs.items() if " > " in case}
    query = {case: found for case, found in pairs.items() if " > " not in case}
    used = [case for case, found in recorded.items() if _used(found)["ours"]]
    auc = [found["AUC, learned - recorded"] for found in recorded.values() if "AUC, learned - recorded" in found]
    n_rows = [_used(found)["n"] for found in recorded.values()]
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n_recipes=4)
    sure = [found for found in recorded.values() if found["log loss less, train"]["low"] > 0]
    text = USED.format(
        n_sure=len(sure),
        n_sure_less=sum(found["saved, learned"]["ours"] < found["saved, recorded"]["ours"] for found in sure),
        n_used=len(used),
        n=len(recorded),
        names="; ".join(used) or "none",
        n_told=len(auc),
        n_auc=sum(c["ours"] > 0 for c in auc),
        n_auc_sure=sum(c["low"] > 0 for c in auc),
        n_auc_worse=sum(c["high"] < 0 for c in auc),
        n_used_auc=sum(
            recorded[case]["AUC, learned - recorded"]["ours"] > 0
            for case in used
            if "AUC, learned - recorded" in recorded[case]
        ),
    )
    first = {case: found for case, found in recorded.items() if "gpt-4o-mini > gpt-4o" in case}
    reliable = next(iter(first.values()))
    return "".join(
        (
            head,
            text,
            table("set, pair", {case: _measures(found) for case, found in recorded.items()}),
            COST.format(least=min(n_rows), most=max(n_rows)),
            table("set, pair", {case: _money(found) for case, found in recorded.items()}),
            CALIBRATION,
            table(
                "set",
                {
                    case.split(",")[0]: {
                        name: _with_interval(found[f"ECE, {kind}"])
                        for name, kind in (
                            ("as recorded", "not calibrated"),
                            ("calibrated", "recorded"),
                            ("learned", "learned"),
                        )
                    }
                    for case, found in first.items()
                },
            ),
            RELIABILITY,
            table("bin", _reliability(reliable)),
            QUERY.format(verdict=_verdict(query)),
            table("set, features", _query(query)),
        )
    )


def _used(found: Mapping[str, Cell]) -> Mapping[str, Any]:
    return next(cell for what, cell in found.items() if what.startswith("learned is used"))


def _measures(found: Mapping[str, Cell]) -> dict[str, str]:
    gain = found["log loss less, train"]
    row = {
        "log loss less": f"{gain['ours']:+.4f} ({gain['low']:+.4f})",
        "used": "learned" if _used(found)["ours"] else "recorded",
    }
    for measure in ("AUC", "Brier", "ECE"):
        recorded, learned = (_with_interval(found.get(f"{measure}, {kind}")) for kind in ("recorded", "learned"))
        row[f"{measure}, recorded > learned"] = f"{recorded} > {learned}"
    return row


def _money(found: Mapping[str, Cell]) -> dict[str, str]:
    row = {}
    for kind in ("recorded", "learned"):
        saved, lost = found[f"saved, {kind}"], found[f"lost, {kind}"]
        row[f"{kind}: saved"] = f"{saved['ours']:.0%} (train {saved['other']:.0%})"
        row[f"{kind}: points lost"] = bounded(lost, "+.1f")
    return row | {
        "random": f"{max(0.0, found['saved, random mixing']['ours']):.0%}",
        "used": "learned" if _used(found)["ours"] else "recorded",
    }


def _reliability(found: Mapping[str, Cell]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for what, cell in found.items():
        match = re.fullmatch(r"reliability (\d+), (.*)", what)
        if match:
            rows.setdefault(match[1], {})[match[2]] = (
                f"{cell['other']:.2f} > {cell['ours']:.2f} ({cell['low']:.2f} to {cell['high']:.2f}; n {cell['n']})"
            )
    return rows


def _query(sets: Mapping[str, Mapping[str, Cell]]) -> dict[str, dict[str, str]]:
    rows = {}
    for case, found in sets.items():
        for what, cell in found.items():
            match = re.fullmatch(r"saved, (query .*)", what)
            if match:
                kind = match[1]
                lost, best = found[f"lost, {kind}"], found[f"saved at a point of dev itself, {kind}"]
                auc = next((c for name, c in found.items() if name.startswith(f"AUC, {kind} (")), None)
                rows[f"{case}, {kind}"] = {
                    "recipe": "" if auc is None else auc["case"].split(f"{kind} (")[1].rstrip(")").rsplit(", ", 1)[0],
                    "AUC": _with_interval(auc),
                    "saved on dev": f"{cell['ours']:.0%} (train {cell['other']:.0%})",
                    "points lost": bounded(lost, "+.1f"),
                    "at a point of dev": f"{best['ours']:.0%}",
                    "random": f"{max(0.0, found['saved, random mixing']['ours']):.0%}",
                    "rows": str(cell["n"]),
                }
    return rows


def _verdict(sets: Mapping[str, Mapping[str, Cell]]) -> str:
    shown = []
    for case, found in sets.items():
        kinds = [what.removeprefix("saved, ") for what in found if what.startswith("saved, query")]
        shown += [
            f"{case} by {kind}: {found[f'saved, {kind}']['ours']:.0%} saved at {found[f'lost, {kind}']['ours']:+.1f}"
            " points"
            for kind in kinds
        ]
    return "In short: " + "; ".join(shown) + "."


def _with_interval(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['ours']:.3f}" + ("" if cell["low"] is None else f" ({bounds(cell, '.2f')})")
