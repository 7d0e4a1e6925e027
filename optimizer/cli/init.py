"""``detent init``: a small project that works at once."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, say, show, tell_change

if TYPE_CHECKING:
    from optimizer.jobs.dataset.import_examples import ImportReport


def _folder(text: str) -> Path:
    """An empty text would mean the folder one stands in, and is more likely a variable that is not set."""
    if not text.strip():
        raise typer.BadParameter("it is empty; name a folder, or . for this one")
    return Path(text)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or empty folder.", parser=_folder, show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Write a small project: settings, models, one family with examples, README. Nothing that exists is overwritten.

    Example: detent init my-project
    """
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    written, report = _make_project(folder)
    show(as_json, {"folder": folder.absolute(), "files": written, "import": report})
    for sentence in report.sentences():
        say(sentence)
    here = os.path.relpath(folder)
    is_here = here == os.curdir
    undo = f"remove, in {here}: {', '.join(_new(written, there))}"
    tell_change(
        f"{folder.absolute().name if is_here else here}: made a project with the family support_topics and its"
        f" {report.n_accepted} examples.",
        why="",
        undo=undo if there or is_here else f"remove the folder {here}",
        then=f"{'' if is_here else f'cd {shlex.quote(here)} && '}detent serve;"
        " in another terminal: detent study run support_topics --dry-run",
    )


def _new(written: list[str], there: set[str]) -> list[str]:
    """What was made in a folder that held ``there``: a new folder stands for its files."""
    entries = [(name, *name.partition("/")[:2]) for name in (*written, *({"var/"} - {f"{entry}/" for entry in there}))]
    return sorted({name if top in there else top + slash for name, top, slash in entries})


def _make_project(folder: Path) -> tuple[list[str], ImportReport]:
    """The project's files, with the usual mode, and what was imported into its database, which is its user's alone."""
    from optimizer.host.run_files import PRIVATE
    from optimizer.jobs.families.shipped_files import init_project

    written = init_project(folder)
    before = os.umask(PRIVATE)
    try:
        from optimizer.cli.session import Session
        from optimizer.host.config import load_settings

        session = Session()
        session.settings = load_settings(home=folder)
        family = session.family("support_topics")
        return written, session.import_curated(folder / "families" / family.name / "examples.jsonl", family)
    finally:
        os.umask(before)
