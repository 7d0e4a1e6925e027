"""The folder mlflow/ of a home must never hide the installed MLflow."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from optimizer.adapters.mlflow.connection import connect
from optimizer.core.base.errors import InvalidInput
from optimizer.host.config import load_settings
from optimizer.runtime import mlflow_app
from optimizer.runtime.mlflow_app import hosts
from optimizer.runtime.mlflow_server import ENVIRONMENT, allowed_hosts, prepare_store

ROOT = Path(__file__).parents[3]


def test_the_folder_holds_no_init_file() -> None:
    assert (ROOT / "mlflow" / "README.md").exists()
    assert not list((ROOT / "mlflow").rglob("__init__.py"))


def test_from_the_project_folder_the_installed_mlflow_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    spec = PathFinder.find_spec("mlflow", ["", *sys.path])
    assert spec is not None
    assert Path(spec.origin or "").parent.parent.name == "site-packages"


def test_the_server_starts_without_network_helpers_or_telemetry() -> None:
    assert ENVIRONMENT["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert ENVIRONMENT["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert ENVIRONMENT["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_its_database_is_in_wal_mode_before_mlflow_opens_it(tmp_path: Path) -> None:
    import sqlite3

    settings = load_settings(home=tmp_path)
    prepare_store(settings)
    prepare_store(settings)
    connection = sqlite3.connect(tmp_path / "mlflow" / "mlflow.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_server_answers_to_exact_names_alone(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, host="0.0.0.0")
    assert hosts(settings) == {"127.0.0.1:8322", "localhost:8322"}
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "server.yaml").write_text('options: {allowed-hosts: "localhost:9000, Localhost:9001"}\n')
    assert hosts(settings) == {"127.0.0.1:8322", "localhost:8322", "localhost:9000", "localhost:9001"}


@pytest.mark.parametrize(
    "text",
    [
        *("options: [1]", "options: {host: 0.0.0.0}", "["),
        *("options: {allowed-hosts: '*'}", "options: {allowed-hosts: '10.*'}"),
    ],
)
def test_the_server_file_opens_nothing_else(tmp_path: Path, text: str) -> None:
    settings = load_settings(home=tmp_path)
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "server.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"server\.yaml"):
        allowed_hosts(settings)


def test_the_shipped_server_file_is_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "server.yaml").write_text((ROOT / "mlflow" / "server.yaml").read_text())
    assert allowed_hosts(load_settings(home=tmp_path)) == frozenset()


def test_tables_are_made_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import uvicorn
    from filelock import FileLock, Timeout
    from mlflow.server import handlers

    made: list[str] = []

    def nobody_else_can(by: str) -> None:
        with pytest.raises(Timeout):
            FileLock(tmp_path / "mlflow" / "mlflow.lock", timeout=0).acquire()
        made.append(by)

    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what an MLflow server reads is no business of other tests
    monkeypatch.setattr(mlflow, "MlflowClient", lambda **uris: nobody_else_can("the worker"))
    monkeypatch.setattr(handlers, "initialize_backend_stores", lambda *uris: nobody_else_can("the server"))
    monkeypatch.setattr(uvicorn.Server, "run", lambda *args, **options: None)
    connect(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    mlflow_app.main()
    assert made == ["the worker", "the server"]
