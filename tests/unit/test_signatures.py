"""A function takes at most seven parameters: what belongs together is a value with a name of its own. It has at most
eighty lines, docstring included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.test_product_imports import ROOT

MOST = 7
MOST_LINES = 80
# At most ten, each with its reason.
STAY = {
    "optimizer/core/dataset/examples.py": {"make_example": "the members of an example, most of them optional"},
    "optimizer/jobs/record_change.py": {"tell": "the members of a row of the audit, and its transaction"},
    "optimizer/runtime/wiring.py": {"open_context": "the parts of a context, each of which a caller may have already"},
}
# Options of commands and fields of routes are typed and sent by name.
EDGES = ("optimizer/cli/", "api/routes/")


def long_ones(source: str) -> Iterator[str]:
    """Functions with more parameters, without ``self`` and ``cls``; ``*args`` and ``**kwargs`` count as one each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [
                one.arg
                for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
                if one
            ]
            if len(names) - (names[:1] in (["self"], ["cls"])) > MOST:
                yield node.name


def test_functions_take_at_most_seven_parameters_but_those_named_here() -> None:
    files = [file for package in ("optimizer", "api") for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 700
    found = {(str(f.relative_to(ROOT)), name) for f in files for name in long_ones(f.read_text(encoding="utf-8"))}
    inside = {(file, name) for file, name in found if not file.startswith(EDGES)}
    stay = {(file, name) for file, names in STAY.items() for name in names}
    assert sorted(inside - stay) == []
    assert len(stay) <= 10
    assert stay <= inside, "nothing is left here that needs no leave"


def test_a_long_one_would_be_found() -> None:
    assert list(long_ones("def f(self, a, b, c, d, e, f, g): ...")) == []
    assert list(long_ones("def f(a, /, b, *, c, d, e, f, g, h): ...")) == ["f"]
    assert list(long_ones("async def f(a, b, c, d, e, f, *args, **kwargs): ...")) == ["f"]


def of_many_lines(source: str) -> Iterator[str]:
    if source.count("\n") < MOST_LINES:
        return
    for node in ast.walk(ast.parse(source)):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and (node.end_lineno or node.lineno) - node.lineno >= MOST_LINES:
            yield node.name


def test_a_function_has_at_most_eighty_lines() -> None:
    files = [file for package in ("optimizer", "api") for file in (ROOT / package).rglob("*.py")]
    long = [f"{file.relative_to(ROOT)} {name}" for file in files for name in of_many_lines(file.read_text())]
    assert long == []


def test_one_of_more_lines_would_be_found() -> None:
    assert list(of_many_lines("def f():\n" + "    x = 1\n" * 79)) == []
    assert list(of_many_lines("def f():\n" + "    x = 1\n" * 80)) == ["f"]
