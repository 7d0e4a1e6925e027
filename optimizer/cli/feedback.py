"""``detent feedback``: what was reported about each arm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, say, show_report, table
from optimizer.cli.session import Session, time_of
from optimizer.core.base.errors import InvalidInput

app = typer.Typer(name="feedback", no_args_is_help=True, help="What users and systems reported.")


@app.command()
def stats(
    family: FamilyName,
    rollout: Annotated[str | None, typer.Option(help="Only of this rollout; default: everything.")] = None,
    by: Annotated[
        str | None, typer.Option(help="hour, day or model: how the figures moved, per variant and model.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="A time such as 2026-11-30T14:00, or how long ago: 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same; default: now.")] = None,
    as_json: Json = False,
) -> None:
    """Interactions, labels and means per variant and role; or how they moved over a time.

    Example: detent feedback stats triage --by day --since 14d
    """
    session = Session()
    if by is not None or since is not None or until is not None:
        if rollout is not None:
            raise InvalidInput("--rollout sums up a whole rollout: leave out --by, --since and --until, or --rollout.")
        _moved(session, family, by or "day", since, until, as_json=as_json)
        return
    from optimizer.jobs.rollouts.read_rollout import read_arms

    session.show_page(
        as_json,
        read_arms,
        ARM_COLUMNS,
        family=family,
        rollout=rollout,
        rows=lambda page: [arm_row(asdict(arm)) for arm in page.items],
        empty=f"{family} has no interactions or feedback yet.",
    )


def _moved(session: Session, family: str, by: str, since: str | None, until: str | None, *, as_json: bool) -> None:
    from optimizer.jobs.champions.read_stats import LONGEST, read_stats

    if by not in LONGEST:
        raise InvalidInput(f"--by {by!r} is none of {', '.join(LONGEST)}.")
    now = session.clock.now()
    report = session.ask(
        read_stats, family=family, by=by, since=time_of(since, now, "--since"), until=time_of(until, now, "--until")
    )
    columns = {
        **({"start": "From (UTC)"} if by != "model" else {}),
        "variant": "Variant",
        "model": "Model",
        "n_interactions": "Interactions",
        "n_errors": "Errors",
        "n_labelled": "Labelled",
        "success": "Success",
        "mean_score": "Mean score",
        "mean_latency_ms": "Mean ms",
        "p95_latency_ms": "p95 ms",
        "cost_usd": "Cost $",
    }
    rows = [
        arm_row({**asdict(row), "start": f"{row.start:%Y-%m-%d %H:%M}" if row.start else None}) for row in report.items
    ]
    empty = f"Nothing of {family} was received between {report.since:%Y-%m-%d %H:%M} and {report.until:%Y-%m-%d %H:%M}."
    show_report(as_json, read_stats, report, table(rows, columns, empty=empty))
    summed = f"until {report.summed_until:%Y-%m-%d %H:%M:%S} UTC" if report.summed_until else "nothing yet"
    say(f"Summed up: {summed}; the worker of `detent serve` goes on with it.")


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
