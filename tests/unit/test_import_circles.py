"""No module of the product imports itself by way of others: not in a function, and not for its types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from importlib.util import resolve_name
from pathlib import Path

from tests.unit.test_product_imports import ROOT, modules


def imported(name: str, file: Path, known: Set[str]) -> Iterator[str]:
    """The modules of the product, wherever in the file the import stands; of a package none that it only holds."""
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for inside in (f"{source}.{alias.name}" for alias in node.names):
                yield from (one for one in (inside, source) if one in known and (inside not in known or one == inside))


def circles(root: Path) -> list[tuple[str, ...]]:
    """Modules that lead to one another, each in one list: what is left when those without a way on are taken away, and
    those without a way in.
    """
    files = modules(root)
    ways = {name: set(imported(name, file, files.keys())) - {name} for name, file in files.items()}
    while ends := [name for name in ways if not ways[name] or not any(name in ahead for ahead in ways.values())]:
        ways = {name: ahead - set(ends) for name, ahead in ways.items() if name not in ends}
    return sorted({tuple(sorted(_together(name, ways))) for name in ways} - {()})


def _together(name: str, ways: Mapping[str, Set[str]]) -> Set[str]:
    back = {one for one in _reached(name, ways) if name in _reached(one, ways)}
    return back if name in back else set()


def _reached(name: str, ways: Mapping[str, Set[str]]) -> Set[str]:
    found, waiting = set[str](), set(ways[name])
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= ways[one] - found
    return found


def test_there_is_no_circle_of_imports() -> None:
    assert len(modules(ROOT)) > 600
    assert list(circles(ROOT)) == []


def test_a_circle_would_be_found_whatever_hides_it(tmp_path: Path) -> None:
    files = {
        "optimizer/__init__.py": "",
        "optimizer/first.py": "def run():\n    from optimizer import second\n",
        "optimizer/second.py": "import typing\nif typing.TYPE_CHECKING:\n    from optimizer.third import T\n",
        "optimizer/third.py": "from .first import run\nimport optimizer.end\n",
        "optimizer/end.py": "",
        "optimizer/start.py": "import optimizer.first\n",
        "api/__init__.py": "from api.inside import x\n",
        "api/inside.py": "import api\n",
        "api/beside.py": "from api import inside\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [list(circle) for circle in circles(tmp_path)] == [
        ["api", "api.inside"],
        ["optimizer.first", "optimizer.second", "optimizer.third"],
    ]
