"""``detent study``: search for a better variant, watch the search, stop it and take it up again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.family.trivial_view import view_trivial
from optimizer.cli.output import Json, dollars, say, show, table, tell_change, when
from optimizer.cli.report_file import Open, Out, deliver
from optimizer.cli.session import Session, check_one_of
from optimizer.cli.study.score import score_lines
from optimizer.cli.study.state import state_of, then_of
from optimizer.core.base.errors import NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import CONFIRM, ENDED, ENOUGH, UNFINISHED, Study, Trial, budget_options

if TYPE_CHECKING:
    from optimizer.core.search.cascade.exploration import AuditCost
    from optimizer.host.config import Settings

app = typer.Typer(name="study", no_args_is_help=True, help="Searches for better variants: run, watch, cancel, resume, report.")

FamilyName = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]
StudyId = Annotated[str, typer.Argument(help="Id of the study, or the family for its latest.", show_default=False)]


@app.command()
def run(
    family: FamilyName,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="bootstrap, settings, both: bootstrap+settings; examples, which chooses them by similarity; race, which asks those that are "
            "behind no more; replay, which finds the thresholds of a cascade or the knobs of a content pipeline; gepa, mipro, joint, copro or simba, which have instructions written; or one that an installed package adds."
        ),
    ] = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency.")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="Dollars at most, confirmation included.")] = None,
    budget_calls: Annotated[int | None, typer.Option(help="Model calls at most, confirmation included.")] = None,
    budget_minutes: Annotated[float | None, typer.Option(help="Minutes at most, confirmation included.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed and answers, same study.")] = None,
    keep_saved: Annotated[
        float | None,
        typer.Option(help="Of a content pipeline: learn a score, and save this share of the time at the best quality, such as 0.65."),
    ] = None,
    keep_quality: Annotated[
        float | None,
        typer.Option(
            help="Of a content pipeline: learn a score, and save the most at this mean quality of what is processed in full, such as 0.70."
        ),
    ] = None,
    definition: Annotated[Path | None, typer.Option(help="A study definition such as experiments/quick.yaml.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; spend nothing.")] = False,
    follow: Annotated[bool, typer.Option(help="Show progress until it ends.")] = True,
    as_json: Json = False,
) -> None:
    """Search for a better variant, then compare winner and champion on the sealed holdout.

    Examples:
      detent study run triage --dry-run
      detent study run triage --budget-usd 2
      detent study run triage --strategy bootstrap --budget-calls 400
      detent study run content_pipeline --keep-saved 0.65
    """
    from optimizer.cli.study import run as study_run

    check_one_of("--aim", aim, ("quality", "cost", "latency"))
    session = Session()
    declared = session.family(family)
    values = study_run.read_definition(definition)
    request = study_run.StudyRequest.of(
        values,
        strategy=strategy,
        aim=aim,
        usd=budget_usd,
        calls=budget_calls,
        minutes=budget_minutes,
        seed=seed,
        keep={"keep_saved": keep_saved, "keep_quality": keep_quality},
    )
    if dry_run:
        estimate = study_run.estimate(session, declared, request)
        given = {
            "--strategy": strategy,
            "--aim": aim,
            "--budget-usd": budget_usd,
            "--budget-minutes": budget_minutes,
            "--seed": seed,
            "--definition": definition,
        }
        given |= {"--keep-saved": keep_saved, "--keep-quality": keep_quality}
        again = " ".join(f"{option} {shlex.quote(str(value))}" for option, value in given.items() if value is not None)
        values = {"family": family, "dry_run": True, "estimate": estimate}
        show(as_json, values, lambda out: study_run.view_estimate(out, declared, estimate, again))
        return
    study = study_run.begin(session, declared, request, follow=follow, quiet=as_json)
    _show_study(session, study, as_json)
    if study.status == "failed":
        raise typer.Exit(1)


@app.command("list")
def list_studies(
    family: Annotated[str | None, typer.Argument(help="Only of this family.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, running, confirming, finished, cancelled or failed.")] = None,
    as_json: Json = False,
) -> None:
    """Studies, newest first."""
    check_one_of("--status", status, (*UNFINISHED, *ENDED))
    session = Session()
    if family is not None:
        session.family(family)
    with session.store.read() as tx:
        studies, _ = session.store.studies.page(tx, family=family, status=status)
    studies = sorted(studies, key=lambda s: s.created_at, reverse=True)
    rows = [
        {
            "id": s.id,
            "family": s.family,
            "status": state_of(session.settings, s),
            "strategy": s.strategy,
            "n_calls": s.spend.n_calls,
            "usd": s.spend.usd,
            "winner": s.winner,
            "started_by": s.trigger.kind if s.trigger else s.created_by,
            "created_at": s.created_at,
        }
        for s in studies
    ]
    columns = {
        "id": "Study", "family": "Family", "status": "Status", "strategy": "Strategy", "n_calls": "Calls", "usd": "Spent $", "winner": "Winner",
        "started_by": "Started by", "created_at": "Made",
    }  # fmt: skip
    show(as_json, {"items": studies}, table(rows, columns, empty="No studies yet. Start one: detent study run FAMILY --dry-run"))


@app.command("show")
def show_study(study: StudyId, as_json: Json = False) -> None:
    """One study: trials, spend, confirmation, outcome.

    Example: detent study show triage
    """
    session = Session()
    _show_study(session, find_study(session, study), as_json)


@app.command()
def cancel(study: StudyId, as_json: Json = False) -> None:
    """Stop a study before its next call. What it found stays."""
    session = Session()
    found = find_study(session, study)
    if found.status not in UNFINISHED:
        show(as_json, found, lambda out: None)
        say(f"Study {found.id} is {found.status} already; nothing changed.")
        return
    session.operations.cancel_study(found.id)
    show(as_json, find_study(session, found.id), lambda out: None)
    tell_change(
        f"{found.family}: study {found.id} stops before its next call.",
        why="",
        undo=f"detent study resume {found.id}",
        then=f"detent study show {found.id}",
    )


@app.command()
def resume(
    study: StudyId,
    follow: Annotated[bool, typer.Option(help="Show progress until it ends.")] = True,
    as_json: Json = False,
) -> None:
    """Go on with a study that was cancelled, failed or interrupted. Nothing that was answered is asked again."""
    from optimizer.cli.study import run as study_run

    session = Session()
    found = find_study(session, study)
    ended = study_run.take_up_again(session, found, follow=follow, quiet=as_json)
    _show_study(session, ended, as_json)
    if ended.status == "failed":
        raise typer.Exit(1)


@app.command()
def nominate(
    study: StudyId,
    variant: Annotated[str, typer.Argument(help="A variant that the study has measured in full.", show_default=False)],
    aim: Annotated[str, typer.Option(help="What it has to show on the holdout: quality, cost or latency.")] = "quality",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the look would cost; spend nothing.")] = False,
    follow: Annotated[bool, typer.Option(help="Show progress until it ends.")] = True,
    as_json: Json = False,
) -> None:
    """Take another point of a study's search to the sealed holdout: one more look, by a study of its own.

    Examples:
      detent study nominate triage v_1a2b3c4d5e6f --aim cost --dry-run
      detent study nominate triage v_1a2b3c4d5e6f --aim cost
    """
    from optimizer.cli.study import run as study_run

    check_one_of("--aim", aim, ("quality", "cost", "latency"))
    session = Session()
    searched = find_study(session, study)
    if dry_run:
        price = study_run.price_of_look(session, searched, variant, aim)
        show(as_json, {"dry_run": True, "price": price}, lambda out: study_run.view_price(out, searched.family, price))
        return
    found = study_run.take_to_holdout(session, searched, variant, aim, follow=follow, quiet=as_json)
    _show_study(session, found, as_json)
    if found.status == "failed":
        raise typer.Exit(1)


@app.command()
def confirm(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    variant: Annotated[str, typer.Argument(help="Id of any variant, or file: what family.yaml says now.", show_default=False)],
    aim: Annotated[str, typer.Option(help="What it has to show on the holdout: quality, cost or latency.")] = "quality",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the look would cost; spend nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Spend the look without being asked.")] = False,
    follow: Annotated[bool, typer.Option(help="Show progress until it ends.")] = True,
    as_json: Json = False,
) -> None:
    """Take any variant, also one edited by hand, to the sealed holdout: one look, at a price said before.

    Examples:
      detent study confirm triage file --dry-run
      detent study confirm triage v_1a2b3c4d5e6f --yes
    """
    from optimizer.cli.study import confirm as study_confirm

    check_one_of("--aim", aim, ("quality", "cost", "latency"))
    session = Session()
    found = study_confirm.run(session, family, variant, aim, dry_run=dry_run, yes=yes, follow=follow, as_json=as_json)
    if found is not None:
        _show_study(session, found, as_json)
        if found.status == "failed":
            raise typer.Exit(1)


@app.command()
def report(study: StudyId, out: Out = None, open: Open = False, as_json: Json = False) -> None:
    """Write one self-contained HTML page: what was tried, what won, why, and at what cost.

    Example: detent study report triage --out triage.html
    """
    from optimizer.jobs.studies.report_study import report_study
    from optimizer.runtime import wiring

    session = Session()
    found = find_study(session, study)
    made = report_study(found.id, family=session.families.families.get(found.family), store=session.store, clock=session.clock)
    deliver(session, wiring.study_page(made), {"study": found.id}, name=found.id, out=out, open=open, as_json=as_json)


def find_study(session: Session, name: str) -> Study:
    """By id, or the latest of a family."""
    with session.store.read() as tx:
        study = session.store.studies.get(tx, name)
        if study is None and name in session.families.families:
            page, _ = session.store.studies.page(tx, family=name)
            study = max(page, key=lambda s: s.created_at, default=None)
            if study is None:
                raise NotFound(f"{name} has had no study yet. Start one: detent study run {name} --dry-run.", family=name)
    if study is None:
        raise NotFound(f"There is no study {name!r}. See them with: detent study list.", study=name)
    return study


def _show_study(session: Session, study: Study, as_json: bool) -> None:
    with session.store.read() as tx:
        trials = session.store.studies.trials(tx, study.id)
    cost = audit_cost_of(session, study, trials)
    from optimizer.cli.study.mlflow_link import link_of

    link = link_of(session.settings, study)
    show(
        as_json,
        {"study": study, "trials": trials, "audit_cost": cost, "mlflow": link},
        lambda out: view(out, study, trials, cost, settings=session.settings, mlflow=link),
    )


def audit_cost_of(session: Session, study: Study, trials: list[Trial]) -> AuditCost | None:
    """What a nominated cascade's audits will cost once it serves; None for anything else that won, or nothing."""
    from optimizer.core.search.strategy import REPLAY

    if study.winner is None or REPLAY not in study.strategy:
        return None
    from optimizer.jobs.studies.cascade_of_study import curves_of_study

    with session.store.read() as tx:
        found = curves_of_study(study, trials, family=session.families.families.get(study.family), store=session.store, tx=tx)
    return found.audit_cost if found is not None and found.variant == study.winner else None


