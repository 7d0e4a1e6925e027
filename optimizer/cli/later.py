"""Commands that the contract names and a later version brings. They say so in one sentence instead of being unknown."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json
from optimizer.core.base.errors import NotYet

Words = Annotated[list[str] | None, typer.Argument(help="Ignored for now.", show_default=False)]
ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}

GROUPS = {
    "dialogs": {"analyze": "read whole conversations"},
}


def add(app: typer.Typer, name: str, path: str, purpose: str) -> None:
    # A command that takes anything and answers one sentence with exit code 1.
    def command(words: Words = None, as_json: Json = False) -> None:
        raise NotYet(f"`detent {path}` will {purpose}; this version cannot do it yet.", command=path)

    command.__doc__ = f"Not yet: will {purpose}."
    app.command(name, context_settings=dict(ANYTHING), rich_help_panel="Not yet in this version")(command)


DATA = {"forget": "forget a person"}  # beside what cli/data.py does


def register(app: typer.Typer) -> None:
    for group, commands in GROUPS.items():
        sub = typer.Typer(name=group, no_args_is_help=True, help="Not yet in this version.")
        for name, purpose in commands.items():
            add(sub, name, f"{group} {name}", purpose)
        app.add_typer(sub, rich_help_panel="Not yet in this version")
