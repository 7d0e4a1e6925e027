"""Every YAML file is read within bounds: its size, and what its aliases stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.files.family_files import parse_family_text
from optimizer.adapters.files.family_positions import read_yaml
from optimizer.adapters.models.model_settings import read_models
from optimizer.cli.study.run import read_definition
from optimizer.content.adapters.content_files import read_levels
from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.host.config import load_settings
from optimizer.host.yaml_files import MAX_BRACKETS, MAX_FILE_BYTES, MAX_VALUES, load_file, read_text
from optimizer.runtime.mlflow_server import allowed_hosts

LEVELS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(2, 11))
BOMB = f"l1: &l1 [x, x, x, x, x, x, x, x, x, x]\n{LEVELS}"  # ten levels of ten: 10^10 values
MERGES = "l1: &l1 {x: 1}\n" + "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}\n" for n in range(2, 11))


def _settings(home: Path) -> Any:
    return load_settings("dev", home)


def _hosts(home: Path) -> Any:
    (home / "config" / "dev.yaml").unlink(missing_ok=True)
    return allowed_hosts(load_settings("dev", home))


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a profile": ("config/dev.yaml", _settings),
    "models": ("config/models.yaml", lambda home: read_models(home / "config" / "models.yaml")),
    "a study's definition": (
        "experiments/quick.yaml",
        lambda home: read_definition(home / "experiments" / "quick.yaml"),
    ),
    "the tracking server": ("mlflow/server.yaml", _hosts),
    "levels of a pipeline": ("config/monitoring.yaml", lambda home: read_levels(home / "config" / "monitoring.yaml")),
}
readers = pytest.mark.parametrize(("name", "read"), READERS.values(), ids=READERS)


def _written(home: Path, name: str, text: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@readers
@pytest.mark.parametrize("text", [BOMB, MERGES], ids=["lists of aliases", "merges of aliases"])
def test_aliases_of_aliases_are_refused_with_what_they_stand_for(tmp_path, name, read, text):
    _written(tmp_path, name, text)
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path)
    assert Path(name).name in refused.value.detail
    assert f"{MAX_VALUES:,} are the most that is read" in refused.value.detail


@readers
def test_a_file_that_is_too_large_is_refused_with_its_size(tmp_path, name, read):
    _written(tmp_path, name, "# " + "x" * MAX_FILE_BYTES)
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path)
    assert Path(name).name in refused.value.detail
    assert "1,048,578 bytes, and 1,048,576 are the most" in refused.value.detail


@readers
@pytest.mark.parametrize("text", ["[" * 100_000, "a: &a\n  b: *a\n"], ids=["brackets", "an alias inside itself"])
def test_what_never_ends_is_refused(tmp_path: Path, name: str, read: Callable[[Path], Any], text: str) -> None:
    _written(tmp_path, name, text)
    with pytest.raises(InvalidInput):
        read(tmp_path)


def test_brackets_are_read_up_to_the_depth_that_is_named_and_refused_beyond_it_with_their_place(tmp_path: Path) -> None:
    for with_lines in (False, True):
        path = _written(tmp_path, "deep.yaml", "[" * MAX_BRACKETS + "]" * MAX_BRACKETS)
        found = load_file(path, "", with_lines=with_lines)
        for _ in range(MAX_BRACKETS - 1):
            (found,) = found
        assert found == []
        _written(tmp_path, "deep.yaml", "a:\n - " + "[" * (MAX_BRACKETS + 1) + "]" * (MAX_BRACKETS + 1))
        with pytest.raises(InvalidInput, match=f"line 2: more than {MAX_BRACKETS} brackets stand open inside one"):
            load_file(path, "", with_lines=with_lines)


@pytest.mark.parametrize("text", [BOMB, MERGES], ids=["lists of aliases", "merges of aliases"])
def test_a_family_of_aliases_of_aliases_is_a_fault_of_its_file(text: str) -> None:
    with pytest.raises(InvalidFamily) as refused:
        parse_family_text(f"name: triage\n{text}", file="families/triage/family.yaml")
    (fault,) = refused.value.faults
    assert (fault.file, fault.line) == ("families/triage/family.yaml", 1)
    assert "write out what is meant" in fault.detail


def test_no_more_of_a_file_is_read_than_shows_that_it_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "sparse.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a tebibyte of nothing, on no disk
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes"):
        read_text(path)


def test_an_alias_that_is_used_a_few_times_is_read() -> None:
    found = read_yaml("a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}\n")
    assert found.faults == ()
    assert found.data == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": {"x": [1, 2], "y": 3}}
