"""Folders of families: where they are, and how one is moved so that every reader sees it whole or not at all."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.core.base.errors import Conflict

if TYPE_CHECKING:
    from optimizer.host.config import Settings

FILE = "family.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the files of this home's families are, where those of others are, and where those of retired
    families go.
    """

    home: Path
    others: tuple[Path, ...]
    retired: Path

    @classmethod
    def of_home(cls, settings: Settings) -> Folders:
        return cls(home=settings.families_dir, others=settings.more_families_dirs, retired=settings.var() / "retired")

    def where(self, family: str) -> Path:
        """The folder with the family's file; that of the home where there is none."""
        folders = [place / family for place in (self.home, *self.others)]
        return next((folder for folder in folders if (folder / FILE).is_file()), folders[0])

    def of(self, family: str) -> Path:
        """The family's folder in the home. Raises Conflict where it has one elsewhere, which is not the home's."""
        for other in self.others:
            if (other / family).is_dir():
                raise Conflict(
                    f"The folder {other / family} is not in this home, so it is not moved, and as long as it stands"
                    f" there the family {family} exists. Move it away yourself, or take {other} out of"
                    " DETENT_MORE_FAMILIES_DIRS, and say it again."
                )
        return self.home / family


def move_folder(folder: Path, target: Path) -> None:
    """Moves a folder, to another file system, too. Safe to repeat: a ``target`` that is a copy is of a move that broke
    off.

    Raises OSError, such as for a full disk; ``folder`` is then as it was.
    """
    if not is_copy(target, folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        copied_beside(target, folder).rename(target)
    shutil.rmtree(folder)


def copied_beside(target: Path, folder: Path) -> Path:
    """A copy that no reload sees, and that becomes ``target`` by a rename."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        return shutil.copytree(folder, part, symlinks=True)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def is_copy(copy: Path, folder: Path, *, but: str = "") -> bool:
    """Whether ``copy`` has every file of ``folder`` unchanged, except the one named ``but``."""
    there = ((copy / file.relative_to(folder), file) for file in files_in(folder) if file != folder / but)
    return copy.is_dir() and all(
        copied.is_file() and copied.read_bytes() == file.read_bytes() for copied, file in there
    )


def files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
