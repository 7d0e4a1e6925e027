"""What is summed up while fetches are counted is what their windows say, whoever counted them."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings, strategies as st
from sqlalchemy import Connection, func, select, text

from optimizer.adapters.store import Database
from optimizer.adapters.store.migrations.versions import r0110_exposure_sums
from optimizer.adapters.store.tables.events import EXPOSURE_COUNTS, EXPOSURE_SUMS
from optimizer.ports import Exposure
from tests.examples import n_examples
from tests.stores import FAMILY, minutes, take_step, temporary_database

FAMILIES, ROLLOUTS = (FAMILY, "triage"), (None, "ro_1", "ro_2")
WINDOW = st.tuples(
    st.sampled_from(FAMILIES),
    st.sampled_from(("v_a", "v_b")),
    st.sampled_from(ROLLOUTS),
    st.sampled_from((None, 0.1, 0.5)),
    st.integers(0, 2).map(minutes),
    st.sampled_from(("one", "two")),
    st.integers(0, 9),
)
# counted by the server, or by a client with a key, which sends windows again and again
REPORTS = st.lists(st.tuples(st.sampled_from((None, "key_a", "key_b")), st.lists(WINDOW, min_size=1, max_size=4)))


def keep(database: Database, reports: list[tuple[str | None, list[Exposure]]]) -> None:
    for key, windows in reports:
        if key is None:
            database.write(lambda tx, windows=windows: database.exposures.add(tx, windows))  # type: ignore[misc]
        else:
            database.write(lambda tx, windows=windows, key=key: database.exposures.put(tx, windows, key))  # type: ignore[misc]


def by_windows(tx: Connection) -> dict[tuple[Any, ...], int]:
    e = EXPOSURE_COUNTS.c
    arm = e.family, e.variant, e.rollout, e.stage, e.sent_by
    return {tuple(row)[:5]: row.n for row in tx.execute(select(*arm, func.sum(e.n_exposed).label("n")).group_by(*arm))}


def assert_sums_are_the_windows(database: Database) -> None:
    with database.read() as tx:
        windows = by_windows(tx)
        for rollout in ROLLOUTS[1:]:
            expected: dict[tuple[Any, ...], int] = {}
            for (_, variant, of, stage, key), n in windows.items():
                if of == rollout and key is not None:
                    name = (key, variant, float(stage) if stage else None)
                    expected[name] = expected.get(name, 0) + n
            assert database.exposures.reported(tx, rollout) == expected
        for family in FAMILIES:
            for rollout in ROLLOUTS:
                arms: dict[tuple[Any, ...], int] = {}
                for (own, variant, of, stage, _), n in windows.items():
                    if own == family and rollout in (None, of):
                        arm = (variant, of or None, float(stage) if stage else None)
                        arms[arm] = arms.get(arm, 0) + n
                found = database.exposures.totals(tx, family, rollout)
                assert {(arm.variant, arm.rollout, arm.stage): arm.n_exposed for arm in found} == arms


def of_one(n: int) -> list[Exposure]:
    return [(FAMILY, "v_a", "ro_1", 0.1, minutes(0), "one", n)]


@settings(max_examples=n_examples(4))
@example([("key_a", of_one(2)), ("key_a", of_one(5)), ("key_a", of_one(3)), (None, of_one(4)), (None, of_one(4))])
@given(REPORTS)
def test_the_sums_of_fetches_are_those_of_their_windows(reports: list[tuple[str | None, list[Exposure]]]) -> None:
    with temporary_database() as database:
        keep(database, reports)
        assert_sums_are_the_windows(database)


@settings(max_examples=n_examples(2))
@given(REPORTS)
def test_a_store_of_before_is_filled_with_the_sums_of_its_windows(reports):
    with temporary_database() as database:
        keep(database, reports)
        database.write(
            lambda tx: (
                EXPOSURE_SUMS.drop(tx),
                tx.execute(text("CREATE INDEX ix_exposure_counts_rollout ON exposure_counts (rollout)")),
                take_step(tx, r0110_exposure_sums),
            )
        )
        assert_sums_are_the_windows(database)
