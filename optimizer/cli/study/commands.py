"""``detent study``: search for a better variant, watch the search, stop it and take it up again."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from optimizer.cli.doctor.keys import say_unset_keys
from optimizer.cli.output import FamilyName, Json, console, say, show_report, table, tell_change
from optimizer.cli.report_file import Open, Out, deliver
from optimizer.cli.session import Session, check_one_of
from optimizer.cli.study.view import print_study, view_estimate, view_price
from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import DetentError, NotFound, Refused
from optimizer.core.base.values import AIMS
from optimizer.core.search.study import CONFIRM, ENDED, UNFINISHED, Study
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.core.views.study_headline import StudyView

app = typer.Typer(
    name="study", no_args_is_help=True, help="Searches for better variants: run, watch, cancel, resume, report."
)

StudyId = Annotated[str, typer.Argument(help="Id of the study, or the family for its latest.", show_default=False)]
Strategy = Annotated[
    str | None,
    typer.Option(
        help=(
            "bootstrap, settings, bases, examples, nearest, race, replay, gepa, mipro, joint, copro, simba, playbook,"
            " or a package's, or several: the default is bootstrap+settings+nearest (with tiers +replay; kind policy:"
            " replay)."
        )
    ),
]
KeepSaved = Annotated[
    float | None,
    typer.Option(
        help="Of a content pipeline: learn a score, and save this share of the time at the best quality, such as 0.65."
    ),
]
KeepQuality = Annotated[
    float | None,
    typer.Option(
        help=(
            "Of a content pipeline: learn a score, and save the most at this mean quality of what is processed in"
            " full, such as 0.70."
        )
    ),
]
MoveTo = Annotated[
    str | None,
    typer.Option(
        help=(
            "A model of config/models.yaml that is to take the place of the champion's: is it safe to switch, and with"
            " which prompt?"
        )
    ),
]
ConfirmedAim = Annotated[str, typer.Option(help="What it has to show on the holdout: quality, cost or latency.")]
DryLook = Annotated[bool, typer.Option("--dry-run", help="Say what the look would cost; spend nothing.")]
Follow = Annotated[bool, typer.Option(help="Show progress until it ends.")]


@app.command()
def run(
    context: typer.Context,
    family: FamilyName,
    strategy: Strategy = None,
    aim: Annotated[str | None, typer.Option(help="quality, cost or latency.")] = None,
    budget_usd: Annotated[float | None, typer.Option(min=0, help="Dollars at most, confirmation included.")] = None,
    budget_calls: Annotated[int | None, typer.Option(min=0, help="Model calls at most, confirmation included.")] = None,
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help=(
                "Minutes after which the search ends, less what the confirmation takes at the pace so far. A look at"
                " the holdout that has begun is finished."
            ),
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed and answers, same study.")] = None,
    keep_saved: KeepSaved = None,
    keep_quality: KeepQuality = None,
    move_to: MoveTo = None,
    definition: Annotated[Path | None, typer.Option(help="A study definition such as experiments/quick.yaml.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; spend nothing.")] = False,
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Search for a better variant, then compare winner and champion on the sealed holdout.

    Without a cap it makes at most 1,000 calls; a cap that cannot pay for the confirmation is refused (exit 3). With
    --dry-run it says calls, dollars and time with their spread, which train examples are not released, and which caps
    are enough for every strategy. With a server its worker runs the study, and Ctrl-C only stops the watching; without
    one it runs here, and `detent study resume` goes on with it.

    With --move-to it looks for the variant that keeps the champion's quality with another model, and ends with a
    verdict: safe, not safe, or cannot tell.

    Examples:
      detent study run triage --dry-run
      detent study run triage --budget-usd 2
      detent study run triage --strategy bootstrap --budget-calls 400
      detent study run content_pipeline --keep-saved 0.65
      detent study run triage --move-to new-model --dry-run
    """
    from optimizer.cli.study import run as study_run

    check_one_of("--aim", aim, AIMS)
    from optimizer.jobs.studies.start_study import StudyEstimate, start_study

    session = Session()
    keep = {"keep_saved": keep_saved, "keep_quality": keep_quality}
    members = study_run.request_members(
        study_run.read_definition(definition),
        strategy=strategy,
        aim=aim,
        usd=budget_usd,
        calls=budget_calls,
        minutes=budget_minutes,
        seed=seed,
        keep=keep,
        move_to=move_to,
    )
    created = session.ask(start_study, family=family, dry_run=dry_run, **members)
    if isinstance(created, StudyEstimate):
        estimate = created.estimate
        options = ("strategy", "aim", "budget_usd", "budget_minutes", "seed", "definition", "move_to", *keep)
        again = " ".join(
            f"--{option.replace('_', '-')} {shlex.quote(str(value))}"
            for option in options
            if (value := context.params[option]) is not None
        )
        declared = session.family_view(created.family).definition
        assert declared is not None, "what has no definition has no estimate"
        show_report(as_json, start_study, created, lambda out: view_estimate(out, declared, estimate, again))
        say_unset_keys(session, created.family, estimate.models)
        return
    study = study_run.follow_study(session, cast(Study, created).id, follow=follow, quiet=as_json)
    print_study(session, study, as_json)
    if study.status == "failed":
        raise typer.Exit(1)


