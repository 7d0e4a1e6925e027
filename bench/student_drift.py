"""How long a student that has become wrong goes on answering, and what is lost meanwhile: a live loop, simulated.

    python bench/student_drift.py

The rule, of 2026-11-26, before a dev row was read by it: sets, rows, learning and threshold are those of students.py
(every train row teaches, margin .02, the labels for a model that is always right). Requests are dev rows drawn with
replacement, 1,000 a day: 14 days as they are, then 30 days of one change. Each is audited with probability audit_share,
and the watch is the product's (optimizer/core/rollout/student_watch.py); accepted is the margin. Twenty streams by seed
for each change and share. A figure is the median over the streams that were bypassed after the change, of
0 days where the bypass came the same day; a stream that was bypassed before is counted apart. The changes:

- none: the 44 days are alike, so every bypass before day 44 is one of a student that stayed what it was;
- merged: requests of the commonest label are answered with the second commonest from then on; of dev rows since
  2026-11-30, since the commonest of train stands in no dev row of intent_routing_banking77, so that nothing changed;
- new: the student learned nothing of the label of train that stands in the middle by size (of two: the rarer), which
  from then on is one request in three;
- errs: the model behind it answers requests of the same label with the second commonest from then on: agreement is
  lost, and no right answer is.

Lost are points of 100 of all requests from the change to the bypass that the student answered wrongly, by the labels of
that time; of a stream that was never bypassed, from the change to the end. Some minutes; writes
bench/results/student_drift.json.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

from common import Cell, cell, data_of, options_of, write_result
from students import MARGIN, accept_of, rows_of

from optimizer.adapters.predictors.student_learning import learn_student
from optimizer.core.predictor.teaching import TeachingRow
from optimizer.core.rollout.student_watch import StudentRequest, StudentWatch, Teacher

SETS = ("intent_routing", "document_analysis", "intent_routing_banking77")
AUDIT_SHARES = (0.05, 0.1, 0.2)
A_DAY, DAYS_BEFORE, DAYS_AFTER, N_STREAMS = 1000, 14, 30, 20
NEW_SHARE = 1 / 3
START = datetime(2026, 11, 2, tzinfo=UTC)
AUDITS, DAYS, LOST, BEFORE, NEVER, LOST_BY_NEVER = (
    "audited requests until the bypass",
    "days until the bypass",
    "points lost until the bypass",
    "streams bypassed before the change",
    "streams never bypassed",
    "points lost by streams never bypassed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAnswer:
    """Of one dev row: what the student says, what the model behind it does, and what is right."""

    said: str
    stands: bool
    behind: str
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """``n_audits``, ``days`` and ``lost`` from the change on; None where the bypass came before it. Where it never came
    ``lost`` alone is known, of all days.
    """

    n_audits: int | None = None
    days: float | None = None
    lost: float | None = None
    is_early: bool = False


def main() -> int:
    options_of(__doc__)
    data_of()
    write_result("student_drift", [cell for name in SETS for cell in measured(name)])
    return 0


def measured(name: str) -> list[Cell]:
    train, dev = ([row for _, row in rows_of(name, split)] for split in ("train", "dev"))
    inputs = {row.id: input for input, row in rows_of(name, "dev")}
    ordered = [label for label, _ in Counter(row.label for row in train).most_common()]
    (first, _), (second, _) = Counter(row.label for row in dev).most_common(2)
    middle = ordered[len(ordered) // 2]
    usual = answers_of(train, dev, inputs)
    without = answers_of([row for row in train if row.label != middle], dev, inputs)
    merged = [replace(one, right=second, behind=second) if one.right == first else one for one in usual]
    errs = [replace(one, behind=second) if one.right == first else one for one in usual]
    known, new = ([one for one in without if (one.right == middle) is is_new] for is_new in (False, True))
    changes = {
        "none": (usual, usual, []),
        "merged": (usual, merged, []),
        "new": (known, known, new),
        "errs": (usual, errs, []),
    }
    cells = []
    for change, (before, after, added) in changes.items():
        share = sum(one.stands for one in before) / len(before)
        loss = sum(one.stands and one.said != one.right for one in before) / len(before)
        what = f"{name}, {change}"
        cells.append(Cell(case=f"{what}: answered before", ours=share, unit="share", n=len(before)))
        cells.append(Cell(case=f"{what}: lost before", ours=100 * loss, unit="points of 100", n=len(before)))
        for audit_share in AUDIT_SHARES:
            streams = [
                streamed(before, after, added, audit_share=audit_share, rng=Random(f"{what} {audit_share} {seed}"))
                for seed in range(N_STREAMS)
            ]
            cells += cells_of(f"{what}, audit_share {audit_share:g}", streams)
    return cells


def answers_of(
    train: Sequence[TeachingRow], dev: Sequence[TeachingRow], inputs: dict[str, dict[str, object]]
) -> list[RowAnswer]:
    taught = learn_student(train, trained_on={})
    rows = list(train)
    accept = accept_of(rows, [taught.out_of_fold[row.id].confidence for row in rows], taught.out_of_fold)
    answers = []
    for row in dev:
        own = taught.student.answer(inputs[row.id])
        stands = accept is not None and own.confidence > 0 and own.confidence >= accept
        answers.append(RowAnswer(said=own.label, stands=stands, behind=row.label, right=row.label))
    return answers


def streamed(
    before: Sequence[RowAnswer],
    after: Sequence[RowAnswer],
    added: Sequence[RowAnswer],
    *,
    audit_share: float,
    rng: Random,
) -> Stream:
    watch = StudentWatch.begin(accepted=MARGIN, student="st", tier="student", teacher=Teacher(prompt="", revisions={}))
    n_before, n_audits, n_lost = DAYS_BEFORE * A_DAY, 0, 0
    for at in range(n_before + DAYS_AFTER * A_DAY):
        is_after = at >= n_before
        rows = before if not is_after else added if added and rng.random() < NEW_SHARE else after
        one = rows[rng.randrange(len(rows))]
        n_lost += is_after and one.stands and one.said != one.right
        if rng.random() >= audit_share:
            continue
        n_audits += is_after
        watch = watch.after(
            StudentRequest(
                at=START + timedelta(days=at / A_DAY),
                is_own=one.stands,
                confidence=None,
                chance=audit_share,
                agreement=float(one.said == one.behind) if one.stands else None,
            )
        )
        if watch.decision == "bypass":
            if not is_after:
                return Stream(is_early=True)
            n = at - n_before + 1
            return Stream(n_audits=n_audits, days=n / A_DAY, lost=100 * n_lost / n)
    return Stream(lost=100 * n_lost / (DAYS_AFTER * A_DAY))


def cells_of(case: str, streams: Sequence[Stream]) -> list[Cell]:
    ended = [one for one in streams if one.days is not None]
    n_early = sum(one.is_early for one in streams)
    figures = (
        (AUDITS, [one.n_audits for one in ended], "audits, median; ends: least and most"),
        (DAYS, [one.days for one in ended], "days, median; ends: least and most"),
        (LOST, [one.lost for one in ended], "points of 100, median; ends: least and most"),
    )
    cells = [
        cell(f"{case}: {name}", median(values), unit, len(values), (min(values), max(values)))  # type: ignore[type-var]
        if values
        else cell(f"{case}: {name}", None, unit, 0)
        for name, values, unit in figures
    ]
    cells.append(Cell(case=f"{case}: {BEFORE}", ours=float(n_early), unit="streams", n=len(streams)))
    never = [one.lost for one in streams if one.days is None and one.lost is not None]
    cells.append(Cell(case=f"{case}: {NEVER}", ours=float(len(never)), unit="streams", n=len(streams)))
    case = f"{case}: {LOST_BY_NEVER}"
    bounds = (min(never), max(never)) if never else (None, None)
    cells.append(cell(case, median(never) if never else None, figures[2][2], len(never), bounds))
    return cells


if __name__ == "__main__":
    sys.exit(main())
