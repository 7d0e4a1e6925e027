"""An export and an import are killed with SIGKILL half-way: no folder and no home looks whole, and the next run is."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.table_rows import TableRows
from optimizer.host.config import load_settings
from optimizer.jobs.upkeep.export_data import export_data
from optimizer.jobs.upkeep.export_folder import MANIFEST, NewFolder, read_folder
from optimizer.runtime import import_home, wiring
from tests.children import exit_code
from tests.clock import Clock
from tests.stores import NOW, arm, interaction, keep_events, new_database

N = 1200


def leave(store: Any, folder: Path) -> Any:
    with NewFolder(folder) as target:
        return export_data(store, target, families={}, unit_keys=(), clock=Clock(NOW), actor="test", sealed=False)


def filled(folder: Path, *, n: int = N, n_chars: int = 10) -> Database:
    store = new_database(folder)
    for start in range(0, n, 1000):
        keep_events(
            store,
            [
                interaction(f"in_{i}", of=arm(rollout=None), input={"text": f"{i} " + "x" * n_chars})
                for i in range(start, min(n, start + 1000))
            ],
        )
    return store


def export_and_die(url: str, folder: Path) -> None:
    real = TableRows.each

    def dying(self: TableRows, tx: Any, table: str) -> Iterator[Any]:
        for n, row in enumerate(real(self, tx, table)):
            if table == "interactions" and n == N // 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield row

    TableRows.each = dying  # type: ignore[method-assign]
    leave(Database(url), folder)


def import_and_die(home: Path, folder: Path) -> None:
    real = TableRows.add

    def dying(self: TableRows, tx: Any, table: str, rows: Any) -> int:
        n = real(self, tx, table, rows)
        if table == "interactions":
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    TableRows.add = dying  # type: ignore[method-assign]
    import_home.import_data(load_settings(home=home), folder, actor="test")


def test_a_killed_export_leaves_no_folder_of_its_name_and_the_next_one_is_whole(tmp_path: Path) -> None:
    url, folder = filled(tmp_path).url, tmp_path / "leaving"
    assert exit_code(export_and_die, url, folder) == -signal.SIGKILL
    assert not folder.exists()
    assert (tmp_path / ".leaving.part" / "tables").is_dir()  # it had begun
    assert not (tmp_path / ".leaving.part" / MANIFEST).exists()
    assert leave(Database(url), folder)["tables"]["interactions"] == N
    assert read_folder(folder).manifest["tables"]["interactions"] == N
    assert not (tmp_path / ".leaving.part").exists()


def test_a_killed_import_leaves_an_empty_home_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder, home = tmp_path / "leaving", tmp_path / "home"
    home.mkdir()
    leave(filled(tmp_path), folder)
    assert exit_code(import_and_die, home, folder) == -signal.SIGKILL
    assert not (home / "var" / "detent.db").exists()
    assert import_home.import_data(load_settings(home=home), folder, actor="test").tables["interactions"] == N
    store = wiring.open_store(load_settings(home=home))
    with store.read() as tx:
        assert sum(1 for _ in store.tables.each(tx, "interactions")) == N
    store.close()
    assert [file.name for file in (home / "var").glob("*.part*")] == []


@pytest.mark.parametrize("way", ["export", pytest.param("import", marks=pytest.mark.long)])
def test_rows_are_never_all_in_memory(tmp_path: Path, way: str) -> None:
    folder, home = tmp_path / "leaving", tmp_path / "home"
    home.mkdir()
    store = filled(tmp_path, n=2000, n_chars=5000)
    if way == "import":
        leave(store, folder)
    tracemalloc.start()
    try:
        if way == "export":
            leave(store, folder)
        else:
            import_home.import_data(load_settings(home=home), folder, actor="test")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (folder / "tables" / "interactions.jsonl").stat().st_size > 10_000_000
    assert peak < 6_000_000
