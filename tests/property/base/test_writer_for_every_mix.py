"""However many threads write, and whichever of them fail: exactly the writes that were acknowledged are there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st

from tests.examples import n_examples
from tests.stores import NOW, temporary_database

fates = st.sampled_from(["succeeds", "fails before writing", "fails after writing"])


class Unlucky(Exception):
    pass


@given(st.lists(st.lists(fates, max_size=6), min_size=1, max_size=6))
@settings(max_examples=n_examples(15))
def test_exactly_the_acknowledged_writes_are_there(threads: list[list[str]]) -> None:
    with temporary_database() as database:
        acknowledged: list[str] = []

        def job(name: str, fate: str) -> Callable[[Any], str]:
            def fn(tx: Any) -> str:
                if fate == "fails before writing":
                    raise Unlucky
                for part in (1, 2):  # two rows that belong together
                    database.audit.add(tx, at=NOW, actor=name, action=str(part), family=None, subject="", detail={})
                if fate == "fails after writing":
                    raise Unlucky
                return name

            return fn

        def run(thread: int, mine: list[str]) -> None:
            for i, fate in enumerate(mine):
                try:
                    acknowledged.append(database.write(job(f"{thread}-{i}", fate)))
                except Unlucky:
                    assert fate != "succeeds"

        running = [threading.Thread(target=run, args=one) for one in enumerate(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        with database.read() as tx:
            rows = [(row["actor"], row["action"]) for row in database.audit.page(tx, None, 1000)[0]]
        assert sorted(rows) == sorted((name, part) for name in acknowledged for part in ("1", "2"))
        assert sorted(acknowledged) == sorted(
            f"{t}-{i}" for t, mine in enumerate(threads) for i, fate in enumerate(mine) if fate == "succeeds"
        )
