"""Files that are dear to make and the same for every test: made by the first process of a run that needs them, and read
by the others.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

FOLDER = "DETENT_TESTS_FOLDER"  # the variable that names it to the workers of a run (tests/conftest.py)
_OWN: list[tempfile.TemporaryDirectory[str]] = []  # of a process that no run of pytest started


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file of this name; ``make`` writes a new one to the path that it is given."""
    if not os.environ.get(FOLDER) and not _OWN:
        _OWN.append(tempfile.TemporaryDirectory(prefix="detent-tests-"))
    path = Path(os.environ.get(FOLDER) or _OWN[0].name) / name
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            make(draft := path.with_suffix(".draft"))
            draft.rename(path)
    return path
