"""Routes and reading commands answer on the kept store what they answered when it was recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer

from optimizer.cli.app import app
from tests.answer_schemas import openapi_document
from tests.recordings import answers


def differing(now: answers.Answers) -> list[str]:
    before = answers.kept_answers()
    told = []
    for asked, answer in now.items():
        found = list(answers.differences(before.get(asked, "(not recorded)"), answer))
        told += [f"{asked}", *(f"    {one}" for one in found[:5])] if found else []
    return told


def test_each_answer_is_what_it_was() -> None:
    told = differing(answers.record(most=1))
    assert told == [], "\n".join(told)


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
