"""Commands about what one unit is served, for testing."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json, show_report
from optimizer.cli.session import Session

app = typer.Typer(name="override", no_args_is_help=True, help="What one unit is served, for testing.")


@app.command()
def end(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    unit: Annotated[str, typer.Argument(help="The unit.", show_default=False)],
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    as_json: Json = False,
) -> None:
    """Serve a unit what it would get by itself."""
    from optimizer.jobs.rollouts.end_override import EndOverrideRequest, end_override

    request = EndOverrideRequest(family=family, unit=unit, reason=reason or "")
    report = Session().client.ask(end_override, request)
    show_report(as_json, end_override, report, lambda out: out.print(f"{family}: {report.what}", markup=False))
