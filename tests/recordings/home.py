"""The home that ``recipe.py`` built once, as a packed file: what an older version wrote, for every version after it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.host.config import Settings, load_settings
from optimizer.runtime import wiring
from tests.clock import Clock
from tests.made_once import made_once
from tests.recordings import recipe
from tests.recordings.fixed import fixed

KEPT = Path(__file__).parent / "kept"
HOME = KEPT / "home.tar.xz"
END = KEPT / "home_end.txt"  # what its clock showed last
PREFIX = "detent-recording-"  # of every folder that a home stands in
_LEFT_OUT = ("var/run", "detent.db.turn", "detent.db.migrate.lock", "detent.db-wal", "detent.db-shm")
_FOLDER = re.compile(rf"(?:/[\w.+-]+)*/{PREFIX}\w+")
ROWS = KEPT / "rows.json"
Rows = dict[str, list[dict[str, Any]]]


@contextmanager
def built() -> Iterator[Settings]:
    """A home built anew."""
    with TemporaryDirectory(prefix=PREFIX) as folder, fixed(Clock()) as clock:
        yield recipe.build(Path(folder), clock)


def write_home() -> None:
    with TemporaryDirectory(prefix=PREFIX) as folder, fixed(Clock()) as clock:
        recipe.build(Path(folder), clock)
        with closing(sqlite3.connect(Path(folder) / "var" / "detent.db")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with tarfile.open(HOME, "w:xz", preset=9) as packed:
            for name in ("config", "families", "var"):
                packed.add(Path(folder) / name, name, filter=_plain)
        END.write_text(f"{clock.at.isoformat()}\n", encoding="utf-8")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if member.name.endswith(_LEFT_OUT):
        return None
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpacked(folder: Path) -> Settings:
    """The kept home in this folder, as it was written."""
    with tarfile.open(HOME) as packed:
        packed.extractall(folder)  # our own file; Pythons before 3.11.4 know no filter
    (folder / "var" / "run").mkdir()
    return load_settings("dev", folder)


def clock_then() -> Clock:
    """As it was when the last row was written."""
    return Clock(datetime.fromisoformat(END.read_text(encoding="utf-8").strip()))


def migrated(folder: Path) -> Settings:
    """The kept home in this folder, as this version has brought it up to date."""
    shutil.copytree(made_once("recorded-home", _migrate), folder, dirs_exist_ok=True)
    return load_settings("dev", folder)


def _migrate(folder: Path) -> None:
    with fixed(clock_then()):
        wiring.migrate_store(unpacked(folder))


def row_hashes(rows: Rows) -> dict[str, list[str]]:
    """Table > the hash of each row, in order."""
    return {table: sorted(row_hash(row) for row in of_table) for table, of_table in rows.items()}


def row_hash(row: Mapping[str, Any]) -> str:
    return sha256(repr(sorted(row.items())).encode()).hexdigest()[:12]


def write_rows() -> None:
    """What the acts of the recipe write, with this version."""
    with built() as settings:
        ROWS.write_text(json.dumps(row_hashes(rows_of(settings)), separators=(",", ":")) + "\n", encoding="utf-8")


def without_folder(text: str) -> str:
    """Without the folder that a home stood in."""
    return _FOLDER.sub("/HOME", text)


def rows_of(settings: Settings) -> Rows:
    """All rows of every table; JSON with its members in order, since their order says nothing."""
    with closing(sqlite3.connect(settings.var() / "detent.db")) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {
            name: [_row(row) for row in database.execute(f'SELECT * FROM "{name}"')] for (name,) in found.fetchall()
        }


def _row(row: sqlite3.Row) -> dict[str, Any]:
    return {name: _value(row[name]) for name in row.keys()}  # noqa: SIM118


def _value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = without_folder(value)
    try:
        return json.dumps(json.loads(text), sort_keys=True) if text[:1] in "[{" else text
    except ValueError:
        return text
