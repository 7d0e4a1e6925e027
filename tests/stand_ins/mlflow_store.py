"""Pytest plugin: an MLflow store is copied from one with its tables made,
for to make them runs every migration of MLflow's history.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.made_once import made_once

NewMlflow = Callable[[Path], str]


@pytest.fixture(scope="session")
def new_mlflow() -> NewMlflow:
    """Puts a store without any experiment at a path and gives its address."""
    migrated = made_once("mlflow.db", _migrate)

    def new(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, path)
        path.chmod(0o600)  # as whatever the product makes
        return f"sqlite:///{path}"

    return new


def _migrate(path: Path) -> None:
    """As ``mlflow db upgrade`` does; what its open connections still hold in the log beside the file is copied too."""
    from mlflow.db import upgrade

    migrated = path.with_suffix(".migrated")
    with closing(sqlite3.connect(migrated)) as source:
        source.execute("PRAGMA journal_mode=WAL")  # as optimizer/runtime/mlflow_server.py prepares it
        upgrade.callback(f"sqlite:///{migrated}")  # type: ignore[misc]
        with closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
