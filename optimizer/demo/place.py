"""Where the demo runs: in the project's own home the first time, in a fresh one under var/ after that."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from optimizer import run_files, wiring
from optimizer.config import Settings, load_settings
from optimizer.core.errors import NotFound

FAMILIES = ("document_analysis", "summarization")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``why`` is the sentence for a demo that does not run in the project's own home; "" in that one."""

    settings: Settings
    definition: Path  # of the studies: experiments/demo.yaml
    why: str


def choose() -> Place:
    """The home of this demo; makes a fresh one where the project's own already knows studies of the two families, or serves.

    Raises:
        NotFound: this home does not hold the demo's families.
    """
    base = load_settings("demo")
    missing = [name for name in FAMILIES if not (base.families_dir / name / "family.yaml").is_file()]
    definition = base.home / "experiments" / "demo.yaml"
    if missing or not definition.is_file():
        raise NotFound(
            f"The demo needs the families {' and '.join(FAMILIES)} and experiments/demo.yaml, which stand in Detent's own folder and "
            f"not in {base.home}. Run `make demo` there."
        )
    why = _occupied(base)
    if not why:
        return Place(settings=_with_environment(base.home), definition=definition, why="")
    home = next(h for n in range(2, 10_000) if not (h := base.var() / f"demo-{n}").exists())
    for name in FAMILIES:
        shutil.copytree(base.families_dir / name, home / "families" / name)
    shutil.copytree(base.home / "config", home / "config")
    (home / "experiments").mkdir()
    shutil.copy2(definition, home / "experiments" / "demo.yaml")
    return Place(settings=_with_environment(home, own_database=True), definition=home / "experiments" / "demo.yaml", why=why)


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
            known = [name for name in FAMILIES if store.studies.page(tx, family=name, limit=1)[0] or store.rollouts.latest(tx, name)]
    finally:
        store.close()
    return f"{settings.home} already holds studies of {' and '.join(known)}" if known else ""


def _with_environment(home: Path, *, own_database: bool = False) -> Settings:
    """Settings of the demo's home, and an environment in which every command started from here means the same home."""
    os.environ["DETENT_HOME"] = str(home)
    os.environ["DETENT_PROFILE"] = "demo"
    if own_database:
        os.environ.pop("DETENT_DATABASE_URL", None)
    return load_settings("demo", home)
