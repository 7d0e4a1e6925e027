"""``detent family schedule``: whether and when a family's studies start by themselves, read and switched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason, print_facts
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import AIMS

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.scheduling.schedule import ScheduleView


def schedule(
    family: FamilyName,
    on: Annotated[
        bool, typer.Option("--on", help="Let studies start by themselves, at the file's times and by its triggers.")
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="Let no study start by itself.")] = False,
    cron: Annotated[
        str | None, typer.Option(help='On at other times than the file\'s, in UTC, such as "0 3 * * *".')
    ] = None,
    no_cron: Annotated[bool, typer.Option("--no-cron", help="On at no time, by the file's triggers alone.")] = False,
    holdout: Annotated[bool, typer.Option("--holdout", help="Such studies may look at the sealed holdout.")] = False,
    strategy: Annotated[str | None, typer.Option(help="Of such a study; default: the file's.")] = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency; default: the file's.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Say whether and when studies start by themselves; switch that on or off.

    None does before --on.

    Examples:
      detent family schedule triage --on
      detent family schedule triage --cron "0 3 * * 1" --holdout --reason "weekly is enough"
    """
    switched_on = on or cron is not None or no_cron
    if off and switched_on:
        raise InvalidInput(
            "--off and --on (or --cron, --no-cron) exclude each other. Give one of them, or none to read what holds."
        )
    if cron is not None and no_cron:
        raise InvalidInput(
            "--cron and --no-cron exclude each other. Give one of them, or neither for the file's times."
        )
    if (strategy or aim or holdout) and not switched_on:
        raise InvalidInput("--strategy, --aim and --holdout belong to what is switched on: give --on (or --cron) too.")
    session = Session()
    if not (off or switched_on):
        from optimizer.core.base.phrasing import when
        from optimizer.jobs.scheduling.set_schedule import read_family_schedule

        def view(out: Console, state: ScheduleView) -> None:
            at = state.next_study_at
            print_facts(out, ("By itself", state.text, "bold"), ("Next", when(at) if at is not None else None))

        session.show(as_json, read_family_schedule, view, family=family)
        return
    check_one_of("--aim", aim, AIMS)
    from optimizer.jobs.scheduling import set_schedule as jobs

    if off:
        session.change(as_json, jobs.delete_schedule, family=family, reason=reason or "")
        return
    times = {"cron": cron} if cron is not None or no_cron else {}  # left out: the file's
    session.change(
        as_json,
        jobs.put_schedule,
        family=family,
        on=True,
        **times,
        holdout=holdout,
        strategy=strategy,
        aim=aim,
        reason=reason or "",
        if_match="*",
    )
