"""What Detent ships: a family is copied into a project, which owns the copy, and a new project gets its files."""

from __future__ import annotations

import shutil
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from shlex import quote

from optimizer.core.base.errors import Conflict, NotFound
from optimizer.jobs.families.family_folders import files_in, is_copy

_PACKAGE = Path(__file__).parents[2]
_PACKED = _PACKAGE / "shipped"  # where a wheel holds these folders of the checkout: families, demo, config, and docs
SHIPPED_HOME = _PACKED if _PACKED.is_dir() else _PACKAGE.parent
SHIPPED = SHIPPED_HOME / "families"
PROFILES = ("config/dev.yaml", "config/prod.yaml", "config/staging.yaml")  # demo names a folder that a project lacks
RENAMED = {"gitignore": ".gitignore"}  # packaging tools treat a file of that name as an instruction


def add_shipped_family(name: str, *, families_dir: Path) -> list[Path]:
    """Writes the files of the copy under ``families_dir``/``name``, whole or not at all; returns them.

    A copy that is there and was not edited counts as written, so that an act that broke off can go on.

    Raises:
        NotFound: no family of that name is shipped.
        Conflict: the project has another folder of that name.
    """
    shipped = {file.parent.name: file.parent for file in sorted(SHIPPED.glob("*/family.yaml"))}
    if name not in shipped:
        raise NotFound(f"Detent ships no family {name!r}. It ships {', '.join(shipped)}.")
    folder = families_dir / name
    if folder.exists():
        if not is_copy(folder, shipped[name]):
            raise Conflict(
                f"There is a folder {folder} already, it is not what Detent ships, and nothing is overwritten. Rename"
                f" or remove it first. Is it your edited copy? Its examples: detent import"
                f" {quote(str(folder / 'examples.jsonl'))} --family {name} --curated."
            )
        return files_in(folder)
    part = families_dir / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    families_dir.mkdir(parents=True, exist_ok=True)
    shutil.copytree(shipped[name], part, copy_function=shutil.copyfile)
    part.rename(folder)  # the reload sees a whole family or none
    return files_in(folder)


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
