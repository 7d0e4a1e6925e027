"""Brings the rows of an exported folder into a store, and its families' files into a home."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.scheduling.schedule import command_for
from optimizer.jobs.families.family_folders import is_copy
from optimizer.jobs.record_change import tell
from optimizer.jobs.studies.transitions import request_stop
from optimizer.jobs.upkeep.export_folder import SEALED, ExportFolder, rows_file
from optimizer.ports import Clock, Store, Transaction

ACT = "data.import"
AT_ONCE = 500  # rows of a transaction
# All that `detent rollout verify` reads.
OF_RECORDS = (
    "rollouts",
    "decisions",
    "cohort_blocks",
    "rollout_units",
    "rollout_watches",
    "champions",
    "audit",
    "outbox",
    "family_names",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataImport:
    """``sealed``: whether the holdout came along. ``unit_keys``: names of those under which its units stand.
    ``studies`` and ``runs``: those that had not ended there, cancelled here. ``schedules``: the commands by which
    studies start by themselves again.
    """

    folder: Path
    tables: Mapping[str, int]
    families: tuple[str, ...]
    sealed: bool
    exported_at: str
    unit_keys: tuple[str, ...]
    studies: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()


def import_rows_of(folder: ExportFolder, store: Store, *, only: Iterable[str] | None = None) -> dict[str, int]:
    """Adds the export's rows to a new store; sealed rows first, so that of a row that also stands without its texts
    the whole one stays.

    Args:
        only: these tables alone.
    Returns:
        The rows of each table in the export.
    Raises:
        InvalidInput: the export is of other tables than this version has, or holds what is no row of them.
    """
    if folder.manifest.get("schema") != store.tables.revision():
        raise InvalidInput(
            f"{folder.path} was written by version {folder.manifest.get('made_by')} with tables at"
            f" {folder.manifest.get('schema')}, and this version has {store.tables.revision()}. Import it with the"
            " version that wrote it, then go on with this one: it brings the store along."
        )
    names = [name for name in store.tables.names() if only is None or name in set(only)]
    sealed = folder.lines(SEALED) if only is None else iter(())
    for part in _parts(sealed):
        for n, line in part:
            if line.get("table") not in names:
                raise InvalidInput(
                    f"Line {n} of {folder.path / SEALED} is of the table {line.get('table')!r:.80}, and there is no"
                    " such table. Export anew."
                )
        for table in {str(line["table"]) for _, line in part}:
            rows = [(n, line.get("row")) for n, line in part if line.get("table") == table]
            _add(store, folder.path / SEALED, table, rows)
    files = {name: rows_file(name) for name in names}
    return {
        name: sum(_add(store, folder.path / file, name, part) for part in _parts(folder.lines(file)))
        for name, file in files.items()
    }


def stop_unfinished(store: Store, clock: Clock, report: DataImport, *, actor: str) -> DataImport:
    """Studies and runs that had not ended are cancelled, and none starts by itself: the home that was left may go on
    with them, and both would pay. A person who is being forgotten is forgotten here, too.
    """
    with store.read() as tx:
        studies = [study.id for study in store.studies.unfinished(tx)]
        runs = [run.id for run in store.runs.unfinished(tx) if run.kind != "forget"]
        schedules = store.schedules.all(tx)
    for study in studies:
        request_stop(study, actor=actor, store=store, clock=clock, is_left=True)

    def change(tx: Transaction) -> None:
        for run in runs:
            store.runs.update(tx, run, status="cancelled", stop_requested=True, finished_at=clock.now())
        for family in schedules:
            store.schedules.remove(tx, family)

    store.write(change)
    commands = tuple(command_for(family, schedule) for family, schedule in sorted(schedules.items()))
    return replace(report, studies=tuple(studies), runs=tuple(runs), schedules=commands)


def begin_serving(store: Store, clock: Clock, *, actor: str, folder: DataImport) -> None:
    """Says in the record where the rows came from; who serves them reads them anew."""

    names = ("exported_at", "sealed", "unit_keys", "studies", "runs", "schedules")
    detail = {name: getattr(folder, name) for name in names}
    store.write(lambda tx: tell(tx, store, ACT, None, "", detail, actor=actor, at=clock.now()))


def import_families(folder: ExportFolder, families_dir: Path) -> tuple[str, ...]:
    """Each family's folder, whole or not at all.

    Raises Conflict, and writes nothing, where a family of that name has other files.
    """
    source = folder.path / "families"
    names = sorted({name.split("/")[1] for name in folder.files if name.startswith("families/")})
    present = [name for name in names if (families_dir / name).exists()]
    others = [name for name in present if not is_copy(families_dir / name, source / name)]
    if others:
        raise Conflict(
            f"{families_dir} has other files of {', '.join(others)} than the export. Import into an empty home, or move"
            " these folders away. Nothing was written."
        )
    families_dir.mkdir(parents=True, exist_ok=True)
    for name in (name for name in names if name not in present):
        part = families_dir / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for file in (file for file in folder.files if file.startswith(f"families/{name}/")):
            shutil.copyfile(folder.path / file, part / Path(file).name)
        part.rename(families_dir / name)  # a reload sees a whole family or none
    return tuple(names)


def _parts(lines: Iterator[dict[str, Any]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Lines with their numbers."""
    numbered = enumerate(lines, start=1)
    while part := list(islice(numbered, AT_ONCE)):
        yield part


def _add(store: Store, file: Path, table: str, rows: Sequence[tuple[int, Any]]) -> int:
    try:
        store.write(lambda tx: store.tables.add(tx, table, [row for _, row in rows]))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        if len(rows) == 1:
            raise InvalidInput(f"Line {rows[0][0]} of {file} is no row of {table}: {error}.") from None
        for row in rows:  # one by one, to name the line
            _add(store, file, table, [row])
    return len(rows)
