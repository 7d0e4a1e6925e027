"""The MLflow UI as a child of ``detent serve``: a small process of ours that starts it and ends with it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import structlog

from optimizer.core.base.errors import InvalidInput
from optimizer.host.config import Settings
from optimizer.host.run_files import announce, withdraw

log = structlog.get_logger(__name__)

# Without these the server can deadlock at its start on a machine without a network, and runs ten processes.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",  # the door refuses it, so no page should offer it
    "DO_NOT_TRACK": "true",
}
ALLOWED_HOSTS = "allowed-hosts"
LOOK_S = 0.5  # between two looks at whether the server answers, or has ended


def prepare_store(settings: Settings) -> None:
    """Makes the folders and the database file.

    WAL is a property of the file, so it is set before MLflow first opens it.
    """
    settings.mlflow_dir().mkdir(parents=True, exist_ok=True)
    (settings.mlflow_dir() / "artifacts").mkdir(exist_ok=True)
    connection = sqlite3.connect(settings.mlflow_dir() / "mlflow.db", timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def command(fd: int | None = None) -> list[str]:
    """The command line of the server. Its settings come from this process's environment.

    Args:
        fd: its listening socket.
    """
    return [sys.executable, "-m", "optimizer.runtime.mlflow_app", *([] if fd is None else ["--fd", str(fd)])]


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """``allowed-hosts`` of mlflow/server.yaml: further ``name:port`` that Host may say; none without the file.

    Raises:
        InvalidInput: an unreadable file, another option, or a pattern: each host needs its exact name.
    """
    path = settings.mlflow_dir() / "server.yaml"
    if not path.exists():
        return frozenset()
    from optimizer.host.yaml_files import load_file

    shape = f"It holds `options: {{{ALLOWED_HOSTS}: name:port}}`."
    values: Any = load_file(path, shape) or {}
    try:
        options = dict(values.get("options") or {})
        hosts = [host.strip().lower() for host in str(options.pop(ALLOWED_HOSTS, "")).split(",") if host.strip()]
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {' '.join(str(error).split())}. {shape}") from None
    if options:
        raise InvalidInput(
            f"{path} has the option {next(iter(options))!r}, and the only one is {ALLOWED_HOSTS}. Everything else is"
            " fixed."
        )
    if any("*" in host for host in hosts):
        raise InvalidInput(
            f"{path} has a pattern among its {ALLOWED_HOSTS}. Name each host exactly, with its port, such as"
            " localhost:9000."
        )
    return frozenset(hosts)


def run(settings: Settings, fd: int | None = None) -> None:
    """Starts the server, announces it when it answers, and waits for its end.

    The server runs in a process group of its own, which is killed as one.

    Args:
        fd: the listening socket, which the caller has bound, so that no other program can answer at the address.
    """
    prepare_store(settings)
    allowed_hosts(settings)  # a fault of the file is reported before anything starts
    server = subprocess.Popen(
        command(fd),
        pass_fds=() if fd is None else (fd,),
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        cwd=settings.mlflow_dir(),
    )

    def end(_signal: int, _frame: FrameType | None) -> None:
        withdraw(settings, "mlflow")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        try:
            server.wait(timeout=4)
        except subprocess.TimeoutExpired:
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    url = f"http://127.0.0.1:{settings.mlflow_port}"  # this address only, since it has no keys
    while server.poll() is None and not _answers(url):
        time.sleep(LOOK_S)
    if server.poll() is None:
        announce(settings, "mlflow", url)
    while server.poll() is None:  # `wait` would hold the lock that ``end`` needs
        time.sleep(LOOK_S)
    withdraw(settings, "mlflow")
    log.error("mlflow server ended", exit_code=server.returncode)
    os.killpg(0, signal.SIGKILL)


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
