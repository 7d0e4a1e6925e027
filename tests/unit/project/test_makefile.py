"""What is typed after `make`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("has_tools", [False, True], ids=["without the tools", "with the tools"])
def test_an_install_reads_the_lock_of_what_the_environment_has(tmp_path: Path, has_tools: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    if has_tools:
        (tmp_path / ".venv" / ".synced-dev").touch()
    told = subprocess.run(["make", "-n", "install"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    lock = "requirements-dev.lock" if has_tools else "requirements.lock"
    assert f"--python .venv/bin/python {lock}" in told.stdout, told.stderr
