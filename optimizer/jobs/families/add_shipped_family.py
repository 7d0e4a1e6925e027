"""Copies a family that Detent ships into a project, which owns the copy from then on."""

from __future__ import annotations

import shutil
from pathlib import Path
from shlex import quote

from optimizer.core.base.errors import Conflict, NotFound
from optimizer.jobs.families.family_folders import files_in, is_copy

_PACKAGE = Path(__file__).parents[2]
_PACKED = _PACKAGE / "shipped"  # where a wheel holds these folders of the checkout: families, demo, config, and docs
SHIPPED_HOME = _PACKED if _PACKED.is_dir() else _PACKAGE.parent
SHIPPED = SHIPPED_HOME / "families"


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
