"""Each name that a benchmark takes from the product is there, and its options can be read: most benchmarks run for
hours, and import what they need when they need it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
FILES = sorted(BENCH.rglob("*.py"))
COMMANDS = [file for file in FILES if file.parent == BENCH and file.stem not in ("common", "pages")]


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(BENCH)) for file in FILES])
def test_what_a_benchmark_takes_from_the_product_is_there(file: Path) -> None:
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("api", "optimizer")
        for alias in node.names
    ]
    assert [f"{module}.{name}" for module, name in wanted if not _is_there(str(module), name)] == []


def test_the_readme_names_each_command_once() -> None:
    table = [line for line in (BENCH / "README.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    named = [name for line in table for name in re.findall(r"`(\w+)`", line)]
    assert sorted(named) == [file.stem for file in COMMANDS]


@pytest.mark.parametrize("file", COMMANDS, ids=[file.name for file in COMMANDS])
def test_a_benchmark_typed_with_help_says_its_options_and_runs_nothing(file: Path) -> None:
    """In a process of its own: pytest has put the tests' folder first in this one, and what a benchmark shares with the
    tests is no installed package of that name.
    """
    typed = subprocess.run([sys.executable, file, "--help"], cwd=BENCH, capture_output=True, text=True, timeout=120)
    assert (typed.returncode, typed.stdout[:6]) == (0, "usage:"), typed.stderr


def _is_there(module: str, name: str) -> bool:
    if hasattr(import_module(module), name):
        return True
    try:
        return bool(import_module(f"{module}.{name}"))
    except ModuleNotFoundError:
        return False
