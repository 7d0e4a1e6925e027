"""``detent keys``: who may use the API, and what each may do."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import Json, say, show, show_report, table, tell_change, when
from optimizer.cli.session import Session, span, time_of
from optimizer.core.base.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from optimizer.jobs.upkeep.manage_keys import KeyReport

app = typer.Typer(name="keys", no_args_is_help=True, help="Keys of the API: create, list, rotate, revoke.")
Name = Annotated[str, typer.Argument(help="Name of the key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The name that stands in every decision made with the key.")],
    role: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "For applications serve < feedback, for people and tools read < read-texts < operate; one of each may"
                " be given, or admin."
            )
        ),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="A source that needs a right of its own: person or judge.")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="A family that the key is for; default: all of them.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or a day such as 2027-01-31; default: never.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(help="The most requests in a minute, over all processes.")
    ] = None,
    calls_per_day: Annotated[int | None, typer.Option(help="The most model calls in a day (UTC).")] = None,
    usd_per_day: Annotated[float | None, typer.Option(help="The most dollars for model calls in a day (UTC).")] = None,
    close_keyless: Annotated[
        bool, typer.Option("--close-keyless", help="Of the first key: programs that send none get 401 from now on.")
    ] = False,
    close_keyless_from: Annotated[
        str | None, typer.Option(help="Of the first key: programs that send none get 401 from then on: 24h, or a day.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is shown once and kept only as a hash.

    From the first key on, every request needs one. Where programs sent requests without one in the last day, it names
    them, and asks; without a terminal it makes no key (exit 3) until an option says from when they are refused.
    `detent keys revoke NAME --reopen` takes it back while it is the only one.

    Example: detent keys create web-app --role feedback --family triage
    """
    from optimizer.core.serving.access import access_of
    from optimizer.jobs.upkeep.manage_keys import create_key

    session = Session()
    now = session.clock.now()
    limits = {"requests_per_minute": requests_per_minute, "calls_per_day": calls_per_day, "usd_per_day": usd_per_day}
    access = access_of(
        [word for roles in role or ["feedback"] for word in roles.split(",")],
        sources=source or [],
        families=family or None,
        expires_at=time_of(expires, now, "--expires", ahead=True),
        limits=limits,
        now=now,
    )
    closes = now if close_keyless else None
    if close_keyless_from is not None:
        closes = time_of(close_keyless_from, now, "--close-keyless-from", ahead=True)
    closes = _ask_about_first(session, name, closes, now, as_json)
    report = session.ask(
        create_key,
        name=name,
        roles=list(access.roles),
        sources=list(access.sources),
        families=None if access.families is None else list(access.families),
        expires_at=access.expires_at,
        limits=limits,
        close_keyless_from=closes,
    )
    _tell(report, as_json)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show all keys, the revoked ones too; never their secrets."""
    from optimizer.jobs.upkeep.manage_keys import read_keys

    page = Session().ask(read_keys)
    columns = {
        "name": "Name",
        "may": "Role",
        "only": "Families",
        "most": "Limits",
        "expires_at": "Ends",
        "created_at": "Made",
        "revoked_at": "Revoked",
        **({"keyless_until": "No key needed until"} if any(row.keyless_until for row in page.items) else {}),
    }
    rows: list[dict[str, Any]] = []
    for row in page.items:
        may = [*row.roles, *(f"source {source}" for source in row.sources)]
        only = "all" if row.families is None else ", ".join(row.families)
        most = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in row.limits.items())
        rows.append({**asdict(row), "may": ", ".join(may), "only": only, "most": most or None})
    view = table(
        rows,
        columns,
        empty="No keys: the server answers this machine only, and asks for none.",
    )
    show_report(as_json, read_keys, page, view)


@app.command()
def rotate(
    name: Annotated[str | None, typer.Argument(help="Name of the key.", show_default=False)] = None,
    token: Annotated[
        bool, typer.Option("--token", help="The key that signs tokens; those that were served stay valid.")
    ] = False,
    unit: Annotated[
        bool, typer.Option("--unit", help="The key under which units are stored; no rollout or holdback may run.")
    ] = False,
    grace: Annotated[
        str, typer.Option(help="How long the old secret still opens: 24h, 30m, 7d, or 0 for not at all.")
    ] = "24h",
    undo: Annotated[bool, typer.Option("--undo", help="Back to the old secret, while it still opens.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of --token and --unit: say what would happen, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give a key a new secret; the old one opens for a while, so that what uses it can be changed meanwhile.

    With --token or --unit it is a key of the installation, for which there is no undo.

    Example: detent keys rotate web-app --grace 7d
    """
    from optimizer.jobs.upkeep.manage_keys import MOST_GRACE, rotate_key

    if [name is not None, token, unit].count(True) != 1 or ((token or unit) and (undo or grace != "24h")):
        raise InvalidInput(
            "Say one thing to rotate: the NAME of a key, --token or --unit. --grace and --undo are of a named key."
        )
    if name is None:
        from optimizer.jobs.upkeep.rotate_installation_key import rotate_installation_key

        report = Session().ask(rotate_installation_key, kind=("token" if token else "unit"), dry_run=dry_run)
        show_report(as_json, rotate_installation_key, report)
        tell_change(
            f"{report.key}: {report.what}." if dry_run else f"{report.what[0].upper()}{report.what[1:]}.",
            why=" ".join(report.first),
            undo=report.undo,
            then=report.next,
        )
        return
    if dry_run:
        raise InvalidInput("--dry-run is of --token and --unit; a named key keeps its old secret for a while.")
    ends_in = span(grace, "--grace")
    if not timedelta() <= ends_in <= MOST_GRACE:
        detail = f"needs 0 to {MOST_GRACE.days} days"
        raise InvalidInput(f"The old secret cannot stay valid that long: grace {detail}.")
    how: dict[str, Any] = {"undo": True} if undo else {"grace_s": ends_in.total_seconds()}
    _tell(Session().ask(rotate_key, name=name, **how), as_json)


