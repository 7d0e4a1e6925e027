"""``detent demo``, which the command line finds as an entry point of the installation: no import leads up to here."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.demo.plain import LENGTH

HELP = f"""The whole loop once, on real text, with the embedded model: search, rollout, promotion, rollback; {LENGTH}.

It announces three stories: a better prompt is found, promoted and taken back; a careless edit is rolled back by itself;
a student is found to answer for the model, for less and within the margin. Exit 0 where all three came out so, 3 where
one did not, 1 where it stopped. Its page: var/reports/demo.html.

Example: detent demo --keep
"""


def register(app: typer.Typer) -> None:
    app.command(help=HELP)(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running at the end, to look around.")] = False,
) -> None:
    from optimizer.demo.story import run

    raise typer.Exit(run(keep))
