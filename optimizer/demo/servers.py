"""``detent serve`` beside the demo: started, waited for, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass

from optimizer.core.base.errors import Refused
from optimizer.demo.screen import DETENT
from optimizer.host import run_files
from optimizer.host.config import Settings

START_S = 90.0
END_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the demo's servers answer."""

    api: str
    gateway: str


class Servers:
    """The supervised processes of one home. The demo is their only user; ``keep`` leaves them running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._output = settings.log_dir() / "demo-serve.out"

    def start(self) -> None:
        """Starts ``detent serve --profile demo``; taken ports move up to the next free ones."""
        self._settings.log_dir().mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as sink:
            self._process = subprocess.Popen(
                [*DETENT, "serve", "--profile", "demo"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C ends the demo, which then ends these in order
            )

    def wait(self, *names: str, within_s: float = START_S) -> None:
        """Until these processes announced that they are ready.

        Raises Refused with the log's last lines when they do not.
        """
        deadline = time.monotonic() + within_s
        while any(run_files.find(self._settings, name) is None for name in names):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                waiting = ", ".join(name for name in names if run_files.find(self._settings, name) is None)
                raise Refused(
                    f"The demo's servers did not start ({waiting} not ready). The end of"
                    f" {self._output}:\n{self._last_words()}"
                )
            time.sleep(0.1)

    def url(self, name: str) -> str | None:
        process = run_files.find(self._settings, name)
        return process.url if process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def stop(self) -> None:
        """Ends them as Ctrl-C would; safe to repeat."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        try:
            return "\n".join(self._output.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        except OSError:
            return "(nothing)"
