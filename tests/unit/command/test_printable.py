"""What other people wrote is shown on a terminal as text:
no command to the terminal comes through, wherever it is printed.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, strategies as st
from rich.table import Table
from rich.text import Text

from optimizer.cli.app import run
from optimizer.cli.output import cell, print_facts, show, table
from optimizer.cli.safe_console import SafeConsole
from optimizer.core.base.phrasing import printable, printable_json, printable_lines
from optimizer.host.config import load_settings
from optimizer.host.logs import set_up_logs

ROOT = Path(__file__).parents[3]
EVIL = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\x08e\rf\u202eg"
UNSAFE = {chr(n) for n in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))} - {
    "\n",
    "\t",
}


class Screen(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_no_command_to_a_terminal_comes_through_and_all_else_does(text: str) -> None:
    shown = printable(text)
    assert not UNSAFE & set(shown)
    assert shown.replace("\ufffd", "") == "".join(c for c in text.replace("\r\n", "\n") if c not in UNSAFE | {"\ufffd"})


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_keeps_its_value(value: Any) -> None:
    safe = printable_json(json.dumps(value, ensure_ascii=False))
    assert not UNSAFE & set(safe)
    assert json.loads(safe) == value


@pytest.mark.parametrize("printed", [EVIL, cell(EVIL), Text(EVIL)], ids=["plain", "cell", "Text"])
def test_every_way_to_print_with_rich_is_safe(printed: Any) -> None:
    grid = Table(title=printed)
    grid.add_column(printed)
    grid.add_row(printed)
    for what in (printed, grid):
        out = io.StringIO()
        SafeConsole(file=out, width=80).print(what)
        assert not UNSAFE & set(out.getvalue())
        assert "a\ufffd[2Jb" in out.getvalue()


def test_rich_s_own_colours_stay() -> None:
    out = io.StringIO()
    SafeConsole(file=out, force_terminal=True, width=80, color_system="standard").print(Text(EVIL, style="red"))
    assert out.getvalue().startswith("\x1b[31m")
    assert not UNSAFE & set(printable_lines(out.getvalue())) - {"\x1b"}
    assert "\x1b[2J" not in out.getvalue()


def test_tables_and_json_of_commands_are_safe(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": EVIL}]
    for as_json in (False, True):
        show(as_json, rows, table(rows, {"text": "TEXT"}, empty=""))
        assert not UNSAFE & set(capsys.readouterr().out)


def test_an_error_that_quotes_is_safe(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("DETENT_PROFILE", EVIL)
    assert run(["status"]) == 2
    told = capsys.readouterr().err
    assert "a\\x1b[2J" in told or "a\ufffd[2J" in told
    assert not UNSAFE & set(told)


def test_a_line_of_the_log_is_safe_on_the_terminal_and_in_its_file(tmp_path, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        settings = load_settings(home=tmp_path)
        set_up_logs(settings, "test")
        structlog.get_logger("test").warning("told", detail=EVIL)
        try:
            raise ValueError(EVIL)
        except ValueError:
            logging.getLogger("test").exception(EVIL)
        for handler in root.handlers:
            handler.flush()
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = before[0], before[1]
        structlog.reset_defaults()
    assert "a\ufffd[2J" in screen.getvalue() or "a\\x1b[2J" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    assert not UNSAFE & set(screen.getvalue()) - {"\x1b"}
    text = (settings.log_dir() / "test.log").read_text()
    assert not UNSAFE & set(text)
    assert json.loads(text.splitlines()[0])["detail"] == EVIL


def test_there_is_no_other_console_in_the_program() -> None:
    texts = {
        file: file.read_text(encoding="utf-8")
        for folder in ("optimizer", "api")
        for file in (ROOT / folder).rglob("*.py")
    }
    made = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, text in texts.items()
        if "Console" in text  # others need no parsing
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert made == []


def test_a_label_as_wide_as_its_column_stands_apart_from_what_it_says() -> None:
    stream = io.StringIO()
    print_facts(SafeConsole(file=stream), ("Audits say", "cannot tell"), ("Outcome", "none"))
    assert stream.getvalue() == "Audits say cannot tell\nOutcome   none\n"
