"""``detent rollout forecast``: how long a rollout will take, before it starts and while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json, show
from optimizer.cli.rollout.forecast_view import view_forecast
from optimizer.cli.session import Session
from optimizer.cli.variant.find import variant_id
from optimizer.core.base.errors import InvalidInput
from optimizer.runtime.use_cases import as_json_of

LadderOption = Annotated[
    str | None, typer.Option(help='Shares of units such as "0.10,0.25,0.50"; the last step to 1.0 is added.')
]
MarginOption = Annotated[float | None, typer.Option(help="How much worse is still acceptable, absolute.")]


def forecast(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    variant: Annotated[
        str | None,
        typer.Argument(
            help="A candidate, or file; default: what runs now, else the last study's winner, else an equal one."
        ),
    ] = None,
    ladder: LadderOption = None,
    margin: MarginOption = None,
    as_json: Json = False,
) -> None:
    """Say how many labelled outcomes, users and hours a rollout takes, and what it can see; writes nothing.

    Example: detent rollout forecast triage --margin 0.03
    """
    from optimizer.jobs.rollouts.read_rollout import ForecastRequest, read_family_forecast

    session = Session()
    candidate = variant_id(session, family, variant) if variant is not None else None
    request = ForecastRequest(family=family, variant=candidate, ladder=shares_of(ladder), margin=margin)
    values = as_json_of(read_family_forecast, session.client.ask(read_family_forecast, request))
    show(as_json, values, lambda out: view_forecast(out, values))


def shares_of(ladder: str | None) -> list[float] | None:
    """``--ladder`` as numbers."""
    if ladder is None:
        return None
    try:
        return [float(part) for part in ladder.replace(",", " ").split()]
    except ValueError:
        raise InvalidInput(f"--ladder needs shares between 0 and 1, such as 0.10,0.25,0.50, not {ladder!r}.") from None


def what_does_not_fit(session: Session, family: str) -> list[str]:
    """Of the active rollout: that it will not end within its limits, and the ways out,
    other ladders among them; empty where it may.
    """
    from optimizer.jobs.rollouts.read_rollout import ReadRolloutRequest, read_forecast

    view = session.client.ask(read_forecast, ReadRolloutRequest(id=session.active_rollout(family).id))
    if not view.refuses:
        return []
    instead = (
        f"  Another ladder or limit means another rollout: detent rollout rollback {family}, then start it with them."
    )
    return [f"Forecast: {view.summary}", *(f"  Way out: {way}" for way in view.ways_out), instead]
