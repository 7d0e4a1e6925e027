"""Names: a class's stands once and is a noun of the field, and a variable says what it holds."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

import pytest

from tests.unit.project.test_product_imports import ROOT, statements

GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")


def listed(beginning: str) -> set[str]:
    """The words that the glossary's list of this beginning names, as far as its first semicolon or full stop."""
    words = re.search(rf"^- {beginning}: (.+?)[;.]", GLOSSARY, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`(\w+)`", words[1]))


FIGURES_OF_SPEECH = listed("Of no class")
NO_VARIABLES = listed("Of no variable, parameter or function")
ON_THE_WIRE = {"said"}  # a member of answers, which some properties give
NOUNS = {"Refused"}  # of errors: each says what became of a request


# Each is read by itself: the client and a benchmark may call the same thing as the product does.
DISTRIBUTIONS = (("optimizer", "api"), ("client/detent_client",), ("bench", "docs", "deploy", "examples"))
TWICE_ON_PURPOSE = {
    "Prompt",  # one is a DSPy module, whose source goes to the model that proposes
    "Ticket",  # of the same application before and after
}


@cache
def names_of(distribution: tuple[str, ...]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Where each class name stands, without a leading underscore, and by file which variables are misnamed."""
    places: dict[str, list[str]] = defaultdict(list)
    misnamed: dict[str, list[str]] = {}
    for file in (file for package in distribution for file in (ROOT / package).rglob("*.py")):
        place, tree = str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))
        for node in statements(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(place)
        if names := misnamed_variables(tree):
            misnamed[place] = names
    return places, misnamed


def misnamed_variables(tree: ast.Module) -> list[str]:
    """Functions, their parameters and variables; a member of a class has a name on the wire, which stays."""
    names: set[tuple[int, str]] = set()
    for function in statements(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add((function.lineno, function.name))
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add((node.lineno, node.id))
                elif isinstance(node, ast.arg):
                    names.add((node.lineno, node.arg))
    return [f"{line} {name}" for line, name in sorted(names) if name.strip("_") in NO_VARIABLES - ON_THE_WIRE]


def no_nouns(names: Iterable[str]) -> list[str]:
    plain = [name.strip("_") for name in names]
    return sorted(
        name
        for name in plain
        if name in FIGURES_OF_SPEECH or (re.fullmatch(r"[A-Z][a-z]+ed", name) and name not in {*NOUNS, "Need"})
    )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids="+".join)
def test_no_class_name_stands_twice(distribution: tuple[str, ...]) -> None:
    places, _ = names_of(distribution)
    assert len(places) > 50
    twins = {name: files for name, files in places.items() if len(files) > 1}
    assert {name: files for name, files in twins.items() if name not in TWICE_ON_PURPOSE} == {}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids="+".join)
def test_a_class_is_named_by_a_noun(distribution: tuple[str, ...]) -> None:
    assert no_nouns(names_of(distribution)[0]) == []


def test_another_name_would_be_found() -> None:
    assert no_nouns(["_Asked", "Heat", "Request", "Need", "KeyedRequest"]) == ["Asked", "Heat"]


@pytest.mark.parametrize("distribution", [DISTRIBUTIONS[0], DISTRIBUTIONS[2]], ids="+".join)
def test_a_variable_is_named_after_what_it_holds(distribution: tuple[str, ...]) -> None:
    assert names_of(distribution)[1] == {}


def test_a_variable_named_after_how_it_came_would_be_found() -> None:
    tree = ast.parse("class Row:\n    given: str\n\ndef asked(told):\n    found = 1\n    answer = found\n")
    assert misnamed_variables(tree) == ["4 asked", "4 told", "5 found"]
