"""Whatever rows without a group come in whatever order and batches, no near-duplicates stand in two splits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, count

import pytest
from hypothesis import given, strategies as st

from optimizer.adapters.store import Database
from optimizer.core.dataset.examples import make_example
from optimizer.core.dataset.near_duplicates import are_near_duplicates, shingles_of
from tests.stores import NOW, new_database

FORM = "the parcel of order number seven has not come yet and nobody at the desk can say where it is now"
EDITS = st.lists(st.tuples(st.integers(0, len(FORM.split()) - 1), st.sampled_from(["oak", "elm", "ash"])), max_size=4)
BATCHES = st.lists(st.lists(EDITS, min_size=1, max_size=6), min_size=1, max_size=4)
NAMES = count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = new_database(tmp_path_factory.mktemp("store"))
    yield database
    database.close()


def edited(edits: list[tuple[int, str]]) -> str:
    words = FORM.split()
    for place, word in edits:
        words[place] = word
    return " ".join(words)


@given(batches=BATCHES)
def test_near_duplicates_stand_in_one_split_in_whatever_order_they_come(store, batches):
    """The order decides which rows are rows_by_id, and into which split: a row is set aside for those before it."""
    family, places = f"family{next(NAMES)}", count()
    rows_by_id, n_aside = {}, 0
    for batch in batches:
        rows = [
            make_example(
                family=family,
                id=f"r{next(places)}",
                input={"text": edited(edits)},
                expected={"label": "late"},
                origin="import",
                created_at=NOW,
            )
            for edits in batch
        ]
        verdicts = store.write(lambda tx, rows=rows: store.examples.add(tx, rows))  # type: ignore[misc]
        n_aside += verdicts.count("two_splits")
        rows_by_id |= {row.id: row for row, verdict in zip(rows, verdicts, strict=True) if verdict != "two_splits"}
    with store.read() as tx:
        standing = {one.id: one.split for one in store.examples.standing(tx, family, ids=[*rows_by_id], groups=())}
    assert len(standing) + n_aside == sum(map(len, batches))
    read = {id: shingles_of(row.input) for id, row in rows_by_id.items()}
    for one, other in combinations(rows_by_id, 2):
        if are_near_duplicates(read[one], read[other]):
            assert standing[one] == standing[other], (rows_by_id[one].input, rows_by_id[other].input)
