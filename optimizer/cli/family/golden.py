"""``detent golden``: the golden scenarios of a family, and which released examples are rows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason, show_report, table
from optimizer.cli.session import Session
from optimizer.core.base.answers import Page, members_of

if TYPE_CHECKING:
    from optimizer.jobs.dataset.golden_scenarios import GoldenRowOfFamily, GoldenRowView

app = typer.Typer(
    name="golden", no_args_is_help=True, help="Golden scenarios: list; make one of a released example, or take it back."
)

ExampleId = Annotated[
    str, typer.Argument(help="Id of the example, or of the interaction it was made of.", show_default=False)
]


@app.command("list")
def list_rows(
    family: Annotated[
        str | None, typer.Argument(help="Name of the family; default: every family.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Every row: of golden.jsonl beside the family's file, and those made of examples.

    Example: detent golden list triage
    """
    from optimizer.jobs.dataset.golden_scenarios import read_all_golden, read_golden

    session = Session()
    page: Page[GoldenRowOfFamily] | Page[GoldenRowView] = (
        session.whole(read_all_golden) if family is None else session.whole(read_golden, family=family)
    )
    columns = {"scenario": "Scenario", "from": "From", "input": "Input", "expected": "Expected"}
    if family is None:
        columns = {"family": "Family", **columns}
    rows = [
        {**members_of(row), "from": "golden.jsonl" if row.example is None else f"example {row.example}"}
        for row in page.items
    ]
    empty = (
        f"{f'{family} has no' if family else 'No family has'} golden scenarios. Write golden.jsonl beside its file, or"
        f" make one of a released example: detent golden add {family or 'FAMILY'} EXAMPLE"
    )
    show_report(as_json, read_all_golden if family is None else read_golden, page, table(rows, columns, empty=empty))


@app.command()
def add(
    family: FamilyName,
    example: ExampleId,
    scenario: Annotated[str | None, typer.Option(help="Name of the scenario; default: the example's id.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Make a released example a row of a golden scenario; no search learns from it any more.

    Example: detent golden add triage ia_in_01… --scenario "refund in two parts"
    """
    from optimizer.jobs.dataset.golden_scenarios import add_golden

    Session().change(as_json, add_golden, family=family, example=example, scenario=scenario, reason=reason or "")


@app.command()
def remove(family: FamilyName, example: ExampleId, reason: Reason = None, as_json: Json = False) -> None:
    """Take an example out of its golden scenario; searches may learn from it again."""
    from optimizer.jobs.dataset.golden_scenarios import remove_golden

    Session().change(as_json, remove_golden, family=family, example=example, reason=reason or "")
