"""A label family on a study's page: precision, recall and F1 of each label, champion beside winner, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from optimizer.adapters.reports.page import cut, number_cell, table
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.label_report import NO_LABEL, confused
from optimizer.core.search.study import Study

N_LABELS = 30  # of the table, those that do worst
N_CROSSED = 12  # labels of the matrix, those of most mistakes
LABEL_CHARS = 24


def label_section(found: Mapping[str, Any], study: Study) -> str:
    """``found``: variant > its LabelReport as plain values."""
    arms = [(name, found[id]) for name, id in (("champion", study.champion), ("winner", study.winner or "")) if id in found]
    if not arms:
        return "<p>No answer was kept to tell the labels by.</p>"
    heads = "; ".join(f"{name} {number_cell(report['macro_f1'])} on {count(report['n'], 'answered dev example')}" for name, report in arms)
    name, last = arms[-1]
    text = (
        "Precision: of those that were given the label, how many have it. Recall: of those that have it, how many were given it. F1 joins both; "
        "macro F1 is its mean over the labels that occur."
    )
    return f'<p class="verdict">Macro F1: {heads}.</p><p>{text}</p>{_figures(arms)}{_mistakes(last)}{_matrix(name, last)}'


def _figures(arms: list[tuple[str, Mapping[str, Any]]]) -> str:
    by_label = [{row["label"]: row for row in report["figures"] if row["n_expected"] or row["n_given"]} for _, report in arms]
    labels = sorted(
        {label for one in by_label for label in one}, key=lambda label: ((by_label[-1].get(label) or {}).get("f1") or 0.0, label)
    )
    rows = []
    for label in labels[:N_LABELS]:
        known = [one.get(label) or {} for one in by_label]
        cells = [number_cell(row.get(figure)) for figure in ("precision", "recall", "f1") for row in known]
        rows.append((escape(cut(label, LABEL_CHARS)), str(max(row.get("n_expected", 0) for row in known)), *cells))
    columns = [f"{figure}, {name}" for figure in ("Precision", "Recall", "F1") for name, _ in arms]
    more = f"<p>And {len(labels) - N_LABELS} more labels that do better.</p>" if len(labels) > N_LABELS else ""
    return table(("Label", "Examples", *columns), rows) + more


def _mistakes(report: Mapping[str, Any]) -> str:
    wrong = [f"{escape(cut(a, LABEL_CHARS))} taken for {escape(cut(b, LABEL_CHARS))} {n}" for a, b, n in confused(report["confusion"])]
    return f"<p>Most frequent mistakes: {', '.join(wrong)}.</p>" if wrong else "<p>No mistake.</p>"


def _matrix(name: str, report: Mapping[str, Any]) -> str:
    """Rows: expected; columns: given."""
    confusion: Mapping[str, Mapping[str, int]] = report["confusion"]
    labels = _crossed(confusion)
    given = [*labels, *([NO_LABEL] if any(NO_LABEL in confusion.get(one, {}) for one in labels) else [])]
    rows = [
        (escape(cut(one, LABEL_CHARS)), *(_cell(confusion.get(one, {}).get(other, 0), is_right=one == other) for other in given))
        for one in labels
    ]
    most = f" The {len(labels)} labels of most mistakes." if len(labels) < len(_met(confusion)) else ""
    head = f"<h3>What the {name} takes for what</h3><p>Rows are what was expected, columns what was given.{most}</p>"
    return head + table(("Expected", *(cut(one, LABEL_CHARS) for one in given)), rows)


def _met(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Labels that were expected or given at least once."""
    given = {label for row in confusion.values() for label in row}
    return sorted(({label for label, row in confusion.items() if row} | given) - {NO_LABEL})


def _crossed(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    def mistakes(label: str) -> int:
        missed = sum(n for given, n in confusion.get(label, {}).items() if given != label)
        return missed + sum(row.get(label, 0) for expected, row in confusion.items() if expected != label)

    return sorted(sorted(_met(confusion), key=lambda label: (-mistakes(label), label))[:N_CROSSED])


def _cell(n: int, *, is_right: bool) -> str:
    if not n:
        return "·"
    return f'<span class="{"good" if is_right else "bad"}">{n}</span>'
