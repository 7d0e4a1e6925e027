"""Makes a home of an exported folder, and a temporary store of what an export says of its rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from optimizer.adapters.store import Database
from optimizer.adapters.store.engine import sqlite_path
from optimizer.core.base.errors import Conflict
from optimizer.host import run_files
from optimizer.host.config import Settings
from optimizer.jobs.upkeep.export_folder import SEALED, ExportFolder, read_folder
from optimizer.jobs.upkeep.import_data import (
    OF_RECORDS,
    DataImport,
    begin_serving,
    import_families,
    import_rows_of,
    stop_unfinished,
)
from optimizer.ports import Store
from optimizer.runtime import wiring


@contextmanager
def exported_records(folder: ExportFolder) -> Iterator[Store]:
    """A store of what an export says of its rollouts. It lasts while the rollouts are checked."""
    with TemporaryDirectory(prefix="detent-verify-") as place, _new_store(Path(place) / "detent.db") as store:
        import_rows_of(folder, store, only=OF_RECORDS)
        yield store


def import_data(settings: Settings, path: Path, *, actor: str) -> DataImport:
    """Makes an exported folder this home's store and families.

    If it is killed before the end, the home stays as empty as it was, except for folders of families.

    Raises:
        Conflict: the home has a store with rows, or other files of a family.
        InvalidInput: the folder is no whole export.
    """
    target = Path(sqlite_path(settings.db_url()))
    if run_files.find(settings, "serve") is not None or Path(f"{target}.keyed").exists() or _has_rows(settings):
        raise Conflict(
            f"{settings.home} is no empty home: its store has rows or keys, or a server runs there. Import into a"
            " new one: mkdir new && DETENT_HOME=new detent data import DIR."
        )
    folder = read_folder(path)
    part = target.with_name(f".{target.name}.part")
    with _new_store(part) as store:
        report = DataImport(
            folder=path,
            tables=import_rows_of(folder, store),
            families=import_families(folder, settings.families_dir),
            sealed=SEALED in folder.files,
            exported_at=str(folder.manifest.get("exported_at")),
            unit_keys=tuple(folder.manifest.get("unit_keys", ())),
        )
        clock = wiring.open_clock(settings)
        report = stop_unfinished(store, clock, report, actor=actor)
        begin_serving(store, clock, actor=actor, folder=report)
    for suffix in ("-wal", "-shm", ".turn"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    part.replace(target)
    return report


@contextmanager
def _new_store(file: Path) -> Iterator[Store]:
    """A new store, which is whole in its file once it is closed. If filling it fails, no file is left."""
    file.parent.mkdir(parents=True, exist_ok=True)
    leftovers = [Path(f"{file}{suffix}") for suffix in (".turn", "-wal", "-shm", "")]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)  # an import that was killed left it
    store, whole = Database(f"sqlite:///{file}"), False
    try:
        store.migrate()
        yield cast("Store", store)
        whole = True
    finally:
        store.close()
        for leftover in leftovers[:1] if whole else leftovers:
            leftover.unlink(missing_ok=True)


def _has_rows(settings: Settings) -> bool:
    if not Path(sqlite_path(settings.db_url())).exists():
        return False
    wiring.migrate_store(settings)
    store = wiring.open_store(settings)
    try:
        with store.read() as tx:
            return any(next(iter(store.tables.each(tx, name)), None) is not None for name in store.tables.names())
    finally:
        store.close()
