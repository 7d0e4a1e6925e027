"""What units were counted for is known from memory, and is at any time what the rows say,
whoever wrote them and whatever was undone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import text

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories import rollouts
from optimizer.jobs.rollouts.tick import tick
from optimizer.ports import UnitCount
from tests.clock import Clock
from tests.stores import NOW, new_database, reading, writing

ONCE = UnitCount(n_values=1, last_minute=7)
COUNTED = UnitCount(cohort_start=NOW, n_values=2, last_minute=9)
Changes = Mapping[tuple[int, str], UnitCount]


def put(database: Database, n_blocks: int, counts: Changes, rollout: str = "ro_1") -> None:
    writing(database).unit_counts.put(rollout, n_blocks, counts)


def counts_of(database: Database, *units: str, stage: int = 0, rollout: str = "ro_1") -> dict[str, UnitCount]:
    return reading(database).unit_counts.get(rollout, stage, units)


def test_the_last_look_that_counted_a_unit_holds_and_stages_and_rollouts_are_apart(database: Database) -> None:
    put(database, 1, {(0, "a"): ONCE, (1, "a"): COUNTED})
    put(database, 4, {(0, "a"): COUNTED, (0, "b"): ONCE})
    assert counts_of(database, "a", "b", "unknown") == {"a": COUNTED, "b": ONCE}
    assert counts_of(database, "a", "b", stage=1) == {"a": COUNTED}
    assert counts_of(database, "a", rollout="ro_2") == {}
    assert reading(database).unit_counts.sums("ro_1") == (2, 5)


def test_what_was_not_committed_was_not_counted(database: Database) -> None:
    """Not even where it was asked for within the transaction that was undone."""

    def fails(tx: Any) -> None:
        database.unit_counts.put(tx, "ro_1", 1, {(0, "a"): ONCE})
        assert database.unit_counts.get(tx, "ro_1", 0, ["a"]) == {"a": ONCE}
        raise RuntimeError("after it was written")

    with pytest.raises(RuntimeError):
        database.write(fails)
    assert counts_of(database, "a") == {}
    put(database, 1, {(0, "b"): ONCE})
    assert counts_of(database, "a", "b") == {"b": ONCE}


def test_a_row_is_read_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    add = rollouts._add
    monkeypatch.setattr(rollouts, "_add", lambda book, text: (read.append(text), add(book, text)))
    put(database, 1, {(0, "a"): ONCE})
    assert counts_of(database, "a") == counts_of(database, "a") == {"a": ONCE}
    put(database, 2, {(0, "b"): ONCE})
    assert counts_of(database, "a", "b") == {"a": ONCE, "b": ONCE}
    assert len(read) == 2


def test_a_transaction_that_began_before_sees_what_was_counted_then(database: Database) -> None:
    put(database, 1, {(0, "a"): ONCE})
    with database.read() as earlier:
        assert database.unit_counts.get(earlier, "ro_1", 0, ["a"]) == {"a": ONCE}
        put(database, 2, {(0, "a"): COUNTED})
        assert counts_of(database, "a") == {"a": COUNTED}
        assert database.unit_counts.get(earlier, "ro_1", 0, ["a"]) == {"a": ONCE}
    assert counts_of(database, "a") == {"a": COUNTED}


def test_what_another_process_counted_is_known_with_the_next_look(database: Database) -> None:
    put(database, 1, {(0, "a"): ONCE})
    assert counts_of(database, "a") == {"a": ONCE}
    with closing(Database(database.url)) as another:
        put(another, 2, {(0, "a"): COUNTED})
    assert counts_of(database, "a") == {"a": COUNTED}


def test_a_backup_that_was_restored_is_read_from_its_beginning(tmp_path: Path, database: Database) -> None:
    """It holds no fewer rows than the file that it replaces, and other units."""
    put(database, 1, {(0, "a"): ONCE})
    put(database, 2, {(0, "a"): COUNTED})
    assert counts_of(database, "a") == {"a": COUNTED}
    (tmp_path / "backup").mkdir()
    with closing(new_database(tmp_path / "backup")) as backup:
        put(backup, 2, {(0, "b"): ONCE})
        put(backup, 3, {(0, "c"): ONCE})
        backed_up = Path(backup.url.removeprefix("sqlite:///"))
    file = Path(database.url.removeprefix("sqlite:///"))
    shutil.copy(backed_up, f"{file}.new")
    for left in file.parent.glob(f"{file.name}-*"):
        left.unlink()
    Path(f"{file}.new").replace(file)
    assert counts_of(database, "a", "b", "c") == {"b": ONCE, "c": ONCE}


def test_more_rows_than_are_read_at_once_are_all_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "ROWS_PER_QUERY", 3)
    for n_blocks in range(1, 8):
        put(database, n_blocks, {(0, f"u{n_blocks}"): ONCE})
    assert len(counts_of(database, *(f"u{n}" for n in range(1, 8)))) == 7


def test_units_of_a_rollout_that_nobody_asks_about_leave_the_memory_with_a_tick_and_are_read_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, 1, {(0, "a"): ONCE})
    now = 0.0
    monkeypatch.setattr(rollouts.time, "monotonic", lambda: now)
    assert counts_of(database, "a") == {"a": ONCE}
    tick(database, Clock())
    assert list(database.unit_counts._books) == ["ro_1"]
    now = rollouts.IDLE_S + 1
    tick(database, Clock())
    assert database.unit_counts._books == {}
    assert counts_of(database, "a") == {"a": ONCE}


def test_the_sums_are_those_of_the_rows_whatever_the_memory_holds(database: Database) -> None:
    put(database, 1, {(0, "a"): ONCE, (0, "b"): COUNTED})
    put(database, 2, {(0, "a"): COUNTED})
    counts_of(database, "a")
    database.write(lambda tx: tx.execute(text("UPDATE rollout_units SET counts = '{}' WHERE n_blocks = 1")))
    assert reading(database).unit_counts.sums("ro_1") == (1, 2)


counts = st.builds(
    UnitCount,
    cohort_start=st.none() | st.integers(0, 10**6).map(lambda us: NOW + timedelta(microseconds=us)),
    n_values=st.integers(0, 5),
    last_minute=st.none() | st.integers(0, 10**8),
)
looks = st.lists(st.dictionaries(st.tuples(st.integers(0, 2), st.sampled_from("abcd")), counts, max_size=4), max_size=6)


@given(looks=looks, asked_after=st.sets(st.integers(0, 6)))
def test_memory_and_rows_never_differ(
    tmp_path_factory: pytest.TempPathFactory, looks: list[Changes], asked_after: set[int]
) -> None:
    """Whenever it is asked in between: at the end it knows what a process that starts then would know."""
    expected: dict[tuple[int, str], UnitCount] = {}
    with closing(new_database(tmp_path_factory.mktemp("looks"))) as database:
        for number, changes in enumerate(looks, start=1):
            put(database, number, changes)
            expected.update(changes)
            if number in asked_after:
                counts_of(database, *"abcd")
        for one in (database, Database(database.url)):
            assert {(s, u): c for s in range(3) for u, c in counts_of(one, *"abcd", stage=s).items()} == expected
        one.close()
