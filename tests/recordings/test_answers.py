"""Routes and reading commands answer on the kept store what they answered when it was recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import typer

from optimizer.cli.app import app
from tests.recordings import answers
from tests.recordings.home import PREFIX, rows_of, unpacked
from tests.rows.answer_schemas import openapi_document


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_of(one)


def read(column: str | None) -> Any:
    """JSON, or a plain text as it is."""
    with suppress(ValueError, TypeError):
        return json.loads(column or "")
    return column


def differing(now: answers.Answers) -> list[str]:
    before = answers.kept_answers()
    told = []
    for asked, answer in now.items():
        found = list(answers.differences(before.get(asked, "(not recorded)"), answer))
        told += [f"{asked}", *(f"    {one}" for one in found[:5])] if found else []
    return told


def test_each_answer_is_what_it_was_and_none_has_a_word_of_a_sealed_example() -> None:
    now = answers.record(most=1)
    told = differing(now)
    assert told == [], "\n".join(told)
    assert [asked for asked, answer in now.items() if answers.SEALED in json.dumps(answer)] == []


def test_no_answer_to_a_key_of_role_read_has_a_text_that_somebody_wrote() -> None:
    with TemporaryDirectory(prefix=PREFIX) as folder:
        rows = rows_of(unpacked(Path(folder)))
    columns = ("input", "output", "error", "expected", "content", "request", "answer", "given", "text")
    written = {
        text
        for table, of_table in rows.items()
        for row in of_table
        if table not in ("decisions", "cohort_blocks")  # whose content is figures and ids
        for name in columns
        for text in texts_of(read(row.get(name)))
        if len(text) > 16
    }
    shown = {}
    for key in ("boss", "reader"):
        answered = [answer for asked, answer in answers.kept_answers().items() if f"{key}: " in asked]
        said = "\n".join(texts_of(answered))
        shown[key] = {text for text in written if text in said}
    assert len(shown["boss"]) > 50  # they were there to be found
    assert shown["reader"] == set()


@pytest.mark.long
def test_each_answer_about_everything_is_what_it_was() -> None:
    now = answers.record()
    told = differing(now)
    assert told == [], "\n".join(told)
    assert now.keys() == answers.kept_answers().keys()


def test_every_operation_of_openapi_is_asked() -> None:
    paths = openapi_document()["paths"]
    asked = {tuple(re.findall(r"(?:GET|POST|PUT|DELETE) [^ ?]+", one)[:1]) for one in answers.kept_answers()}
    unasked = [
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method in operations
        if not any(
            one and re.fullmatch(f"{method.upper()} {re.sub('{[^}]+}', '[^/]+', path)}", one[0]) for one in asked
        )
    ]
    assert unasked == []


def test_every_command_is_recorded_or_known_to_change_something() -> None:
    def leaves(command: object, words: tuple[str, ...] = ()) -> Iterator[str]:
        commands = getattr(command, "commands", None)
        if not commands:
            yield " ".join(words)
        for name, one in (commands or {}).items():
            yield from leaves(one, (*words, name))

    others = {one.strip() for one in re.split(r"[;\n]", answers.OTHER_COMMANDS)}
    others |= set(answers.OTHER_COMMANDS.split(";")[0].split())
    read = [one.strip() for one in re.split(r"[;\n]", answers.READING_COMMANDS)]
    unknown = [
        name
        for name in leaves(typer.main.get_command(app))
        if not (name in others or name.split()[0] in others or any(f"{one} ".startswith(f"{name} ") for one in read))
    ]
    assert unknown == []
