"""Writes a whole home into one file while its servers go on: databases, keys, spool, families, configuration.

It is a tar file with a member per file. The manifest, with the SHA-256 of each member, comes last: a file that was cut
off has none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import Busy, Conflict, InvalidInput, NotFound
from optimizer.runtime import wiring
from optimizer.runtime.personal_home import NOTES, keep_beside

if TYPE_CHECKING:
    from optimizer.core.family.family import Family
    from optimizer.host.config import Settings

FORMAT = 1
MANIFEST = "manifest.json"
STORE, WORKFLOWS, MLFLOW = "var/detent.db", "var/dbos.sqlite", "mlflow/mlflow.db"
PAGES_AT_ONCE = 4096
BUSY_TIMEOUT_S = 10.0
LEFT_OUT = ("run", "logs", "demo-*")  # folders of var that only a running process needs, or that are homes of their own
PASSING = ("*.part", "*-wal", "*-shm", "*-journal", "*.turn", "*.lock", "*.holder", "__pycache__")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeBackup:
    """``checksum``: SHA-256 of the manifest, which holds those of all files. ``not_in_it``: what the home keeps
    elsewhere, and what families with a fault name.
    """

    file: Path
    checksum: str
    made_at: datetime
    n_files: int
    n_bytes: int
    not_in_it: tuple[str, ...]


def back_up_home(
    settings: Settings, file: Path, *, at: datetime, version: str, progress: Progress = lambda *_: None
) -> HomeBackup:
    """Writes the backup. It holds all that was acknowledged before the call, and databases of one moment.

    Raises:
        Conflict: a file exists at ``file``.
        NotFound: the home has no store.
        Busy: the store was locked for ten seconds, or is damaged.
        InvalidInput: the file cannot be written.
    """
    if file.exists():
        raise Conflict(f"{file} is there already; a backup is written into a new file.")
    # The path of each database, by its name in the backup.
    from optimizer.adapters.store.engine import sqlite_path

    uri = settings.tracking_uri()
    databases = {STORE: sqlite_path(settings.db_url()), WORKFLOWS: settings.var() / "dbos.sqlite"}
    databases = databases if settings.mlflow_tracking_uri else {**databases, MLFLOW: sqlite_path(uri)}
    if not databases[STORE].is_file():
        raise NotFound(f"{settings.home} has no store at {databases[STORE]}, so there is nothing to back up.")
    part, copy = (file.with_name(f".{file.name}.{kind}.part") for kind in ("tar", "db"))
    try:
        for leftover in (part, copy):
            leftover.unlink(missing_ok=True)
            leftover.touch(0o600)  # it holds keys
        with part.open("wb") as out:
            is_packed = file.suffix in (".gz", ".tgz")
            packing: dict[str, Any] = {"mode": "w:gz", "compresslevel": 1} if is_packed else {"mode": "w"}
            with tarfile.open(fileobj=out, **packing) as tar:
                archive = _BackupArchive(tar)
                # The spool before the store: an event on its way is then in one of them, or in both under one id.
                archive.folder(settings.home, settings.var() / "spool")
                _add_databases(archive, settings.home, databases, copy, progress)
                families = wiring.load_families(settings)
                home, *places = map(_tidy, (settings.home, *_places(settings, families.families.values())))
                for place in (place for place in places if place.is_relative_to(home)):
                    archive.folder(home, place, without=set(map(_tidy, databases.values())))
                checksum = archive.finish({"made_by": version, "made_at": at.isoformat()})
            out.flush()
            os.fsync(out.fileno())
        keep_beside(settings, file)  # first: in a backup of an unknown folder nobody would be forgotten again
        part.replace(file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error}. Nothing of it was kept.") from error
    finally:
        with suppress(NotADirectoryError):
            part.unlink(missing_ok=True)
            copy.unlink(missing_ok=True)
    return HomeBackup(
        file=file,
        checksum=checksum,
        made_at=at,
        n_files=len(archive.hashes) - 1,  # without the manifest, which is no file of the home
        n_bytes=file.stat().st_size,
        not_in_it=(
            *(
                f"what the file of family {name} names (functions, predictors, corpora), since it has a fault, which"
                f" `detent family validate {name}` shows"
                for name in sorted(families.problems)
            ),
            *_elsewhere(settings, [place for place in places if not place.is_relative_to(home)]),
        ),
    )


class _BackupArchive:
    """Adds members, each once, and keeps their hashes."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.hashes: dict[str, str] = {}

    def folder(self, home: Path, folder: Path, *, without: Collection[Path] = ()) -> None:
        """Adds each file as it is when it is read; a file that vanishes meanwhile is left out."""
        for path in _files(folder):
            name = path.relative_to(home).as_posix()
            if name not in self.hashes and path not in without:
                with suppress(FileNotFoundError):
                    self.content(name, path.read_bytes())

    def database(self, name: str, path: Path) -> None:
        info = self._tar.gettarinfo(path, name)
        with path.open("rb") as source:
            self.hashes[name] = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            self._tar.addfile(info, source)

    def finish(self, about: Mapping[str, Any]) -> str:
        """Adds the manifest; returns its SHA-256."""
        manifest = json.dumps({"format": FORMAT, **about, "files": self.hashes}, indent=1).encode()
        self.content(MANIFEST, manifest)
        return hashlib.sha256(manifest).hexdigest()

    def content(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o600
        self._tar.addfile(info, io.BytesIO(content))
        self.hashes[name] = hashlib.sha256(content).hexdigest()


def _places(settings: Settings, families: Iterable[Family]) -> Iterator[Path]:
    """Folders and files of the home, wherever they lie."""
    home = settings.home
    yield from (home / "config", home / "experiments", settings.families_dir, *settings.more_families_dirs)
    yield from (settings.models_file, settings.monitoring_file, settings.alert_rules_file, settings.var())
    if not settings.mlflow_tracking_uri:
        yield settings.mlflow_dir()
    for family in families:
        for dotted in {*family.metrics, *family.own_functions}:
            module = dotted.partition(".")[0]
            yield from (home / module, home / f"{module}.py") if "." in dotted else ()
        values = [value for parameters in family.metric_parameters.values() for value in parameters.values()]
        files = [home / value for value in values if isinstance(value, str)]
        yield from filter(os.path.isfile, files)  # Path.is_file raises for a text too long for a name


def _tidy(place: Path) -> Path:
    """Without ``..``, which would hide where it lies."""
    return Path(os.path.normpath(place))


def _elsewhere(settings: Settings, places: Iterable[Path]) -> Iterator[str]:
    if settings.mlflow_tracking_uri:
        yield f"MLflow ({settings.mlflow_tracking_uri}), which has backups of its own"
    for place in dict.fromkeys(places):
        if place.exists():
            yield f"{place}, which is outside of {settings.home}"
    named = sorted(name for name in os.environ if name.startswith("DETENT_") and name != "DETENT_HOME")
    if named:
        yield f"what the environment says ({', '.join(named)})"
    yield "keys and addresses of model providers in the environment; installed packages; logs"


def _files(place: Path, within: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Those of linked folders, too: ``var`` may lie on another disk. A link back to one of ``within`` is left out."""
    if place.is_file():
        yield place
    elif place.is_dir() and (folder := place.resolve()) not in within:
        is_var = place.name == "var"
        for entry in sorted(place.iterdir()):
            if not any(entry.match(pattern) for pattern in (*PASSING, *(LEFT_OUT if is_var else ()))):
                yield from _files(entry, within | {folder})


def _add_databases(
    archive: _BackupArchive, home: Path, databases: Mapping[str, Path], copy: Path, progress: Progress
) -> None:
    """Adds the databases, all of one moment, and the notes of a forgetting that was under way then.

    Nobody writes into the store while a read of each begins. Then each is copied from its read.
    """
    with ExitStack() as stack:
        try:
            store = stack.enter_context(closing(_connect(databases[STORE])))
            store.execute("BEGIN IMMEDIATE")
            sources = {}
            for name, path in databases.items():
                if path.is_file():
                    sources[name] = stack.enter_context(closing(_connect(path)))
                    sources[name].execute("BEGIN")
                    sources[name].execute("SELECT count(*) FROM sqlite_master").fetchone()
            archive.folder(home, home / NOTES)
            store.execute("ROLLBACK")
            for name, source in sources.items():
                copy.unlink(missing_ok=True)
                copy.touch(0o600)
                with closing(sqlite3.connect(copy)) as target:
                    source.backup(target, pages=PAGES_AT_ONCE, sleep=0, progress=partial(_tell, progress))
                    problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
                    target.execute("PRAGMA journal_mode = DELETE")  # the copy is one file, without a log beside it
                if problem != "ok":
                    raise Busy(
                        f"{databases[name]} is damaged ({problem}), so a backup of it would be, too. Nothing was"
                        " written. `detent doctor` says more; an older backup helps: detent restore."
                    )
                archive.database(name, copy)
        except sqlite3.Error as error:
            raise Busy(
                f"The databases of this home cannot be read: {error}. Try again; `detent doctor` looks at them."
            ) from error
    mark = databases[STORE].with_name(f"{databases[STORE].name}.keyed")
    if mark.exists():
        archive.content(f"{STORE}.keyed", mark.read_bytes())


def _tell(progress: Progress, _status: int, n_left: int, n_pages: int) -> None:
    progress(n_pages - n_left, n_pages)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
