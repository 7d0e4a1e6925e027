"""``detent clock reset``: after a clock that ran ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, plain, show, tell_change
from optimizer.cli.session import Session

app = typer.Typer(name="clock", no_args_is_help=True, help="The time that ticks go by.")


@app.callback(help="The time that ticks go by.")
def _group() -> None: ...


@app.command()
def reset(reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None, as_json: Json = False) -> None:
    """Set the last tick to now where a clock that ran ahead left it in the future. Every active rollout is held. Safe to repeat.

    Example: detent clock reset --reason "the clock ran three hours ahead"
    """
    session = Session()
    if session.server is not None:
        _show(as_json, session.server.post("/v1/clock/reset", {"reason": reason}))
        return
    from optimizer.jobs.upkeep.reset_clock import reset_clock

    _show(as_json, plain(reset_clock(reason, actor=session.actor, store=session.store, clock=session.clock)))


def _show(as_json: bool, values: Mapping[str, Any]) -> None:
    show(as_json, values, lambda out: None)
    tell_change(f"{values['what']}.", why=values["why"], undo=values["undo"], then=values["next"] or "")
