"""``detent rollout``: let a candidate out step by step, watch it, take it back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, Reason, console, percent, say, show, show_report
from optimizer.cli.progress import counting
from optimizer.cli.report_file import Open, Out, deliver
from optimizer.cli.rollout.forecast_view import view_forecast
from optimizer.cli.rollout.selftest import selftest
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.values import AIMS
from optimizer.runtime import wiring
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.rollout.transitions import OperatorAct
    from optimizer.core.views.rollout_status import FamilyRollout
    from optimizer.jobs.context import Context
    from optimizer.jobs.record_change import RolloutChange


app = typer.Typer(
    name="rollout",
    no_args_is_help=True,
    help="Gradual exposure of a candidate: start, watch, advance, promote, roll back.",
)

Confirm = Annotated[
    str | None, typer.Option(help="The family's name: go past a gate that has not passed, recorded as forced.")
]
LadderOption = Annotated[
    str | None, typer.Option(help='Shares of units such as "0.10,0.25,0.50"; the last step to 1.0 is added.')
]
MarginOption = Annotated[float | None, typer.Option(help="How much worse is still acceptable, absolute.")]
LOG_COLUMNS = {
    "seq": "#",
    "at": "At",
    "kind": "Decision",
    "actor": "By",
    "evidence": "Evidence",
    "blocks": "Blocks",
    "reason": "Why",
}


@app.command()
def start(
    family: FamilyName,
    variant: Annotated[
        str | None,
        typer.Argument(
            help=(
                "The candidate: its id, or file, what family.yaml says now; default: the winner of the last study that"
                " nominated one."
            )
        ),
    ] = None,
    named: Annotated[str | None, typer.Option("--variant", help="The candidate, as an option.")] = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency; default: the study's.")] = None,
    ladder: LadderOption = None,
    margin: MarginOption = None,
    study: Annotated[str | None, typer.Option(help="The study whose confirmation speaks for the candidate.")] = None,
    reason: Reason = None,
    confirm: Confirm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Start a rollout of a candidate against the champion.

    A gate that is not met refuses it (exit 3) and is named, and so does a forecast that does not fit the family's
    limits. --confirm starts it as forced; --dry-run shows the forecast.

    Example: detent rollout start triage --dry-run
    """
    from optimizer.jobs.rollouts.start_rollout import start_rollout

    check_one_of("--aim", aim, AIMS)
    session = Session()
    if variant and named and variant != named:
        raise InvalidInput(f"Two candidates are named, {variant} and {named}. Name one.")
    candidate = session.named_variant(family, variant or named or "candidate")
    shares = shares_of(ladder)
    if not dry_run:
        reason = reason_of(reason, confirm)
    report = session.change(
        as_json,
        start_rollout,
        family=family,
        variant=candidate,
        aim=aim,
        ladder=shares,
        margin=margin,
        study=study,
        reason=reason or "",
        confirm=confirm,
        dry_run=dry_run,
    )
    if as_json:
        return
    if dry_run:
        view_forecast(console(), report.forecast)
    else:
        say(f"  Holds: {report.forecast.holds}")


