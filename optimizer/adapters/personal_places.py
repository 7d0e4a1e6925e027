"""Where a home holds what a person said beside its store, and how it is taken out of each kind of place.

Logs are open in other processes, so a line is written over where it stands. Files of lines are written anew without
some. A report or an artifact is one text, and goes whole. What people write themselves is named to them instead.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from optimizer.adapters.store.engine import write_anew
from optimizer.core.base.errors import Busy
from optimizer.core.feedback.personal_traces import GONE, PersonalTraces, unescaped
from optimizer.ports.deletion import DOUBT, PlaceTraces

MOST_NAMED = 20  # files or lines that a sentence names
BUSY_S = 10.0
MOST_READ_BYTES = 16 * 1024 * 1024  # of a file that is none of ours
Files = Callable[[], Iterable[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFiles:
    """Lines of JSON that processes go on appending to."""

    files: Files
    name: str = "logs"

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        return PlaceTraces(n=sum(len(list(_lines_shown(_lines(file), traces))) for file in _present(self.files)))

    def clear(self, traces: PersonalTraces) -> None:
        """Each line by one of as many bytes, in the file where it was read: a rotation gives files other names."""
        cleared, listed = set[tuple[int, int]](), _inodes(self.files)
        while True:
            for file in listed:
                # One that others write may show nothing.
                with suppress(FileNotFoundError), file.open("r+b" if os.access(file, os.W_OK) else "rb") as out:
                    if (inode := _inode(os.fstat(out.fileno()))) not in cleared:
                        _fill_lines(out, traces)
                        cleared.add(inode)
            before, listed = listed, _inodes(self.files)
            if listed == before:
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFiles:
    """JSON lines that are examples, and go one by one."""

    files: Files
    name: str = "files of examples"

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        quoted, doubtful = (
            [f"{file}:{n}" for file in _present(self.files) for n, _ in _lines_quoted(file, of)]
            for of in (traces, traces.doubtful)
        )
        return PlaceTraces(n=len(quoted), left=_doubts([place for place in doubtful if place not in quoted]))

    def clear(self, traces: PersonalTraces) -> None:
        for file in _present(self.files):
            gone = {n for n, _ in _lines_quoted(file, traces)}
            if gone:
                lines = io.BytesIO(file.read_bytes()).readlines()  # at newlines alone, as they were counted
                _replace(file, b"".join(line for n, line in enumerate(lines, start=1) if n not in gone))


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFiles:
    """Reports, artifacts and copies, which can be made again. ``is_strict``: by what the person wrote alone."""

    files: Files
    name: str
    is_strict: bool = False

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        return PlaceTraces(n=len(list(self._shown(traces))))

    def clear(self, traces: PersonalTraces) -> None:
        for file in list(self._shown(traces)):
            file.unlink(missing_ok=True)

    def _shown(self, traces: PersonalTraces) -> Iterator[Path]:
        shows = traces.are_quoted_in if self.is_strict else traces.are_shown_in
        return (file for file in _present(self.files) if shows(unescaped(_text(file))))


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFiles:
    """What people write themselves: nobody else changes it. Where it quotes the person, they are told first.

    Args:
        hint: what to do about a file that does.
    """

    files: Files
    hint: str
    name: str = "family files"

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        quoted, doubtful = (
            [f"{file}:{n}" for file in _present(self.files) for n in _places_quoted(file, of)]
            for of in (traces, traces.doubtful)
        )
        first = [f"{_named(quoted)}: {self.hint}"] if quoted else []
        return PlaceTraces(
            n=len(quoted), first=first, left=_doubts([place for place in doubtful if place not in quoted])
        )

    def clear(self, traces: PersonalTraces) -> None:
        """Nothing is left to do: the run did not begin as long as there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFiles:
    """All other files of the home: none of ours, or of a kind that came later. What shows the person is named."""

    files: Files
    name: str = "other files"

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        left, unread = list[str](), list[str]()
        for file in _present(self.files):
            if not _is_read(file):
                unread.append(str(file))
            elif traces.are_shown_in(unescaped(_text(file))):
                left.append(f"{file} shows the person, and is yours to change.")
        if unread:
            left.append(f"Not looked through, since large or unreadable: {', '.join(unread)}.")
        return PlaceTraces(left=left)

    def clear(self, traces: PersonalTraces) -> None:
        """They are left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDatabase:
    """An SQLite file of another program, such as MLflow's: texts that show the person are others there, and the file is
    written anew.

    Args:
        after: what else is executed, within the transaction.
    """

    file: Path
    name: str
    after: Sequence[str] = ()

    def look(self, traces: PersonalTraces) -> PlaceTraces:
        if not self.file.is_file():
            return PlaceTraces()
        with closing(_opened(self.file)) as connection:
            return PlaceTraces(n=sum(1 for _ in _cells_shown(connection, traces)))

    def clear(self, traces: PersonalTraces) -> None:
        if not self.file.is_file():
            return
        try:
            with closing(_opened(self.file)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                cells = list(_cells_shown(connection, traces))
                for table, column, rowid, value in cells:
                    change = f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?'
                    connection.execute(change, (_cleared(value, traces), rowid))
                for statement in self.after:
                    connection.execute(statement)
                connection.execute("COMMIT")
                if not write_anew(connection, BUSY_S):
                    raise Busy(f"A long read of {self.file} kept its log from being emptied.", retry_after_s=5)
        except sqlite3.OperationalError as error:
            raise Busy(
                f"{self.file} could not be written: {error}. Another program holds it, or the disk is full.",
                retry_after_s=5,
            ) from error


# --- files ------------------------------------------------------------------------------------------------------------


def files_below(*folders: Path, patterns: Iterable[str] = ("*",), unlike: Sequence[str] = ()) -> Files:
    """Files of these folders and those below them, by name; ``unlike``: patterns of those left out."""

    def files() -> Iterator[Path]:
        for folder in folders:
            for pattern in patterns:
                for file in sorted(folder.rglob(pattern)):
                    file.resolve()  # raises of links in a circle, which cannot be gone through; is_file says no
                    if file.is_file() and not any(map(file.match, unlike)):
                        yield file

    return files


def _named(places: Sequence[str]) -> str:
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return f"{', '.join(places[:MOST_NAMED])}{more}"


def _doubts(places: Sequence[str]) -> list[str]:
    return [f"{_named(places)}: {DOUBT}"] if places else []


def _present(files: Files) -> Iterator[Path]:
    for file in files():
        with suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_size:
                yield file


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # it was rotated or replaced meanwhile
        return ""


def _is_read(file: Path) -> bool:
    """Neither too large to be held in memory nor somebody else's."""
    with suppress(OSError):
        return os.access(file, os.R_OK) and file.stat().st_size <= MOST_READ_BYTES
    return False


