"""A person's table (CSV): its encoding, its delimiter, its rows.

What cannot be read for sure is refused with row, reason and remedy.

A table is looked through once before its first row is given out,
so that a fault in the last row leaves nothing half imported.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from optimizer.core.base.errors import InvalidInput

Row = tuple[str, dict[str, Any] | None, str | None]  # (where, cells by column, or None and why it is none)
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_CELL_CHARS = 4_000_000
CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 4_096
SHOWN_CHARS = 60
MORE_CELLS = "more cells than the first line names; a delimiter inside a cell wants quotes around it"
NUL = "a NUL character"  # which databases do not hold
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ANNOUNCED = re.compile(r'("?)sep=(?P<delimiter>.*?)\1 *', re.IGNORECASE)  # what a spreadsheet writes above the names
_NO_TABLES = (
    (b"PK\x03\x04", "a workbook or archive"),
    (b"\xd0\xcf\x11\xe0", "an old workbook"),
    (b"\x1f\x8b", "compressed"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that was looked through: every row of it can be read."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    n_rows: int  # without the line of names
    named_in_row: int  # 2 where a spreadsheet wrote ``sep=`` above the names

    def rows(self) -> Iterator[Row]:
        """Every row but empty ones, as an object by the names of the columns, numbered as a spreadsheet does."""
        with _opened(self.path, self.encoding) as file:
            for where, cells in _records(file, self.delimiter, self.named_in_row):
                if len(cells) > len(self.columns):
                    yield where, None, MORE_CELLS
                elif any("\0" in cell for cell in cells):
                    yield where, None, NUL
                else:
                    yield where, dict(zip_longest(self.columns, cells)), None


def open_table(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """Checks the whole file.

    Args:
        encoding: a name of Python's codecs; None: UTF-8, or what the file's byte order mark says.
        delimiter: one character, or the word ``tab``; None: the one that makes most columns of the row of names.
    Raises:
        InvalidInput: no table, empty, an encoding or delimiter that cannot be told, or quotes that do not pair; with
            row and remedy.
    """
    # The codec with which every byte of the file can be read.
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for mark, what in _NO_TABLES:
        if head.startswith(mark):
            raise InvalidInput(
                f"{path.name!r} is {what}, not a table of text. Save the sheet as CSV (UTF-8) and give that file."
            )
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if encoding is not None:
        try:
            "a".encode(encoding)  # codecs that are none of texts, such as base64, are refused here too
            encoding = codecs.lookup(encoding).name
        except (LookupError, ValueError):
            raise InvalidInput(
                f"There is no encoding {encoding!r}. Common ones are utf-8, cp1252 (Western Windows), latin-1 and"
                " utf-16."
            ) from None
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    else:
        encoding = marked or "utf-8-sig"
        if marked is None and b"\0" in head:
            raise InvalidInput(
                f"{path.name!r} holds NUL bytes, so it is no UTF-8 text. If it is UTF-16, say --encoding utf-16-le (or"
                " utf-16-be); nothing was taken."
            )
    _read_through(path, encoding)
    with _opened(path, encoding) as file:
        names = file.readline()
        announced = _ANNOUNCED.fullmatch(names.strip("\r\n"))
        if announced is not None:
            names = file.readline()
    skip = 0 if announced is None else 1
    separator = "\t" if delimiter in ("tab", "\\t") else delimiter or (announced and announced["delimiter"])
    if separator is not None and len(separator) != 1:
        raise InvalidInput(f"A delimiter is one character, or the word tab; got {separator!r}.")
    if not names.strip():
        raise InvalidInput(f"{path.name!r} is empty where its first line should name the columns.")
    chosen = separator or _delimiter(path, encoding)
    with _opened(path, encoding) as file:
        records = _records(file, chosen, skip)
        columns = next(records)[1]
        n_rows = sum(1 for _ in records)
    return Table(
        path=path, encoding=encoding, delimiter=chosen, columns=tuple(columns), n_rows=n_rows, named_in_row=1 + skip
    )


def _opened(path: Path, encoding: str) -> TextIO:
    return path.open(newline="", encoding=encoding)


def _records(file: TextIO, delimiter: str, skip: int) -> Iterator[tuple[str, list[str]]]:
    """(row n, its cells) of every row that has a cell, without the first ``skip``."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    n = 0
    while True:
        n += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidInput(
                f"Row {n} (line {reader.line_num}) is no row of a table: {error}. A cell that begins with a quote ends"
                " with one, and a quote inside it is written twice. Correct that row, or save the sheet as CSV once"
                " more; nothing was taken."
            ) from None
        if cells and n > skip:
            yield f"row {n}", cells


def _read_through(path: Path, codec: str) -> None:
    """Raises InvalidInput with the line of the first byte that ``codec`` cannot read, and how another would read it."""
    decoder = codecs.getincrementaldecoder(codec)("strict")
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                begin = max(error.object.rfind(b"\n", 0, error.start) + 1, error.start - SHOWN_CHARS)
                end = error.object.find(b"\n", error.start)
                raise _unreadable(
                    path,
                    codec,
                    line,
                    error.object[begin : min(end if end >= 0 else len(error.object), error.start + SHOWN_CHARS)],
                ) from None
            except UnicodeError as error:  # of a codec that names no place
                raise InvalidInput(
                    f"{path.name!r} is no {codec.upper()} text ({error}). Name its encoding with --encoding, such as"
                    " cp1252 or utf-16-le, or save the sheet as CSV (UTF-8); nothing was taken."
                ) from None
            if not chunk:
                return
            line += chunk.count(b"\n")


def _unreadable(path: Path, codec: str, line: int, raw: bytes) -> InvalidInput:
    from charset_normalizer import from_bytes

    with path.open("rb") as file:
        best = from_bytes(file.read(CHUNK_BYTES // 16)).best()
    guesses = dict.fromkeys(["cp1252", *([best.encoding] if best is not None else [])])
    shown = []
    for guess in guesses:
        try:
            shown.append(f"--encoding {guess} reads {raw.decode(guess).strip()[:SHOWN_CHARS]!r}")
        except (UnicodeDecodeError, LookupError):
            continue
    remedy = f"{'; '.join(shown)}. Say the one that is right" if shown else "Name its encoding with --encoding"
    return InvalidInput(
        f"Line {line} of {path.name!r} is no {codec.removesuffix('-sig').upper()} text. {remedy}, or save the sheet as"
        " CSV (UTF-8); nothing was taken."
    )


def _delimiter(path: Path, encoding: str) -> str:
    """The one that makes most columns of the row of names, which may have several lines; a comma where there is one
    column.
    """
    n_columns = dict.fromkeys(DELIMITERS, 1)
    for delimiter in DELIMITERS:
        with suppress(InvalidInput), _opened(path, encoding) as file:
            n_columns[delimiter] = len(next(_records(file, delimiter, 0))[1])
    most = max(n_columns.values())
    if most == 1:
        return ","
    best = [d for d, n in n_columns.items() if n == most]
    if path.suffix.lower() == ".tsv" and "\t" in best:
        return "\t"
    if len(best) > 1:
        raise InvalidInput(
            f"The first line of {path.name!r} makes {most} columns by {' and by '.join(DELIMITERS[d] for d in best)}."
            f" Say --delimiter, such as --delimiter '{best[0]}' (tab: the word tab)."
        )
    return best[0]
