"""Loads commands from above the command line. The installation names them, so that no import leads up from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from typing import Annotated

import typer

from optimizer.core.base.errors import NotFound

DISTRIBUTION, GROUP = "detent-server", "detent.commands"
COMMANDS = ("demo",)
Words = Annotated[list[str] | None, typer.Argument(help="Ignored.", show_default=False)]
ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    declared = {point.name: point for point in _declared()}
    for name in COMMANDS:
        if name in declared:
            declared[name].load()(app)
        else:
            app.command(name, context_settings=dict(ANYTHING), help="Not in this installation.")(_missing(name))


def _declared() -> Iterable[EntryPoint]:
    """The entry points of our own distribution: reading those of all installed ones takes three times as long."""
    try:
        return distribution(DISTRIBUTION).entry_points.select(group=GROUP)
    except PackageNotFoundError:
        return ()


def _missing(name: str) -> Callable[..., None]:
    def command(words: Words = None) -> None:
        raise NotFound(
            f"This installation has no `detent {name}`: it is older than these files, or there is none. Install Detent"
            " anew; in a checkout, `make demo` does so by itself.",
            command=name,
        )

    return command