@app.command()
def revoke(
    name: Name,
    reopen: Annotated[
        bool, typer.Option("--reopen", help="Of the only key: as if it had not been made, so that none is needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """End a key at once, and for good.

    Revoking the last one does not open the server; --reopen does, where it is the only one.
    """
    from optimizer.jobs.upkeep.manage_keys import revoke_key

    session = Session()
    _tell(_reopened(session, name) if reopen else session.ask(revoke_key, name=name), as_json)


def _tell(report: KeyReport, as_json: bool) -> None:
    show(as_json, report, lambda out: out.print(report.secret, markup=False) if report.secret else None)
    once = " The line above is its secret; it is not shown again." if report.secret else ""
    tell_change(f"{report.what}.{once}", why=report.why, undo=report.undo, then=report.next)


def _ask_about_first(
    session: Session, name: str, closes: datetime | None, now: datetime, as_json: bool
) -> datetime | None:
    """Says before it happens that what is used without a key stops with the first one; who was seen using it is named,
    and on a terminal the person is asked.

    Returns from when requests without a key are refused; None: not said.
    """
    from optimizer.jobs.upkeep.manage_keys import named, read_keys
    from optimizer.jobs.upkeep.read_status import read_status

    if session.ask(read_keys).items:
        return closes
    callers = session.ask(read_status).keyless_callers
    keyless = f" In the last day these sent none: {named(callers)}." if callers else ""
    since = "From then on" if closes is None or closes <= now else f"From {when(closes)} on"
    say(
        f"{name} would be the first key. {since} every request to the server needs one: applications, scripts and"
        f" browsers that send none get 401 at once.{keyless} Commands of who may write the store go on without one. To"
        f" take it back: detent keys revoke {name} --reopen",
        "yellow",
    )
    if closes is not None or as_json or not sys.stdin.isatty():
        return closes
    question = "Close the server to them now? (Later: --close-keyless-from 24h)" if callers else "Make the first key?"
    if not typer.confirm(question, default=not callers, err=True):
        raise Refused("No key was made.")
    return now


def _reopened(session: Session, name: str) -> KeyReport:
    """Removes the only key directly in the store: once locked out, nobody could ask the server."""
    from optimizer.host import run_files
    from optimizer.host.ports_in_use import is_loopback, listening_hosts
    from optimizer.jobs.upkeep.manage_keys import remove_only_key

    session.before_change()
    running = run_files.find_api(session.settings)  # its url opens on this machine, whatever it listens on
    hosts = [session.settings.host, *(listening_hosts(running.pid) if running is not None else ())]
    is_reachable = not all(map(is_loopback, hosts))
    return remove_only_key(
        name, actor=session.actor, store=session.store, clock=session.clock, is_reachable=is_reachable
    )
