"""Pytest plugin: an MLflow store is copied from one with its tables made,
for to make them runs every migration of MLflow's history.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

NewMlflow = Callable[[Path], str]


@pytest.fixture(scope="session")
def new_mlflow(tmp_path_factory: pytest.TempPathFactory) -> NewMlflow:
    """Puts a store without any experiment at a path and gives its address;
    the tables are made once for all workers of a run.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker's folder lies in the run's
        folder = folder.parent
    migrated = folder / "migrated-mlflow.db"
    with FileLock(folder / "migrated-mlflow.lock"):
        if not migrated.exists():
            _migrate(migrated)

    def new(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, path)
        path.chmod(0o600)  # as whatever the product makes
        return f"sqlite:///{path}"

    return new


def _migrate(path: Path) -> None:
    """As ``mlflow db upgrade`` does; what its open connections still hold in the log beside the file is copied too."""
    from mlflow.db import upgrade

    draft = path.with_suffix(".draft")
    with closing(sqlite3.connect(draft)) as source:
        source.execute("PRAGMA journal_mode=WAL")  # as optimizer/runtime/mlflow_server.py prepares it
        upgrade.callback(f"sqlite:///{draft}")  # type: ignore[misc]
        with closing(sqlite3.connect(draft.with_suffix(".copy"))) as copy:
            source.backup(copy)
    draft.with_suffix(".copy").rename(path)
