"""What every store does with the entries of a playbook, and with the steps of studies that change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from optimizer.adapters.store import Database
from optimizer.core.search.playbook.entries import Add, Count, Entry, Merge, Retire, id_of
from optimizer.jobs.families.keep_playbook import StudyPlaybook
from tests.clock import Clock
from tests.contract.store.test_examples import example
from tests.stores import FAMILY, NOW, reading, writing

ONE, OTHER = "Answer with one word.", "Read dates as day, month, year."
ENTRY = Entry(
    id=id_of(ONE),
    kind="directive",
    text=ONE,
    position=1,
    evidence=("e1", "e2"),
    helpful=3,
    harmful=1,
    study="st_1",
    created_at=NOW,
    changed_at=NOW,
    changed_by="study:st_1",
)


def kept(database: Database, family: str = FAMILY) -> list[Entry]:
    return list(reading(database).playbooks.entries(family).values())


def of_study(database: Database, study: str = "st_1", clock: Clock | None = None) -> StudyPlaybook:
    return StudyPlaybook(family=FAMILY, study=study, store=database, clock=clock or Clock(NOW))


def test_an_entry_comes_back_as_it_was_kept_by_family_and_position(database: Database) -> None:
    merged = {"state": "merged", "merged_into": ENTRY.id, "reason": "alike"}
    second = replace(ENTRY, id=id_of(OTHER), text=OTHER, position=2, evidence=(), **merged)
    writing(database).playbooks.put(FAMILY, [second, ENTRY])
    writing(database).playbooks.put("another", [ENTRY])
    assert kept(database) == [ENTRY, second]
    assert kept(database, "another") == [ENTRY]
    assert kept(database, "nobody") == []


def test_what_an_entry_says_and_where_it_came_from_is_never_changed(database: Database) -> None:
    writing(database).playbooks.put(FAMILY, [ENTRY])
    later = NOW + timedelta(hours=1)
    changed = replace(ENTRY, helpful=9, state="retired", reason="old", changed_at=later, changed_by="local:anna")
    other = replace(changed, text="something else", kind="lesson", position=7, study="st_9", created_at=later)
    writing(database).playbooks.put(FAMILY, [other])
    assert kept(database) == [changed]


def test_a_step_is_kept_once_and_whole(database: Database) -> None:
    clock = Clock(NOW)
    book = of_study(database, clock=clock)
    assert book.opened() == {}
    edits = [Add(kind="directive", text=ONE, evidence=("e1",)), Count(id=id_of(ONE), helpful=2, harmful=1)]
    book.keep(1, edits)
    clock.pass_hours(1)
    book.keep(1, edits)  # as a study does that was killed and runs again
    book.keep(2, [Add(kind="lesson", text=OTHER), Merge(id=id_of(ONE), into=id_of(OTHER), reason="alike")])
    one, other = kept(database)
    assert (one.helpful, one.harmful, one.state, one.created_at) == (2, 1, "merged", NOW)
    assert (other.helpful, other.evidence, other.study) == (2, ("e1",), "st_1")
    assert other.changed_at is not None
    assert other.changed_at > NOW
    steps = [reading(database).playbooks.step("st_1", n) for n in range(4)]
    assert steps == [
        [],
        [
            {"edit": "add", "id": id_of(ONE), "kind": "directive", "evidence": ["e1"]},
            {"edit": "count", "id": id_of(ONE), "helpful": 2, "harmful": 1},
        ],
        [
            {"edit": "add", "id": id_of(OTHER), "kind": "lesson", "evidence": []},
            {"edit": "merge", "id": id_of(ONE), "into": id_of(OTHER)},
        ],
        None,
    ]


def test_a_study_opens_what_it_opened_first_whatever_has_come_since(database: Database) -> None:
    of_study(database, "st_0").keep(1, [Add(kind="lesson", text=ONE), Count(id=id_of(ONE), helpful=1, harmful=0)])
    book = of_study(database)
    first = book.opened()
    assert [(e.text, e.helpful, e.state) for e in first.values()] == [(ONE, 1, "active")]
    book.keep(1, [Add(kind="lesson", text=OTHER), Count(id=id_of(ONE), helpful=5, harmful=0)])
    book.keep(2, [Retire(id=id_of(ONE), reason="old")])
    again = of_study(database).opened()
    assert [(e.text, e.helpful, e.state) for e in again.values()] == [(ONE, 1, "active")]
    later = of_study(database, "st_2").opened()
    assert [(e.text, e.helpful, e.state) for e in later.values()] == [(ONE, 6, "retired"), (OTHER, 0, "active")]


def test_an_entry_is_retired_where_an_example_that_it_was_learned_from_is_no_longer_kept(database: Database) -> None:
    examples = [example(f"e{n}", split="train") for n in (1, 2)]
    writing(database).examples.add(examples)
    of_study(database).keep(
        1,
        [
            Add(kind="lesson", text=ONE, evidence=("e1", "e2")),
            Add(kind="lesson", text=OTHER, evidence=("e1", "e_forgotten")),
            Add(kind="lesson", text="It came from nowhere.", evidence=()),
        ],
    )
    found = of_study(database, "st_2").opened()
    assert [(e.state, e.reason) for e in found.values()] == [
        ("active", ""),
        ("retired", "1 example that it was learned from is no longer kept"),
        ("active", ""),
    ]
    assert kept(database) == list(found.values())
