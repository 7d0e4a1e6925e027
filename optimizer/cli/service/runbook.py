"""``detent runbook``: what to do about an alert, without the service and without its pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from optimizer.cli.output import Json, show, table


def runbook(
    chapter: Annotated[
        str | None, typer.Argument(metavar="[CHAPTER]", help="As a message names it; without: all.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """What to look at, do and verify when something is wrong: a chapter of the runbook, or all their names.

    Each message of an alert names its chapter. It needs no server, no store and no key.

    Example: detent runbook a-provider-is-down
    """
    from optimizer.jobs.upkeep import read_runbook

    if chapter is None:
        names = [{"chapter": one.name, "title": one.title} for one in read_runbook.runbook().values()]
        show(as_json, {"items": names}, table(names, {"chapter": "Chapter", "title": "Title"}, empty=""))
        return
    read = read_runbook.read_chapter(chapter)
    text = f"{read.title}\n\n{read.text}"
    show(as_json, asdict(read), lambda out: out.print(text, markup=False, soft_wrap=True))
