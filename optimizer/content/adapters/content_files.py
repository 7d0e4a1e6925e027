"""The content pipeline's configuration files: read with the line of every fault; one of them, the last, is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from optimizer.adapters.files.family_positions import SourceFile, read_yaml
from optimizer.content.core.policy.file_reading import FILES, MONITORING, OPTIMAL
from optimizer.content.core.policy.files import PipelineFiles, invalid_files, read_files
from optimizer.content.core.records.saved import SavedMetrics, read_metrics
from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import Fault, InvalidInput, NotFound
from optimizer.core.feedback.pipeline_record import TARGETS, Target
from optimizer.host.yaml_files import YamlTooLarge, read_text


def read_folder(folder: Path) -> PipelineFiles:
    """What the pipeline's files in a folder say; it ignores other files.

    Raises:
        NotFound: none of the files is there.
        InvalidInput: every fault of every file at once, with file, line and JSON pointer.
    """
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        raise NotFound(
            f"There is none of the pipeline's files in {folder}. Expected at least one of {', '.join(FILES)}."
        )
    return _read(files)


def read_file(file: Path) -> PipelineFiles:
    """What one of the pipeline's files says, under its own name.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the name is none of the five, or every fault of the file at once.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    if file.name not in FILES:
        raise InvalidInput(f"{file} is none of the pipeline's files; they are named {', '.join(FILES)}.")
    return _read([file])


def read_levels(file: Path) -> Mapping[str, Target]:
    """The levels of a monitoring.yaml of any name, by figure.

    Raises:
        InvalidInput: every fault, with its line; among them figures that nothing here measures.
    """
    levels = _read([file], as_name=MONITORING).monitoring
    unknown = [name for name in levels if name not in TARGETS]
    if unknown:
        raise InvalidInput(
            f"{file} sets levels for {', '.join(unknown)}, and nothing is known of that here. It may set"
            f" {', '.join(TARGETS)}."
        )
    return levels


def read_saved_metrics(path: Path) -> list[SavedMetrics]:
    """Saved answers of GET /api/performance/: one file, or every metrics_*.json of a folder, by name.

    Raises:
        NotFound: there is none.
        InvalidInput: one of them is no such answer; says which.
    """
    files = sorted(path.glob("metrics_*.json")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise NotFound(
            f"There is no saved metrics_*.json in {path}. Save one: curl SERVER/api/performance/ >"
            " metrics_20261120_0830.json."
        )
    saved = []
    for file in files:
        try:
            saved.append(read_metrics(file.name, read_json(file.read_bytes())))
        except (OSError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"{file} cannot be read as JSON: {error}.") from None
    return saved


def _read(files: Sequence[Path], *, as_name: str | None = None) -> PipelineFiles:
    """Args:
    as_name: the name under which a single file is read, whatever it is called.
    """
    sources: dict[str, SourceFile] = {}
    faults: list[Fault] = []
    for file in files:
        name = as_name or file.name
        try:
            sources[name] = read_yaml(read_text(file))
        except YamlTooLarge as error:
            faults.append(Fault(pointer="", detail=str(error), file=name, line=1))
            continue
        except (OSError, UnicodeDecodeError) as error:
            faults.append(
                Fault(
                    pointer="",
                    detail=f"the file cannot be read ({error}); save it as UTF-8, readable",
                    file=name,
                    line=1,
                )
            )
            continue
        faults += [replace(fault, file=name) for fault in sources[name].faults]
    content = PipelineFiles()
    try:
        content = read_files({name: source.data for name, source in sources.items() if source.data is not None})
    except InvalidInput as error:
        faults += [
            f if f.line or f.file not in sources else replace(f, line=sources[f.file].line_of(f.pointer))
            for f in error.faults
        ]
    if faults:
        order = {name: i for i, name in enumerate(FILES)}
        raise invalid_files(sorted(faults, key=lambda f: (order.get(f.file or "", 9), f.line or 0)))
    return content


def write_optimal_config(folder: Path, data: Mapping[str, Any]) -> Path:
    """Writes optimal_config.yaml, over one that is there."""
    # Plain data as YAML 1.2, keys in the order given.
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 140
    out = StringIO()
    yaml.dump(data, out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OPTIMAL).write_text(out.getvalue(), encoding="utf-8")
    return folder / OPTIMAL
