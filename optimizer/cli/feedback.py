"""``detent feedback``: what was reported about each arm."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, show, table
from optimizer.cli.session import Session
from optimizer.core.base.errors import NotFound

app = typer.Typer(name="feedback", no_args_is_help=True, help="What users and systems reported.")


@app.command()
def stats(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    rollout: Annotated[str | None, typer.Option(help="Only of this rollout; default: everything.")] = None,
    as_json: Json = False,
) -> None:
    """Interactions, labels and means per variant and role.

    Example: detent feedback stats triage
    """
    session = Session()
    session.family(family)
    with session.store.read() as tx:
        if rollout is not None and (
            (known := session.store.rollouts.get(tx, rollout)) is None or known.family != family
        ):
            raise NotFound(
                f"{family} has no rollout {rollout!r}. Its last one: detent rollout status {family}.", rollout=rollout
            )
        rows = session.store.events.arm_summary(tx, family, rollout)
    show(
        as_json,
        {"items": rows},
        table([arm_row(r) for r in rows], ARM_COLUMNS, empty=f"{family} has no interactions or feedback yet."),
    )


ARM_COLUMNS = {
    "variant": "Variant",
    "role": "Role",
    "n_interactions": "Interactions",
    "n_errors": "Errors",
    "n_labelled": "Labelled",
    "success": "Success",
    "mean_score": "Mean score",
    "mean_latency_ms": "Mean ms",
    "cost_usd": "Cost $",
}


def arm_row(row: dict[str, Any]) -> dict[str, Any]:
    """An arm for people: the share of successes beside its count; None where nothing was labelled."""
    labelled, success = row.get("n_labelled") or 0, row.get("n_success") or 0
    return {**row, "success": f"{100 * success / labelled:.1f} %" if labelled else None}
