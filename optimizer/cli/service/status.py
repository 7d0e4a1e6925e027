"""``detent status``: what runs, what is served, what needs a person."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import typer

from optimizer.cli.output import Json, say, show_report, table, when
from optimizer.cli.session import Session
from optimizer.core.base.answers import members_of
from optimizer.core.base.phrasing import count
from optimizer.core.base.texts import shown

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.serving.rollout import Rollout
    from optimizer.jobs.upkeep.read_status import StatusView

CUT_SHOWN = timedelta(days=1)  # since an input was cut last


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: Json = False) -> None:
    """Processes, families, studies and open alerts of this home.

    It begins with one sentence: what is wrong here, or that all is well. Where rollouts stand, which champions are
    watched, freezes, refused programs and inputs that were cut within a day stand below it.

    Example: detent status --json
    """
    from optimizer.jobs.upkeep.read_status import StatusRequest, read_status

    session = Session()
    found = session.client.ask(read_status, StatusRequest(forecast=True))
    show_report(as_json, read_status, found, lambda out: _view(out, found, session.clock.now()))


def _view(out: Console, found: StatusView, now: datetime) -> None:
    def warn(text: str) -> None:
        out.print(text, style="yellow", markup=False)

    out.print(f"{found.headline}.", style="bold", markup=False)
    for family, headline in found.rollouts.items():
        out.print(f"Rollout   {family}: {headline}.", markup=False)
    for row in found.families:
        if row.watched is not None:
            out.print(f"Watched   {row.name}: {row.watched}.", markup=False)
    out.print(f"Home      {found.home or '–'}, profile {found.profile}", markup=False)
    age = "no tick yet" if found.last_tick_at is None else _ago(now - found.last_tick_at)
    out.print(f"Tick      {age}; {found.outbox_waiting} waiting for MLflow", markup=False)
    for channel, n in found.messages_waiting.items():
        if n:
            warn(f"Alerts    {n} waiting for {channel}; why: detent doctor")
    if found.models_problem is not None:
        warn(f"Models    the last good file is gone by. {found.models_problem}")
    if found.notes_dropped:
        lost = f"{count(found.notes_dropped, 'line')} of the server's messages and log could not be written"
        warn(f"Notes     {lost}: its terminal is gone, or its disk is full")
    for freeze in found.freezes:
        warn(f"Frozen    {freeze.text}")
    if found.keyless_until is not None:
        still = ", ".join(caller.name for caller in found.keyless_callers) or "none was seen"
        warn(
            f"Keyless   from {when(found.keyless_until)} on programs without a key are refused; still without: {still}"
        )
    for caller in found.refused_callers:
        seen = f"{count(caller.n_requests, 'request')}, last {_ago(now - caller.last_at)}"
        warn(f"Refused   {caller.name}: {seen} (detent keys create NAME makes a key)")
    for row in found.families:
        for one in row.truncated:
            if now - one.last_at < CUT_SHOWN:
                cut = f"{one.input} in {count(one.n_requests, 'request')}, last {_ago(now - one.last_at)}"
                warn(f"Cut       {row.name}: {cut} (inputs.{one.input}.max_chars in its file)")
    out.print("")
    columns = {"process": "Process", "pid": "Pid", "url": "Address", "since": "Since"}
    table([asdict(process) for process in found.processes], columns, empty="")(out)
    out.print("")
    columns = {
        "name": "Family",
        "champion": "Champion",
        "rollout": "Rollout",
        "frozen": "Frozen",
        "by_itself": "By itself",
        "next_study_at": "Next study",
        "problem": "Problem",
    }
    rows = [{**members_of(row), "rollout": _in_short(row.rollout)} for row in found.families]
    table(rows, columns, empty="No families yet.")(out)
    if found.studies:
        out.print("")
        rows = [
            {"id": study.id, "family": study.family, "status": study.state, "n_calls": study.spend.n_calls}
            for study in found.studies
        ]
        table(rows, {"id": "Study", "family": "Family", "status": "Status", "n_calls": "Calls"}, empty="")(out)
    for alert in found.alerts:
        say(f"{alert.level}: {alert.kind} since {when(alert.opened_at)}: {shown(alert.detail)}", "yellow")


def _in_short(rollout: Rollout | None) -> str | None:
    if rollout is None:
        return None
    share = f" at {100 * rollout.share:.3g} %" if rollout.share is not None else ""
    return f"{rollout.id} {rollout.status}{share}"


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    return (
        f"{seconds:.0f} s ago"
        if seconds >= 0
        else f"{-seconds:.0f} s ahead of the clock; put it right with: detent clock reset"
    )
