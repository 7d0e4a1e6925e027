"""Tables examples, holdout_looks, reviews, judge_calibrations, students, student_watches, student_bypasses and
example_indexes: what searches learn from, questions that only a person may answer, how far judges agree with people,
what students were taught and how they are doing, and from which examples the nearest ones come.

The holdout has one door, ``HoldoutTable``, and every passage through it is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    type_coerce,
    update,
)

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.example_places import PlacedExample, add_bands, packed, placed_examples
from optimizer.adapters.store.families import carry_looks, sealed_before
from optimizer.adapters.store.rows import (
    Name,
    add_once,
    chunks,
    columns_of,
    first,
    hashes,
    record_of,
    where_equal,
    where_named,
)
from optimizer.adapters.store.tables.examples import (
    EXAMPLE_INDEXES as INDEXES,
    EXAMPLES,
    HOLDOUT_LOOKS as LOOKS,
    JUDGE_CALIBRATIONS as CALIBRATIONS,
    REVIEWS,
    STUDENT_BYPASSES as BYPASSES,
    STUDENT_WATCHES as WATCHES,
    STUDENTS,
)
from optimizer.adapters.store.tables.variants import VARIANTS
from optimizer.core.base.answers import Json, of_members
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.base.values import grouped
from optimizer.core.dataset.examples import Example, Split
from optimizer.core.evaluation.judging.calibration import Agreement, Calibration
from optimizer.core.feedback.rating_draws import ReviewPayload
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.ports import Added, Bypass, CalibrationRecord, ExampleStanding, Review, WatchedStudent
from optimizer.ports.examples import Spelled

if TYPE_CHECKING:
    from optimizer.core.predictor.example_index import ExampleIndex
    from optimizer.core.predictor.student import TaughtStudent

_C = EXAMPLES.c


class ExampleTables:
    """ports.Examples on the database."""

    def add(self, tx: Connection, rows: Sequence[Example], *, spelled: Spelled | None = None) -> list[Added]:
        stored = hashes(tx, EXAMPLES, [(row.family, row.id) for row in rows])
        new = {(row.family, row.id): row for row in reversed(rows) if (row.family, row.id) not in stored}
        before: dict[Name, list[Name]] = {}
        placed: dict[Name, PlacedExample] = {}
        for family in sorted({row.family for row in rows}):
            own = [row for row in rows if row.family == family]
            # Of new rows alone: a stored one was let in with its looks, in the split that it joined, if not its own.
            sealed = sealed_before(tx, family, {row.id: row.input for row in own if (family, row.id) not in stored})
            before |= {(family, id): ones for id, ones in sealed.items()}
            first_of_each = [row for row in own if new.get((family, row.id)) is row]
            placed |= {
                (family, id): one for id, one in placed_examples(tx, family, first_of_each, sealed=sealed).items()
            }
        refused: dict[Name, Added] = {name: "two_splits" for name, one in placed.items() if one.place is None}
        for row in rows:
            place = placed[row.family, row.id].place if (row.family, row.id) in placed else None
            split = row.split if place is None else place.split
            if (row.family, row.id) in before and split != "holdout":
                refused[row.family, row.id] = "sealed"
        added = [row for row in rows if (row.family, row.id) not in refused]
        outcomes = iter(add_once(tx, EXAMPLES, [_columns(row, placed.get((row.family, row.id))) for row in added]))
        verdicts: list[Added] = []
        bands: dict[Name, Sequence[str]] = {}
        for row in rows:
            name = row.family, row.id
            verdict = refused[name] if name in refused else next(outcomes)
            if verdict == "id_conflict" and spelled is not None and _is_same_but_spelled(tx, row, spelled):
                verdict = "duplicate"
            if verdict == "accepted":
                bands[name] = placed[name].bands
                is_beside = (place := placed[name].place) is not None and place.beside is not None
                verdict = "joined" if is_beside else verdict
            verdicts.append(verdict)
        add_bands(tx, bands)
        for (family, id), ones in before.items():
            if (family, id) not in refused:
                carry_looks(tx, family, id, ones)
        return verdicts

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

    def named(self, tx: Connection, names: Collection[Name]) -> dict[Name, Example]:
        query = where_named(select(EXAMPLES).where(_C.split != "holdout"), names, _C.family, _C.id)
        return {(example.family, example.id): example for example in map(_example, tx.execute(query).mappings())}

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
        self, tx: Connection, inputs: Mapping[str, Collection[str]], of: Callable[[Mapping[str, Any]], str]
    ) -> set[tuple[str, str]]:
        return _among(tx, inputs, of, _C.split == "holdout")

    def unreleased_among(
        self, tx: Connection, inputs: Mapping[str, Collection[str]], of: Callable[[Mapping[str, Any]], str]
    ) -> set[tuple[str, str]]:
        unreleased = _among(tx, inputs, of, _C.released.is_(False), _C.split != "holdout")
        return unreleased - _among(tx, grouped(unreleased), of, _C.released.is_(True), _C.split != "holdout")

    def sealed(self, tx: Connection, names: Collection[Name]) -> set[Name]:
        query = select(_C.family, _C.id).where(_C.split == "holdout")
        return {(row.family, row.id) for row in tx.execute(where_named(query, names, _C.family, _C.id))}

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

    def labels(self, tx: Connection, family: str, field: str) -> dict[str, dict[Split, int]]:
        value = _C.expected[field].as_string().label("value")
        query = select(value, _C.split, func.count().label("n")).where(_C.family == family, _C.split != "holdout")
        labels: dict[str, dict[Split, int]] = {}
        for row in tx.execute(query.group_by(value, _C.split).order_by(value)):
            labels.setdefault(str(row.value), {})[row.split] = row.n
        return labels

    def unreleased(self, tx: Connection, family: str) -> int:
        is_waiting = _C.family == family, _C.split != "holdout", _C.released.is_(False)
        return tx.execute(select(func.count()).where(*is_waiting)).scalar_one()

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

    def withdraw(self, tx: Connection, family: str, id: str) -> bool:
        named = _C.family == family, _C.id == id, _C.golden.is_(None)
        return tx.execute(update(EXAMPLES).where(*named).values(released=False, released_by=None)).rowcount > 0


def _among(
    tx: Connection,
    inputs: Mapping[str, Collection[str]],
    of: Callable[[Mapping[str, Any]], str],
    *rows: ColumnElement[bool],
) -> set[tuple[str, str]]:
    """(family, input) of those of the inputs that such rows ask, too."""
    queries = (
        select(_C.family, _C.input).where(_C.family.in_(some), *rows)
        for some in chunks(sorted(family for family, own in inputs.items() if own))
    )
    questions = {(row.family, of(row.input)) for query in queries for row in tx.execute(query)}
    return questions & {(family, input) for family, own in inputs.items() for input in own}


def _is_same_but_spelled(tx: Connection, example: Example, spelled: Spelled) -> bool:
    """Whether the stored row of this id differs in the spelling of its expected output alone."""
    query = select(_C.expected, _C.content_hash).where(_C.family == example.family, _C.id == example.id)
    stored = tx.execute(query).one()
    is_alike = spelled(stored.expected) == spelled(example.expected)
    return is_alike and _content(replace(example, expected=stored.expected))["content_hash"] == stored.content_hash


def _content(example: Example) -> dict[str, Any]:
    """Its hash is that of the row as it came: sent again it is a duplicate, whatever group it joined."""
    content = {"input": dict(example.input), "expected": dict(example.expected), "group": example.group}
    return {**content, "content_hash": digest(canonical_json(content))}


def _columns(example: Example, placed: PlacedExample | None) -> dict[str, Any]:
    columns = columns_of(example, **_content(example))
    if placed is None or placed.place is None:
        return {**columns, "shingles": {}, "beside": None}
    place = placed.place
    return {
        **columns,
        "group": place.group,
        "split": place.split,
        "beside": place.beside,
        "shingles": packed(placed.shingles),
    }


_example = partial(record_of, Example)


class HoldoutTable:
    """ports.SealedHoldout."""

    def open(self, tx: Connection, family: str, study: str, ids: Sequence[str] | None, at: datetime) -> list[Example]:
        holdout = select(EXAMPLES).where(_C.family == family, _C.split == "holdout").order_by(_C.id)
        queries = [holdout] if ids is None else [holdout.where(_C.id.in_(some)) for some in chunks(list(ids))]
        examples = [_example(row) for query in queries for row in tx.execute(query).mappings()]
        looks = [{"family": family, "example": example.id, "study": study, "looked_at": at} for example in examples]
        insert_new(tx, LOOKS, looks)
        if ids is None:
            return examples
        by_id = {example.id: example for example in examples}
        return [by_id[id] for id in ids if id in by_id]


class ReviewTable:
    """ports.Reviews on the database."""

    def open(
        self, tx: Connection, id: str, family: str, kind: str, subject: str, payload: ReviewPayload, at: datetime
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

    def page(
        self,
        tx: Connection,
        family: str | None,
        status: str | None,
        *,
        among: Collection[str] | None = None,
        start: int = 0,
        n: int | None = None,
    ) -> list[Review]:
        ordered = select(REVIEWS).order_by(REVIEWS.c.created_at, REVIEWS.c.id)
        query = where_equal(ordered, (REVIEWS.c.family, family), (REVIEWS.c.status, status))
        query = query.where(REVIEWS.c.family.in_(among)) if among is not None else query
        query = query.limit(n).offset(start) if n is not None else query
        return [Review(**row) for row in tx.execute(query).mappings()]

    def n_open(self, tx: Connection, family: str | None, *, among: Collection[str]) -> int:
        counted = select(func.count()).where(REVIEWS.c.status == "open", REVIEWS.c.family.in_(among))
        return int(tx.execute(where_equal(counted, (REVIEWS.c.family, family))).scalar_one())

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

    def reopen(self, tx: Connection, id: str) -> Review:
        changes: dict[str, Any] = {"status": "open", "answer": None, "answered_by": None, "answered_at": None}
        review = self.get(tx, id)
        tx.execute(update(REVIEWS).where(REVIEWS.c.id == id).values(**changes))
        return replace(review, **changes)


class CalibrationTable:
    """ports.Calibrations on the database."""

    def add(self, tx: Connection, record: CalibrationRecord) -> None:
        row = {
            "id": record.id,
            "family": record.family,
            "judge": record.calibration.judge,
            "calibration": {**asdict(record.calibration), "fitted_at": record.calibration.fitted_at.isoformat()},
            "agreement": asdict(record.agreement),
            "created_by": record.created_by,
            "created_at": record.calibration.fitted_at,
        }
        tx.execute(insert(CALIBRATIONS), [row])

    def history(self, tx: Connection, family: str) -> list[CalibrationRecord]:
        newest = CALIBRATIONS.c.created_at.desc(), CALIBRATIONS.c.id.desc()
        query = select(CALIBRATIONS).where(CALIBRATIONS.c.family == family).order_by(*newest)
        return [
            CalibrationRecord(
                id=row["id"],
                family=row["family"],
                calibration=of_members(Calibration, row["calibration"]),
                agreement=of_members(Agreement, row["agreement"]),
                created_by=row["created_by"],
            )
            for row in tx.execute(query).mappings()
        ]


class _NamedByVariants:
    """Rows that variants name by their id."""

    table: Table

    def ids(self, tx: Connection, family: str) -> set[str]:
        return set(tx.execute(select(self.table.c.id).where(self.table.c.family == family)).scalars())

    def drop_unnamed(self, tx: Connection, family: str, but: str) -> int:
        own, variants = self.table.c, VARIANTS.c
        is_named = func.instr(type_coerce(variants.content, String), own.id) > 0
        named = select(variants.id).where(variants.family == own.family, is_named)
        unnamed = and_(own.family == family, own.id != but, not_(named.exists()))
        return tx.execute(delete(self.table).where(unnamed)).rowcount


class StudentTable(_NamedByVariants):
    """ports.Students on the database."""

    table = STUDENTS

    def add(self, tx: Connection, family: str, taught: TaughtStudent, *, study: str, at: datetime) -> None:
        row = {
            "family": family,
            "id": taught.student.hash,
            "content": taught.student.to_data(),
            "rows": {id: [answer.label, answer.confidence] for id, answer in taught.out_of_fold.items()},
            "study": study,
            "created_at": at,
        }
        insert_new(tx, STUDENTS, [row])

    def get(self, tx: Connection, family: str, id: str) -> TaughtStudent | None:
        from optimizer.core.predictor.student import Student, TaughtStudent  # it needs numpy, which few processes load

        query = select(STUDENTS.c.content, STUDENTS.c.rows).where(STUDENTS.c.family == family, STUDENTS.c.id == id)
        row = tx.execute(query).first()
        if row is None:
            return None
        answers = {
            example: StudentAnswer(label=label, confidence=confidence)
            for example, (label, confidence) in row.rows.items()
        }
        return TaughtStudent(student=Student.from_data(row.content), out_of_fold=answers)

    def taught_by(self, tx: Connection, family: str, id: str) -> Mapping[str, Json] | None:
        query = select(STUDENTS.c.content["taught"]).where(STUDENTS.c.family == family, STUDENTS.c.id == id)
        taught: Mapping[str, Json] | None = tx.execute(query).scalar()
        return taught

    def study_of(self, tx: Connection, family: str, id: str) -> str | None:
        query = select(STUDENTS.c.study).where(STUDENTS.c.family == family, STUDENTS.c.id == id)
        study: str | None = tx.execute(query).scalar()
        return study

    def has_watches(self, tx: Connection, family: str) -> bool:
        return tx.execute(select(WATCHES.c.student).where(WATCHES.c.family == family).limit(1)).first() is not None

    def watch(self, tx: Connection, family: str, id: str) -> WatchedStudent | None:
        from optimizer.core.rollout.student_watch import STORED_STUDENT_WATCH

        row = tx.execute(select(WATCHES).where(WATCHES.c.family == family, WATCHES.c.student == id)).first()
        if row is None:
            return None
        watch = STORED_STUDENT_WATCH.validate_json(row.state)
        return WatchedStudent(family=row.family, watch=watch, read_until=row.read_until, last_id=row.last_id)

    def keep_watch(self, tx: Connection, watched: WatchedStudent) -> None:
        from optimizer.core.rollout.student_watch import STORED_STUDENT_WATCH

        state = STORED_STUDENT_WATCH.dump_json(watched.watch).decode()
        row = {"family": watched.family, "student": watched.watch.student, "state": state}
        upsert(tx, WATCHES, [{**row, "read_until": watched.read_until, "last_id": watched.last_id}])

    def drop_watch(self, tx: Connection, family: str, id: str) -> None:
        tx.execute(delete(WATCHES).where(WATCHES.c.family == family, WATCHES.c.student == id))

    def bypass(self, tx: Connection, bypass: Bypass) -> None:
        insert_new(tx, BYPASSES, [columns_of(bypass)])

    def bypasses(self, tx: Connection, family: str | None = None, *, open_only: bool = True) -> list[Bypass]:
        query = where_equal(select(BYPASSES), (BYPASSES.c.family, family)).order_by(BYPASSES.c.since.desc())
        if open_only:
            query = query.where(BYPASSES.c.ended_at.is_(None))
        return [Bypass(**row) for row in tx.execute(query).mappings()]

    def end_bypass(self, tx: Connection, family: str, id: str, *, at: datetime, by: str) -> bool:
        b = BYPASSES.c
        is_open = and_(b.family == family, b.student == id, b.ended_at.is_(None))
        return tx.execute(update(BYPASSES).where(is_open).values(ended_at=at, ended_by=by)).rowcount > 0


class ExampleIndexTable(_NamedByVariants):
    """ports.ExampleIndexes on the database."""

    table = INDEXES

    def add(self, tx: Connection, family: str, index: ExampleIndex, *, study: str, at: datetime) -> None:
        row = {"family": family, "id": index.hash, "examples": index.to_data(), "study": study, "created_at": at}
        insert_new(tx, INDEXES, [row])

    def get(self, tx: Connection, family: str, id: str) -> ExampleIndex | None:
        from optimizer.core.predictor.example_index import ExampleIndex  # it needs numpy, which few processes load

        query = select(INDEXES.c.examples).where(INDEXES.c.family == family, INDEXES.c.id == id)
        examples = tx.execute(query).scalar()
        return None if examples is None else ExampleIndex.from_data(examples)
