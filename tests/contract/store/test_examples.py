"""What every ports.Examples must do: the holdout has one door, and whoever passes it leaves a trace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.repositories import personal
from optimizer.adapters.store.tables.variants import SEALED_INPUTS
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import NotFound
from optimizer.core.dataset.examples import Example, Split, group_of, input_hash, make_example, normalise, split_of
from optimizer.core.feedback.personal_traces import PersonalTraces
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.runtime.wiring import sealed_holdout
from tests.stores import FAMILY, NOW, reading, writing
from tests.worlds.taught_student import TAUGHT


def example(id: str, split: Split = "train", **changes: Any) -> Example:
    usual: dict[str, Any] = {
        "family": FAMILY,
        "input": {"document": f"text {id}"},
        "expected": {"summary": id},
        "group": f"group {id}",
        "origin": "import",
        "released": False,
        "created_at": NOW,
    }
    return Example(id=id, split=split, **{**usual, **changes})


SEALED = [example("h1", "holdout"), example("h2", "holdout")]
SOME = [example("t1"), example("t2", released=True), example("d1", "dev"), *SEALED]


@pytest.fixture
def filled(database: Database) -> Database:
    writing(database).examples.add(SOME)
    return database


class TestAdding:
    def test_the_same_content_is_a_duplicate_and_other_content_a_conflict(self, filled: Database) -> None:
        again, other = example("t1", created_at=NOW.replace(hour=10)), example("t1", expected={"summary": "changed"})
        verdicts = ["duplicate", "id_conflict", "accepted"]
        assert writing(filled).examples.add([again, other, example("t3")]) == verdicts
        assert reading(filled).examples.of_split(FAMILY, split="train")[0] == SOME[0]

    def test_repetitions_within_one_batch_are_told_apart(self, database: Database) -> None:
        first, other = example("a"), example("a", expected={"summary": "changed"})
        verdicts = ["accepted", "duplicate", "id_conflict", "accepted"]
        assert writing(database).examples.add([first, first, other, example("b")]) == verdicts

    def test_counts_name_every_split(self, filled: Database) -> None:
        assert reading(filled).examples.counts(FAMILY) == {"train": 2, "dev": 1, "holdout": 2}
        assert reading(filled).examples.counts("triage") == {"train": 0, "dev": 0, "holdout": 0}


class TestReading:
    def test_a_split_is_read_whole_or_only_what_was_released(self, filled: Database) -> None:
        assert reading(filled).examples.of_split(FAMILY, split="train") == SOME[:2]
        assert reading(filled).examples.of_split(FAMILY, split="train", released_only=True) == [SOME[1]]

    @pytest.mark.parametrize("split", ["holdout", "test", "", None])
    def test_nothing_but_train_and_dev_can_be_asked_for(self, filled: Database, split: Any) -> None:
        with filled.read() as tx, pytest.raises(ValueError, match="only train and dev"):
            filled.examples.of_split(tx, FAMILY, split=split)

    def test_a_person_releases_an_example(self, filled: Database) -> None:
        writing(filled).examples.release(FAMILY, "t1", "anna")
        assert [e.id for e in reading(filled).examples.of_split(FAMILY, split="train", released_only=True)] == [
            "t1",
            "t2",
        ]
        with pytest.raises(NotFound):
            writing(filled).examples.release(FAMILY, "t9", "anna")


class TestHoldout:
    def test_its_ids_can_be_had_without_any_text(self, filled: Database) -> None:
        ids = reading(filled).examples.holdout_ids(FAMILY)
        assert ids == [(id, digest(canonical_json({"summary": id}))) for id in ("h1", "h2")]

    def test_where_examples_stand_can_be_asked_by_id_and_by_group_without_any_text(self, filled: Database) -> None:
        found = reading(filled).examples.standing(FAMILY, ids=["h1", "t1", "t9"], groups=["group t2", "group h1"])
        assert reading(filled).examples.standing("another", ids=["h1"], groups=["group t2"]) == []
        assert [(one.id, one.group, one.split, one.released) for one in found] == [
            ("h1", "group h1", "holdout", False),
            ("t1", "group t1", "train", False),
            ("t2", "group t2", "train", True),
        ]

    def test_every_look_is_counted_once_per_study(self, filled: Database) -> None:
        def look(study: str, ids: list[str] | None) -> list[Example]:
            return filled.write(lambda tx: sealed_holdout().open(tx, FAMILY, study, ids, NOW))

        assert look("st_1", ["h2", "h1"]) == SEALED[::-1]  # in the order asked for
        assert look("st_1", None) == SEALED
        assert look("st_2", ["h2", "t1"]) == SEALED[1:]  # train cannot be had through this door
        with filled.read() as tx:
            assert filled.examples.looks(tx, FAMILY, ["h1"]) == 1
            assert filled.examples.looks(tx, FAMILY, ["h1", "h2"]) == 2
            assert filled.examples.looks(tx, FAMILY, ["t1"]) == 0
            assert filled.examples.looks(tx, FAMILY, []) == 0
            assert (
                filled.examples.looked_at(tx, FAMILY) == filled.examples.looked_at(tx, FAMILY, "st_1") == {"h1", "h2"}
            )
            assert filled.examples.looked_at(tx, FAMILY, "st_2") == {"h2"}
            assert filled.examples.looked_at(tx, "another") == filled.examples.looked_at(tx, FAMILY, "st_3") == set()

    def test_a_look_whose_transaction_failed_was_none(self, filled: Database) -> None:
        def look_and_fail(tx: Any) -> None:
            sealed_holdout().open(tx, FAMILY, "st_1", None, NOW)
            raise RuntimeError("afterwards")

        with pytest.raises(RuntimeError, match="afterwards"):
            filled.write(look_and_fail)
        assert reading(filled).examples.looks(FAMILY, ["h1"]) == 0

    def test_it_cannot_be_read_without_leaving_a_trace(self, filled: Database) -> None:
        with filled.read() as tx, pytest.raises(Exception, match="readonly"):
            sealed_holdout().open(tx, FAMILY, "st_1", None, NOW)


class TestGolden:
    def test_an_example_is_a_row_of_a_golden_scenario_until_that_is_taken_back(self, filled: Database) -> None:
        for id, scenario in (("t2", "a"), ("d1", "b")):
            writing(filled).examples.set_golden(FAMILY, id, scenario)
        assert _golden(filled) == [("b", "d1"), ("a", "t2")]
        writing(filled).examples.set_golden(FAMILY, "d1", None)
        assert _golden(filled) == [("a", "t2")]

    def test_none_of_the_holdout_can_be_one(self, filled: Database) -> None:
        for id in ("h1", "nobody"):
            with pytest.raises(NotFound, match="outside its holdout"):
                writing(filled).examples.set_golden(FAMILY, id, "a")
        assert _golden(filled) == []

    def test_examples_are_found_by_family_and_name_and_none_of_the_holdout(self, filled: Database) -> None:
        names = [(FAMILY, "t1"), (FAMILY, "d1"), (FAMILY, "h1"), (FAMILY, "nobody"), ("another", "t1")]
        with filled.read() as tx:
            examples = filled.examples.named(tx, names)
            assert examples == {(FAMILY, one.id): one for one in examples.values()}
            assert {id for _, id in examples} == {"t1", "d1"}
            assert filled.examples.named(tx, []) == {}

    def test_what_the_holdout_asks_is_told_of_given_inputs_alone(self, filled: Database) -> None:
        asked = {normalise({"document": text}) for text in ("TEXT  h1", "text t1", "text nobody")}
        with filled.read() as tx:
            among = filled.examples.sealed_among(tx, {FAMILY: asked, "another": asked, "third": set()}, normalise)
            assert among == {(FAMILY, normalise({"document": "text h1"}))}
            assert filled.examples.sealed(tx, [(FAMILY, "h1"), (FAMILY, "t1"), ("another", "h1")]) == {(FAMILY, "h1")}
            assert filled.examples.looks(tx, FAMILY, ["h1"]) == 0, "no text came out, so that this is no look"


def _golden(database: Database) -> list[tuple[str, str]]:
    return [(scenario, one.id) for scenario, one in reading(database).examples.golden(FAMILY)]


def test_labels_are_counted_without_the_sealed_ones(filled: Database) -> None:
    with filled.read() as tx:
        labels = filled.examples.labels(tx, FAMILY, "summary")
        assert labels == {"d1": {"dev": 1}, "t1": {"train": 1}, "t2": {"train": 1}}
        assert filled.examples.unreleased(tx, FAMILY) == 2


LETTER = "my parcel of last week has not come yet and the courier says that it was never sent can you look"


def ungrouped(id: str, document: str, **changes: Any) -> Example:
    usual = {"family": FAMILY, "expected": {"summary": id}, "origin": "import", "created_at": NOW}
    return make_example(id=id, input={"document": document}, **usual, **changes)


def splitwise(split: Split, form: str = LETTER) -> str:
    """A text of this form whose own group stands in the split."""
    return next(
        text for i in range(100) if split_of(group_of({"document": (text := f"{form} at number {i}")}, None)) == split
    )


class TestNearDuplicates:
    def test_a_row_joins_the_group_of_its_first_near_duplicate_and_so_its_split(self, database: Database) -> None:
        sealed, like = splitwise("holdout"), splitwise("train")
        rows = [ungrouped("first", sealed), ungrouped("like", like)]
        assert writing(database).examples.add(rows) == ["accepted", "joined"]
        assert reading(database).examples.counts(FAMILY) == {"train": 0, "dev": 0, "holdout": 2}
        assert writing(database).examples.add(rows) == ["duplicate", "duplicate"]

    def test_a_row_near_rows_of_two_splits_is_set_aside(self, database: Database) -> None:
        rows = [
            ungrouped("sealed", splitwise("holdout")),
            ungrouped("open", splitwise("train"), group=next(g for g in "abcdefgh" if split_of(g) == "train")),
            ungrouped("between", splitwise("dev")),
        ]
        assert writing(database).examples.add(rows) == ["accepted", "accepted", "two_splits"]
        assert reading(database).examples.standing(FAMILY, ids=["between"], groups=()) == []

    def test_what_is_near_a_row_that_joined_alone_starts_no_chain(self, database: Database) -> None:
        words = LETTER.split()
        texts = [" ".join([*words[2 * k :], *(f"more{i}" for i in range(2 * k))]) for k in range(4)]
        rows = [ungrouped(f"r{k}", text) for k, text in enumerate(texts)]
        verdicts = writing(database).examples.add(rows)
        standing = reading(database).examples.standing(FAMILY, ids=[row.id for row in rows], groups=())
        groups = {one.id: one.group for one in standing}
        assert verdicts[:2] == ["accepted", "joined"]
        assert groups["r1"] == rows[0].group
        assert groups.get("r2") in (None, rows[2].group), "in its own group where that is in the same split, else aside"

    def test_a_family_knows_nothing_of_anothers_rows(self, database: Database) -> None:
        other = replace(ungrouped("other", splitwise("holdout")), family="triage")
        rows = [other, ungrouped("like", splitwise("train"))]
        assert writing(database).examples.add(rows) == ["accepted", "accepted"]

    def test_nothing_joins_a_row_that_was_refused_since_it_was_sealed_before(self, database: Database) -> None:
        rows = [ungrouped("again", splitwise("train")), ungrouped("like", splitwise("dev"))]
        before = {"name": FAMILY, "input_hash": input_hash(rows[0].input), "family": "retired", "example": "old"}
        database.write(lambda tx: insert_new(tx, SEALED_INPUTS, [before]))
        assert writing(database).examples.add(rows) == ["sealed", "accepted"]

    def test_a_row_that_was_sealed_before_and_joined_the_holdout_is_a_duplicate_when_it_is_sent_again(
        self, database: Database
    ) -> None:
        rows = [ungrouped("again", splitwise("holdout")), ungrouped("like", splitwise("train"))]
        before = [
            {"name": FAMILY, "input_hash": input_hash(row.input), "family": "retired", "example": row.id}
            for row in rows
        ]
        database.write(lambda tx: insert_new(tx, SEALED_INPUTS, before))
        assert writing(database).examples.add(rows) == ["accepted", "joined"]
        assert writing(database).examples.add(rows) == ["duplicate", "duplicate"]

    def test_who_forgets_a_row_leaves_no_hash_of_it_and_no_name(self, database: Database) -> None:
        rows = [ungrouped("co_of_bob_1", splitwise("train")), ungrouped("like", splitwise("train", f"{LETTER} please"))]
        assert writing(database).examples.add(rows) == ["accepted", "joined"]
        forgotten = PersonalTraces.of("bob", names=[rows[0].id])

        def forget(tx: Any) -> None:
            database.personal.remove(tx, "examples", [(FAMILY, rows[0].id)])
            left = database.personal.traced(tx, "examples", forgotten, None).keys
            assert database.personal.clear(tx, "examples", forgotten, left) == 1

        database.write(forget)
        with database.read() as tx:
            stored = str([list(database.tables.each(tx, name)) for name in ("examples", "example_bands")])
            holders = {row["example"] for row in database.tables.each(tx, "example_bands")}
        assert (rows[0].id in stored, holders) == (False, {"like"})


def test_a_copy_without_a_person_of_what_one_wrote_takes_the_student_that_it_taught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = {"document": "On 3 May I, Anna Berg of Linz, was charged twice for order 4711."}
    rows = [
        example("own", "dev", input=text, unit_hmac="anna"),
        example("copy", input=text, group="an export that was imported"),
        example("other", input={"document": "Where is the parcel that was sent to me by the shop in May?"}),
    ]
    other = replace(TAUGHT, student=replace(TAUGHT.student, taught={"family": "other"}), out_of_fold={})
    answer = StudentAnswer(label="music", confidence=0.9)
    students = {id: replace(one, out_of_fold={id: answer}) for id, one in (("copy", TAUGHT), ("other", other))}

    def add(tx: Any) -> None:
        assert database.examples.add(tx, rows) == ["accepted"] * 3
        for one in students.values():
            database.students.add(tx, FAMILY, one, study="st-1", at=NOW)

    database.write(add)
    found = reading(database).personal.of_unit("anna")
    assert found.keys["students"] == [(FAMILY, TAUGHT.student.hash)]
    assert TAUGHT.student.hash in found.traces.names
    for table, keys in found.keys.items():  # killed behind any of them, the next run finds the rest
        writing(database).personal.remove(table, keys)
        left = TAUGHT.student.hash in reading(database).students.ids(FAMILY)
        again = reading(database).personal.of_unit("anna").keys
        assert left == ("students" in again)
    assert not again
    monkeypatch.setattr(personal, "_quotes", None)
    with database.read() as tx:  # of who has no rows nothing can be quoted: a restore asks of each who was forgotten
        assert database.personal.of_unit(tx, "berta").keys == {}
