"""What must hold for the files of the project as a whole."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).exists()]


LOCKS = ("requirements.lock", "requirements-dev.lock")
TEST_TOOLS = {"pytest", "hypothesis", "schemathesis", "playwright", "mypy", "ruff", "gbstats"}


def locked(name: str) -> dict[str, str]:
    """Version by package, as a lock names them."""
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_hashes_and_no_address(name: str):
    lock = (ROOT / name).read_text()
    assert lock.count("--hash=sha256:") >= len(locked(name)) > 100
    assert "://" not in lock


def test_users_install_the_versions_that_are_tested_and_no_test_tool():
    run, dev = (locked(name) for name in LOCKS)
    assert {package: version for package, version in run.items() if dev.get(package) != version} == {}
    assert TEST_TOOLS & set(run) == set()


def test_no_lock_holds_the_cache_that_reads_pickles():
    assert [name for name in LOCKS if "diskcache" in locked(name)] == []


def test_the_distribution_is_not_named_like_the_other_project_of_the_package_index():
    assert 'name = "detent-server"' in (ROOT / "pyproject.toml").read_text()
    leading_there = re.compile(r"(pip3? install|uv add|uvx|pipx (install|run))\s+[\"']?detent(?![-\w])")
    assert [
        str(p.relative_to(ROOT))
        for p in tracked()
        if p.suffix in {".md", ".py", ".toml", ".yaml"} and leading_there.search(p.read_text())
    ] == []


def test_nothing_is_tracked_that_belongs_to_one_machine():
    forbidden = re.compile(r"(^|/)(uv\.lock|mlruns/.*|.*\.(db|sqlite3?|gguf|pkl|pickle))$")
    assert [str(p.relative_to(ROOT)) for p in tracked() if forbidden.search(str(p.relative_to(ROOT)))] == []


def test_no_tracked_file_holds_the_path_of_this_checkout():
    here = str(ROOT).encode() + b"/"
    assert [str(p.relative_to(ROOT)) for p in tracked() if here in p.read_bytes()] == []


def test_a_folder_holds_at_most_twenty_modules():
    folders = ("optimizer", "api", "client", "tests")
    modules = [p for p in tracked() if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in folders]
    n_in = Counter(str(p.parent.relative_to(ROOT)) for p in modules if p.name != "__init__.py")
    assert len(n_in) > 100
    # Each change of the store's form is a module, and each benchmark has a module of tests.
    stay = {"optimizer/adapters/store/migrations/versions", "tests/bench"}
    assert {folder for folder, n in n_in.items() if n > 20} == stay
