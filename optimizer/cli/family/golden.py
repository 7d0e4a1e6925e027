"""``detent golden``: the golden scenarios of a family, and which released examples are rows of them."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.operations.protocol import Answer
from optimizer.cli.output import Json, show, table, tell_change
from optimizer.cli.session import Session

app = typer.Typer(
    name="golden", no_args_is_help=True, help="Golden scenarios: list; make one of a released example, or take it back."
)

FamilyName = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]
ExampleId = Annotated[
    str, typer.Argument(help="Id of the example, or of the interaction it was made of.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]


@app.command("list")
def list_rows(family: FamilyName, as_json: Json = False) -> None:
    """Every row: of golden.jsonl beside the family's file, and those made of examples.

    Example: detent golden list triage
    """
    from optimizer.jobs.dataset.keep_golden import list_golden

    session = Session()
    rows = list_golden(session.family(family), session.store)
    shown = [
        {
            "scenario": row.scenario,
            "from": "golden.jsonl" if row.example is None else f"example {row.example}",
            "input": dict(row.input),
            "expected": dict(row.expected),
        }
        for row in rows
    ]
    columns = {"scenario": "Scenario", "from": "From", "input": "Input", "expected": "Expected"}
    empty = (
        f"{family} has no golden scenarios. Write golden.jsonl beside its file, or make one of a released example:"
        f" detent golden add {family} EXAMPLE"
    )
    show(as_json, {"items": rows}, table(shown, columns, empty=empty))


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
    _tell(as_json, Session().operations.add_golden(family, example, scenario=scenario, reason=reason))


@app.command()
def remove(family: FamilyName, example: ExampleId, reason: Reason = None, as_json: Json = False) -> None:
    """Take an example out of its golden scenario; searches may learn from it again."""
    _tell(as_json, Session().operations.remove_golden(family, example, reason=reason))


def _tell(as_json: bool, answer: Answer) -> None:
    show(as_json, answer, lambda out: None)
    tell_change(
        f"{answer['family']}: {answer['what']}.",
        why=answer["why"],
        undo=answer["undo"] or "",
        then=answer["next"] or "",
    )
