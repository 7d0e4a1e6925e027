"""A home for the example: the families it needs, on a clock that runs fast, and the service in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DETENT = [str(Path(sys.executable).with_name("detent"))]
FAMILIES = (
    "entity_extraction",
    "relationship_extraction",
    "graph_verification",
    "query_processing",
    "answer_generation",
)
START_S = 120.0
# What is smaller or faster than a service of yours should have it, so that some forty users decide in a few minutes.
PROFILE: Mapping[str, Any] = {
    "clock_scale": 2880,  # two days of rollout time pass in a minute; every rollout says that its clock is simulated
    "tick_seconds": 2,
    "lease_seconds": 60,
    "alarms": {"silence_minutes": None},
    "family_overrides": {
        "privacy": {"examples_from": "any"},  # the text is public: a correction may become an example at once
        "schedule": {"cron": None},
        "triggers": {"degradation": None, "feedback": None},
        "rollout": {
            "ladder": [0.5],
            "whole_days": False,  # a day of this clock is half a minute
            "min_labelled_per_stage": 20,
            "margin": 0.3,  # absolute; what forty users can rule out
            "feedback_window": {"floor_hours": 0},
            "guardrails": {"min_history": 0},
            "gates": {"n": 5},
            "max_days": 3650,
        },
    },
}


class Home:
    """One home; every command in it runs as from a terminal there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("DETENT_")}
        self._environment |= {"DETENT_HOME": str(folder), "NO_COLOR": "1"}

    def make(self, port: int, models: Path | None) -> None:
        """A project with the five families and their examples. ``models``: a models.yaml of yours."""
        subprocess.run([*DETENT, "init", str(self.folder)], check=True, capture_output=True, env=self._environment)
        if models is not None:
            (self.folder / "config" / "models.yaml").write_text(models.read_text(encoding="utf-8"), encoding="utf-8")
        (self.folder / "config" / "dev.yaml").write_text(json.dumps({**PROFILE, "port": port}), encoding="utf-8")
        for family in FAMILIES:
            self.detent("family", "add", family)

    def detent(self, *words: str, may_refuse: bool = False) -> str:
        """What a command prints; raises RuntimeError with its words where it failed."""
        ran = subprocess.run([*DETENT, *words], capture_output=True, text=True, env=self._environment, cwd=self.folder)
        if ran.returncode not in ((0, 3) if may_refuse else (0,)):
            raise RuntimeError(f"detent {' '.join(words)}: {ran.stderr.strip()}")
        return ran.stdout

    @contextmanager
    def serve(self) -> Iterator[None]:
        """``detent serve`` until the block ends."""
        log = self.folder / "serve.log"
        with log.open("wb") as sink:
            server = subprocess.Popen(
                [*DETENT, "serve", "--no-mlflow"],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=self.folder,
            )
        try:
            # Until API, gateway and worker have said where they are.
            deadline = time.monotonic() + START_S
            while not all(
                (self.folder / "var" / "run" / f"{name}.json").exists() for name in ("api", "gateway", "worker")
            ):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"The service did not start. It says:\n{log.read_text(encoding='utf-8')[-2000:]}"
                    )
                time.sleep(0.2)
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "var" / "run" / "api.json").read_text(encoding="utf-8"))["url"])
