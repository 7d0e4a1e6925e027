"""``detent clock reset``: sets the ticks' time back after a clock ran ahead."""

from __future__ import annotations

import typer

from optimizer.cli.output import Json, Reason
from optimizer.cli.session import Session

app = typer.Typer(name="clock", no_args_is_help=True, help="The time that ticks go by.")


@app.callback(help="The time that ticks go by.")
def _group() -> None: ...


@app.command()
def reset(reason: Reason = None, as_json: Json = False) -> None:
    """Set the last tick to now where a clock that ran ahead left it in the future.

    Until then ticks stand still, and so do rollouts. With a server it takes a key of role admin. What was recorded
    ahead of time stays as it is: look at each rollout, then `detent rollout resume`.

    Every active rollout is held. Safe to repeat.

    Example: detent clock reset --reason "the clock ran three hours ahead"
    """
    from optimizer.jobs.upkeep.reset_clock import reset_clock

    Session().change(as_json, reset_clock, reason=reason or "")
