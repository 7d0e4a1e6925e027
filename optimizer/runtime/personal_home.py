"""A home as the forgetting of a person finds it: every place beside the store, and what is kept of who was forgotten.

The HMACs of forgotten people stand in the home and beside each backup that it wrote, so that an older backup forgets
them again when it is restored.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from optimizer.core.base.errors import Busy, Conflict, InvalidInput
from optimizer.ports.deletion import PlaceTraces

if TYPE_CHECKING:
    from optimizer.core.feedback.personal_traces import PersonalTraces
    from optimizer.host.config import Settings
    from optimizer.jobs.feedback.ingest_feedback import Intake
    from optimizer.jobs.upkeep.forget_person import ForgettingHome
    from optimizer.ports import Clock, FamilySource, Store
    from optimizer.ports.deletion import PersonalPlace

FORGOTTEN = "forgotten.jsonl"  # in var, and as detent-forgotten.jsonl beside backups
BESIDE_BACKUPS = f"detent-{FORGOTTEN}"
BACKUP_FOLDERS = "backup_folders.txt"
NOTES = "var/run/forgetting"  # by which a forgetting that is under way finds what is left of the person
SPOOL_WAIT_S = 30.0
# The database itself, and what lies beside it.
OF_DATABASE = ("", "-wal", "-shm", "-journal", ".turn", ".keyed", ".worker.lock", ".worker.holder", ".migrate.lock")
LINES, DECLARATIONS = "*.jsonl", "*.yaml"  # of a family's folder, which may hold other files as well
EDIT = (
    "these lines say what the person said word for word. Take them out, and say it again; or, where they are the"
    " family's own words, with --own-words."
)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Of a fault that stands in the way a run keeps only what we say ourselves: which file, and what to do about it.

    Raises Conflict.
    """
    try:
        yield
    except (OSError, sqlite3.Error, RuntimeError) as error:  # the last one of a circle of links
        raise Conflict(
            f"{place} cannot be gone through: {error}. See to its rights and its disk, or move out of the home what"
            " nothing needs; then say it again: detent data forget --unit UNIT."
        ) from error


@dataclass(frozen=True, slots=True)
class _NamedPlace:
    place: PersonalPlace

    @property
    def name(self) -> str:
        return self.place.name

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        with _naming(self._where()):
            return self.place.look(traces)

    def clear(self, traces: PersonalTraces) -> None:
        with _naming(self._where()):
            self.place.clear(traces)

    def _where(self) -> str:
        """SQLite's errors name no file."""
        file = getattr(self.place, "file", None)
        return f"The place “{self.name}”" if file is None else f"{self.name} ({file})"


