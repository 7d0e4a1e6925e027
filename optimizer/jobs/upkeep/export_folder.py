"""An export: JSON lines per table, files of families, prompts as YAML, and a manifest of counts and hashes, which
comes last. A folder is written beside its place and renamed at the end, so one that has its name is whole. A lock on
the part, which ends with its process, keeps two exports into one name apart.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Protocol

from optimizer.core.base.errors import Conflict, InvalidInput

FORMAT = 1
MANIFEST = "manifest.json"
SEALED = "sealed.jsonl"
AT_ONCE = 2**20  # bytes


def rows_file(table: str) -> str:
    return f"tables/{table}.jsonl"


class ExportTarget(Protocol):
    """Where the files of an export go, one after the other."""

    def new(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write, which is whole once it is left."""


class NewFolder:
    """``with`` renames it to its place, or removes it."""

    def __init__(self, folder: Path) -> None:
        """Raises Conflict where something stands there."""
        folder = folder.resolve()  # "." has no name to write a part beside
        if folder == Path.cwd():
            raise Conflict(f"{folder} is the folder you are in; an export is written into a new folder.")
        self.place, self.part = folder, folder.with_name(f".{folder.name}.part")
        self._lock: int | None = None  # of the part, for as long as it is written
        self._require_room()

    def __enter__(self) -> NewFolder:
        """Raises Conflict where another process writes an export of this name, or has just written one."""
        try:
            self.part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"No folder can be made there: {error}. Name another one.") from None
        try:
            self._lock = os.open(self.part, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._lock), os.stat(self.part)):
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):
            self._unlock()
            raise Conflict(
                f"Another export into {self.place} is being written. Wait for it, or name another folder."
            ) from None
        try:
            self._require_room()
        except Conflict:
            shutil.rmtree(self.part)
            self._unlock()
            raise
        for left in self.part.iterdir():  # of one that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is not None:
                shutil.rmtree(self.part, ignore_errors=True)
                return
            if self.place.exists():
                self.place.rmdir()
            self.part.rename(self.place)
            at = os.open(self.place.parent, os.O_RDONLY)
            try:
                os.fsync(at)
            finally:
                os.close(at)
        finally:
            self._unlock()

    @contextmanager
    def new(self, name: str) -> Iterator[BinaryIO]:
        path = self.part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _require_room(self) -> None:
        folder = self.place
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise Conflict(f"{folder} is there already and not empty; an export is written into a new folder.")

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Archive:
    """A tar. Its members say their size before their content, so each is written elsewhere first."""

    def __init__(self, file: BinaryIO, scratch: Path) -> None:
        """``scratch``: a folder on a disk that has room for the largest file; nothing of it gets a name there."""
        self._tar, self._scratch = tarfile.open(fileobj=file, mode="w"), scratch  # noqa: SIM115  closed by ``with``

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            self._tar.close()

    @contextmanager
    def new(self, name: str) -> Iterator[BinaryIO]:
        with TemporaryFile(dir=self._scratch) as file:
            yield file
            member = tarfile.TarInfo(name)
            member.size, member.mode = file.tell(), 0o600
            file.seek(0)
            self._tar.addfile(member, file)


class ExportWriter:
    """Writes the files of an export, each once, and its manifest."""

    def __init__(self, target: ExportTarget) -> None:
        self._target = target
        self._files: dict[str, dict[str, Any]] = {}

    def lines(self, name: str, values: Iterable[Mapping[str, Any]]) -> int:
        """A file of JSON lines; returns how many."""
        n, hash = 0, hashlib.sha256()
        with self._target.new(name) as file:
            for value in values:
                try:
                    line = (json.dumps(value, ensure_ascii=False) + "\n").encode()
                except UnicodeEncodeError:  # half a pair of surrogates
                    line = (json.dumps(value) + "\n").encode()
                hash.update(line)
                file.write(line)
                n += 1
        self._files[name] = {"rows": n, "sha256": hash.hexdigest()}
        return n

    def content(self, name: str, content: bytes) -> None:
        with self._target.new(name) as file:
            file.write(content)
        self._files[name] = {"sha256": hashlib.sha256(content).hexdigest()}

    def finish(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest, with what else it says."""
        manifest = {"format": FORMAT, **facts, "files": dict(sorted(self._files.items()))}
        with self._target.new(MANIFEST) as file:
            file.write((json.dumps(manifest, ensure_ascii=False, indent=2) + "\n").encode())
        return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFolder:
    """One that was read: ``files`` as its manifest names them, checked against it."""

    path: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Nothing where the export has no such file. Raises InvalidInput for what is no JSON object."""
        if name not in self.files:
            return
        with (self.path / name).open("rb") as file:
            for n, line in enumerate(file, start=1):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                if not isinstance(value, dict):
                    raise InvalidInput(f"Line {n} of {self.path / name} is no JSON object.")
                yield value


def read_folder(path: Path) -> ExportFolder:
    """Checks every file against the manifest's hash; no file is held in memory.

    Raises InvalidInput for what is no whole export: no manifest, one of another format, a file that is missing or is
    another than was written.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = {str(name): dict(facts) for name, facts in manifest["files"].items()}
        format = manifest["format"]
    except FileNotFoundError:
        raise InvalidInput(f"{path} is no export: it has no {MANIFEST}. Make one: detent data export DIR.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path / MANIFEST} cannot be read: {type(error).__name__}.") from None
    if format != FORMAT:
        raise InvalidInput(f"{path} is an export of format {format}, and this version reads {FORMAT}.")
    inside = path.resolve()
    for name, facts in files.items():
        if not (path / name).resolve().is_relative_to(inside):
            raise InvalidInput(f"The manifest of {path} names {name!r}, which is not in it.")
        if _hash_of(path / name) != facts.get("sha256"):
            raise InvalidInput(f"{path / name} is missing or was changed: its hash is not that of the manifest.")
    return ExportFolder(path=path, manifest=manifest, files=files)


def unpack(archive: BinaryIO, folder: NewFolder) -> ExportFolder:
    """What an Archive holds, into a folder that is being written, checked as ``read_folder`` does.

    Raises InvalidInput for what is no whole archive of an export.
    """
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=archive, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or not (folder.part / member.name).resolve().is_relative_to(folder.part):
                    raise InvalidInput(f"The archive holds {member.name!r}, which is no file of an export.")
                with folder.new(member.name) as file:
                    shutil.copyfileobj(content, file, AT_ONCE)
                names.add(member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidInput(f"The archive is not whole: {error or type(error).__name__}. Export anew.") from None
    if MANIFEST not in names:
        raise InvalidInput("The archive is not whole: it ends before its manifest. Export anew.")
    export = read_folder(folder.part)
    if strange := sorted(names - {*export.files, MANIFEST}):
        raise InvalidInput(f"The archive holds {strange[0]!r}, which its manifest does not name.")
    return export


def _hash_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
