"""``detent family add``: the families that come with Detent."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json, say, show, table, tell_change
from optimizer.cli.session import Session
from optimizer.runtime import wiring


def add(
    family: Annotated[
        str | None,
        typer.Argument(help="Name of a family that Detent ships; without one: the list.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a family that comes with Detent into this project, and import its examples. Safe to repeat.

    A folder of that name is left alone. Undo: `detent family delete`.

    Example: detent family add summarization
    """
    from optimizer.jobs.families.shipped_files import SHIPPED, add_shipped_family

    if family is None:
        from optimizer.adapters.files.family_files import FamilyFiles

        here, shipped = Session().families, FamilyFiles(SHIPPED)
        shipped.load()
        rows = [
            {
                "family": name,
                "description": family.description,
                "here": name in here.families.keys() | here.problems.keys(),
            }
            for name, family in sorted(shipped.families.items())
        ]
        show(
            as_json,
            {"items": rows},
            table(
                rows,
                {"family": "Family", "description": "What it does", "here": "In this project"},
                empty="This installation of Detent ships no families.",
            ),
        )
        return
    session = Session()
    session.refuse_former_name(family)
    folder = session.settings.families_dir / family
    session.before_change()
    written = add_shipped_family(family, families_dir=session.settings.families_dir)
    session.families.load()
    wiring.sync_families(session.settings, session.families, session.store, session.clock)
    declared = session.family(family)
    examples, report = folder / "examples.jsonl", None
    if examples in written:
        report = session.import_curated(examples, declared)
    show(as_json, {"family": family, "files": written, "import": report})
    for sentence in report.sentences() if report is not None else ():
        say(sentence)
    tell_change(
        f"{family}: its copy is {folder}, yours to edit.",
        why="",
        undo=f"detent family delete {family} --confirm {family}",
        then=f"detent family show {family}",
    )