@app.command("list")
def list_studies(
    family: Annotated[str | None, typer.Argument(help="Only of this family.")] = None,
    status: Annotated[
        str | None, typer.Option(help="queued, running, confirming, finished, cancelled or failed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Studies, newest first."""
    check_one_of("--status", status, (*UNFINISHED, *ENDED))
    from optimizer.jobs.studies.read_studies import read_studies

    session = Session()
    if family is not None:
        session.family_view(family)
    columns = {
        "id": "Study",
        "family": "Family",
        "status": "Status",
        "strategy": "Strategy",
        "n_calls": "Calls",
        "usd": "Spent $",
        "winner": "Winner",
        "started_by": "Started by",
        "created_at": "Made",
    }
    page = session.whole(read_studies, family=family, status=status)
    rows = [
        {
            **members_of(s),
            "status": s.state,
            "n_calls": s.spend.n_calls,
            "usd": s.spend.usd,
            "started_by": s.trigger.kind if s.trigger else s.created_by,
        }
        for s in page.items
    ]
    columns |= {"error": "Error"} if any(s.error for s in page.items) else {}
    empty = "No studies yet. Start one: detent study run FAMILY --dry-run"
    show_report(as_json, read_studies, page, table(rows, columns, empty=empty))


@app.command("show")
def show_study(study: StudyId, as_json: Json = False) -> None:
    """One study: trials, spend, confirmation, outcome.

    Also what comes next, what the audits of a nominated cascade will cost, and where MLflow shows the study.

    Example: detent study show triage
    """
    session = Session()
    print_study(session, find_study(session, study), as_json)


@app.command()
def cancel(study: StudyId, as_json: Json = False) -> None:
    """Stop a study before its next call. What it found stays."""
    from optimizer.jobs.studies.read_studies import read_study
    from optimizer.jobs.studies.start_study import cancel_study

    session = Session()
    record = find_study(session, study)
    if record.status not in UNFINISHED:
        show_report(as_json, read_study, record)
        say(f"Study {record.id} is {record.status} already; nothing changed.")
        return
    cancelled = session.ask(cancel_study, id=record.id)
    show_report(as_json, cancel_study, cancelled)
    tell_change(
        f"{record.family}: study {record.id} "
        + ("is cancelled." if cancelled.status == "cancelled" else "stops before its next call."),
        why="",
        undo=f"detent study resume {record.id}",
        then=f"detent study show {record.id}",
    )


@app.command()
def resume(
    study: StudyId,
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Go on with a study that was cancelled, failed or interrupted. Nothing that was answered is asked again."""
    from optimizer.cli.study import run as study_run
    from optimizer.jobs.studies.start_study import take_up_study

    session = Session()
    resumed = session.ask(take_up_study, id=find_study(session, study).id)
    record = study_run.follow_study(session, resumed.id, follow=follow, quiet=as_json)
    print_study(session, record, as_json)
    if record.status == "failed":
        raise typer.Exit(1)


@app.command()
def nominate(
    study: StudyId,
    variant: Annotated[str, typer.Argument(help="A variant that the study has measured in full.", show_default=False)],
    aim: ConfirmedAim = "quality",
    dry_run: DryLook = False,
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Take another point of a study's search to the sealed holdout: one more look, by a study of its own.

    Exit 3 where the holdout does not confirm it. It serves nobody until a rollout of it starts; the look stays counted.

    Examples:
      detent study nominate triage v_1a2b3c4d5e6f --aim cost --dry-run
      detent study nominate triage v_1a2b3c4d5e6f --aim cost
    """
    from optimizer.cli.study import run as study_run
    from optimizer.jobs.studies.start_study import nominate_variant

    check_one_of("--aim", aim, AIMS)
    session = Session()
    searched = find_study(session, study)
    variant = session.named_variant(searched.family, variant)
    nominated = session.ask(nominate_variant, id=searched.id, variant=variant, aim=aim, dry_run=dry_run)
    if dry_run:
        price = study_run.price_of(nominated)
        show_report(as_json, nominate_variant, nominated, lambda out: view_price(out, searched.family, price))
        say_unset_keys(session, searched.family)
        return
    record = study_run.follow_study(session, cast(Study, nominated).id, follow=follow, quiet=as_json)
    print_study(session, record, as_json)
    _leave_unless_confirmed(record)


@app.command()
def confirm(
    family: FamilyName,
    variant: Annotated[
        str, typer.Argument(help="Id of any variant, or file: what family.yaml says now.", show_default=False)
    ],
    aim: ConfirmedAim = "quality",
    dry_run: DryLook = False,
    yes: Annotated[bool, typer.Option("--yes", help="Spend the look without being asked.")] = False,
    follow: Follow = True,
    as_json: Json = False,
) -> None:
    """Take any variant, also one edited by hand, to the sealed holdout: one look, at a price said before.

    It asks before it spends the look; without a terminal it needs --yes (exit 3). Exit 3 where it is not confirmed.

    Examples:
      detent study confirm triage file --dry-run
      detent study confirm triage v_1a2b3c4d5e6f --yes
    """
    from optimizer.cli.study import run as study_run
    from optimizer.jobs.studies.start_study import start_study

    check_one_of("--aim", aim, AIMS)
    session = Session()
    variant = session.named_variant(family, variant)
    look = partial(session.ask, start_study, family=family, strategy=CONFIRM, variant=variant, aim=aim)
    price = study_run.price_of(looked := look(dry_run=True))
    if dry_run:
        show_report(as_json, start_study, looked, lambda out: view_price(out, family, price))
        say_unset_keys(session, family)
        return
    if isinstance(price, Study):
        record = study_run.read_study(session, price.id)
    else:
        if not yes:
            view_price(console(stderr=True), family, price)
            if not sys.stdin.isatty():
                raise Refused(
                    f"A look at the sealed holdout of {family} is spent only after a yes. Say it: --yes. Or see the"
                    " price alone: --dry-run."
                )
            if not typer.confirm(
                f"Spend look {price.look} at the sealed holdout of {family}?", default=False, err=True
            ):
                raise Refused("Nothing was spent.")
        record = study_run.follow_study(session, cast(Study, look()).id, follow=follow, quiet=as_json)
    print_study(session, record, as_json)
    _leave_unless_confirmed(record)


def _leave_unless_confirmed(study: Study) -> None:
    """1 where the confirmation failed or was cancelled, 3 where the sealed holdout, or the budget, said no; one that
    goes on is neither.
    """
    if study.status in ("failed", "cancelled"):
        raise typer.Exit(1)
    if study.status in ENDED and study.outcome != "nominated":
        raise typer.Exit(3)


@app.command()
def report(study: StudyId, out: Out = None, open: Open = False, as_json: Json = False) -> None:
    """Write one self-contained HTML page: what was tried, what won, why, and at what cost.

    Example: detent study report triage --out triage.html
    """
    from optimizer.jobs.studies.report_study import read_study_report

    session = Session()
    record = find_study(session, study)
    page = wiring.study_page(session.ask(read_study_report, id=record.id))
    deliver(session, page, {"study": record.id}, name=record.id, out=out, open=open, as_json=as_json)


def find_study(session: Session, name: str) -> StudyView:
    """The study with this id, or the latest of a family."""
    from optimizer.jobs.studies.read_studies import read_studies, read_study

    try:
        return session.ask(read_study, id=name)
    except NotFound as unknown:
        try:
            session.family_view(name)
        except DetentError as none:
            if name.startswith("st_") or not isinstance(none, NotFound):
                raise unknown from None
            raise NotFound(
                f"There is no study and no family {name!r}. See them with: detent study list, detent family list.",
                study=name,
            ) from None
    latest = session.ask(read_studies, family=name, limit=1).items
    if not latest:
        raise NotFound(f"{name} has had no study yet. Start one: detent study run {name} --dry-run.", family=name)
    return latest[0]
