"""``detent alerts``: what needs a person, by which rules, and which of it shall send no message for a while; and
``detent runbook``, to which each leads.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, Reason, print_facts, say, show, show_report, table, tell_change, when
from optimizer.cli.session import Session, span
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from optimizer.core.rollout.alert_rules import Metric
    from optimizer.jobs.champions.read_rules import RulesReport, RuleStanding, RuleView
    from optimizer.jobs.upkeep.read_operations import AlertView

app = typer.Typer(name="alerts", no_args_is_help=True, help="What needs a person, by which rules, and what is silent.")
OneFamily = Annotated[str | None, typer.Option(help="Of this family alone; default: all of them.")]


@app.command("list")
def list_(
    family: OneFamily = None,
    resolved: Annotated[bool, typer.Option("--all", help="Those that are resolved, too.")] = False,
    as_json: Json = False,
) -> None:
    """Alerts that are firing, critical ones first, then the oldest first, each with what to look at.

    Example: detent alerts list --family triage
    """
    from optimizer.core.rollout.alert_chapters import command_of
    from optimizer.jobs.upkeep.read_operations import read_alerts

    page = Session().whole(read_alerts, open=not resolved, family=family)
    by_id = {alert.id: f"{_name(alert)} of {alert.family or 'all families'}" for alert in page.items}
    columns = {"level": "Level", "alert": "Alert", "family": "Family", "opened_at": "Since", "what": "What"}
    columns |= {"closed_at": "Until"} if resolved else {"message": "Message"}
    show_report(
        as_json,
        read_alerts,
        page,
        table(
            [
                {
                    **members_of(alert),
                    "alert": _name(alert),
                    "what": f"{shown(alert.detail)} What to do: {command_of(alert.chapter)}",
                    "message": f"told by {by_id.get(alert.told_by, alert.told_by)}"
                    if alert.told_by
                    else f"silent until {when(alert.silenced_until)}"
                    if alert.silenced_until
                    else "not held back",
                }
                for alert in page.items
            ],
            columns,
            empty="None fires.",
        ),
    )


def _name(alert: AlertView) -> str:
    return alert.subject if alert.kind == "alert_rule" else alert.kind


@app.command()
def rules(
    family: OneFamily = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Print the file of those that come along, to begin one's own with.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The rules in force: what each allows every family now, and about how soon it tells of twice as much and of half.

    Where config/alert_rules.yaml is faulty: its faults, then the rules that hold until it is mended; exit code 2.

    Example: detent alerts rules --family triage
    """
    from optimizer.jobs.champions.read_rules import read_rules
    from optimizer.jobs.families.shipped_files import SHIPPED_HOME

    if shipped:
        text = (SHIPPED_HOME / "config" / "alert_rules.yaml").read_text(encoding="utf-8")
        if not text:  # in a checkout the shell empties that file before it is read
            raise InvalidInput(
                "The file of the rules that come along is empty: `> config/alert_rules.yaml` in the checkout empties it"
                " first. Take it back (git checkout config/alert_rules.yaml), and write into another folder."
            )
        print(text, end="")
        return

    report = Session().show(as_json, read_rules, _tell_rules, family=family)
    if report.file_problem is not None:
        if as_json:
            say(report.file_problem)
        raise typer.Exit(2)


def _tell_rules(out: Console, report: RulesReport) -> None:
    from optimizer.core.rollout.alert_rules import NOT_OF_MINUTES, OF_HOME

    if report.file_problem is not None:
        say(report.file_problem, "red")
        say("Until it can be used these rules hold:", "bold")
    if not report.items:
        say("No rule holds, so nothing is watched by rules: the file names none.", "yellow")
    families = {standing.family for rule in report.items for standing in rule.families}
    for rule in report.items:
        is_of_none = bool(rule.watch and families and not rule.families and rule.metric not in OF_HOME)
        held = ", holds the rollout" if rule.action == "hold" else ""
        out.print(f"{rule.name}  {rule.metric} {rule.says} ({rule.level}{held})", style="bold", markup=False)
        print_facts(
            out,
            ("Looks at", _looks_at(rule)),
            ("Explains", ", ".join(rule.explains) or None),
            ("Silent", rule.silenced),
            ("Off", None if rule.watch else "watch: false"),
            ("Watches", "no family that there is here" if is_of_none else None),
        )
        rows = [_standing_row(rule.metric, standing) for standing in rule.families]
        columns = {
            "family": "  Family",
            "per_minute": "A minute",
            "limit": "Limit now",
            "usual": "Usual",
            "double": "Tells of double",
            "half": "of half",
        }
        if rule.metric in NOT_OF_MINUTES:
            columns = {name: columns[name] for name in ("family", "limit")}
        if rows:
            table(rows, columns, empty="")(out)
    if report.left_out:
        names = ", ".join(report.left_out)
        say(f"config/alert_rules.yaml leaves out rules that come along, so they watch nothing: {names}.", "yellow")
    if report.silences:
        columns = {"what": "Sends no message", "family": "Family", "until": "Until", "by": "By", "why": "Reason"}
        rows = [
            {
                **members_of(silence),
                "what": silence.rule or "everything",
                "family": silence.family or "all",
                "why": shown(silence.reason),
            }
            for silence in report.silences
        ]
        table(rows, columns, empty="")(out)


