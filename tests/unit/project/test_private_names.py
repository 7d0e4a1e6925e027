"""The product leans on no name of another package that is private there, but in one module, for uvicorn."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from textwrap import dedent
from threading import Thread
from typing import Any

import pytest

from tests.unit.project.test_product_imports import CLIENT, ROOT, modules

PUBLIC = {"_exit", "_replace", "_asdict", "_fields"}  # named so by Python's documentation
ALLOWED = {
    "api.http.connections": "uvicorn's connection; other versions of it are refused at start",
    "optimizer.adapters.predictors.export": "scikit-learn tells the trees of a gradient boosting in no other way",
}
# Of packages that the application brings: what the names say is told in no other way.
CLIENT_ALLOWED = {
    "detent_client.adapters.langchain": {"_get_invocation_params"},  # which every chat model has for such as this
    "detent_client.adapters.litellm": {"_hidden_params"},  # the id of a call; None where an answer has none
}
OURS = ("optimizer", "api")
SUSPECT = re.compile(r"(?<!\bself)(?<!\bcls)\._[^_]|import.*\b_[^_]|import \([^)]*\b_[^_]|(?:get|set|has)attr\(")
HAS_BASES = re.compile(r"^\s*class \w+\(", re.MULTILINE)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def used(source: str) -> Iterator[str]:
    """Private names that are imported, or read from something that is not ``self`` and has them nowhere in the file."""
    if not SUSPECT.search(source):
        return  # most files need no parsing
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (part for part in parts if is_private(part))
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split(".") if is_private(part))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and not _is_own(node) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            named = node.args[1]
            if isinstance(named, ast.Constant) and is_private(named.value) and named.value not in own:
                yield named.value


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def shared_with_a_base(kind: type[Any]) -> set[str]:
    """Private names of a class that a base of another package has, too: one of the two would overwrite the other."""
    tree = ast.parse(dedent(inspect.getsource(kind)))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_own(node)}
    named |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    found = set[str]()
    for base in kind.__mro__[1:]:
        if base.__module__.partition(".")[0] not in (*OURS, "builtins", "typing", "abc", "enum"):
            theirs = set(vars(base)) | _attributes(base)
            found |= {name for name in named if is_private(name) and name in theirs}
    return found


@cache
def _attributes(base: type[Any]) -> frozenset[str]:
    try:
        tree = ast.parse(dedent(inspect.getsource(base)))
    except (OSError, TypeError):  # it has no source in Python
        return frozenset()
    return frozenset(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_own(node))


def test_no_private_name_of_another_package_is_imported_or_read() -> None:
    found = {name: list(used(file.read_text(encoding="utf-8"))) for name, file in modules(ROOT).items()}
    assert {name: names for name, names in found.items() if names and name not in ALLOWED} == {}
    assert set(found["optimizer.adapters.predictors.export"]) == {"_predictors", "_baseline_prediction"}


def test_the_client_reads_no_other_private_name_of_a_package_than_those_named_here() -> None:
    texts = {name: file.read_text(encoding="utf-8") for name, file in modules(CLIENT).items()}
    own = set(re.findall(r"self\.(_[a-z]\w*)|def (_[a-z]\w*)", "\n".join(texts.values())))
    ours = {name for pair in own for name in pair}
    found = {name: set(used(text)) - ours for name, text in texts.items()}
    assert {name: names for name, names in found.items() if names} == CLIENT_ALLOWED


@pytest.mark.parametrize("package", ["uvicorn", "scikit-learn"])
def test_a_package_whose_private_names_are_read_is_bounded_to_the_versions_that_have_them(package: str) -> None:
    major, minor, *_ = version(package).split(".")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (wanted,) = [one for one in project["project"]["dependencies"] if re.match(rf"{package}\b", one)]
    assert wanted.endswith(f"<{major}.{int(minor) + 1}")


def with_foreign_bases(source: str) -> list[str]:
    """Classes of a file with a base that is imported from elsewhere; those of typing and pydantic hold nothing."""
    if not HAS_BASES.search(source):
        return []
    tree = ast.parse(source)
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and getattr(node, "module", "").partition(".")[0]
        not in (*OURS, "typing", "pydantic", "abc", "enum", "__future__")
        for alias in node.names
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [
        one.name
        for one in classes
        if any(foreign & {n.id for n in ast.walk(b) if isinstance(n, ast.Name)} for b in one.bases)
    ]


def test_no_class_overrides_a_private_name_of_a_base_of_another_package() -> None:
    found, n_classes = {}, 0
    for name, file in modules(ROOT).items():
        for one in with_foreign_bases(file.read_text(encoding="utf-8")):
            n_classes += 1
            if shared := shared_with_a_base(vars(import_module(name))[one]):
                found[f"{name}.{one}"] = shared
    assert n_classes > 10
    assert found == {}


def test_a_class_that_overrides_a_private_name_would_be_found() -> None:
    class Worker(Thread):
        def _bootstrap(self) -> None:
            """Of threading.Thread as well."""

    assert shared_with_a_base(Worker) == {"_bootstrap"}


@pytest.mark.parametrize(
    "source",
    [
        "from uvicorn import _server",
        "from uvicorn import (\n    Server,\n    _server,\n)",
        "from a._inner import name",
        "import a._inner",
        "row._mapping",
        "super()._open()",
        "hasattr(model, '_json')",
    ],
)
def test_a_private_name_would_be_found(source: str) -> None:
    assert len(list(used(source))) == 1
    assert list(used("copy._own = 1\nself._own\nparts._replace(a=1)\nkind.__name__")) == []
