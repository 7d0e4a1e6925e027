"""What is read of the store once, and shared by requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Barrier
from time import sleep
from typing import Any

from optimizer.jobs.calls.shelves import Shelf


class OpenStore:
    """Counts the transactions that are open."""

    def __init__(self) -> None:
        self.n_open = 0

    def read(self) -> AbstractContextManager[Any]:
        return self

    def __enter__(self) -> None:
        self.n_open += 1

    def __exit__(self, *_: object) -> None:
        self.n_open -= 1


def test_requests_that_want_one_at_once_get_it_ready_and_it_is_made_ready_once_with_no_transaction_open() -> None:
    store, ready, barrier = OpenStore(), list[tuple[str, int]](), Barrier(4)

    def prepare(one: list[str]) -> None:
        sleep(0.02)
        ready.append((one[0], store.n_open))
        one.append("ready")

    shelf: Shelf[list[str]] = Shelf(
        store,  # type: ignore[arg-type]
        lambda tx, family, id: [f"{family} {id}"],
        most=1,
        prepare=prepare,
    )

    def get(_: int) -> list[str]:
        barrier.wait()
        return list(shelf.get("topics", "xi_1") or ())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(get, range(4))) == [["topics xi_1", "ready"]] * 4
    assert ready == [("topics xi_1", 0)]


def test_what_the_store_does_not_have_is_not_made_ready() -> None:
    prepared = list[str]()
    shelf: Shelf[str] = Shelf(
        OpenStore(),  # type: ignore[arg-type]
        lambda tx, family, id: None,
        most=1,
        prepare=prepared.append,
    )
    assert (shelf.get("topics", "xi_1"), prepared) == (None, [])
