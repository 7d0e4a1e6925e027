"""`make test` divides files among processes forked when all is collected (tests/workers.py)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = {
    "conftest.py": """
        import os, pytest
        @pytest.fixture(scope="session", autouse=True)
        def session(tmp_path_factory):
            yield
            open(f"ended-{os.getpid()}", "w").close()
        @pytest.fixture(scope="module", autouse=True)
        def module(request):
            yield
            open("modules", "a").write(f"{request.module.__name__} {os.getpid()} ")
    """,
    "test_passing.py": """
        import warnings
        def test_one(tmp_path): print("quiet")
        def test_another(): warnings.warn("look at this")
    """,
    "test_failing.py": """
        def test_wrong(): print("this stood", "in the way"); assert 1 == 2
        def test_right(): pass
    """,
    "test_ending.py": """
        import os
        def test_before(): pass
        def test_ends_the_process(): os._exit(7)
        def test_after(): pass
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("\n        ", "\n"))
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.workers", "--workers", "2", *words]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_every_test_has_its_outcome_also_where_its_process_ends(folder: Path) -> None:
    ended = run(folder)
    assert ended.returncode == 1
    assert re.search(r"2 failed, 5 passed, 1 warning in", ended.stdout), ended.stdout
    for words in ("this stood in the way", "E   assert 1 == 2", "ended with code 7", "UserWarning: look at this"):
        assert ended.stdout.split("short test summary info")[0].count(words) == 1, ended.stdout
    modules = (folder / "modules").read_text().split()
    assert sorted(modules[::2]) == ["test_ending", "test_failing", "test_passing"]
    assert {f"ended-{pid}" for pid in modules[1::2]} == {path.name for path in folder.glob("ended-*")}


def test_none_is_begun_after_the_first_failure_where_that_is_asked_for(folder: Path) -> None:
    ended = run(folder, "-x", "test_failing.py", "test_ending.py")
    assert ended.returncode == 1
    assert "1 failed" in ended.stdout
    assert "stopping after 1 failures" in ended.stdout
