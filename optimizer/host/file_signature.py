"""What tells that a file has changed without reading it."""

from __future__ import annotations

import os
from pathlib import Path

FileSignature = tuple[int, int, int]  # mtime in ns, size, inode: editors that replace the file change at least one


def signature_of(file: Path | str) -> FileSignature | None:
    """None where there is no such file."""
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
