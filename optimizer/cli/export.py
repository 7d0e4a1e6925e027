"""``detent export``: writes what applications take along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.output import Json, say
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import count

app = typer.Typer(name="export", no_args_is_help=True, help="What applications take along.")


@app.callback()
def _group() -> None:
    """A group of one command is a group, too."""


@app.command()
def snapshot(
    out: Annotated[Path | None, typer.Option(help="The file to write; default: print it.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Write every family's champion to one file, from which detent_client serves without a server.

    It holds no candidate: nobody who is served from it stands in a rollout.

    Example: detent export snapshot --out champions.json
    """
    from optimizer.jobs.champions.export_snapshot import export_snapshot

    file = Session().show(as_json, export_snapshot, None if out else lambda _, file: print(file.text, end=""))
    if out is None:
        return
    try:
        part = out.with_name(f".{out.name}.part")
        part.write_text(file.text, encoding="utf-8")
        os.replace(part, out)  # an application that reads it sees a whole file
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{out} cannot be written: {error}.") from None
    say(f"{count(len(file.families), 'family', 'families')} in {out}. In an application: Client(fallback={str(out)!r})")
