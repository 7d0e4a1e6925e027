"""Writes a report into a file and prints its path, or to stdout; opens it in the browser on request."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.output import show
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session
from optimizer.core.base.errors import Conflict

STDOUT = Path("-")

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Where to write it; - is stdout. Default: var/reports/ of this home, with --server this folder.",
        show_default=False,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show it in the browser.")]


def deliver(
    session: Session, page: str, values: Mapping[str, Any], *, name: str, out: Path | None, open: bool, as_json: bool
) -> None:
    """Writes the page and prints its path; with --json also ``values``. Raises Conflict where it cannot be written."""
    path = write_page(session, page, name=name, out=out)
    if path is None:
        return
    members = {**values, "path": str(path), "bytes": len(page.encode())}
    show(as_json, members, lambda screen: screen.print(str(members["path"]), markup=False))
    if open:
        typer.launch(path.as_uri())


def write_page(session: Session, page: str, *, name: str, out: Path | None) -> Path | None:
    """The page's full path; None where it went to stdout. Raises Conflict where it cannot be written."""
    if out == STDOUT:
        sys.stdout.write(page)
        return None
    folder = session.settings.var() / "reports" if chosen_server() is None else Path()
    path = out or folder / f"{name}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as refused:
        raise Conflict(
            f"Cannot write the report to {path}: {refused.strerror}. Name another file with --out."
        ) from None
    return path.resolve()
