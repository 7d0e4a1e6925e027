"""``detent status``: what runs, what is served, what needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from optimizer.cli.output import Json, print_facts, say, table, when
from optimizer.cli.session import Session
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.serving.rollout import Rollout
    from optimizer.jobs.upkeep.read_status import FamilyStatus, StatusView

CUT_SHOWN = timedelta(days=1)  # since an input was cut last


def status(as_json: Json = False) -> None:
    """Processes, families, studies and open alerts of this home.

    It begins with one sentence: what is wrong here, or that all is well. Below it stand: where rollouts are, which
    ended and which champions took over within a day and how to take that back, which are watched, freezes, refused
    programs, and inputs that were cut within a day.

    Example: detent status --json
    """
    from optimizer.jobs.upkeep.read_status import read_status

    session = Session()
    session.show(as_json, read_status, lambda out, view: _view(out, view, session.clock.now()), forecast=True)


def _view(out: Console, view: StatusView, now: datetime) -> None:
    from optimizer.jobs.upkeep.read_status import MOVED_SHOWN

    out.print(f"{view.headline}.", style="bold", markup=False)
    age = "no tick yet" if view.last_tick_at is None else _ago(now - view.last_tick_at)
    served = {row.name: row.rollout for row in view.families if row.rollout is not None and row.rollout.share}
    print_facts(
        out,
        (
            "Rollout",
            [
                f"{family}: {headline}."
                + (
                    f" {rollout.candidate} is served since {when(rollout.started_at)}, at this share since"
                    f" {when(rollout.stage_entered_at)}, started by {rollout.created_by}. Back: detent rollout rollback"
                    f" {family}"
                    if (rollout := served.get(family))
                    else ""
                )
                for family, headline in view.rollouts.items()
            ],
        ),
        (
            "Moved",
            [
                _moved(row)
                for row in view.families
                if (row.has_previous or row.taken_back) and row.since is not None and now - row.since < MOVED_SHOWN
            ]
            + [
                f"{row.name}: the last rollout {row.ended}. {row.champion} serves, nothing of it is to be taken back"
                for row in view.families
                if row.ended is not None
            ],
        ),
        ("Watched", [f"{row.name}: {row.watched}." for row in view.families if row.watched is not None]),
        ("Home", f"{view.home or '–'}, profile {view.profile}"),
        ("Tick", f"{age}; {view.outbox_waiting} waiting for MLflow"),
        *((label, text, "yellow") for label, text in _warnings(view, now)),
    )
    out.print("")
    columns = {"process": "Process", "pid": "Pid", "url": "Address", "since": "Since"}
    table([asdict(process) for process in view.processes], columns, empty="")(out)
    out.print("")
    columns = {
        "name": "Family",
        "champion": "Champion",
        "serves_since": "Since",
        "by": "By",
        "rollout": "Rollout",
        "frozen": "Frozen",
        "by_itself": "By itself",
        "next_study_at": "Next study",
        "problem": "Problem",
    }
    rows = [
        {**members_of(row), "serves_since": when(row.since), "rollout": _in_short(row.rollout)} for row in view.families
    ]
    table(rows, columns, empty="No families yet.")(out)
    if view.studies:
        out.print("")
        rows = [
            {"id": study.id, "family": study.family, "status": study.state, "n_calls": study.spend.n_calls}
            for study in view.studies
        ]
        table(rows, {"id": "Study", "family": "Family", "status": "Status", "n_calls": "Calls"}, empty="")(out)
    alerts = [alert for alert in view.alerts if alert.is_told]
    for alert in alerts:
        say(f"{alert.level}: {alert.kind} since {when(alert.opened_at)}: {shown(alert.detail)}", "yellow")
    if n_others := len(view.alerts) - len(alerts):
        say(f"{count(n_others, 'alert')} silenced or told by another: detent alerts list")


def _warnings(view: StatusView, now: datetime) -> Iterator[tuple[str, str]]:
    for channel, n in view.messages_waiting.items():
        if n:
            yield "Alerts", f"{n} waiting for {channel}; why: detent doctor"
    if view.models_problem is not None:
        yield "Models", f"the last good file is gone by. {view.models_problem}"
    if view.notes_dropped:
        lost = f"{count(view.notes_dropped, 'line')} of the server's messages and log could not be written"
        yield "Notes", f"{lost}: its terminal is gone, or its disk is full"
    n_restarts = Counter(restart.process for restart in view.restarts)
    for process, last in {restart.process: restart for restart in view.restarts}.items():
        times = f" {n_restarts[process]} times, last" if n_restarts[process] > 1 else ""
        why = shown(last.why) or "var/logs/supervisor.log"
        yield "Restarted", f"{process},{times} {_ago(now - last.at)}; why: {why}"
    for freeze in view.freezes:
        yield "Frozen", freeze.text
    if view.keyless_until is not None:
        still = ", ".join(caller.name for caller in view.keyless_callers) or "none was seen"
        since = when(view.keyless_until)
        yield "Keyless", f"from {since} on programs without a key are refused; still without: {still}"
    for caller in view.refused_callers:
        requests = f"{count(caller.n_requests, 'request')}, last {_ago(now - caller.last_at)}"
        yield "Refused", f"{caller.name}: {requests} (detent keys create NAME makes a key)"
    for row in view.families:
        for field in row.truncated:
            if now - field.last_at < CUT_SHOWN:
                cut = f"{field.input} in {count(field.n_requests, 'request')}, last {_ago(now - field.last_at)}"
                yield "Cut", f"{row.name}: {cut} (inputs.{field.input}.max_chars in its file)"


def _moved(row: FamilyStatus) -> str:
    """What serves since when, by whom and why, and the command that takes it back."""
    back = f"rollback {row.name}"
    if row.taken_back is not None:
        back = f"set {row.name} {row.taken_back} --reason WHY --confirm {row.name}"
    return (
        f"{row.name}: {row.champion} serves since {when(row.since)}, by {row.by}: {shown(row.why or '–')}. Back: detent"
        f" champion {back}"
    )


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
