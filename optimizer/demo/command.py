"""``detent demo``, which the command line finds as an entry point of the installation: no import leads up to here."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.demo.plain import LENGTH

HELP = f"""The whole loop once, on real text, with the embedded model: search, rollout, promotion, rollback; {LENGTH}.

Example: detent demo --keep
"""


def register(app: typer.Typer) -> None:
    app.command(help=HELP)(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running at the end, to look around.")] = False,
) -> None:
    from optimizer.demo.story import run

    raise typer.Exit(run(keep))
