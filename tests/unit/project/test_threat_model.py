"""docs/explanation/threat-model.md: every test that it names exists, every row names one,
and every role has its row.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from optimizer.core.serving.access import ROLES

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)))


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table under a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    assert (TESTS / path).is_file(), f"there is no tests/{path}"
    assert name in names_in(path), f"tests/{path} has no {name}"


def test_every_role_has_its_row_and_none_is_made_up() -> None:
    assert [cells[0].strip("`") for cells in rows("Keys")] == ["none", *ROLES]


@pytest.mark.parametrize(
    "heading", ["Keys", "Without a key", "What comes in", "What is promised elsewhere, and by which test"]
)
def test_every_line_names_a_test(heading: str) -> None:
    found = rows(heading)
    assert found
    assert [cells[0] for cells in found if not re.search(r"`[\w/]+\.py::test_\w+`", cells[-1])] == []


def test_what_is_not_kept_yet_is_said() -> None:
    assert "\n## Not kept yet\n" in PAGE