def forgetting_home(
    settings: Settings, store: Store, clock: Clock, families: FamilySource, *, is_alone: bool = False
) -> ForgettingHome:
    """Args: is_alone: no other process of this home runs studies, or could begin to."""
    from optimizer.adapters import personal_places as at
    from optimizer.adapters.store.engine import sqlite_path
    from optimizer.jobs.families.family_folders import Folders
    from optimizer.jobs.upkeep.forget_person import ForgettingHome

    var, retired = settings.var(), Folders.of_home(settings).retired
    folders = settings.families_dir, *settings.more_families_dirs
    last_good, mlflow, spool = var / "last_good", settings.mlflow_dir(), var / "spool"
    reset = "DELETE FROM tags WHERE key = 'detent.digest' AND run_uuid IN"
    reset += " (SELECT run_uuid FROM tags WHERE key = 'detent.kind' AND value = 'study')"
    places: list[PersonalPlace] = [
        at.LogFiles(files=at.files_below(settings.log_dir())),
        at.LineFiles(files=at.files_below(*folders, retired, patterns=(LINES,))),
        at.LineFiles(files=at.files_below(spool, patterns=("*.refused",)), name="records that were set aside"),
        at.WholeFiles(files=at.files_below(var / "reports"), name="reports"),
        at.WholeFiles(files=at.files_below(last_good), name="last good families", is_strict=True),
        at.WrittenFiles(files=at.files_below(*folders, retired, patterns=(DECLARATIONS,)), hint=EDIT),
        at.OtherFiles(files=at.files_below(*folders, retired, unlike=(LINES, DECLARATIONS)), name="files of families"),
        at.OtherDatabase(file=var / "dbos.sqlite", name="DBOS"),
    ]
    if settings.mlflow_tracking_uri is None:
        places += [
            at.WholeFiles(files=at.files_below(mlflow / "artifacts"), name="MLflow artifacts"),
            at.OtherDatabase(file=mlflow / "mlflow.db", name="MLflow", after=(reset,)),
        ]
    seen = [settings.log_dir(), settings.run_dir(), var / "reports", last_good, *folders, retired, spool, var / "keys"]
    seen += [var / FORGOTTEN, *var.glob("demo-*")]
    databases = [sqlite_path(settings.db_url()), var / "dbos.sqlite"]
    if settings.mlflow_tracking_uri is None:
        seen.append(mlflow / "artifacts")
        databases.append(mlflow / "mlflow.db")
    seen += [Path(f"{database}{suffix}") for database in databases for suffix in OF_DATABASE]
    places.append(at.OtherFiles(files=partial(_rest_of, settings, seen)))
    not_reached = [
        f"Backups in {folder} hold what they held; a restore forgets the person again."
        if _is_noted_beside(folder)
        else f"Backups in {folder} hold what they held, and {BESIDE_BACKUPS} cannot be written there now: until one is,"
        f" a restore forgets the person only with --forgotten {settings.var() / FORGOTTEN}."
        for folder in backup_folders(settings)
    ]
    if absent := _absent_unit_keys(settings, store):
        not_reached.append(
            f"What was imported into this home stands under unit keys that it does not have ({', '.join(absent)}), so"
            " nothing in it was found by the unit. Take them from var/keys/unit.key and unit.older of the home that was"
            f" exported into {var / 'keys' / 'unit.older'}, each as a line NAME:HEX, and say it again."
        )
    if settings.mlflow_tracking_uri is not None:
        not_reached.append(f"MLflow at {settings.mlflow_tracking_uri}: take the person out of its runs and prompts.")
    return ForgettingHome(
        store=store,
        clock=clock,
        places=[*map(_NamedPlace, places)],
        own_texts=lambda: (
            str(message.get("content") or "")
            for family in families.families.values()
            for version in family.prompt.versions.values()
            for message in version.content
        ),
        notes=settings.home / NOTES,
        not_reached=not_reached,
        take_in=lambda unit: _take_in_spools(settings, store, clock, families, unit),
        remember=partial(remember, settings),
        is_alone=is_alone,
    )


def _absent_unit_keys(settings: Settings, store: Store) -> list[str]:
    """An export leaves them behind."""
    from optimizer.jobs.upkeep.import_data import ACT
    from optimizer.runtime.wiring import open_secrets

    with store.read() as tx:
        imports = [row["detail"] for row in store.audit.of_subject(tx, "") if row["action"] == ACT]
    names = {name for detail in imports for name in detail.get("unit_keys", ())}
    return sorted(names - {*open_secrets(settings).unit_key_names})


def _rest_of(settings: Settings, seen: Iterable[Path]) -> Iterator[Path]:
    """Files of the home that no other place looks at; without programs, and backups, which the report names anyway."""
    home, backups = settings.home, set(backup_folders(settings))
    out = {os.path.realpath(place) for place in seen}
    for root in (home, home / "config", home / "experiments", settings.var()):  # links to other disks, it may be
        for folder, folders, names in os.walk(root):
            if (place := os.path.realpath(folder)) in out or "pyvenv.cfg" in names:
                folders.clear()
                continue
            out.add(place)
            folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
            for file in (Path(folder, name) for name in names if name != BESIDE_BACKUPS):
                if os.path.realpath(file) not in out and not (Path(place) in backups and _is_backup(file)):
                    yield file


def _is_backup(file: Path) -> bool:
    with suppress(OSError):
        return tarfile.is_tarfile(file)
    return False


@_naming("The spool")
def _take_in_spools(settings: Settings, store: Store, clock: Clock, families: FamilySource, unit: str) -> None:
    """What gateways that have ended left on disk goes into the store, where it is found; one that runs puts its own
    there, and is waited for.

    Raises Busy where one does not.
    """
    from optimizer.adapters.files.spool import SPOOLS, Spool, spool_files
    from optimizer.jobs.feedback.spooled_records import drain
    from optimizer.runtime.wiring import open_intake

    intake = replace(open_intake(settings, store, clock, families, actor="system"), by_gateway=True)

    def intake_of(actor: str) -> Intake:
        return replace(intake, actor=actor)

    for path in spool_files(settings.var() / SPOOLS):
        spool, until = Spool(path), monotonic() + SPOOL_WAIT_S
        try:
            while not (is_held := spool.hold(must_open=True)) and unit.encode() in path.read_bytes():
                if monotonic() > until:
                    raise Busy(f"What the person was answered waits in {path}, and its gateway does not keep it.")
                sleep(0.2)
            if is_held:
                drain(spool, store, intake_of)
                os.truncate(path, 0)  # what a kill left behind the last whole record, too
        finally:
            spool.close()


