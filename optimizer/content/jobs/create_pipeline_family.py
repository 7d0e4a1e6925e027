"""Writes the folder of a content pipeline's family whose current version is what the pipeline's own files say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from optimizer.content.core.policy.files import PipelineFiles
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.jobs.families.create_family import write_family
from optimizer.jobs.families.family_folders import FILE

ADOPTED = "adopted"  # name of the version; the presets stand beside it


def create_pipeline_family(
    name: str, files: PipelineFiles, *, shipped: Mapping[str, Any], families_dir: Path, today: date, source: str
) -> Path:
    """The file that was written: the family that Detent ships, with one version more, which serves.

    Knobs that the files do not name have their defaults. Keys of the files that no knob means decide nothing and are
    not carried over.

    Args:
        shipped: plain data of the shipped family's file.
        source: where the files stand, for the version's description.
    Raises:
        InvalidInput: the files name no knob, or the name is no family name.
        Conflict: the folder exists.
    """
    folder = families_dir / name
    if folder.exists():
        raise Conflict(
            f"There is a folder {folder} already, and nothing is overwritten. Choose another name, or make the files'"
            f" knobs a variant of it: detent variant create {name} --from champion --policy KNOB=VALUE."
        )
    if not files.policy:
        raise InvalidInput(f"The files in {source} name no knob of a policy, so there is nothing to serve.")
    versions = shipped["prompt"]["versions"]
    adopted = {"created_at": today.isoformat(), "description": f"as {source} had it", "policy": dict(files.policy)}
    data = {
        **shipped,
        "name": name,
        "prompt": {**shipped["prompt"], "current": ADOPTED, "versions": {ADOPTED: adopted, **versions}},
    }
    write_family(folder, data, {})
    return folder / FILE
