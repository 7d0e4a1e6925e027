"""Tables examples, holdout_looks, reviews and judge_calibrations: what searches learn from, questions that only a
person may answer, and how far judges agree with people.

The holdout has one door, ``sealed_holdout``, and every passage through it is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, func, insert, not_, or_, select, update

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.families import carry_looks, sealed_before
from optimizer.adapters.store.rows import add_once, chunks, columns_of, first, narrowed, record_of
from optimizer.adapters.store.tables import ExampleRow, HoldoutLookRow, JudgeCalibrationRow, ReviewRow
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.dataset.examples import Example, Split
from optimizer.core.evaluation.judging.calibration import agreement_of, calibration_of
from optimizer.ports import Added, CalibrationRecord, ExampleStanding, Review

EXAMPLES = ExampleRow.__table__
LOOKS = HoldoutLookRow.__table__
CALIBRATIONS = JudgeCalibrationRow.__table__
REVIEWS = ReviewRow.__table__
_C = EXAMPLES.c


class ExampleTables:
    """ports.Examples on the database."""

    def add(self, tx: Connection, rows: Sequence[Example]) -> list[Added]:
        before: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for family in {row.family for row in rows}:
            sealed = sealed_before(tx, family, {row.id: row.input for row in rows if row.family == family})
            before |= {(family, id): ones for id, ones in sealed.items()}
        refused = {name for name in before for row in rows if (row.family, row.id) == name and row.split != "holdout"}
        outcomes = iter(add_once(tx, EXAMPLES, [_columns(row) for row in rows if (row.family, row.id) not in refused]))
        added: list[Added] = ["sealed" if (row.family, row.id) in refused else next(outcomes) for row in rows]
        for (family, id), ones in before.items():
            if (family, id) not in refused:
                carry_looks(tx, family, id, ones)
        return added

    def of_split(
        self,
        tx: Connection,
        family: str,
        *,
        split: str,
        released_only: bool = False,
        ids: Collection[str] | None = None,
    ) -> list[Example]:
        if split not in ("train", "dev"):
            raise ValueError(
                f"{split!r} cannot be read here: only train and dev; the holdout is for a study's confirmation alone"
            )
        query = select(EXAMPLES).where(EXAMPLES.c.family == family, EXAMPLES.c.split == split).order_by(EXAMPLES.c.id)
        if released_only:
            query = query.where(EXAMPLES.c.released.is_(True))
        if ids is not None:
            query = query.where(EXAMPLES.c.id.in_(ids))
        return [_example(row) for row in tx.execute(query).mappings()]

    def sealed_holdout(
        self, tx: Connection, family: str, study: str, ids: Sequence[str] | None, at: datetime
    ) -> list[Example]:
        holdout = select(EXAMPLES).where(_C.family == family, _C.split == "holdout").order_by(_C.id)
        queries = [holdout] if ids is None else [holdout.where(_C.id.in_(some)) for some in chunks(list(ids))]
        examples = [_example(row) for query in queries for row in tx.execute(query).mappings()]
        looks = [{"family": family, "example": example.id, "study": study, "looked_at": at} for example in examples]
        insert_new(tx, LOOKS, looks)
        if ids is None:
            return examples
        by_id = {example.id: example for example in examples}
        return [by_id[id] for id in ids if id in by_id]

    def holdout_ids(self, tx: Connection, family: str) -> list[tuple[str, str]]:
        query = select(EXAMPLES.c.id, EXAMPLES.c.expected).where(
            EXAMPLES.c.family == family, EXAMPLES.c.split == "holdout"
        )
        return [(row.id, digest(canonical_json(row.expected))) for row in tx.execute(query.order_by(EXAMPLES.c.id))]

    def fingerprints(
        self, tx: Connection, family: str, of: Callable[[Example], set[int]], *, hidden: bool, any_origin: bool = False
    ) -> set[int]:
        is_sealed = EXAMPLES.c.split == "holdout"
        is_hidden = is_sealed if any_origin else or_(is_sealed, EXAMPLES.c.released.is_(False))
        query = select(EXAMPLES).where(EXAMPLES.c.family == family, is_hidden if hidden else not_(is_hidden))
        return set[int]().union(*(of(_example(row)) for row in tx.execute(query).mappings()))

    def set_golden(self, tx: Connection, family: str, id: str, scenario: str | None) -> None:
        named = and_(EXAMPLES.c.family == family, EXAMPLES.c.id == id, EXAMPLES.c.split != "holdout")
        if tx.execute(update(EXAMPLES).where(named).values(golden=scenario)).rowcount == 0:
            raise NotFound(f"Family {family!r} has no example {id!r} outside its holdout; it may have been forgotten.")

    def golden(self, tx: Connection, family: str) -> list[tuple[str, Example]]:
        query = select(EXAMPLES).where(_C.family == family, _C.golden.is_not(None), _C.split != "holdout")
        return [(row["golden"], _example(row)) for row in tx.execute(query.order_by(_C.id)).mappings()]

    def sealed_among(
        self, tx: Connection, family: str, inputs: Collection[str], of: Callable[[Mapping[str, Any]], str]
    ) -> set[str]:
        query = select(EXAMPLES.c.input).where(EXAMPLES.c.family == family, EXAMPLES.c.split == "holdout")
        hashes = set(inputs)
        return hashes & {of(row.input) for row in tx.execute(query)} if hashes else set()

    def standing(
        self, tx: Connection, family: str, *, ids: Sequence[str], groups: Sequence[str]
    ) -> list[ExampleStanding]:
        by_id: dict[str, ExampleStanding] = {}
        for column, values in ((_C.id, ids), (_C.group, groups)):
            for some in chunks(list(values)):
                query = select(_C.id, _C.group, _C.split, _C.released, _C.interaction).where(
                    _C.family == family, column.in_(some)
                )
                by_id.update((row["id"], ExampleStanding(**row)) for row in tx.execute(query).mappings())
        return sorted(by_id.values(), key=lambda standing: standing.id)

    def counts(self, tx: Connection, family: str) -> dict[Split, int]:
        counts: dict[Split, int] = {"train": 0, "dev": 0, "holdout": 0}
        query = select(EXAMPLES.c.split, func.count()).where(EXAMPLES.c.family == family).group_by(EXAMPLES.c.split)
        for split, n in tx.execute(query):
            counts[split] = n
        return counts

    def looks(self, tx: Connection, family: str, ids: Sequence[str]) -> int:
        most = 0
        for some in chunks(list(ids)):
            per_example = (
                select(func.count().label("n"))
                .where(LOOKS.c.family == family, LOOKS.c.example.in_(some))
                .group_by(LOOKS.c.example)
            )
            most = max(most, tx.execute(select(func.max(per_example.subquery().c.n))).scalar() or 0)
        return most

    def looked_at(self, tx: Connection, family: str, study: str | None = None) -> set[str]:
        query = select(LOOKS.c.example).where(LOOKS.c.family == family).distinct()
        return set(tx.execute(query if study is None else query.where(LOOKS.c.study == study)).scalars())

    def release(self, tx: Connection, family: str, id: str, by: str) -> None:
        change = (
            update(EXAMPLES)
            .where(EXAMPLES.c.family == family, EXAMPLES.c.id == id)
            .values(released=True, released_by=by)
        )
        if tx.execute(change).rowcount == 0:
            raise NotFound(
                f"Family {family!r} has no example {id!r} to release; it may have been forgotten in between."
            )


def _columns(example: Example) -> dict[str, Any]:
    content = {"input": dict(example.input), "expected": dict(example.expected), "group": example.group}
    return columns_of(example, **content, content_hash=digest(canonical_json(content)))


_example = partial(record_of, Example)


class ReviewTable:
    """ports.Reviews on the database."""

    def open(
        self, tx: Connection, id: str, family: str, kind: str, subject: str, payload: Mapping[str, Any], at: datetime
    ) -> None:
        row = {
            "id": id,
            "family": family,
            "kind": kind,
            "subject": subject,
            "payload": dict(payload),
            "status": "open",
            "created_at": at,
        }
        tx.execute(insert(REVIEWS), [row])

    def get(self, tx: Connection, id: str) -> Review:
        review = first(tx, select(REVIEWS).where(REVIEWS.c.id == id), partial(record_of, Review))
        if review is None:
            raise NotFound(f"There is no review {id!r}; `detent review list` shows the open ones.")
        return review

    def page(self, tx: Connection, family: str | None, status: str | None) -> list[Review]:
        ordered = select(REVIEWS).order_by(REVIEWS.c.created_at, REVIEWS.c.id)
        query = narrowed(ordered, (REVIEWS.c.family, family), (REVIEWS.c.status, status))
        return [Review(**row) for row in tx.execute(query).mappings()]

    def of_kind(self, tx: Connection, family: str, kind: str) -> dict[str, datetime]:
        query = select(REVIEWS.c.subject, REVIEWS.c.created_at).where(
            REVIEWS.c.family == family, REVIEWS.c.kind == kind
        )
        return {row.subject: row.created_at for row in tx.execute(query)}

    def answer(self, tx: Connection, id: str, answer: str, by: str, at: datetime) -> Review:
        review = self.get(tx, id)
        if review.status != "open" and review.answer != answer:
            raise Conflict(
                f"Review {id} was answered {review.answer!r} by {review.answered_by} before; an answer stays."
            )
        if review.status != "open":
            return review
        changes: dict[str, Any] = {"status": "answered", "answer": answer, "answered_by": by, "answered_at": at}
        tx.execute(update(REVIEWS).where(REVIEWS.c.id == id).values(**changes))
        return replace(review, **changes)


class CalibrationTable:
    """ports.Calibrations on the database."""

    def add(self, tx: Connection, record: CalibrationRecord) -> None:
        row = {
            "id": record.id,
            "family": record.family,
            "judge": record.calibration.judge,
            "calibration": record.calibration.as_data(),
            "agreement": record.agreement.as_data(),
            "created_by": record.created_by,
            "created_at": record.calibration.fitted_at,
        }
        tx.execute(insert(CALIBRATIONS), [row])

    def latest(self, tx: Connection, family: str) -> CalibrationRecord | None:
        return next(iter(self.history(tx, family)), None)

    def history(self, tx: Connection, family: str) -> list[CalibrationRecord]:
        newest = CALIBRATIONS.c.created_at.desc(), CALIBRATIONS.c.id.desc()
        query = select(CALIBRATIONS).where(CALIBRATIONS.c.family == family).order_by(*newest)
        return [
            CalibrationRecord(
                id=row["id"],
                family=row["family"],
                calibration=calibration_of(row["calibration"]),
                agreement=agreement_of(row["agreement"]),
                created_by=row["created_by"],
            )
            for row in tx.execute(query).mappings()
        ]
