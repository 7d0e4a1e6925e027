"""``detent init``: a small project that works at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.output import Json, say, show, tell_change


def register(app: typer.Typer) -> None:
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a small project: settings, models, one family with examples, README. Nothing that exists is overwritten.

    Example: detent init my-project
    """
    import os

    from optimizer import wiring
    from optimizer.cli.session import Session
    from optimizer.config import load_settings
    from optimizer.jobs.import_examples import import_examples
    from optimizer.jobs.init_project import init_project

    written = init_project(folder)
    session = Session()
    session.settings = load_settings(home=folder)
    store = session.store
    family = session.family("support_topics")
    source = wiring.open_source(str(folder / "families" / family.name / "examples.jsonl"), family)
    assert source.rows is not None
    report = import_examples(source.rows, family=family, store=store, clock=session.clock, actor=session.actor, curated=True)
    show(as_json, {"folder": folder.absolute(), "files": written, "import": report}, lambda out: None)
    for sentence in report.sentences():
        say(sentence)
    here = os.path.relpath(folder)
    tell_change(
        f"{here}: made a project with the family support_topics and its {report.n_accepted} examples.",
        why="",
        undo=f"remove the folder {here}",
        then=f"cd {here} && detent serve; in another terminal: detent study run support_topics --dry-run",
    )