def view(
    out: Any, study: Study, trials: list[Trial], audit_cost: AuditCost | None = None, *, settings: Settings, mlflow: str | None = None
) -> None:
    state = state_of(settings, study) + (", simulated clock" if study.simulated_clock else "")
    out.print(f"Study     {study.id} of {study.family}: {state}", style="bold", markup=False)
    out.print(
        f"Search    {study.strategy}, aim {study.aim}, seed {study.seed}, made {when(study.created_at)} by {study.created_by}", markup=False
    )
    if study.trigger is not None:
        out.print(f"By itself {study.trigger.kind}: {study.trigger.reason}", markup=False)
    spend = study.spend
    lost = f", {spend.n_lost} lost in flight and counted at their reserved price" if spend.n_lost else ""
    out.print(
        f"Spent     {count(spend.n_calls, 'call')}, {dollars(spend.usd)}, {spend.n_from_journal} answered from the journal{lost}",
        markup=False,
    )
    for line in _cut_lines(study, trials):
        out.print(line, style="yellow", markup=False)
    if study.spend.remark:
        out.print(f"Remark    {study.spend.remark}", markup=False)
    if audit_cost is not None:
        out.print(f"Audits    {audit_cost.in_words}", markup=False)
    if study.error:
        out.print(f"Error     {study.error}", style="red", markup=False)
    for line in score_lines(study):
        out.print(line, markup=False)
    out.print("")
    rows = [
        {
            "number": t.number,
            "variant": t.variant + (" *" if t.variant == study.winner else ""),
            "proposer": t.proposer,
            "score": t.score,
            "n": t.n,
            "n_errors": t.n_errors,
            "usd": t.cost_usd / t.n if t.n else None,
            "p95_ms": t.p95_ms,
            "status": t.status,
        }
        for t in trials
    ]
    columns = {
        "number": "Trial", "variant": "Variant", "proposer": "Proposer", "score": "Dev score", "n": "n", "n_errors": "Errors",
        "usd": "Time share" if study.is_replayed else "$ a call", "p95_ms": "p95 ms", "status": "Status",
    }  # fmt: skip
    table(rows, columns, empty="It searches nothing." if study.strategy == CONFIRM else "No trial yet.")(out)
    if study.findings:
        view_trivial(out, study.findings)
    if study.confirmation:
        from optimizer.cli.study.run import confirmation_lines

        out.print("")
        for line in confirmation_lines(study):
            out.print(line, markup=False)
    out.print("")
    if mlflow is not None:
        out.print(f"MLflow    {mlflow}", markup=False)
    out.print(f"Next      {then_of(settings, study)}", markup=False)


def _cut_lines(study: Study, trials: list[Any]) -> list[str]:
    """That the budget ended the search, whose turn it left out, and what to do."""
    if study.spend.search_cut is None:
        return []
    from optimizer.core.search.strategy import without_turn

    left_out = without_turn(study, trials)
    enough = (study.findings or {}).get(ENOUGH)
    larger = f"{budget_options(enough)}, enough for every part" if enough else "with a larger budget (--dry-run says how much)"
    more = f"detent study run {study.family} {larger}"
    lines = [f"Cut short {study.spend.search_cut}"]
    if left_out:
        alone = "+".join(left_out)
        turn = f"{' and '.join(left_out)} never had a turn"
        return [*lines, f"          {turn}: {more}, or --strategy {alone} alone"]
    return [*lines, f"          not everything was tried; more: {more}"]
