"""``detent status``: what runs, what is served, what needs a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from optimizer.cli.output import Json, say, show, table, when
from optimizer.cli.session import Session
from optimizer.core.base.errors import Busy
from optimizer.core.base.phrasing import count
from optimizer.core.views.study import view_of_study

if TYPE_CHECKING:
    from optimizer.core.serving.freezes import Freeze

CUT_SHOWN_S = 24 * 3600  # since an input was cut last
REFUSED_SHOWN_S = 3600  # in the headline, since a program was refused last


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: Json = False) -> None:
    """Processes, families, studies and open alerts of this home.

    Example: detent status --json
    """
    from optimizer.cli.service.unknown_model import with_unknown_model
    from optimizer.core.views.rollout_headline import HomeHealth, home_headline
    from optimizer.host import run_files
    from optimizer.jobs.outbox.mirror_outbox import TOPICS
    from optimizer.jobs.outbox.send_alerts import messages_waiting
    from optimizer.jobs.upkeep.manage_keys import seen_callers
    from optimizer.jobs.upkeep.read_status import seen_of, truncated_of
    from optimizer.runtime import wiring

    session = Session()
    store, settings = session.store, session.settings
    processes = []
    apis = run_files.api_names_running(settings)
    for name in ("serve", *apis, *run_files.feedback_names_running(settings), "gateway", "worker", "mlflow"):
        found = run_files.find(settings, name)
        processes.append(
            {
                "process": name,
                "pid": found.pid if found else None,
                "url": found.url if found else None,
                "since": found.since if found else None,
            }
        )
    names = sorted(session.families.families.keys() | session.families.problems.keys())
    unknown = with_unknown_model(settings, session.families.families.values())
    models_problem = wiring.models_problem(settings)
    not_ready = session.server.why_not_ready() if session.server is not None else None
    with store.read() as tx:
        _, ticked_at = store.serving_version.read(tx)
        freezes = store.freezes.all(tx)
        truncated = store.exposures.truncated(tx)
        callers = seen_callers(tx, store, session.clock.now())
        keyless_until = _keyless_until(session, tx)
        families = [
            {
                **_family_row(session, tx, name, freezes),
                "problem": _problem(session, name, unknown),
                "truncated": truncated_of(truncated, name),
            }
            for name in names
        ]
        studies = store.studies.unfinished(tx)
        alerts = store.alerts.all(tx, open_only=True)
        backlog = store.outbox.backlog(tx, topics=TOPICS)
        messages = messages_waiting(tx, store)
    rollouts = _rollout_headlines(session, [row["family"] for row in families if row["rollout"]])
    values = {
        "headline": home_headline(
            HomeHealth(
                runs=_any_runs(processes, apis) and _any_runs(processes, ["worker"]),  # else no candidate is served
                rollouts=len(rollouts),
                alerts=[alert.level for alert in alerts],
                n_faulty=sum(row["problem"] is not None for row in families),
                not_ready=not_ready,
                bad_models=models_problem is not None,
                n_refused=sum(
                    one.kind == "refused" and (session.clock.now() - one.last_at).total_seconds() < REFUSED_SHOWN_S
                    for one in callers
                ),
                frozen=[freeze.family for freeze in freezes],
            )
        ),
        "models_problem": models_problem,
        "not_ready": not_ready,
        "rollouts": rollouts,
        "home": settings.home,
        "profile": settings.profile,
        "simulated_clock": settings.simulated_clock,
        "processes": processes,
        "notes_dropped": run_files.note(settings, "serve", "notes_dropped"),
        "last_tick_at": ticked_at,
        "freezes": freezes,
        "families": families,
        "studies": studies,
        "alerts": alerts,
        "refused_callers": seen_of(callers, "refused"),
        "keyless_callers": seen_of(callers, "keyless"),
        "keyless_until": keyless_until,
        "outbox_waiting": backlog,
        "messages_waiting": messages,
    }

    def view(out: Any) -> None:
        out.print(f"{values['headline']}.", style="bold", markup=False)
        for family, headline in rollouts.items():
            out.print(f"Rollout   {family}: {headline}.", markup=False)
        for row in families:
            if row["watched"] is not None:
                out.print(f"Watched   {row['family']}: {row['watched']}.", markup=False)
        out.print(f"Home      {settings.home}, profile {settings.profile}", markup=False)
        age = "no tick yet" if ticked_at is None else _ago((session.clock.now() - ticked_at).total_seconds())
        out.print(f"Tick      {age}; {backlog} waiting for MLflow", markup=False)
        for channel, n in messages.items():
            if n:
                out.print(f"Alerts    {n} waiting for {channel}; why: detent doctor", style="yellow", markup=False)
        if models_problem is not None:
            out.print(f"Models    the last good file is gone by. {models_problem}", style="yellow", markup=False)
        if values["notes_dropped"]:
            dropped = count(values["notes_dropped"], "line")
            lost = f"{dropped} of the server's messages and log could not be written"
            out.print(f"Notes     {lost}: its terminal is gone, or its disk is full", style="yellow", markup=False)
        for freeze in freezes:
            out.print(f"Frozen    {freeze.text}", style="yellow", markup=False)
        if keyless_until is not None:
            still = ", ".join(caller.name for caller in callers if caller.kind == "keyless") or "none was seen"
            line = f"Keyless   from {when(keyless_until)} on programs without a key are refused; still without: {still}"
            out.print(line, style="yellow", markup=False)
        for caller in callers:
            if caller.kind == "refused":
                age_s = (session.clock.now() - caller.last_at).total_seconds()
                out.print(
                    f"Refused   {caller.name}: {count(caller.n_requests, 'request')}, last {_ago(age_s)}"
                    " (detent keys create NAME makes a key)",
                    style="yellow",
                    markup=False,
                )
        for one in truncated:
            age_s = (session.clock.now() - one.last_at).total_seconds()
            if age_s < CUT_SHOWN_S:
                out.print(
                    f"Cut       {one.family}: {one.input} in {count(one.n_requests, 'request')}, last {_ago(age_s)}"
                    f" (inputs.{one.input}.max_chars in its file)",
                    style="yellow",
                    markup=False,
                )
        out.print("")
        columns = {"process": "Process", "pid": "Pid", "url": "Address", "since": "Since"}
        table(processes, columns, empty="")(out)
        out.print("")
        columns = {
            "family": "Family",
            "champion": "Champion",
            "rollout": "Rollout",
            "frozen": "Frozen",
            "by_itself": "By itself",
            "next_study_at": "Next study",
            "problem": "Problem",
        }
        table(families, columns, empty="No families yet.")(out)
        if studies:
            out.print("")
            is_worker_running = run_files.ProcessLock(settings, "worker").is_held()
            rows = [
                {"id": s.id, "family": s.family, "status": s.state, "n_calls": s.spend.n_calls}
                for s in (view_of_study(one, one.spend, is_worker_running=is_worker_running) for one in studies)
            ]
            table(rows, {"id": "Study", "family": "Family", "status": "Status", "n_calls": "Calls"}, empty="")(out)
        for alert in alerts:
            say(f"{alert.level}: {alert.kind} since {when(alert.opened_at)}: {alert.detail}", "yellow")

    show(as_json, values, view)


def _keyless_until(session: Session, tx: Any) -> datetime | None:
    """When the door closes that the first key left open; None where it is closed, or there is no key."""
    with suppress(Busy):  # the keys are gone, which the headline says
        ends = [key.keyless_until for key in session.store.api_keys.all(tx) if key.keyless_until is not None]
        return max((at for at in ends if at > session.clock.now()), default=None)
    return None


def _any_runs(processes: Sequence[Mapping[str, Any]], names: Collection[str]) -> bool:
    return any(one["pid"] for one in processes if one["process"] in names)


def _rollout_headlines(session: Session, families: Sequence[str]) -> dict[str, str]:
    """Family > where its active rollout stands, in one sentence."""
    from optimizer.core.views.rollout_headline import rollout_headline
    from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast

    found = {}
    for family in families:
        with session.store.read() as tx:
            rollout = session.store.rollouts.active(tx, family)
            seen = rollout_view(tx, session.store, session.clock, rollout) if rollout is not None else None
        if rollout is not None and seen is not None:
            found[family] = rollout_headline(
                rollout, with_forecast(seen, rollout, store=session.store, clock=session.clock)
            )
    return found


def _family_row(session: Session, tx: Any, name: str, freezes: Sequence[Freeze]) -> dict[str, Any]:
    from optimizer.core.scheduling.schedule import in_force
    from optimizer.core.serving.freezes import is_frozen
    from optimizer.jobs.scheduling.look_at_triggers import next_scheduled
    from optimizer.jobs.upkeep.read_status import schedule_brief, watched

    declared = session.families.families.get(name)
    schedule = in_force(declared, session.store.schedules.get(tx, name)) if declared is not None else None
    champion = session.store.champions.current(tx, name)
    active = session.store.rollouts.active(tx, name)
    share = f" at {100 * active.share:.3g} %" if active and active.share is not None else ""
    return {
        "family": name, "champion": champion.variant if champion else None,
        "rollout": f"{active.id} {active.status}{share}" if active else None,
        "frozen": is_frozen(freezes, name) is not None,
        "watched": watched(tx, session.store, session.clock, champion) if champion else None,
        "next_study_at": next_scheduled(schedule, session.clock) if schedule is not None else None,
        "schedule": schedule and schedule_brief(schedule),
        "by_itself": "?" if schedule is None else "on" if schedule.on else "off",
    }  # fmt: skip


def _problem(session: Session, name: str, unknown: Collection[str]) -> str | None:
    if name in session.families.problems:
        return "faulty file, last good version serves"
    return "its file names an unknown model" if name in unknown else None


def _ago(seconds: float) -> str:
    return (
        f"{seconds:.0f} s ago"
        if seconds >= 0
        else f"{-seconds:.0f} s ahead of the clock; put it right with: detent clock reset"
    )