# --- who was forgotten ------------------------------------------------------------------------------------------------


def remember(settings: Settings, unit: str, at: datetime, own_words: bool) -> None:
    """In this home, and beside backups that it wrote or came from where that can be written. Safe to repeat; of one who
    came back, the last time counts.
    """
    line = {"unit": unit, "at": at.isoformat(), **({"own_words": True} if own_words else {})}
    file = settings.var() / FORGOTTEN
    with _naming(str(file)):
        file.touch(0o600)
        _append(file, json.dumps(line).encode() + b"\n")
    for folder in backup_folders(settings):
        with suppress(OSError):  # the next backup there notes it
            _note_beside(settings, folder / BESIDE_BACKUPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastForgetting:
    """``at``: the last time. ``own_words``: what families' files say stayed, although the person said the same."""

    at: datetime
    own_words: bool


def forgotten_in(file: Path) -> dict[str, LastForgetting]:
    """By HMAC, those whom the file names, in order; none where there is no file.

    Raises InvalidInput where it is another file.
    """
    units = dict[str, LastForgetting]()
    for n, line in enumerate(_lines(file), start=1):
        try:
            read = json.loads(line)
            unit, at = str(read["unit"]), datetime.fromisoformat(read["at"]).astimezone(UTC)
            before = units.get(unit, LastForgetting(at=at, own_words=False))
            own_words = before.own_words or read.get("own_words") is True
            units[unit] = LastForgetting(at=max(before.at, at), own_words=own_words)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"{file}:{n} names nobody who was forgotten. A backup writes {BESIDE_BACKUPS} beside itself; name"
                " that file."
            ) from None
    return units


def backup_folders(settings: Settings) -> list[Path]:
    """Where backups of this home were written, or of which it was made."""
    return [Path(line.decode()) for line in _lines(settings.var() / BACKUP_FOLDERS)]


def remember_folder(settings: Settings, backup: Path) -> Path:
    """Who is forgotten from now on is noted in the backup's folder, too; returns it."""
    folder = backup.resolve().parent
    if folder not in backup_folders(settings):
        (settings.var() / BACKUP_FOLDERS).touch(0o600)
        _append(settings.var() / BACKUP_FOLDERS, f"{folder}\n".encode())
    return folder


def keep_beside(settings: Settings, backup: Path) -> Path:
    """Writes who was forgotten so far beside a backup, and remembers the folder for those to come."""
    beside = remember_folder(settings, backup) / BESIDE_BACKUPS
    beside.touch(0o600)
    _note_beside(settings, beside)
    return beside


def _note_beside(settings: Settings, beside: Path) -> None:
    """Raises FileNotFoundError where it is not there: its disk is away, and a file below the mount point would be lost
    to it.
    """
    file = settings.var() / FORGOTTEN
    for each in (file, beside):
        forgotten_in(each)  # raises where it is another file
    known = set(_lines(beside))
    _append(beside, b"".join(line + b"\n" for line in _lines(file) if line not in known))


def _is_noted_beside(folder: Path) -> bool:
    """Whether a forgetting can write beside the backups of this folder, which may be read-only to a service, or on a
    disk that is not mounted now.
    """
    try:
        with open(folder / BESIDE_BACKUPS, "r+b"):
            return True
    except OSError:
        return False


def _lines(file: Path) -> list[bytes]:
    with suppress(FileNotFoundError):
        return _whole(file.read_bytes()).splitlines()
    return []


def _whole(content: bytes) -> bytes:
    """Without a last line that was cut off: one that has no end, and is no JSON. An editor may have left JSON so."""
    last = content[content.rfind(b"\n") + 1 :]
    try:
        json.loads(last)
    except ValueError:
        return content.removesuffix(last)
    return content


def _append(file: Path, text: bytes) -> None:
    """To a file that is there, behind its last whole line; on disk when it returns. Where it fails, nothing was."""
    with open(file, "r+b", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_APPEND)) as appended:
        whole = _whole(appended.read())
        rest = text if not whole or whole.endswith(b"\n") else b"\n" + text
        appended.truncate(len(whole))
        try:
            while rest:
                rest = rest[appended.write(rest) :]
            os.fsync(appended.fileno())
        except OSError:
            appended.truncate(len(whole))
            raise
