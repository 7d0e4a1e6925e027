"""Sixty tables as people's programs write and spoil them: each reads right, or is refused with the row,
the reason and what to do.
"""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from optimizer.adapters.files.sources import column_mapping
from optimizer.adapters.files.table_files import MAX_CELL_CHARS, open_table
from optimizer.core.base.errors import InvalidInput
from tests.cases import named

TEXT = "message,label\nGrüße,card\nçava?,refund\n"
READ = [{"message": "Grüße", "label": "card"}, {"message": "çava?", "label": "refund"}]
PLAIN = [{"message": "a", "label": "card"}]


def table(
    tmp_path: Path, content: bytes, name: str = "sheet.csv", **given: str | None
) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    """(rows that were read, (where, why) of those refused one by one)."""
    path = tmp_path / name
    path.write_bytes(content)
    rows = list(open_table(path, **given).rows())
    return [row for _, row, _ in rows if row is not None], [(where, why) for where, _, why in rows if why is not None]


@pytest.mark.parametrize(
    ("content", "given"),
    [
        pytest.param(TEXT.encode(), {}, id="UTF-8"),
        pytest.param(codecs.BOM_UTF8 + TEXT.encode(), {}, id="UTF-8 with a mark"),
        pytest.param(codecs.BOM_UTF8 + TEXT.encode(), {"encoding": "utf-8"}, id="UTF-8 with a mark, named"),
        pytest.param(TEXT.encode("utf-16"), {}, id="UTF-16 with a mark"),
        pytest.param(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), {}, id="UTF-16, the other order"),
        pytest.param(TEXT.encode("utf-32"), {}, id="UTF-32 with a mark"),
        pytest.param(TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}, id="UTF-16 without a mark, named"),
        pytest.param(TEXT.encode("latin-1"), {"encoding": "latin-1"}, id="Latin-1, named"),
        pytest.param(TEXT.replace("\n", "\r\n").encode(), {}, id="lines of Windows"),
        pytest.param(TEXT.replace("\n", "\r").encode(), {}, id="lines of an old Macintosh"),
        pytest.param(TEXT.rstrip().encode(), {}, id="no end of the last line"),
        pytest.param(TEXT.replace(",", ";").encode(), {}, id="semicolons"),
        pytest.param(TEXT.replace(",", "\t").encode(), {}, id="tabs"),
        pytest.param(TEXT.replace(",", "|").encode(), {}, id="bars"),
        pytest.param(TEXT.replace(",", "^").encode(), {"delimiter": "^"}, id="a delimiter of one's own, named"),
        pytest.param(TEXT.replace(",", "\t").encode(), {"delimiter": "tab"}, id="tab, named"),
        pytest.param(("sep=;\n" + TEXT.replace(",", ";")).encode(), {}, id="a spreadsheet's line of the delimiter"),
        pytest.param(('"sep=;"\n' + TEXT.replace(",", ";")).encode(), {}, id="that line in quotes"),
        pytest.param(("sep=;\n" + TEXT.replace(",", "|")).encode(), {"delimiter": "|"}, id="that line overruled"),
        pytest.param(TEXT.replace("message,label", '"message","label"').encode(), {}, id="names in quotes"),
        pytest.param(TEXT.replace("Grüße,card", '"Grüße","card"').encode(), {}, id="cells in quotes"),
        pytest.param((TEXT + "\n\n").encode(), {}, id="empty lines at the end"),
        pytest.param(TEXT.replace("\nç", "\n\nç").encode(), {}, id="an empty line in the middle"),
    ],
)
def test_a_table_reads_as_it_was_written(tmp_path: Path, content: bytes, given: dict[str, str]) -> None:
    assert table(tmp_path, content, **given) == (READ, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param('"a, b"', "a, b", id="a delimiter inside"),
        pytest.param('"a\nb"', "a\nb", id="a line inside"),
        pytest.param('"say ""a"""', 'say "a"', id="quotes inside"),
        pytest.param('5" pipe', '5" pipe', id="a quote in the middle"),
        pytest.param('"=1+1"', "=1+1", id="a formula"),
        pytest.param("+49 30 1", "+49 30 1", id="a telephone number"),
        pytest.param("007", "007", id="leading zeros"),
        pytest.param(" a ", " a ", id="white space around"),
        pytest.param("ä\u2028b", "ä\u2028b", id="a line separator of Unicode"),
        pytest.param("a\vb\fc", "a\vb\fc", id="other white space"),
        pytest.param("a\\", "a\\", id="a backslash last"),
        pytest.param("x" * 200_000, "x" * 200_000, id="a long cell"),
    ],
)
def test_a_cell_is_what_it_says(tmp_path: Path, line: str, message: str) -> None:
    assert table(tmp_path, f"message,label\n{line},card\n".encode()) == ([{"message": message, "label": "card"}], [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(
            b"message,label\na,card\nb,card,more\n",
            ("row 3", "more cells than the first line names"),
            id="more cells than names",
        ),
        pytest.param(b"message,label\na,card\nb\0,card\n", ("row 3", "NUL"), id="a NUL character named as UTF-8"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_alone(tmp_path: Path, content: bytes, why: tuple[str, str]) -> None:
    read, [(where, reason)] = table(tmp_path, content, encoding="utf-8")
    assert (read, where) == (PLAIN, why[0])
    assert why[1] in reason


def test_a_row_with_fewer_cells_lacks_the_others(tmp_path: Path) -> None:
    assert table(tmp_path, b"message,label\na\n") == ([{"message": "a", "label": None}], [])


@named(
    ("content", "name", "says"),
    {
        "Latin-1": (
            TEXT.encode("latin-1"),
            "a.csv",
            ["Line 2", "--encoding cp1252 reads 'Grüße,card'", "nothing was taken"],
        ),
        "Windows' quotation marks": (TEXT.replace("ç", "“").encode("cp1252"), "a.csv", ["Line 2", "--encoding cp1252"]),
        "Japanese": ("message,label\nこんにちは,card\n".encode("shift-jis"), "a.csv", ["Line 2", "--encoding"]),
        "one byte at the end of a large file": (
            b"message,label\n" + b"a,card\n" * 300_000 + b"\xfc,card\n",
            "a.csv",
            ["Line 300002"],
        ),
        "cut off in a letter": (b"message,label\na,card\n\xc3", "a.csv", ["Line 3"]),
        "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "a.csv", ["NUL", "--encoding utf-16-le"]),
        "UTF-16 cut off": (TEXT.encode("utf-16")[:-1], "a.csv", ["UTF-16"]),
        "empty": (b"", "a.csv", ["is empty"]),
        "a mark alone": (codecs.BOM_UTF8, "a.csv", ["is empty"]),
        "blank lines alone": (b"\n\n\n", "a.csv", ["is empty"]),
        "a delimiter and nothing else": (b"sep=;\n", "a.csv", ["is empty"]),
        "a workbook": (b"PK\x03\x04rest", "a.xlsx", ["workbook", "CSV (UTF-8)"]),
        "an old workbook": (b"\xd0\xcf\x11\xe0rest", "a.xls", ["old workbook"]),
        "compressed": (b"\x1f\x8brest", "a.csv", ["compressed"]),
        "a PDF": (b"%PDF-1.7", "a.csv", ["PDF"]),
        "a quote that nothing ends": (b'message,label\na,card\n"b,card\nc,card\n', "a.csv", ["Row 3", "quote"]),
        "words after a quoted cell": (b'message,label\na,card\n"b" c,card\n', "a.csv", ["Row 3", "quote"]),
        "a quote that swallows a row": (b'message,label\n"a,card\nb,"card"\n', "a.csv", ["Row 2", "quote"]),
        "two delimiters that could be meant": (b"a,b;c\n1,2;3\n", "a.csv", ["--delimiter", "comma", "semicolon"]),
        "a cell without bound": (
            b"m,l\n" + b"x" * (MAX_CELL_CHARS + 1) + b",card\n",
            "a.csv",
            ["Row 2", "field larger"],
        ),
    },
)
def test_a_table_that_cannot_be_read_for_sure_is_refused_as_a_whole(tmp_path, content, name, says):
    with pytest.raises(InvalidInput) as refused:
        table(tmp_path, content, name)
    assert [part for part in says if part not in refused.value.detail] == []


@pytest.mark.parametrize("encoding", ["klingon", "base64", "hex", "rot13", "zlib", "undefined", "a\0b"])
def test_an_encoding_that_is_none_of_texts_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InvalidInput, match="There is no encoding"):
        table(tmp_path, TEXT.encode(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16", "punycode"])
def test_a_table_is_refused_by_a_codec_that_names_no_place(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InvalidInput, match="nothing was taken"):
        table(tmp_path, b"message,label\na,card\n", encoding=encoding)


def test_a_delimiter_of_several_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one character"):
        table(tmp_path, TEXT.encode(), delimiter="::")


def test_an_encoding_that_is_named_and_cannot_read_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Line 2"):
        table(tmp_path, TEXT.encode(), encoding="ascii")


def test_a_name_of_a_column_may_have_several_lines(tmp_path: Path) -> None:
    read, _ = table(tmp_path, b'"a, b,\nor c";"label\n(one)";note\nx;card;y\n')
    assert read == [{"a, b,\nor c": "x", "label\n(one)": "card", "note": "y"}]


def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'sep=,\nmessage,label\n"a\nb",card\n\nc,card\n')
    opened = open_table(path)
    assert [where for where, _, _ in opened.rows()] == ["row 3", "row 5"]
    assert (opened.n_rows, opened.columns) == (2, ("message", "label"))


class CountedName(str):
    """A column's name that counts how often it is compared."""

    n_compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedName.n_compared += 1
        return str.__eq__(self, other)


def test_names_of_columns_are_compared_in_proportion_to_their_number() -> None:
    names = [CountedName(f"c{i}") for i in range(2000)]
    CountedName.n_compared = 0
    assert column_mapping(names, ["text"], "topic", {"text": "c0", "topic": "c1"}) == {"text": "c0", "topic": "c1"}
    assert CountedName.n_compared < 10 * len(names)
