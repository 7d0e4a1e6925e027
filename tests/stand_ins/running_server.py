"""``detent serve`` as a child of a test, on a home and a free port of its own."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from optimizer.host.config import Settings, load_settings
from optimizer.host.run_files import find
from optimizer.jobs.families.shipped_files import init_project
from tests.clock import PROCESSES_S, until
from tests.command_line import Ran, detent
from tests.forked import Forked, run_forked
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stores import migrate_store

CLI = [sys.executable, "-c", "from optimizer.cli import main; main()"]
CHILDREN = ("api", "gateway", "worker")


class Server:
    """One ``detent serve`` on a home of its own."""

    def __init__(
        self,
        home: Path,
        *words: str,
        environment: Mapping[str, str] | None = None,
        messages: IO[str] | None = None,
        is_forked: bool = True,
    ) -> None:
        """``messages``: where what it says goes instead of ``lines``."""
        self.home = home
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("DETENT_")} | {
            "DETENT_HOME": str(home),
            "NO_COLOR": "1",
            **(environment or {}),
        }
        self.settings: Settings = load_settings(home=home)
        words, stderr = ("serve", "--no-mlflow", *words), messages or subprocess.PIPE
        self.process: Forked | subprocess.Popen[str] = (
            Forked(["detent", *words], env=self.environment, stderr=stderr)
            if is_forked
            else subprocess.Popen(
                [*CLI, *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                text=True,
            )
        )
        self.lines: list[str] = []
        if messages is None:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def told(self) -> str:
        return "".join(self.lines)

    def pid(self, name: str) -> int | None:
        found = find(self.settings, name)
        return found.pid if found else None

    def wait_ready(self) -> dict[str, int]:
        return until(
            lambda: self.process.poll() is None and all(map(self.pid, CHILDREN)) and {n: self.pid(n) for n in CHILDREN},
            "all processes",
            patience_s=PROCESSES_S,
        )

    @property
    def url(self) -> str:
        found = find(self.settings, "api")
        assert found is not None
        assert found.url is not None
        return found.url

    def detent(self, *words: str) -> Ran:
        """A command of the same user, in this process."""
        return detent(*words, env={"DETENT_HOME": str(self.home), "NO_COLOR": "1"})

    def another(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, for those that take a lock or signals."""
        return run_forked(["detent", *words], env=self.environment, text=True, cwd=self.home)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=PROCESSES_S)


@contextmanager
def started(home: Path) -> Iterator[Server]:
    """A server all of whose processes are up; it has ended when this ends."""
    server = Server(home)
    try:
        server.wait_ready()
        yield server
    finally:
        server.end()


TELL_MLFLOW_LATER = """
CREATE TRIGGER tell_mlflow_later AFTER INSERT ON outbox WHEN NEW.topic IN ('study', 'rollout', 'prompt')
BEGIN UPDATE outbox SET not_before = '2126-01-01 00:00:00.000000' WHERE seq = NEW.seq; END
"""


def make_home(
    folder: Path, model_url: str, *, new_mlflow: NewMlflow | None = None, profile: Mapping[str, Any] | None = None
) -> Path:
    """A project with one cheap model at ``model_url`` and a worker that ticks every second;
    ``profile`` is added to its settings.

    With ``new_mlflow`` the worker mirrors into a store that has its tables, which it else makes: four seconds. Without,
    what MLflow is to hear waits as it does while MLflow is away, for tests that do not look there: to load its
    libraries takes each worker three seconds of CPU.
    """
    init_project(folder)
    entry = {"openai_compatible": model_url, "model": "m", "concurrency": 1, "max_output_tokens": 8}
    entry["price"] = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    (folder / "config" / "models.yaml").write_text(json.dumps({"embedded": entry}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config" / "dev.yaml").write_text(
        json.dumps({"port": port, "tick_seconds": 1, "lease_seconds": 4, **(profile or {})})
    )
    if new_mlflow is not None:
        new_mlflow(folder / "mlflow" / "mlflow.db")
    else:
        tell_mlflow_later(load_settings(home=folder))
    return folder


def tell_mlflow_later(settings: Settings) -> None:
    migrate_store(settings)
    with closing(sqlite3.connect(settings.db_url().removeprefix("sqlite:///"))) as connection:
        connection.execute(TELL_MLFLOW_LATER)
