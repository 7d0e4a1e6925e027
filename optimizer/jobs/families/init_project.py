"""Writes the files of a new project from the templates in this package, and the profiles that Detent ships."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from optimizer.core.base.errors import Conflict
from optimizer.jobs.families.add_shipped_family import SHIPPED_HOME

PROFILES = ("config/dev.yaml", "config/prod.yaml", "config/staging.yaml")  # demo names a folder that a project lacks
RENAMED = {"gitignore": ".gitignore"}  # packaging tools treat a file of that name as an instruction


def init_project(folder: Path) -> list[str]:
    """The files written, relative to ``folder``; raises Conflict, and writes nothing, where one of them exists."""
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file. Name a folder.")
    templates = dict(_walk(files("optimizer.templates"), ""))
    templates |= {name: SHIPPED_HOME / name for name in PROFILES}
    there = sorted(name for name in templates if (folder / name).exists())
    if there:
        raise Conflict(f"{folder} holds {', '.join(there)} already, and nothing is overwritten. Name a new folder.")
    for name, template in templates.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(template.read_bytes())
    return sorted(templates)


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    entries: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        name = prefix + RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            entries += _walk(entry, name + "/") if entry.name != "__pycache__" else []
        elif not entry.name.endswith((".py", ".pyc")):
            entries.append((name, entry))
    return entries
