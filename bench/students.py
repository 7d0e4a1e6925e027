"""How far a student gets on labelled rows that taught it nothing, and how many requests it answers in a model's place.

    python bench/students.py

The rule, of 2026-11-26, before a dev row was read by it: every train row of DETENT_SHARED is released and teaches, each
a unit of its own, the fields are those of the sets' families, and an answer is right where it is the label. Kind of
features, penalty and smoothing stand in optimizer/core/predictor/student.py and optimizer/adapters/predictors/
student_learning.py; they were set on answers out of fold to train rows of document_analysis and
intent_routing_banking77. The threshold is the confident rule's on answers out of fold to train rows, margin .02, level
90 %, with the labels themselves for the strong model: one that is always right and costs something. Dev rows are read
once, for the figures. Some minutes; writes bench/results/students.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from common import SHARED, Cell, write_result

from optimizer.adapters.predictors.student_learning import learn_student
from optimizer.core.base.canonical import digest
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.predictor.student import Student, input_text
from optimizer.core.predictor.teaching import TeachingRow, fold_of
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.thresholds import LeastCost, search

DATA = SHARED / "data"
LABELS: Mapping[str, str] = {  # set > the field of its label
    "document_analysis": "topics",
    "intent_routing": "domain",
    "intent_routing_banking77": "label",
    "sentiment": "label",
}
SIZES = (50, 100, 200, 500)  # of the learning curve, and all
MARGIN = 0.02
N_TIMED, TIMED_CHARS = 500, 100
RIGHT, SHARE, LOST, TIME, SIZE, LEARNING = (
    "right labels",
    "share answered by the student",
    "points lost",
    "microseconds a decision",
    "megabytes",
    "seconds of learning",
)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not DATA.exists():
        print(f"Skipped: the sets are not in {DATA}; set DETENT_SHARED.", file=sys.stderr)
        return 0
    write_result("students", [cell for name in LABELS for cell in measured(name, rows_of(name, "train"))])
    return 0


def rows_of(name: str, split: str) -> list[tuple[dict[str, Any], TeachingRow]]:
    """(input, row) of a split, in the order of their hash."""
    rows = []
    for line in (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        label = json.dumps(row["expected"][LABELS[name]])
        own = row.get("group") or row["id"]
        rows.append(
            (row["input"], TeachingRow(id=row["id"], text=input_text(row["input"]), label=label, group=own, unit=own))
        )
    return sorted(rows, key=lambda one: digest(one[1].id.encode()))


def measured(name: str, train: Sequence[tuple[dict[str, Any], TeachingRow]]) -> list[Cell]:
    teaching = [row for _, row in train]
    started = process_time()
    taught = learn_student(teaching, trained_on={})
    learning_s = process_time() - started
    accept = accept_of(teaching, [taught.out_of_fold[row.id].confidence for row in teaching], taught.out_of_fold)
    dev = rows_of(name, "dev")
    answers = [taught.student.answer(input) for input, _ in dev]
    right = [float(answer.label == row.label) for answer, (_, row) in zip(answers, dev, strict=True)]
    stands = [float(accept is not None and answer.confidence >= accept) for answer in answers]
    lost = [100 * stood * (1 - was_right) for stood, was_right in zip(stands, right, strict=True)]
    what = f"{name}, {len(train)} train rows, {len(taught.student.labels)} labels"
    cells = [
        cell(f"{what}: {RIGHT}", right, taught.student.method),
        cell(f"{what}: {SHARE}", stands, "no threshold is safe" if accept is None else f"accept {accept:.6f}"),
        cell(f"{what}: {LOST}", lost, "of 100"),
        plain(f"{what}: {TIME}", decision_us(taught.student, teaching), f"{TIMED_CHARS} characters, processor time"),
        plain(f"{what}: {SIZE}", len(json.dumps(taught.student.to_data())) / 1e6, "as JSON"),
        plain(f"{what}: {LEARNING}", learning_s, "processor time"),
    ]
    for n in (size for size in SIZES if size < len(train)):
        student = learn_student(teaching[:n], trained_on={}).student
        of_few = [float(student.answer(input).label == row.label) for input, row in dev]
        cells.append(cell(f"{name}, {n} train rows: {RIGHT}", of_few, student.method))
    return cells


def accept_of(rows: Sequence[TeachingRow], confidence: Sequence[float], answers: Mapping[str, Any]) -> float | None:
    """The threshold of the confident rule where the labels stand for the strong model; None: none is safe."""
    n = len(rows)
    right = [float(answers[row.id].label == row.label) for row in rows]
    records = TierRecords.from_rows(
        [
            {
                "tiers": {
                    "student": {"score": right[at], "cost_usd": 0.0, "confidence": confidence[at]},
                    "labels": {"score": 1.0, "cost_usd": 1.0, "confidence": 1.0},
                }
            }
            for at in range(n)
        ],
        ("student", "labels"),
    )
    thresholds = search(records, LeastCost(margin=MARGIN), folds=fold_of([row.group for row in rows]))
    return thresholds.setting.accept[0] if thresholds.setting is not None else None


def decision_us(student: Student, rows: Sequence[TeachingRow]) -> float:
    """Median over texts of 100 characters."""
    inputs = [{"text": (row.text * TIMED_CHARS)[:TIMED_CHARS]} for row in rows[:N_TIMED]]
    times = []
    for _ in range(3):  # the last round counts, when all is in the caches
        times = []
        for input in inputs:
            started = process_time()
            student.answer(input)
            times.append(1e6 * (process_time() - started))
    return median(times)


def cell(case: str, values: Sequence[float], unit: str) -> Cell:
    interval = bootstrap_interval(list(values), seed=0)
    return Cell(
        case=case, ours=float(np.mean(values)), low=interval.lower, high=interval.upper, unit=unit, n=len(values)
    )


def plain(case: str, value: float, unit: str) -> Cell:
    return Cell(case=case, ours=value, unit=unit, n=1)


if __name__ == "__main__":
    sys.exit(main())
