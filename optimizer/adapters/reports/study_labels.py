"""A label family on a study's page: each label's precision, recall and F1, champion beside winner, and the mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.adapters.reports.page import cut
from optimizer.core.evaluation.label_report import NO_LABEL, confused
from optimizer.core.search.study import Study

N_LABELS = 30  # of the table, those that do worst
N_CROSSED = 12  # labels of the matrix, those of most mistakes
LABEL_CHARS = 24
Confusion = Mapping[str, Mapping[str, int]]


def label_tables(label_reports: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """What ``templates/study_labels.html`` shows; ``label_reports``: variant > its LabelReport as plain values."""
    variants = (("champion", study.champion), ("winner", study.winner or ""))
    arms = [(name, label_reports[id]) for name, id in variants if id in label_reports]
    if not arms:
        return {"arms": []}
    by_label = [_met_rows(report["figures"]) for _, report in arms]
    last = by_label[-1]
    labels = sorted(
        {label for row in by_label for label in row}, key=lambda it: (last.get(it, {}).get("f1") or 0.0, it)
    )
    confusion: Confusion = arms[-1][1]["confusion"]
    crossed = _crossed(confusion)
    answers = [*crossed, *([NO_LABEL] if any(NO_LABEL in confusion.get(label, {}) for label in crossed) else [])]
    return {
        "arms": arms,
        "chars": LABEL_CHARS,
        "columns": [f"{figure}, {name}" for figure in ("Precision", "Recall", "F1") for name, _ in arms],
        "rows": [_row(label, [row.get(label, {}) for row in by_label]) for label in labels[:N_LABELS]],
        "n_left_out": max(0, len(labels) - N_LABELS),
        "confused": confused(confusion),
        "confusion": confusion,
        "crossed": crossed,
        "n_met": len(_met(confusion)),
        "given": answers,
        "given_columns": [cut(answer, LABEL_CHARS) for answer in answers],
    }


def _met_rows(figures: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By label, those that were expected or given at least once."""
    return {row["label"]: row for row in figures if row["n_expected"] or row["n_given"]}


def _row(label: str, known: list[Mapping[str, Any]]) -> dict[str, Any]:
    figures = [row.get(figure) for figure in ("precision", "recall", "f1") for row in known]
    return {"label": label, "n_expected": max(row.get("n_expected", 0) for row in known), "figures": figures}


def _met(confusion: Confusion) -> list[str]:
    """Labels that were expected or given at least once."""
    answers = {label for row in confusion.values() for label in row}
    return sorted(({label for label, row in confusion.items() if row} | answers) - {NO_LABEL})


def _crossed(confusion: Confusion) -> list[str]:
    def mistakes(label: str) -> int:
        missed = sum(n for answer, n in confusion.get(label, {}).items() if answer != label)
        return missed + sum(row.get(label, 0) for expected, row in confusion.items() if expected != label)

    return sorted(sorted(_met(confusion), key=lambda label: (-mistakes(label), label))[:N_CROSSED])