def reason_of(reason: str | None, confirm: str | None) -> str | None:
    """An act past a gate asks a person at a terminal for a reason that was not given;
    a script goes on without, and the record says so.
    """
    if reason or not confirm:
        return reason
    typed = ""
    if sys.stdin.isatty():
        print("Why? It stays in the record: ", end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline()
    return typed.strip() or "no reason given"


def _act(act: OperatorAct, family: str, reason: str | None, confirm: str | None, as_json: bool) -> None:
    """One act on the active rollout."""
    from optimizer.jobs.rollouts import operate_rollout

    session = Session()
    rollout = session.active_rollout(family)
    job: Callable[[Context, Any], RolloutChange] = getattr(operate_rollout, act)
    report = session.change(as_json, job, id=rollout.id, reason=reason_of(reason, confirm) or "", confirm=confirm)
    if report.status == "approved" and session.server is None:
        say("No server runs here: the candidate is served once `detent serve` ticks.")


@app.command()
def approve(family: FamilyName, reason: Reason = None, confirm: Confirm = None, as_json: Json = False) -> None:
    """Let a validated rollout begin with its first share.

    The worker's next tick serves it. Where it would probably not end within the limits, it says so with the ways out.

    Example: detent rollout approve triage --reason "diff reviewed"
    """
    _act("approve", family, reason, confirm, as_json)
    from optimizer.jobs.rollouts.read_rollout import read_forecast

    session = Session()
    view = session.ask(read_forecast, id=session.active_rollout(family).id)
    if view.refuses:
        for line in (f"Forecast: {view.summary}", *(f"  Way out: {way}" for way in view.ways_out)):
            say(line)
        say(
            f"  Another ladder or limit means another rollout: detent rollout rollback {family}, then start it with"
            " them."
        )


@app.command()
def reject(family: FamilyName, reason: Reason = None, as_json: Json = False) -> None:
    """End a rollout before its candidate is served."""
    _act("reject", family, reason, None, as_json)


@app.command()
def advance(
    family: FamilyName,
    reason: Reason = None,
    confirm: Confirm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which share comes next; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Give the candidate its next share.

    It does so by itself when the gate has passed; before that --confirm is needed.

    Example: detent rollout advance triage --confirm triage
    """
    if dry_run:
        from optimizer.jobs.rollouts.read_rollout import read_next_share

        session = Session()
        step_view = session.ask(read_next_share, id=session.active_rollout(family).id)
        step = f"from {percent(step_view.share or 0.0)} to {percent(step_view.next_share or 1.0)}"
        sentence = f"would go {step}"
        if not step_view.gate_passed:
            sentence = f"would be refused: {shown(step_view.reason).rstrip('.')}"
        if step_view.confirm is not None:
            sentence += f". With --confirm {family} it would go {step}, recorded as forced"
        show_report(as_json, read_next_share, step_view, lambda out: out.print(f"{family}: {sentence}", markup=False))
        return
    _act("advance", family, reason, confirm, as_json)


@app.command()
def hold(family: FamilyName, reason: Reason = None, as_json: Json = False) -> None:
    """Stop advancing; guardrails and rollback go on acting."""
    _act("hold", family, reason, None, as_json)


@app.command()
def resume(family: FamilyName, reason: Reason = None, as_json: Json = False) -> None:
    """End a hold."""
    _act("resume", family, reason, None, as_json)


@app.command()
def promote(family: FamilyName, reason: Reason = None, confirm: Confirm = None, as_json: Json = False) -> None:
    """Make the candidate the champion.

    Example: detent rollout promote triage --confirm triage
    """
    _act("promote", family, reason, confirm, as_json)


@app.command()
def rollback(family: FamilyName, reason: Reason = None, as_json: Json = False) -> None:
    """End the active rollout at once; every user gets the champion. Asks nothing, and is refused when none is active.

    Example: detent rollout rollback triage --reason "wrong language"
    """
    _act("rollback", family, reason, None, as_json)


@app.command()
def status(family: FamilyName, as_json: Json = False) -> None:
    """Who is served what, and why it goes no further: ladder, evidence against its thresholds, both arms,
    what it waits for, the way back.

    Example: detent rollout status triage
    """
    from optimizer.cli.rollout.picture import picture
    from optimizer.jobs.rollouts.read_rollout import read_rollout_status

    session = Session()

    def view(out: Console, report: FamilyRollout) -> None:
        looks = chosen_server() is None and report.is_active  # whether one of another machine lives, nobody sees here
        picture(out, report, lacks_worker=looks and not session.context.is_worker_running())

    session.show(as_json, read_rollout_status, view, family=family)


@app.command()
def log(family: FamilyName, as_json: Json = False) -> None:
    """Every decision of the family's latest rollout, oldest first.

    Each with the evidence that it turned on, such as `ship3 41.2 of 20`, the number of blocks behind it, and why.
    """
    from optimizer.jobs.rollouts.read_rollout import read_rollout_log

    decisions = Session().show_page(
        as_json,
        read_rollout_log,
        LOG_COLUMNS,
        family=family,
        rows=lambda page: [
            {**members_of(decision), "kind": decision.kind + (" (forced)" if decision.forced else "")}
            for decision in page.items
        ],
        empty="No decisions.",
    )
    say(f"Rollout {decisions.rollout.id}. Check the chain: detent rollout verify {decisions.rollout.id}")


@app.command()
def verify(
    rollout: Annotated[
        str | None,
        typer.Argument(help="Id of the rollout, or the family of which it is the last.", show_default=False),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Of an export, without its home; all rollouts where none is named."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a rollout's record: both hash chains, every decision again from its blocks, state,
    audit and champions in the store.

    Exit 1 where something does not fit, and names it. A month of blocks takes minutes.

    Examples:
      detent rollout verify ro_01…
      detent rollout verify --from leaving
    """
    from optimizer.jobs.rollouts.verify_rollout import read_verification, verify_rollout

    if from_ is not None:
        from optimizer.jobs.upkeep.export_folder import read_folder, rows_file
        from optimizer.runtime.import_home import exported_records

        folder = read_folder(from_)
        with exported_records(folder) as store:  # refuses what is no row
            known = [str(row["id"]) for row in folder.lines(rows_file("rollouts"))]
            with store.read() as tx:  # which knows the present names of families
                stored = [one for id in known if (one := store.rollouts.get(tx, id)) is not None]
            ids = [one.id for one in stored if rollout in (None, one.id, one.family)]
            if rollout is not None and not ids:
                raise NotFound(f"{from_} holds no rollout of {rollout!r}.")
            if rollout is not None:
                ids = [max(ids)]  # ids sort by time
            reports = [verify_rollout(id, store) for id in ids]
        show(
            as_json,
            {"items": [as_json_of(read_verification, report) for report in reports]},
            lambda out: out.print(
                "\n".join(report.text for report in reports) or f"{from_} has no rollout.", markup=False
            ),
        )
        if not all(report.ok for report in reports):
            raise typer.Exit(1)
        return
    if rollout is None:
        raise InvalidInput("Name a rollout or a family, or an export with --from DIR.")
    session = Session()
    with counting() as session.progress:
        report = session.ask(read_verification, id=id_of(session, rollout))
    show_report(as_json, read_verification, report, lambda out: out.print(report.text, markup=False))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def forecast(
    family: FamilyName,
    variant: Annotated[
        str | None,
        typer.Argument(
            help="A candidate, or file; default: what runs now, else the last study's winner, else an equal one."
        ),
    ] = None,
    ladder: LadderOption = None,
    margin: MarginOption = None,
    as_json: Json = False,
) -> None:
    """Say how many labelled outcomes, users and hours a rollout takes, and what it can see; writes nothing.

    Example: detent rollout forecast triage --margin 0.03
    """
    from optimizer.jobs.rollouts.read_rollout import read_family_forecast

    session = Session()
    candidate = session.named_variant(family, variant) if variant is not None else None
    report = session.ask(
        read_family_forecast, family=family, variant=candidate, ladder=shares_of(ladder), margin=margin
    )
    show_report(as_json, read_family_forecast, report, lambda out: view_forecast(out, report, report.outcomes))


@app.command()
def report(
    rollout: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY|ROLLOUT", help="A family, for its latest rollout, or a rollout's id.", show_default=False
        ),
    ],
    out: Out = None,
    open: Open = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: what happened, on which evidence, and what the gates cannot see.

    Example: detent rollout report triage --out triage.html
    """
    from optimizer.jobs.rollouts.verify_rollout import read_report

    session = Session()
    id = id_of(session, rollout)
    with counting() as session.progress:
        rollout_report = session.ask(read_report, id=id)
    deliver(session, wiring.rollout_page(rollout_report), {"rollout": id}, name=id, out=out, open=open, as_json=as_json)


app.command()(selftest)


def id_of(session: Session, name: str) -> str:
    """The id as given, or of the family's last rollout."""
    if name.startswith("ro_"):
        return name
    from optimizer.jobs.rollouts.read_rollout import read_current_rollout

    return session.ask(read_current_rollout, family=name).id


def shares_of(ladder: str | None) -> list[float] | None:
    """``--ladder`` as numbers."""
    if ladder is None:
        return None
    try:
        return [float(part) for part in ladder.replace(",", " ").split()]
    except ValueError:
        raise InvalidInput(f"--ladder needs shares between 0 and 1, such as 0.10,0.25,0.50, not {ladder!r}.") from None
