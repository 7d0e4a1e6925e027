"""MLflow's server as ``detent serve`` runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from optimizer.host.ports_in_use import listen
from optimizer.runtime.mlflow_server import ENVIRONMENT, command
from tests.clock import PROCESSES_S, until


@contextmanager
def running_mlflow(home: Path, **environment: str) -> Iterator[tuple[httpx.Client, int]]:
    """A client of it and its port, which is handed over as the supervisor does."""
    bound = listen("127.0.0.1", 0, "mlflow")
    port, fd = bound.port, bound.socket.fileno()
    own = {**os.environ, **ENVIRONMENT, "DETENT_HOME": str(home), "DETENT_MLFLOW_PORT": str(port), **environment}
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command(fd), pass_fds=(fd,), env=own, cwd=home, stdout=log, stderr=log)
    bound.socket.close()

    def is_up() -> bool:
        assert server.poll() is None, (home / "server.log").read_text(errors="replace")[-2000:]
        try:
            return client.get("/health").is_success
        except httpx.HTTPError:
            return False

    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            until(is_up, "MLflow to answer", PROCESSES_S)
            yield client, port
    finally:
        server.terminate()
        server.wait(timeout=30)
