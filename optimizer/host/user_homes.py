"""Who acts at this machine, and which homes have a running server of this user, so that ``detent`` finds
it anywhere.
"""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from optimizer.core.base.canonical import digest
from optimizer.host.run_files import lives, start_of, write_whole


def enter(home: Path) -> None:
    """Says that this process serves ``home``.

    A folder that cannot be written costs the convenience, never the server.
    """
    with suppress(OSError):
        write_whole(_file(home), {"home": str(home), **start_of(os.getpid())})


def leave(home: Path) -> None:
    """Takes that back; a missing file is fine."""
    with suppress(OSError):
        _file(home).unlink(missing_ok=True)


def running() -> list[Path]:
    """Homes whose server lives, by name."""
    homes = []
    try:
        files = list(_folder().glob("*.json"))
    except OSError:
        return []
    for file in files:
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            if lives(values):
                homes.append(Path(values["home"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(homes)


def _folder() -> Path:
    """A folder of this user alone: one that another user made under the common name is not trusted."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "detent" if runtime else Path(tempfile.gettempdir()) / f"detent-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def _file(home: Path) -> Path:
    return _folder() / f"{digest(str(home).encode(errors='surrogateescape'))[:16]}.json"


def local_actor() -> str:
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user id without a name
        return f"local:{os.getuid()}"
