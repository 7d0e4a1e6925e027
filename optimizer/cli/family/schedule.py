"""``detent family schedule``: whether and when a family's studies start by themselves, read and switched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, plain, show, tell_change
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.errors import InvalidInput


def register(app: typer.Typer) -> None:
    app.command()(schedule)


def schedule(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    on: Annotated[bool, typer.Option("--on", help="Let studies start by themselves, at the file's times and by its triggers.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Let no study start by itself.")] = False,
    cron: Annotated[str | None, typer.Option(help='On at other times than the file\'s, in UTC, such as "0 3 * * *".')] = None,
    no_cron: Annotated[bool, typer.Option("--no-cron", help="On at no time, by the file's triggers alone.")] = False,
    holdout: Annotated[bool, typer.Option("--holdout", help="Such studies may look at the sealed holdout.")] = False,
    strategy: Annotated[str | None, typer.Option(help="Of such a study; default: the file's.")] = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency; default: the file's.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    as_json: Json = False,
) -> None:
    """Say whether and when studies start by themselves; switch that on or off.

    Examples:
      detent family schedule triage --on
      detent family schedule triage --cron "0 3 * * 1" --holdout --reason "weekly is enough"
    """
    switched_on = on or cron is not None or no_cron
    if off and switched_on:
        raise InvalidInput("--off and --on (or --cron, --no-cron) exclude each other. Give one of them, or none to read what holds.")
    if cron is not None and no_cron:
        raise InvalidInput("--cron and --no-cron exclude each other. Give one of them, or neither for the file's times.")
    if (strategy or aim or holdout) and not switched_on:
        raise InvalidInput("--strategy, --aim and --holdout belong to what is switched on: give --on (or --cron) too.")
    session = Session()
    if not (off or switched_on):
        _read(session, family, as_json)
        return
    check_one_of("--aim", aim, ("quality", "cost", "latency"))
    body = {"on": True, "holdout": holdout, "strategy": strategy, "aim": aim, "reason": reason or ""}
    body |= {"cron": cron} if cron is not None or no_cron else {}
    report = _switch_off(session, family, reason or "") if off else _switch_on(session, family, body)
    values: Mapping[str, Any] = report if isinstance(report, Mapping) else plain(report)
    show(as_json, values, lambda out: None)
    tell_change(f"{family}: {values['what']}.", why=values["why"], undo=values["undo"] or "", then=values["next"] or "")


def _switch_on(session: Session, family: str, body: Mapping[str, Any]) -> Any:
    if (server := session.server) is not None:
        return server.put(f"/v1/families/{family}/schedule", body)
    from optimizer.jobs.scheduling.set_schedule import set_schedule

    return set_schedule(
        session.family(family), cron=body.get("cron"), from_file="cron" not in body, holdout=body["holdout"], strategy=body["strategy"],
        aim=body["aim"], reason=body["reason"], actor=session.actor, store=session.store, clock=session.clock,
    )  # fmt: skip


def _switch_off(session: Session, family: str, reason: str) -> Any:
    if (server := session.server) is not None:
        return server.delete(f"/v1/families/{family}/schedule", reason=reason)
    from optimizer.jobs.scheduling.set_schedule import unset_schedule

    return unset_schedule(session.family(family), reason=reason, actor=session.actor, store=session.store, clock=session.clock)


def _read(session: Session, family: str, as_json: bool) -> None:
    from optimizer.core.base.phrasing import when
    from optimizer.jobs.scheduling.look_at_triggers import next_scheduled
    from optimizer.jobs.scheduling.set_schedule import read_schedule

    found = read_schedule(session.family(family), store=session.store)
    due = next_scheduled(found, session.clock)

    def view(out: Any) -> None:
        out.print(f"By itself {found.text}", style="bold", markup=False)
        if due is not None:
            out.print(f"Next      {when(due)}", markup=False)

    show(as_json, {**plain(found), "next_study_at": due}, view)