def _looks_at(rule: RuleView) -> str:
    n = f"{rule.min_n:,}"
    if rule.metric == "conversation":
        return f"each conversation with {n} scores or more within {rule.window_minutes} min, by family"
    of_metric: Mapping[Metric, str] = {
        "outcome_age": f"the newest outcome, from {n} requests on, by family",
        "budget": "what the month has spent or reserved, by family and of all",
        "failed_jobs": "what failed within a day, by family",
        "disk": "the disk as it is now, of the whole home",
        "restarts": "each process within an hour, of the whole home",
    }
    after = f", for {rule.for_minutes} min" if rule.for_minutes else ""
    return of_metric.get(rule.metric, f"up to {rule.window_minutes} min{after}, from {n} events on, by {rule.scope}")


def _standing_row(metric: Metric, standing: RuleStanding) -> dict[str, object]:
    from optimizer.core.rollout.alert_rules import amount_text

    def amount(value: float | None) -> str | None:
        return None if value is None else amount_text(metric, value)

    def soon(minutes: int | None) -> str:
        return "–" if minutes is None else f"in {minutes} min"

    return {
        **members_of(standing),
        "family": f"  {standing.family}",
        "limit": standing.unwatched or amount(standing.limit),
        "usual": amount(standing.usual),
        "double": soon(standing.minutes_double),
        "half": soon(standing.minutes_half),
    }


@app.command()
def silence(
    name: Annotated[str, typer.Argument(metavar="RULE|FAMILY", help="A rule, a kind of alert, or a family.")],
    how_long: Annotated[str | None, typer.Option("--for", help="30m, 2h or 1d; at most 7d.")] = None,
    family: Annotated[str | None, typer.Option(help="Of a rule or kind: in this family alone.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End the silence before its time.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Send no message of it for a while. It is listed and logged all the same, and what clears meanwhile is never sent.

    Example: detent alerts silence latency --for 2h --reason "the provider moves"
    """
    from optimizer.jobs.outbox.silence_alerts import LONGEST, end_silence, silence_alerts

    if end == (how_long is not None):
        raise InvalidInput("Say for how long, such as --for 2h, or --end to end a silence.")
    session = Session()
    members = {"name": name, "family": family, "reason": reason or ""}
    if how_long is None:
        report = session.show(as_json, end_silence, **members)
    else:
        minutes = span(how_long, "--for") // timedelta(minutes=1)
        if not 1 <= minutes <= LONGEST // timedelta(minutes=1):
            raise InvalidInput(f"--for {how_long!r}: a silence lasts from a minute to {LONGEST.days} days.")
        report = session.show(as_json, silence_alerts, minutes=minutes, **members)
    tell_change(f"{report.what}.", why=shown(report.why), undo=report.undo, then=report.next)


def runbook(
    chapter: Annotated[
        str | None, typer.Argument(metavar="[CHAPTER]", help="As a message names it; without: all.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """What to look at, do and verify when something is wrong: a chapter of the runbook, or all their names.

    Each message of an alert names its chapter. It needs no server, no store and no key.

    Example: detent runbook a-provider-is-down
    """
    from optimizer.jobs.upkeep import read_runbook

    if chapter is None:
        names = [{"chapter": one.name, "title": one.title} for one in read_runbook.runbook().values()]
        show(as_json, {"items": names}, table(names, {"chapter": "Chapter", "title": "Title"}, empty=""))
        return
    read = read_runbook.read_chapter(chapter)
    text = f"{read.title}\n\n{read.text}"
    show(as_json, asdict(read), lambda out: out.print(text, markup=False, soft_wrap=True))
