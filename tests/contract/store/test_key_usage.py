"""What keys use of their limits is counted for all processes together: none of them takes what another has taken."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from tests.stores import NOW, minutes, new_database, writing


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    """Two processes' stores on one file."""
    first = new_database(tmp_path)
    second = Database(first.url)
    yield first, second
    first.close()
    second.close()


def test_two_writers_at_once_never_pass_the_limit(two: tuple[Database, Database]) -> None:
    def take(i: int) -> bool:
        return writing(two[i % 2]).key_usage.take("app", "calls_per_day", NOW, 1, 25)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(100)))
    assert sum(taken) == 25


def test_parts_taken_by_two_processes_sum_up_to_the_limit_and_no_further(two: tuple[Database, Database]) -> None:
    def take(i: int) -> int:
        return writing(two[i % 2]).key_usage.take_some("app", "requests_per_minute", NOW, 60)

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(take, range(100)))
    assert sum(parts) == 60
    assert max(parts) <= 60 // 8 + 1
    assert take(0) == 0


def test_what_is_given_back_can_be_taken_again_and_a_new_window_begins_at_nothing(database: Database) -> None:
    def take(amount: float, window: object = NOW) -> bool:
        return writing(database).key_usage.take("app", "usd_per_day", window, amount, 1.0)  # type: ignore[arg-type]

    assert (take(0.9), take(0.2)) == (True, False)
    writing(database).key_usage.give_back("app", "usd_per_day", NOW, 0.8)
    assert (take(0.9), take(0.01)) == (True, False)
    assert take(1.0, minutes(1440)) is True


def test_a_sum_of_tenths_fits_under_its_limit(database: Database) -> None:
    taken = [writing(database).key_usage.take("app", "usd_per_day", NOW, 0.1, 0.3) for _ in range(4)]
    assert taken == [True, True, True, False]
