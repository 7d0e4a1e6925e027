"""``detent family schedule``: when a family's studies start by themselves, read and set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, plain, show, tell_change
from optimizer.cli.session import Session, check_one_of
from optimizer.core.errors import InvalidInput


def register(app: typer.Typer) -> None:
    app.command()(schedule)


def schedule(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    cron: Annotated[str | None, typer.Option(help='Minute, hour, day of month, month, weekday, in UTC, such as "0 3 * * *".')] = None,
    off: Annotated[bool, typer.Option("--off", help="No study by schedule, whatever the file says.")] = False,
    from_file: Annotated[bool, typer.Option("--from-file", help="As the family file says.")] = False,
    strategy: Annotated[str | None, typer.Option(help="Of such a study; default: the file's.")] = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency; default: the file's.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    as_json: Json = False,
) -> None:
    """Say when studies start by themselves and who decided that; or set it in place of the family file.

    Example: detent family schedule triage --cron "0 3 * * 1" --reason "weekly is enough"
    """
    chosen = [name for name, given in (("--cron", cron is not None), ("--off", off), ("--from-file", from_file)) if given]
    if len(chosen) > 1:
        raise InvalidInput(f"{' and '.join(chosen)} exclude each other. Give one of them, or none to read the schedule.")
    if (strategy or aim) and chosen not in (["--cron"], ["--off"]):
        raise InvalidInput("--strategy and --aim are set together with the times: give --cron too (or --off).")
    session = Session()
    if not chosen:
        _read(session, family, as_json)
        return
    check_one_of("--aim", aim, ("quality", "cost", "latency"))
    body = {"cron": cron, "strategy": strategy, "aim": aim, "reason": reason or ""}
    report = _change(session, family, body, from_file=from_file)
    values: Mapping[str, Any] = report if isinstance(report, Mapping) else plain(report)
    show(as_json, values, lambda out: None)
    tell_change(f"{family}: {values['what']}.", why=values["why"], undo=values["undo"] or "", then=values["next"] or "")


def _change(session: Session, family: str, body: Mapping[str, Any], *, from_file: bool) -> Any:
    if (server := session.server) is not None:
        path = f"/v1/families/{family}/schedule"
        return server.delete(path, reason=body["reason"]) if from_file else server.put(path, body)
    from optimizer.jobs.set_schedule import set_schedule, unset_schedule

    declared = session.family(family)
    common: dict[str, Any] = {"reason": body["reason"], "actor": session.actor, "store": session.store, "clock": session.clock}
    if from_file:
        return unset_schedule(declared, **common)
    return set_schedule(declared, cron=body["cron"], strategy=body["strategy"], aim=body["aim"], **common)


def _read(session: Session, family: str, as_json: bool) -> None:
    from optimizer.core.words import when
    from optimizer.jobs.look_at_triggers import next_scheduled
    from optimizer.jobs.set_schedule import read_schedule

    found = read_schedule(session.family(family), store=session.store)
    due = next_scheduled(found, session.clock)

    def view(out: Any) -> None:
        out.print(f"Schedule  {found.text}", style="bold", markup=False)
        if due is not None:
            out.print(f"Next      {when(due)}", markup=False)

    show(as_json, {**plain(found), "next_study_at": due}, view)
