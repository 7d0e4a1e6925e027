"""One connection to MLflow: a client of its own that gives up quickly, its SQLite file in WAL mode, and a
study's page.
"""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from optimizer.host import run_files

if TYPE_CHECKING:
    from optimizer.core.search.study import Study
    from optimizer.host.config import Settings


TABLES_WAIT_S = 300.0  # MLflow's migrations take eight seconds of an idle core

_tuned: set[Path] = set()


def connect(tracking_uri: str) -> Any:
    """An ``MlflowClient``. The first use of an empty SQLite file makes its tables, which takes some seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # A server that is away must cost seconds, not the minutes of MLflow's own retries: the outbox sends again anyway.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri)  # the registry of prompts looks here
    file = file_of(tracking_uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _tune(file)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    with nullcontext() if file is None else making_tables(file):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def file_of(tracking_uri: str) -> Path | None:
    """The SQLite file of a local store; None where a server has the runs."""
    place = tracking_uri.removeprefix("sqlite:///")
    return Path(os.path.abspath(place)) if place != tracking_uri else None


def making_tables(file: Path) -> AbstractContextManager[object]:
    """Lets one process at a time make tables.

    Two that open an empty file at once both run MLflow's migrations, and one of them ends with an error.

    Raises:
        filelock.Timeout: another process has been at it for ``TABLES_WAIT_S`` seconds.
    """
    from filelock import FileLock

    return FileLock(file.with_suffix(".lock"), timeout=TABLES_WAIT_S)


def _tune(path: Path) -> None:
    """WAL and synchronous=NORMAL for MLflow's own file: ten times faster, and a lost mirror is sent again from the
    store.

    SQLAlchemy offers no hook before MLflow makes its engine, so the listener hears every engine of the process. It acts
    on this one file only, since the store's own database needs synchronous=FULL.
    """
    if path in _tuned:
        return
    _tuned.add(path)
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        if not type(connection).__module__.startswith("sqlite3"):
            return
        cursor = connection.cursor()
        files = [row[2] for row in cursor.execute("PRAGMA database_list").fetchall() if row[1] == "main"]
        if files and files[0] and Path(files[0]).resolve() == path.resolve():
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()


WAIT_S = 2.0


def link_of(settings: Settings, study: Study) -> str | None:
    """The address of the study's run; of the list of experiments while it is not mirrored yet.

    None where no MLflow answers.
    """
    local = run_files.find(settings, "mlflow")
    base = (settings.mlflow_tracking_uri or (local.url if local is not None else None) or "").rstrip("/")
    if not base.startswith(("http://", "https://")):
        return None
    parts = urlsplit(base)
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # without a password
    if study.mlflow_run_id is None:
        return f"{shown}/#/experiments"
    import httpx

    try:
        answer = httpx.get(
            f"{base}/api/2.0/mlflow/runs/get",
            params={"run_id": study.mlflow_run_id},
            timeout=WAIT_S,
            trust_env=settings.mlflow_tracking_uri is not None,
        )
        experiment = str(answer.json()["run"]["info"]["experiment_id"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        experiment = None
    return None if experiment is None else f"{shown}/#/experiments/{experiment}/runs/{study.mlflow_run_id}"
