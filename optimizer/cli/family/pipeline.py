"""``detent family create F --from DIR``: a family of the files that a content pipeline has."""

from __future__ import annotations

import shutil
from pathlib import Path

from optimizer.cli.output import say, show, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.runtime import wiring


def create_pipeline(family: str, folder: Path, examples: Path | None, as_json: bool) -> None:
    """Its policy is the first champion; its monitoring.yaml becomes that of this home where there is none."""
    from optimizer.content.jobs.create_pipeline_family import ADOPTED, create_pipeline_family
    from optimizer.host.yaml_files import load_file
    from optimizer.jobs.families.add_shipped_family import SHIPPED

    if examples is not None:
        raise InvalidInput(
            f"{folder} is a folder of a content pipeline's files, which come without examples. Import recorded items"
            f" afterwards: detent import {examples} --family {family}."
        )
    session = Session()
    files = wiring.read_pipeline_files(folder)
    session.refuse_former_name(family)
    session.before_change()
    written = create_pipeline_family(
        family,
        files,
        shipped=load_file(SHIPPED / "content_pipeline" / "family.yaml", "Install Detent again."),
        families_dir=session.settings.families_dir,
        today=session.clock.now().date(),
        source=str(folder),
    )
    levels, here = folder / "monitoring.yaml", session.settings.monitoring_file
    is_copied = levels.is_file() and not here.exists()
    if is_copied:
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(levels, here)
    session.families.load()
    wiring.sync_families(session.settings, session.families, session.store, session.clock)
    session.family(family)
    paths = [written, *([here] if is_copied else [])]
    n_beside = sum(len(keys) for name, keys in files.beside.items() if name != "monitoring.yaml")
    show(as_json, {"family": family, "files": paths, "policy": dict(files.policy), "n_not_carried": n_beside})
    if n_beside:
        say(f"Keys of the files that decide nothing, and stay there alone: {n_beside}.")
    if levels.is_file() and not is_copied:
        say(f"This home has its own {here}; that of {folder} is not taken over.")
    tell_change(
        f"{family}: made {' and '.join(map(str, paths))}; version {ADOPTED} serves, with"
        f" {count(len(files.policy), 'knob')} of {folder}.",
        why="",
        undo=f"detent family delete {family} --confirm {family}",
        then=f"detent thresholds compare {family} --conservative {ADOPTED} --aggressive balanced",
    )
