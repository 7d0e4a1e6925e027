"""What commands take alike, and what is printed where: data to stdout, messages to stderr, one JSON document with
--json.

NO_COLOR and pipes get no colour.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.server_option import with_server
from optimizer.core.base import phrasing
from optimizer.core.base.phrasing import printable_json
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from rich.console import Console

FamilyName = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.", rich_help_panel="Output")]


class OutputFault(Exception):
    """Standard output takes no more: its reader went, or its disk is full."""

    @property
    def is_reader_gone(self) -> bool:
        return isinstance(self.__cause__, BrokenPipeError)


class _ResultFile(io.FileIO):
    """Standard output. Its errors are told from those of every other file."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputFault(error.strerror) from error


def open_streams() -> None:
    """Makes of each stream that the caller closed one that is empty and takes everything, and of stdout one that raises
    OutputFault.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the stream's own: the lowest that is free
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", closefd=False))
    text: Any = sys.stdout
    raw = _ResultFile(text.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if text.write_through else io.BufferedWriter(raw),
        encoding=text.encoding,
        errors=text.errors,
        line_buffering=text.line_buffering,
        write_through=text.write_through,
    )


def discard_output() -> None:
    """Whatever standard output is sent from here on, and what still waits, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(*, stderr: bool = False) -> Console:
    """A console that wraps only on a terminal: what goes into a pipe is for programs and searches."""
    from optimizer.cli.safe_console import SafeConsole

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else 200
    return SafeConsole(stderr=stderr, highlight=False, width=width, soft_wrap=not stream.isatty())


def say(text: str, style: str | None = None) -> bool:
    """A message for the person at the terminal; never data. False where it cannot be written, which ends nothing:
    its reader went, or its disk is full.
    """
    try:
        console(stderr=True).print(text, style=style, markup=False)
    except OSError:
        return False
    return True


def show(as_json: bool, value: Any, view: Callable[[Console], object] | None = None) -> None:
    """The result of a command: ``value`` as JSON, or ``view`` for people. The command goes on where its reader went:
    its exit code says what it found, whoever reads that.
    """
    try:
        if as_json:
            from pydantic_core import to_jsonable_python

            plain = partial(to_jsonable_python, by_alias=False)
            print(printable_json(json.dumps(value, default=plain, ensure_ascii=False, indent=2)))
        elif view is not None:
            view(console())
    except OutputFault as fault:
        if not fault.is_reader_gone:
            raise
        discard_output()


def show_report(
    as_json: bool, use_case: Callable[..., Any], report: object, view: Callable[[Console], object] | None = None
) -> None:
    """The report of a use case, as its route answers it, or ``view`` for people."""
    show(as_json, as_json_of(use_case, report) if as_json else None, view)


def print_facts(
    out: Console, *facts: tuple[str, str | Iterable[str] | None] | tuple[str, str | None, str | None]
) -> None:
    """A line for each fact: its label, what it says, and its colour, if any.

    Of several texts each has a line; where there is none, there is no line.
    """
    for label, value, *style in facts:
        for text in [value] if isinstance(value, str) else value or ():
            shown = with_server(text) if label in ("Next", "Undo") else text
            out.print(f"{label:<9} {shown}", style=style[0] if style else None, markup=False)


def tell_change(what: str, *, why: str, undo: str | None, then: str | None, but: str = "") -> None:
    """Every change of state says what happened, why, what speaks against it, how to take it back, what comes next."""
    say(what, "bold")
    for label, text in (
        ("Why: ", why),
        ("But: ", but),
        ("Undo:", with_server(undo or "")),
        ("Next:", with_server(then or "")),
    ):
        if text:
            say(f"  {label} {text}")


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> Callable[[Console], None]:
    """A view of rows: ``columns`` maps the key in a row to its heading; keys of numbers are aligned right."""

    def view(out: Console) -> None:
        if not rows:
            say(empty)
            return
        from rich.table import Table

        grid = Table(box=None, pad_edge=False, header_style="bold")
        for key, heading in columns.items():
            grid.add_column(
                heading,
                justify="right" if all(isinstance(row.get(key), int | float | None) for row in rows) else "left",
                overflow="fold",
            )
        for row in rows:
            grid.add_row(*(cell(row.get(key)) for key in columns))
        out.print(grid)

    return view


def cell(value: Any) -> str:
    """One value for people: shares of time and numbers short, nothing as an en dash."""
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return when(value) if isinstance(value, datetime) else escape(str(value))


def when(value: datetime | None) -> str:
    return "–" if value is None else phrasing.when(value)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


def dollars(amount: float | None) -> str:
    return "–" if amount is None else phrasing.dollars(amount)


def one_line(text: str, most: int) -> str:
    """The text without its line breaks, cut to ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