def _inodes(files: Files) -> dict[Path, tuple[int, int]]:
    inodes = dict[Path, tuple[int, int]]()
    for file in _present(files):
        with suppress(FileNotFoundError):
            inodes[file] = _inode(file.stat())
    return inodes


def _inode(of: os.stat_result) -> tuple[int, int]:
    return of.st_dev, of.st_ino


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with suppress(FileNotFoundError), file.open("rb") as content:
        yield from _lines_of(content)


def _lines_of(content: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line without its end, and where it starts."""
    start = 0
    for line in content:
        yield start, line.rstrip(b"\r\n")
        start += len(line)


def _lines_shown(lines: Iterable[tuple[int, bytes]], traces: PersonalTraces) -> Iterator[tuple[int, bytes]]:
    return (
        (start, line) for start, line in lines if traces.are_shown_in(unescaped(line.decode("utf-8", errors="replace")))
    )


def _fill_lines(out: IO[bytes], traces: PersonalTraces) -> None:
    for start, line in list(_lines_shown(_lines_of(out), traces)):
        if os.pread(out.fileno(), len(line), start) == line:  # else its process emptied the file meanwhile
            os.pwrite(out.fileno(), _filled(len(line)), start)
    os.fsync(out.fileno())


def _lines_quoted(file: Path, traces: PersonalTraces) -> Iterator[tuple[int, str]]:
    """By number, from 1."""
    for n, (_, line) in enumerate(_lines(file), start=1):
        text = unescaped(line.decode("utf-8", errors="replace"))
        if traces.are_named_in(text) or traces.are_quoted_in(text):
            yield n, text


def _places_quoted(file: Path, traces: PersonalTraces) -> Iterator[int]:
    """Lines of a text that quote the person, and those with which such a passage begins."""
    lines = [unescaped(line) for line in _text(file).splitlines()]
    alone = [n for n, line in enumerate(lines, start=1) if traces.are_quoted_in(line)]
    if alone or not traces.are_quoted_in("\n".join(lines)):
        yield from alone
        return
    for n in range(len(lines)):  # it goes over the end of a line
        if not traces.are_quoted_in("\n".join(lines[n + 1 :])):
            yield n + 1
            return


def _filled(n_bytes: int) -> bytes:
    line = b'{"event":"%b"}' % GONE.encode()
    return line.ljust(n_bytes) if len(line) <= n_bytes else b"-" * n_bytes


def _replace(file: Path, content: bytes) -> None:
    """Whole or not at all, with the mode that it has."""
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.chmod(file.stat().st_mode & 0o777)
    part.replace(file)


# --- another program's database ---------------------------------------------------------------------------------------


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)


def _cleared(value: str, traces: PersonalTraces) -> str:
    """JSON stays JSON of the same form: MLflow reads it again."""
    try:
        read = json.loads(value)
    except ValueError:
        read = None
    if not isinstance(read, dict | list):
        return traces.alias(value) if value in traces.names else GONE
    for shows in (lambda text: traces.are_shown_in(unescaped(text)), lambda _: True):
        text = json.dumps(traces.without(read, shows=shows), ensure_ascii=False)
        if not traces.are_shown_in(unescaped(text)):
            break  # else it is said over several of its texts
    return text


def _cells_shown(connection: sqlite3.Connection, traces: PersonalTraces) -> Iterator[tuple[str, str, int, Any]]:
    """Texts of any table that show the person: (table, column, row, text). Keys stay: they name runs, not people."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for (table,) in tables.fetchall():
        columns = [
            name for _, name, _, _, _, key in connection.execute(f'PRAGMA table_info("{table}")').fetchall() if not key
        ]
        for column in columns:
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = \'text\'')
            for rowid, value in rows.fetchall():
                if traces.are_shown_in(unescaped(value)):
                    yield table, column, rowid, value
