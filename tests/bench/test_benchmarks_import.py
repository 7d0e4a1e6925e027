"""Each name that a benchmark takes from the product is there: most benchmarks run for hours,
and import what they need when they need it.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
FILES = sorted(BENCH.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(BENCH)) for file in FILES])
def test_what_a_benchmark_takes_from_the_product_is_there(file: Path) -> None:
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("api", "optimizer")
        for alias in node.names
    ]
    assert [f"{module}.{name}" for module, name in wanted if not _is_there(str(module), name)] == []


def _is_there(module: str, name: str) -> bool:
    if hasattr(import_module(module), name):
        return True
    try:
        return bool(import_module(f"{module}.{name}"))
    except ModuleNotFoundError:
        return False
