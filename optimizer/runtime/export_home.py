"""Exports a home: into a folder, or for who asks its server as an archive, which a process of its own writes:
``python -m optimizer.runtime.export_home`` reads who asks from stdin and writes the archive to stdout.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from optimizer.core.base.errors import Busy, DetentError
from optimizer.jobs.families.family_folders import FILE, Folders
from optimizer.jobs.upkeep.export_data import DataExport, export_data
from optimizer.jobs.upkeep.export_folder import Archive, ExportTarget, NewFolder, unpack
from optimizer.runtime import wiring
from optimizer.runtime.apart import as_document, asker_of, context_of

if TYPE_CHECKING:
    from optimizer.jobs.context import Context
    from optimizer.runtime.api_client import ApiClient

EXPORT = "/v1/data/export"
WITHIN_S = 3600.0  # until the archive is whole; a reader has as long as it goes on reading
REFUSED = 3  # exit code
_turn = threading.Lock()


def export_home(context: Context, folder: Path, *, sealed: bool) -> DataExport:
    """Raises Conflict: something stands in ``folder``, or an example was sealed while a sealed export began."""
    with NewFolder(folder) as target:
        manifest = _write(context, target, sealed=sealed)
    return DataExport.of(folder, manifest)


def export_of_server(server: ApiClient, folder: Path, *, sealed: bool) -> DataExport:
    """The same of another machine's server. Raises what that refuses, and InvalidInput for half an archive."""
    with NewFolder(folder) as target, server.stream("POST", EXPORT, within_s=WITHIN_S, json={"sealed": sealed}) as body:
        export = unpack(cast("BinaryIO", io.BufferedReader(_Pieces(body))), target)
    return DataExport.of(folder, export.manifest)


def archive_apart(context: Context, *, sealed: bool) -> IO[bytes]:
    """Returns an unnamed temporary file, positioned at its start. It disappears when the reader closes it.

    The export is complete before anybody reads it: a slow reader would hold back the log of the database.

    Raises the DetentError of the export, and Busy where another one is under way here or that process does not end
    well or in time.
    """
    if not _turn.acquire(blocking=False):
        raise Busy("Another export is being written. Try again when it has ended.")
    try:
        with ExitStack() as undo:
            archive = undo.enter_context(TemporaryFile(dir=context.settings.run_dir()))
            process = subprocess.run(
                [sys.executable, "-m", __name__],
                input=json.dumps({**asker_of(context), "sealed": sealed}).encode(),
                stdout=archive,
                stderr=subprocess.PIPE,
                timeout=WITHIN_S,
            )
            if process.returncode == REFUSED:
                from optimizer.runtime.api_client import error_of

                raise error_of(json.loads(process.stderr))
            process.check_returncode()
            archive.seek(0)
            undo.pop_all()  # its reader closes it
            return archive
    except (OSError, subprocess.SubprocessError) as error:
        why = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "did not end well"
        raise Busy(
            f"The process that writes the export {why}. Look for room on the disk of var/, or run `detent data export`"
            " beside the store.",
            said=(getattr(error, "stderr", None) or b"").decode(errors="replace")[-2000:] or None,
        ) from error
    finally:
        _turn.release()


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    try:
        context = context_of(order)
        with Archive(sys.stdout.buffer, context.settings.run_dir()) as target:
            _write(context, target, sealed=order["sealed"])
    except DetentError as error:
        sys.stderr.write(as_document(error))
        sys.exit(REFUSED)


def _write(context: Context, target: ExportTarget, *, sealed: bool) -> Mapping[str, Any]:
    places = Folders.of_home(context.settings)
    families = {
        name: (family, folder if ((folder := places.where(name)) / FILE).is_file() else None)
        for name, family in context.families().families.items()
    }
    return export_data(
        context.store,
        target,
        families=families,
        unit_keys=wiring.open_secrets(context.settings).unit_key_names,
        clock=context.clock,
        actor=context.actor,
        sealed=sealed,
    )


class _Pieces(io.RawIOBase):
    """What comes piece by piece, as a file to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


if __name__ == "__main__":
    main()
