"""Families as files: ``<dir>/<name>/family.yaml`` with ``golden.jsonl`` beside it, read again when they change.

A bad edit leaves the last good version of both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from optimizer.adapters.files.family_positions import read_yaml
from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import Fault, InvalidFamily, InvalidInput
from optimizer.core.declaration.read import invalid_family, parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.golden import read_golden
from optimizer.core.family.variant import Size
from optimizer.core.serving.family_names import by_name
from optimizer.host.file_signature import FileSignature, signature_of
from optimizer.host.run_files import write_whole
from optimizer.host.yaml_files import YamlTooLarge, read_text

GOLDEN = "golden.jsonl"


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for n, line in enumerate(text.split("\n"), start=1):  # JSON lets a text hold the other line ends
        if not line.strip():
            continue
        try:
            yield n, read_json(line)
        except ValueError:
            yield n, None


FILE_NAME = "family.yaml"
_Signature = tuple[tuple[str, FileSignature], ...]  # the files that declare the name, of which there should be one,
#                                              and of those with its golden scenarios

log = structlog.get_logger(__name__)


def parse_family_text(
    text: str,
    *,
    file: str,
    folder: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Size] = MappingProxyType({}),
) -> Family:
    """The Family of a YAML text.

    Args:
        file: how faults name the file.
        folder: the folder's name, which must be the family's; None: any.
        overrides: a profile's values, laid over the file's.
        sizes: of models by name, which choose among base prompts.
    Raises:
        InvalidFamily: every fault at once, each with file, line, JSON pointer and a sentence.
    """
    source = read_yaml(text)
    faults = list(source.faults)
    family: Family | None = None
    if source.data is not None or not faults:
        try:
            family = parse_family(_laid_over(source.data, overrides or {}), sizes)
        except InvalidFamily as error:
            known = {f.pointer for f in faults}
            faults += [f for f in error.faults if f.pointer not in known]
    if family is not None and folder is not None and family.name != folder:
        detail = f"the name is {family.name!r} and the folder is {folder!r}; give both the same name"
        faults.append(Fault(pointer="/name", detail=detail))
    if family is None or faults:
        placed = [replace(f, file=file, line=f.line or source.line_of(f.pointer)) for f in faults]
        raise invalid_family(file, sorted(placed, key=lambda f: f.line or 0))
    return family


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedFile:
    """What is known of one name: its file as it was read, its last good version, and the faults of the newest."""

    signature: _Signature | None
    family: Family | None = None
    problem: InvalidFamily | None = None


class FamilyFiles:
    """All families of one or more folders. Call ``load`` at the start and whenever ``changed`` says so.

    Args:
        directory: holds one folder per family.
        more: further folders of the same form; a name in two of them is a problem of that family.
        retired_dir: has the folders of retired families, each under the name of its record.
        models_file: config/models.yaml, read again when it changes; None: no model is known.
        read_models: gives from that file the sizes of models by name, which choose among base prompts, and the model
            that each name means; raises InvalidInput for a bad edit, which leaves what was known.
        last_good_dir: stores the last good text of each family, so that a bad edit survives a restart; None: memory
            only.
        overrides: a profile's values, laid over every file.
    """

    def __init__(
        self,
        directory: Path,
        last_good_dir: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        more: Sequence[Path] = (),
        retired_dir: Path | None = None,
        models_file: Path | None = None,
        read_models: Callable[[Path], tuple[Mapping[str, Size], Mapping[str, str]]] = lambda file: ({}, {}),
    ) -> None:
        self.directories = (Path(directory), *map(Path, more))
        self._last_good_dir, self._retired_dir = last_good_dir, retired_dir
        self._overrides = dict(overrides or {})
        self._models_file, self._read_models = models_file, read_models
        self._models_stat: FileSignature | None = 0, 0, 0  # not read yet
        self._sizes: Mapping[str, Size] = {}
        self._models: Mapping[str, str] = {}
        self.former_names: Mapping[str, str] = {}
        self._loaded: Mapping[str, _NamedFile] = {}
        self._families: tuple[Mapping[str, _NamedFile], Mapping[str, str], Mapping[str, Family]] | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Reads new and changed files; a folder that is gone takes its family with it.

        Never raises for a bad file: see ``problems``.
        """
        with self._lock:
            before, models_changed = self._loaded, self._models_changed()
            if models_changed and self._models_file is not None:
                self._models_stat = signature_of(self._models_file)
                with suppress(InvalidInput):  # told by those who call models
                    self._sizes, self._models = self._read_models(self._models_file)
            now: dict[str, _NamedFile] = {}
            for name, signature in self._signatures().items():
                known = before.get(name)
                is_as_before = known is not None and known.signature == signature and not models_changed
                now[name] = known if known is not None and is_as_before else self._read(name, signature, known)
            for name_before in set(before) - set(now):
                for file_name in _kept_names(name_before):
                    self._remove(name_before, file_name)
            self._loaded = now

    @property
    def families(self) -> Mapping[str, Family]:
        """Name -> the newest good version; the same object until a file or a name changes, since every turn asks for
        it.
        """
        loaded, former = self._loaded, self.former_names
        if self._families is None or self._families[0] is not loaded or self._families[1] is not former:
            present = ((name, file.family) for name, file in self._loaded.items() if not self._is_former(name))
            valid = {name: family for name, family in present if family is not None}
            self._families = loaded, former, MappingProxyType(by_name(valid, self.former_names))
        return self._families[2]

    @property
    def problems(self) -> Mapping[str, InvalidFamily]:
        """Name -> what is wrong with the present file.

        A name here and in ``families`` is degraded: its last good version serves.
        """
        invalid = {name: file.problem for name, file in self._loaded.items() if file.problem is not None}
        for name in filter(self._is_former, self._loaded):
            file, present = _shown(self.directories[0] / name / FILE_NAME), self.former_names[name]
            detail = f"{name!r} is a former name of {present!r} and still leads there. Rename this folder and file."
            invalid[name] = invalid_family(file, [Fault(pointer="/name", detail=detail, file=file, line=1)])
        return MappingProxyType(invalid)

    def _is_former(self, name: str) -> bool:
        """Whether this is the former name of another family, and so still finds that family."""
        present = self.former_names.get(name, name)
        return present != name and present in self._loaded

    def retired(self) -> Mapping[str, Family]:
        """Read anew each time: by name, families whose file was put aside and can be read."""
        families = {}
        for file in self._retired_dir.glob(f"*/{FILE_NAME}") if self._retired_dir is not None else ():
            name = file.parent.name
            with suppress(InvalidFamily):
                family = parse_family_text(_read(file), file=str(file), overrides=self._overrides, sizes=self._sizes)
                families[name] = family.model_copy(update={"name": name})
        return families

    def changed(self) -> bool:
        """Whether ``load`` would read anything: one look at the folder, no file is opened."""
        return self._models_changed() or self._signatures() != {
            name: file.signature for name, file in self._loaded.items()
        }

    def _models_changed(self) -> bool:
        return self._models_file is not None and signature_of(self._models_file) != self._models_stat

    def _read(self, name: str, signature: _Signature | None, known: _NamedFile | None) -> _NamedFile:
        files = [file for path, _ in signature or () if (file := Path(path)).name == FILE_NAME]
        file = files[0] if files else self.directories[0] / name / FILE_NAME
        try:
            if len(files) > 1:
                shown = _shown(files[0])
                others = " and ".join(map(_shown, files[1:]))
                detail = (
                    f"{name!r} is declared in {others}, too; one name is one family, so rename or remove one of them"
                )
                raise invalid_family(shown, [Fault(pointer="/name", detail=detail, file=shown, line=1)])
            family_name, golden_name = _kept_names(name)
            texts = {family_name: _read(file)}
            golden = file.with_name(GOLDEN)
            if str(golden) in dict(signature or ()):
                texts[golden_name] = _read(golden)
            family = self._parse_all(texts, name, file)
        except InvalidFamily as problem:
            good = known.family if known is not None else None
            return _NamedFile(signature=signature, problem=problem, family=good or self._last_good(name))
        for file_name in _kept_names(name):
            if file_name in texts:
                self._keep(name, file_name, texts[file_name])
            else:
                self._remove(name, file_name)
        return _NamedFile(signature=signature, family=family)

    def _parse_all(self, texts: Mapping[str, str], name: str, file: Path) -> Family:
        """The family of these texts, with its golden scenarios where it has some. Raises InvalidFamily alone: whatever
        else goes wrong with one family must not end what serves the others.
        """
        try:
            return self._parsed(texts, name, file)
        except InvalidFamily:
            raise
        except Exception as error:
            log.exception("a family file ends in an error that is no fault of its own", family=name)
            shown = _shown(file)
            detail = f"it cannot be read ({type(error).__name__}: {error}); undo the last edit, and report this"
            raise invalid_family(shown, [Fault(pointer="", detail=detail, file=shown, line=1)]) from error

    def _parsed(self, texts: Mapping[str, str], name: str, file: Path) -> Family:
        family_name, golden_name = _kept_names(name)
        family = parse_family_text(
            texts[family_name], file=_shown(file), folder=name, overrides=self._overrides, sizes=self._sizes
        )
        family = family.with_models(self._models)
        for version in family.prompt.versions:
            _ = family.variant(version).id  # what has no id could be neither stored nor served
        if golden_name not in texts:
            return family
        golden = _shown(file.with_name(GOLDEN))
        # The family with the scenarios of the text.
        rows, faults = read_golden(_lines(texts[golden_name]), family)
        if faults:
            raise invalid_family(golden, [replace(fault, file=golden) for fault in faults])
        return family.with_golden(rows)

    def _last_good(self, name: str) -> Family | None:
        if self._last_good_dir is None:
            return None
        file, golden = (self._last_good_dir / file_name for file_name in _kept_names(name))
        try:
            texts = {path.name: read_text(path) for path in (file, golden) if path == file or path.exists()}
            return self._parse_all(texts, name, file)
        except (
            OSError,
            UnicodeDecodeError,
            YamlTooLarge,
            InvalidFamily,
        ):  # none kept, or an older release accepted what this one does not
            return None

    def _keep(self, name: str, file_name: str, text: str) -> None:
        if self._last_good_dir is None:
            return
        file = self._last_good_dir / file_name
        if file.exists() and file.read_bytes() == text.encode():
            return
        try:
            write_whole(file, text.encode())
        except OSError as error:  # a full disk must not keep a good file from being served
            log.warning("the last good version of a family cannot be kept", family=name, error=str(error))

    def _remove(self, name: str, file_name: str) -> None:
        if self._last_good_dir is None or not (file := self._last_good_dir / file_name).exists():
            return
        try:
            file.unlink(missing_ok=True)
        except OSError as error:  # nor must a disk that can only be read
            log.warning("a kept text of a family cannot be removed", family=name, file=file_name, error=str(error))

    def _signatures(self) -> dict[str, _Signature | None]:
        """The signature of every folder that has, or had, a family; None: its file does not exist."""
        names: set[str] = set()
        for folder in self.directories:
            try:
                names |= {e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith((".", "_"))}
            except OSError:  # a disk that is not there is no order to remove every family
                stored_files = self._last_good_dir.glob("*.yaml") if self._last_good_dir is not None else ()
                names |= {*self._loaded, *(file.stem for file in stored_files)}
        return {
            name: signature
            for name in sorted(names)
            if (signature := self._signature(name))
            or name in self._loaded
            or (self._last_good_dir is not None and (self._last_good_dir / f"{name}.yaml").exists())
        }

    def _signature(self, name: str) -> _Signature | None:
        # Texts: to make Paths, or to join them, takes longer than to look at the files four times a second.
        files = [f"{folder}{os.sep}{name}{os.sep}{file}" for file in (FILE_NAME, GOLDEN) for folder in self.directories]
        signature = tuple((file, stat) for file in files if (stat := signature_of(file)) is not None)
        return signature if signature and signature[0][0].endswith(FILE_NAME) else None


def _kept_names(name: str) -> tuple[str, str]:
    """The names of the last good copies: of the family's file and of its golden scenarios."""
    return f"{name}.yaml", f"{name}.{GOLDEN}"


def _read(file: Path) -> str:
    try:
        return read_text(file)
    except FileNotFoundError:
        detail = "there is no such file; put it back, or remove the folder to remove the family"
    except OSError as error:
        detail = f"the file cannot be read ({error.strerror}); correct its permissions"
    except UnicodeDecodeError as error:
        detail = f"the file is not UTF-8 (byte {error.start}); save it as UTF-8"
    except YamlTooLarge as error:
        detail = str(error)
    raise invalid_family(_shown(file), [Fault(pointer="", detail=detail, file=_shown(file), line=1)])


def _shown(path: Path) -> str:
    """Relative to where the user stands, when it lies below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _laid_over(data: Any, overrides: Mapping[str, Any]) -> Any:
    if not isinstance(data, Mapping):
        return data
    merged = dict(data)
    for key, value in overrides.items():
        inside = merged.get(key)
        merged[key] = (
            _laid_over(inside if isinstance(inside, Mapping) else {}, value) if isinstance(value, Mapping) else value
        )
    return merged
