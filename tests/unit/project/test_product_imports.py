"""Who imports whom: the product uses each of its modules, none of them leans on the tests or the benchmarks, and none
imports itself by way of others, not in a function and not for its types alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Set
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[3]
PRODUCT = ("optimizer", "api", "detent_client")
CLIENT = ROOT / "client"
ROOM = re.compile(rf"(?:{'|'.join(PRODUCT)})(?:\.\w+)+")
FUNCTION = re.compile(r"\w+(?:\.\w+)*:\w+")
MIGRATIONS = "optimizer.adapters.store.migrations"
STARTED = {
    "optimizer.cli": "console script `detent`",
    "optimizer.demo.command": "entry point of the group detent.commands, by optimizer/cli/entry_points.py",
    "optimizer.processes": "python -m, by optimizer/runtime/supervise.py: api, gateway, worker, mlflow",
    "optimizer.runtime.mlflow_app": "python -m, by optimizer/runtime/mlflow_server.py",
    "optimizer.adapters.models.embedded_server": "python -m, by optimizer/adapters/models/embedded_pool.py",
    "optimizer.cli.study.open_project": "detent_client.Detent.open, in client/detent_client/notebook/detent.py",
    "optimizer.templates": "the files of `detent init`, read through importlib.resources",
    f"{MIGRATIONS}.env": "Alembic runs it by its path",
    **{
        f"{MIGRATIONS}.versions.{file.stem}": "Alembic runs it by its path"
        for file in ROOT.glob("optimizer/**/versions/r[0-9]*.py")
    },
}


def modules(root: Path) -> dict[str, Path]:
    """The product's modules and packages by their dotted names."""
    found = {}
    for file in (file for package in PRODUCT for file in (root / package).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Wherever they stand; expressions hold none, and are most of a tree."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, part, ())


@cache
def import_statements(root: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """By module, of each ``from a import b, c`` both a and [b, c]; of ``import a`` a and nothing."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for name, file in modules(root).items():
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        found[name] = []
        for node in statements(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] += [(alias.name, []) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), package)
                found[name].append((source, [alias.name for alias in node.names]))
    return found


def named(name: str, file: Path, root: Path) -> Iterator[str]:
    """Modules that stand as a text: the job of a use case, ``a.b:c``; and a room of ``rooms.py``, itself with the
    modules right in it.
    """
    if name not in ("optimizer.runtime.use_cases", "optimizer.runtime.rooms"):
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if name == "optimizer.runtime.use_cases" and FUNCTION.fullmatch(node.value):
            yield from (
                f"{room}.{node.value.partition(':')[0]}" for room in ("optimizer.jobs", "optimizer.content.jobs")
            )
        elif name == "optimizer.runtime.rooms" and ROOM.fullmatch(node.value):
            yield node.value
            inside = root / node.value.replace(".", "/")
            yield from (f"{node.value}.{module.stem}" for module in inside.glob("*.py"))


@cache
def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """What each module of the product imports; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    files = modules(root)
    return {
        name: {
            *(source for source, _ in of_module),
            *(f"{source}.{one}" for source, names in of_module for one in names),
            *named(name, files[name], root),
        }
        for name, of_module in import_statements(root).items()
    }


def reached(by_module: dict[str, set[str]], started: set[str]) -> set[str]:
    """The modules that are loaded when all of ``started`` run to their ends;
    a module's packages are loaded before it.
    """
    found, waiting = set[str](), set(started)
    while waiting:
        name = waiting.pop()
        if name in by_module and name not in found:
            found.add(name)
            waiting |= by_module[name] | {name.rpartition(".")[0]}
    return found


def test_each_module_of_the_product_is_imported_on_the_way_from_what_is_started_by_name() -> None:
    assert sorted(imports().keys() - reached(imports(), set(STARTED))) == []


def test_what_is_said_to_be_started_by_name_exists_and_nothing_imports_it() -> None:
    assert sorted(STARTED.keys() - imports().keys()) == []
    assert [
        (other, name)
        for name in STARTED
        for other in imports()
        if name in imports()[other] and not other.startswith(f"{name}.")
    ] == []


def test_no_module_of_the_product_imports_tests_or_benchmarks() -> None:
    theirs = {
        "tests",
        "bench",
        *(path.stem for path in (ROOT / "bench").iterdir() if path.suffix == ".py" or path.is_dir()),
    }
    assert (
        sorted((name, other) for name, others in imports().items() for other in others if other.split(".")[0] in theirs)
        == []
    )


def test_nothing_but_the_confirmation_reads_what_is_sealed() -> None:
    readers = {
        name
        for name, file in modules(ROOT).items()
        if re.search(r"\bsealed_holdout\(|\bSealedHoldout\b|\bHoldoutTable\b", file.read_text(encoding="utf-8"))
    }
    assert readers == {
        "optimizer.adapters.store.repositories.examples",
        "optimizer.ports",
        "optimizer.ports.examples",
        "optimizer.runtime.wiring",
        *("optimizer.cli.study.run", "optimizer.runtime.study_workflows"),  # run a study
        *("optimizer.jobs.studies.run_study", "optimizer.jobs.studies.confirm_winner"),
        "optimizer.jobs.dataset.build_dataset",  # opens it, where it is given it
    }


def test_an_unused_module_would_be_found_and_one_that_is_used_would_not(tmp_path: Path) -> None:
    files = {
        "optimizer/__init__.py": "",
        "optimizer/cli.py": "def run():\n    from optimizer.jobs import search\n",
        "optimizer/jobs/__init__.py": "",
        "optimizer/jobs/search.py": "import optimizer.core.scoring as scoring\nfrom . import beside\n",
        "optimizer/jobs/beside.py": "from tests import clock\n",
        "optimizer/core/__init__.py": "",
        "optimizer/core/scoring.py": "",
        "optimizer/core/one.py": "from optimizer.core import other\n",
        "optimizer/core/other.py": "import optimizer.core.one\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imports(tmp_path)
    assert found.keys() - reached(found, {"optimizer.cli"}) == {"optimizer.core.one", "optimizer.core.other"}
    assert "tests" in found["optimizer.jobs.beside"]


def ways_of(root: Path) -> dict[str, set[str]]:
    """To the modules of the product that each module imports; of a package none that it only holds."""
    known = import_statements(root).keys()
    ways: dict[str, set[str]] = {}
    for name, of_module in import_statements(root).items():
        ahead = {source for source, names in of_module if not names}
        for source, names in of_module:
            ahead |= {inside if (inside := f"{source}.{one}") in known else source for one in names}
        ways[name] = ahead & known - {name}
    return ways


def circles(root: Path) -> list[tuple[str, ...]]:
    """Modules that lead to one another, each in one list: what is left when those without a way on are taken away, and
    those without a way in.
    """
    ways = ways_of(root)
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
    assert (len(modules(ROOT)) > 600, len(modules(CLIENT)) > 30) == (True, True)
    assert [*circles(ROOT), *circles(CLIENT)] == []


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
