"""The home of the demo, and the servers that it starts there.

It is the project's own home the first time, and a fresh one under var/ after that.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from optimizer.adapters.models.embedded_pool import require_engine, weights_file
from optimizer.core.base.errors import Refused
from optimizer.demo.screen import DETENT
from optimizer.host import run_files
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.families.shipped_files import SHIPPED_HOME
from optimizer.runtime import wiring

FAMILY = "docstring_type"  # searched for a better prompt
CASCADE_FAMILY = "parameter_type"  # its answers are to become cheaper
FAMILIES = (FAMILY, CASCADE_FAMILY)
FOLDER = Path("demo/families")  # apart from the families that Detent ships; profile demo reads both
DEFINITIONS = ("demo.yaml", "demo_examples.yaml", "demo_cascade.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``why`` is the sentence for a demo that does not run in the project's own home; "" in that one."""

    settings: Settings
    definition: Path  # of the first study: experiments/demo.yaml
    examples_definition: Path  # of the second family's prompts: experiments/demo_examples.yaml
    cascade_definition: Path  # of its cascade: experiments/demo_cascade.yaml
    why: str


def choose() -> Place:
    """The home of this demo: a fresh one where the project's own is not Detent's, already knows studies of these
    families, or serves.

    Raises:
        NotFound: the embedded model is to answer, and is not installed; nothing was written.
    """
    base = load_settings("demo")
    has_families = all((base.home / FOLDER / name / "family.yaml").is_file() for name in FAMILIES)
    is_own = has_families and all((base.home / "experiments" / name).is_file() for name in DEFINITIONS)
    source = base.home if is_own else SHIPPED_HOME
    settings = load_settings("demo", source)
    models = wiring.open_models(settings)
    try:
        families = wiring.load_families(settings).families
        if any(models.describe(families[name].model.default).embedded for name in FAMILIES):
            require_engine()
            weights_file()
    finally:
        models.close()
    why = _occupied(base) if is_own else f"the demo's families stand in Detent's own folder and not in {base.home}"
    if not why:
        return _place(_with_environment(base.home), why)
    home = next(h for n in range(2, 10_000) if not (h := base.var() / f"demo-{n}").exists())
    for name in FAMILIES:
        shutil.copytree(source / FOLDER / name, home / FOLDER / name)
    (home / "families").mkdir()  # with this folder, a command that is typed in there finds its home
    shutil.copytree(source / "config", home / "config")
    (home / "experiments").mkdir()
    for name in DEFINITIONS:
        shutil.copy2(source / "experiments" / name, home / "experiments" / name)
    return _place(_with_environment(home, own_database=True), why)


def _place(settings: Settings, why: str) -> Place:
    definition, examples, cascade = (settings.home / "experiments" / name for name in DEFINITIONS)
    return Place(
        settings=settings,
        definition=definition,
        examples_definition=examples,
        cascade_definition=cascade,
        why=why,
    )


def _occupied(settings: Settings) -> str:
    """Why a demo in this home would not start from nothing; "" when it would."""
    running = run_files.find(settings, "serve")
    if running is not None:
        return f"a server runs on {settings.home} (pid {running.pid})"
    if settings.database_url is None and not (settings.var() / "detent.db").exists():
        return ""
    wiring.migrate_store(settings)
    store = wiring.open_store(settings)
    try:
        with store.read() as tx:
            families = [
                name
                for name in FAMILIES
                if store.studies.page(tx, family=name, limit=1)[0] or store.rollouts.latest(tx, name)
            ]
    finally:
        store.close()
    return f"{settings.home} already holds studies of {' and '.join(families)}" if families else ""


def _with_environment(home: Path, *, own_database: bool = False) -> Settings:
    """Settings of the demo's home, and an environment in which every command started from here means the same home."""
    os.environ["DETENT_HOME"] = str(home)
    os.environ["DETENT_PROFILE"] = "demo"
    for name in ("DETENT_SERVER", "DETENT_API_KEY"):  # commands would go to that server
        os.environ.pop(name, None)
    if own_database:
        os.environ.pop("DETENT_DATABASE_URL", None)
    return load_settings("demo", home)


START_S = 90.0
END_S = 30.0


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

    def wait(self, *names: str) -> None:
        """Waits until these processes announced that they are ready.

        Raises Refused with the log's last lines when they do not.
        """
        deadline = time.monotonic() + START_S
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
