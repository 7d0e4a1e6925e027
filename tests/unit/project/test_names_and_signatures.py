"""Names: a class's stands once and is a noun of the field, and a variable says what it holds. A function takes at most
seven parameters: what belongs together is a value with a name of its own. It has at most eighty lines, docstring
included.
"""

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

MOST = 7
MOST_LINES = 80
# At most ten, each with its reason.
STAY = {
    "optimizer/core/dataset/examples.py": {"make_example": "the members of an example, most of them optional"},
    "optimizer/jobs/record_change.py": {"tell": "the members of a row of the audit, and its transaction"},
    "client/detent_client/adapters/litellm.py": {"async_get_chat_completion_prompt": "as LiteLLM calls it"},
    "client/detent_client/client.py": {
        "__init__": "the settings of a client, which its user names",
        "feedback": "the members of an event, which its user names",
    },
    "client/detent_client/prompt.py": {
        "__init__": "what a prompt is of, and the two ways out of it",
        "record": "the members of an event, which its user names",
    },
}
# Options of commands and fields of routes are typed and sent by name.
EDGES = ("optimizer/cli/", "api/routes/")


Signatures = dict[str, list[tuple[str, int, int]]]  # by file, as of ``functions``


@cache
def names_of(distribution: tuple[str, ...]) -> tuple[dict[str, list[str]], dict[str, list[str]], Signatures]:
    """Where each class name stands, without a leading underscore, and by file which variables are misnamed and what
    its functions take.
    """
    places: dict[str, list[str]] = defaultdict(list)
    misnamed: dict[str, list[str]] = {}
    measured: Signatures = {}
    for file in (file for package in distribution for file in (ROOT / package).rglob("*.py")):
        place, tree = str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))
        for node in statements(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(place)
        if names := misnamed_variables(tree):
            misnamed[place] = names
        measured[place] = functions(tree)
    return places, misnamed, measured


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
    places, *_ = names_of(distribution)
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


def functions(tree: ast.Module) -> list[tuple[str, int, int]]:
    """(name, parameters, lines) of each, without ``self`` and ``cls``; ``*args`` and ``**kwargs`` count as one each."""
    measured = []
    for node in statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = node.args
            names = [one.arg for one in (*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg, own.kwarg) if one]
            n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
            measured.append((node.name, len(names) - (names[:1] in (["self"], ["cls"])), n_lines))
    return measured


def long_ones(measured: list[tuple[str, int, int]]) -> list[str]:
    return [name for name, n_parameters, _ in measured if n_parameters > MOST]


def test_functions_take_at_most_seven_parameters_but_those_named_here() -> None:
    measured = names_of(DISTRIBUTIONS[0])[2] | names_of(DISTRIBUTIONS[1])[2]
    assert len(measured) > 700
    found = {(file, name) for file, of_file in measured.items() for name in long_ones(of_file)}
    inside = {(file, name) for file, name in found if not file.startswith(EDGES)}
    stay = {(file, name) for file, names in STAY.items() for name in names}
    assert sorted(inside - stay) == []
    assert len(stay) <= 10
    assert stay <= inside, "nothing is left here that needs no leave"


def test_a_long_one_would_be_found() -> None:
    def long(source: str) -> list[str]:
        return long_ones(functions(ast.parse(source)))

    assert long("def f(self, a, b, c, d, e, f, g): ...") == []
    assert long("def f(a, /, b, *, c, d, e, f, g, h): ...") == ["f"]
    assert long("async def f(a, b, c, d, e, f, *args, **kwargs): ...") == ["f"]


def of_many_lines(measured: list[tuple[str, int, int]]) -> list[str]:
    return [name for name, _, n_lines in measured if n_lines > MOST_LINES]


def test_a_function_has_at_most_eighty_lines() -> None:
    measured = names_of(DISTRIBUTIONS[0])[2]
    assert [f"{file} {name}" for file, of_file in measured.items() for name in of_many_lines(of_file)] == []


def test_one_of_more_lines_would_be_found() -> None:
    assert of_many_lines(functions(ast.parse("def f():\n" + "    x = 1\n" * 79))) == []
    assert of_many_lines(functions(ast.parse("def f():\n" + "    x = 1\n" * 80))) == ["f"]
