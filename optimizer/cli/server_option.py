"""``--server URL``: the command asks that server instead of this machine's own home.

The option stands on every command, beside its own. A command that needs this machine says so: those of ``HERE`` at
once, any other where it asks its Session for something of this home.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any

import typer

from optimizer.core.base.errors import InvalidInput

# And those that write the home's own files. `family validate` checks files that are being written here; `family list`
# shows which of a server's are faulty.
HERE = (
    "init",
    "serve",
    "worker",
    "demo",
    "doctor",
    "family add",
    "family align",
    "family create",
    "family validate",
    "data import",
    "backup",
    "restore",
)
# At the start of a text or of a part of it; a word may be quoted, and what follows a comma is no word of it.
COMMAND = re.compile(r"""(?:^|(?<=[;:] ))detent(?: (?:'[^']*'|"[^"]*"|[^\s'";,()]|,(?! ))+)+""")
_server: ContextVar[str | None] = ContextVar("server", default=None)


def chosen_server() -> str | None:
    """The address that ``--server`` names, else DETENT_SERVER; None: this machine's own home."""
    return _server.get()


def with_server(text: str) -> str:
    """The text, whose commands name the server that ``--server`` names; DETENT_SERVER holds for them as well."""
    url = _server.get()
    if url is None or url == os.environ.get("DETENT_SERVER"):
        return text
    return COMMAND.sub(lambda match: _onward(match[0], url), text)


def _onward(command: str, url: str) -> str:
    is_here = f"{command} ".startswith(tuple(f"detent {name} " for name in HERE))
    return command if is_here else f"{command} --server {shlex.quote(url)}"


def begin() -> None:
    """Runs before a command line is read."""
    _server.set(os.environ.get("DETENT_SERVER") or None)


def add_to(command: Any, name: str = "") -> None:
    """To a command, and to all commands of a group."""
    for word, subcommand in getattr(command, "commands", {}).items():
        add_to(subcommand, f"{name} {word}".strip())
    if not hasattr(command, "commands") and not any(param.name == "server" for param in command.params):
        command.params.append(_option(_staying if name in HERE else _asking))


def _take(value: str | None) -> None:
    if value is not None:
        _server.set(value)


def _refuse(context: typer.Context, value: str | None) -> None:
    if value is not None:
        raise InvalidInput(
            f"`{context.command_path}` is about this machine: it takes no --server. Run it where the server runs."
        )
    if (url := _server.get()) is not None:
        typer.echo(f"`{context.command_path}` is about this machine: DETENT_SERVER ({url}) is not asked.", err=True)
    _server.set(None)


def _asking(
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            callback=_take,
            expose_value=False,
            rich_help_panel="Output",
            show_default=False,
            help="Ask this server, with the key in DETENT_API_KEY; default: DETENT_SERVER, else this home.",
        ),
    ] = None,
) -> None: ...


def _staying(
    server: Annotated[str | None, typer.Option(callback=_refuse, expose_value=False, hidden=True)] = None,
) -> None: ...


@cache
def _option(command: Callable[..., None]) -> Any:
    """The option of a command, as Typer makes it of the declaration."""
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return next(param for param in typer.main.get_command(app).params if param.name == "server")
