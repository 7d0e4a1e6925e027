"""``detent judge``: how far a family's judge agrees with people, and what its scores say of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.doctor.keys import say_unset_keys
from optimizer.cli.family.evaluate_view import NO_PRICE, price_text
from optimizer.cli.output import FamilyName, Json, dollars, print_facts, say, show, show_report, table, tell_change
from optimizer.cli.progress import follow_run
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
    from optimizer.core.views.judge import CalibrationView, JudgedFigureView, JudgeRunView, JudgeView

MOST_RUNS = 50
app = typer.Typer(name="judge", no_args_is_help=True, help="A model that scores answers: does it agree with people?")
FIGURES = {
    "spearman": "rank correlation with the ratings",
    "kappa": "kappa, passing or failing",
    "weighted_kappa": "kappa of five grades, quadratic weights",
    "raw_error": "squared error, as the judge scores",
    "mapped_error": "squared error, calibrated",
    "mean_error": "squared error of the mean rating",
    "less_than_raw": "calibrated less raw",
    "less_than_mean": "calibrated less mean",
    "raw_calibration_error": "calibration error, as the judge scores",
    "calibration_error": "calibration error, calibrated",
}


@app.command()
def calibrate(
    family: FamilyName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was found, and keep nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how far the judge agrees with people, and fit the map from its scores to their ratings.

    It takes 20 answers that the judge scored and a person rated. All figures are out of fold.

    Example: detent judge calibrate summarization
    """
    from optimizer.jobs.feedback.calibrate_judge import calibrate_judge

    calibration = Session().show(as_json, calibrate_judge, told_calibration, family=family, dry_run=dry_run)
    if as_json or dry_run:
        return
    tell_change(
        f"{family}: its judge {calibration.judge} is measured on {count(calibration.n, 'rating')}.",
        why=calibration.says,
        undo="none; earlier calibrations are kept, and the latest of this judge counts.",
        then=f"detent judge show {family}",
    )


def told_calibration(out: Console, calibration: CalibrationView) -> None:
    rows = [
        {
            "figure": words,
            "value": "cannot tell" if estimate.value is None else f"{estimate.value:.3f}",
            "interval": "" if estimate.low is None else f"{estimate.low:z.3f} to {estimate.high:z.3f}",
        }
        for name, words in FIGURES.items()
        if (estimate := getattr(calibration.agreement, name))
    ]
    out.print(f"{calibration.n} ratings, map {calibration.method}, {calibration.fitted_at}. {calibration.says}")
    table(rows, {"figure": "Out of fold", "value": "Value", "interval": "95 % interval"}, empty="")(out)


@app.command()
def score(
    family: FamilyName,
    n: Annotated[int, typer.Option(min=1, help="Answers at most.")] = 50,
    days: Annotated[float, typer.Option(help="Of so many days back.")] = 30.0,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Let the family's judge score answers that users were given, drawn at random; no answer twice.

    Where a server runs its worker does it, and the command waits; one that was killed goes on and asks nothing twice.

    Each score is kept as feedback of source judge. The worker does the same by itself where the family's file says so
    (judge.monitor).

    Example: detent judge score letters --n 50 --dry-run
    """
    from optimizer.core.evaluation.judging.run import JudgeRunEstimate
    from optimizer.core.feedback.rating_draws import span_of
    from optimizer.jobs.runs.create_judge_run import score_answers

    span_of(days, "judged")  # says what is wrong with --days in the words of a command
    session, budget = Session(), {"usd": budget_usd, "calls": budget_calls}
    created = session.ask(score_answers, family=family, n=n, days=days, budget=budget, dry_run=dry_run)
    if isinstance(created, JudgeRunEstimate):
        head = f"{family}: {count(created.n, 'answer')} that the judge has not scored"
        show_report(as_json, score_answers, created, lambda out: told_estimate(out, created, head))
        say_unset_keys(session, family)
        if created.why_none:
            say(created.why_none)
        return
    run = follow_judge_run(session, created.id, quiet=as_json)
    result: dict[str, Any] = {"n_judged": 0, "n_unmeasured": 0, "reviews": [], "usd": 0.0, "stopped": None}
    result |= run.result or {}
    words = (
        f"{family}: {count(result['n_judged'], 'answer')} judged, {result['n_unmeasured']} not measured,"
        f" {NO_PRICE if result['usd'] is None else dollars(result['usd']) + ' spent'}"
    )
    n_reviews = len(result["reviews"])
    reviews = f"; {count(n_reviews, 'review')} opened, since its members differ" if n_reviews else ""
    show(as_json, {**result, "run": run.id}, lambda out: out.print(f"{words}{reviews}.", markup=False))
    if result["stopped"] or run.status == "cancelled":
        say(f"Not all were judged: {result['stopped'] or 'the run was stopped before it began.'}")
        raise typer.Exit(3)
    if run.n == 0:
        say(run.request["why_none"] or "")
    elif result["n_judged"] == 0:
        say(
            "None was judged: calls of the judge failed, or its answers could not be read. The same command asks again;"
            " a stronger model may do better (judge.model in family.yaml)."
        )
    elif not as_json:
        say(f"Next: detent review draw {family}")


@app.command()
def check(
    family: FamilyName,
    n: Annotated[int, typer.Option(min=1, help="Dev examples at most; fewer than 20 tell nothing.")] = 40,
    beside: Annotated[
        str | None, typer.Option(help="A model that judges the judge's own answers, too.", show_default=False)
    ] = None,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the biases of the family's judge: swap two answers, pad one with empty sentences, put its own beside
    another's.

    Exit 3 where a bias is found, or the budget ended before all was asked.

    Example: detent judge check letters --dry-run
    """
    from optimizer.core.evaluation.judging.run import JudgeRunEstimate
    from optimizer.jobs.runs.create_judge_run import check_biases

    session, budget = Session(), {"usd": budget_usd, "calls": budget_calls}
    created = session.ask(check_biases, family=family, n=n, beside=beside, budget=budget, dry_run=dry_run)
    if isinstance(created, JudgeRunEstimate):
        head = f"{family}: {count(created.n, 'dev example')}, judged by {', '.join(created.members)}"
        show_report(as_json, check_biases, created, lambda out: told_estimate(out, created, head))
        say_unset_keys(session, family, created.members)
        return
    run = follow_judge_run(session, created.id, quiet=as_json)
    if run.result is None:
        say("The check was stopped; nothing was found.")
        raise typer.Exit(3)
    result = run.result

    def told_biases(out: Console) -> None:
        for member, biases in result["biases"].items():
            out.print(f"{member} ({result['judge']}), {count(result['n'], 'example')}:", style="bold", markup=False)
            for bias in biases:
                out.print(f"  {bias['said']}", markup=False)

    show(as_json, {**result, "run": run.id}, told_biases)
    if result["stopped"]:
        say(f"Not all was asked: {result['stopped']}")
    if result["is_biased"]:
        say("Exit 3: a bias was found. Change the judge's model or rubric, or put several models into a committee.")
    if result["stopped"] or result["is_biased"]:
        raise typer.Exit(3)


@app.command("show")
def show_judge(
    family: FamilyName,
    variant: Annotated[str | None, typer.Option(help="The quality of this variant's answers alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show whether the judge may decide by itself, and the quality of the answers that it scored with its interval.

    Example: detent judge show summarization
    """
    from optimizer.jobs.feedback.calibrate_judge import read_judge

    def view(out: Console, standing: JudgeView) -> None:
        out.print(f"{family}: judge {standing.judge}.")
        why = standing.uncalibrated
        out.print("It may decide: people's ratings vouch for it." if why is None else f"It never decides alone: {why}.")
        if standing.calibration is not None:
            told_calibration(out, standing.calibration)
        if earlier := [calibration for calibration in standing.history if calibration.judge != standing.judge]:
            out.print(f"{count(len(earlier), 'calibration')} of earlier judges.")

    standing = Session().show(as_json, read_judge, view, family=family, variant=variant)
    if not as_json:
        say(told_figure(standing.figure))


@app.command("runs")
def list_runs(family: FamilyName, as_json: Json = False) -> None:
    """List what the judge was asked to score or to be checked for, the latest first.

    Example: detent judge runs summarization
    """
    from optimizer.jobs.runs.create_judge_run import read_judge_runs

    columns = {"id": "Run", "kind": "Kind", "status": "Status", "n_done": "Done", "n": "Of at most", "error": "Error"}
    Session().show_page(
        as_json,
        read_judge_runs,
        columns,
        empty=f"{family}: its judge was asked nothing yet.",
        family=family,
        limit=MOST_RUNS,
    )


@app.command("cancel")
def cancel_run(
    run: Annotated[str, typer.Argument(help="Id of the run.", show_default=False)], as_json: Json = False
) -> None:
    """Stop a run of the judge before its next call; what was scored stays.

    Example: detent judge cancel jr_01m5v2s1n8
    """
    from optimizer.jobs.runs.create_judge_run import stop_judge_run

    def view(out: Console, stopped: JudgeRunView) -> None:
        state = "is stopped" if stopped.status == "cancelled" else f"has ended: {stopped.status}"
        state = "stops before its next call" if stopped.status == "running" else state
        out.print(f"Run {run} {state}.", markup=False)

    Session().show(as_json, stop_judge_run, view, id=run)


BudgetUsd = Annotated[float | None, typer.Option(min=0, help="Dollars at most.", show_default=False)]
BudgetCalls = Annotated[
    int | None, typer.Option(min=0, help="Calls at most; default: what --dry-run says.", show_default=False)
]


def follow_judge_run(session: Session, id: str, *, quiet: bool) -> JudgeRun:
    """The run at its end; raises the error with which it failed."""
    from optimizer.jobs.runs.create_judge_run import read_judge_run

    def left(is_here: bool) -> None:
        end = f"stop it: detent judge cancel {id}"
        say(
            f"Interrupted. What was answered is kept; the next worker goes on, or {end}"
            if is_here
            else f"Run {id} goes on in the worker. {end.capitalize()}"
        )

    return follow_run(session, id, read_judge_run, quiet=quiet, left=left)


def told_figure(figure: JudgedFigureView) -> str:
    """The quality of judged answers with its interval, in words."""
    if figure.why_not is not None:
        beside = f" The judge's own mean, {figure.judge_mean:.2f}, is no quality." if figure.n_judged else ""
        return f"Quality: cannot tell. {figure.why_not[0].upper()}{figure.why_not[1:]}.{beside}"
    assert figure.low is not None
    assert figure.high is not None
    unrated = f", {figure.n_unrated} of them not to be rated" if figure.n_unrated else ""
    waiting = f" {count(figure.n_waiting, 'drawn answer')} to rate." if figure.n_waiting else ""
    return (
        f"Quality of {count(figure.n_judged, 'judged answer')}: {figure.mean:.2f}, 95 % interval"
        f" {figure.low:z.2f} to {figure.high:.2f}, by {count(figure.n_rated + figure.n_unrated, 'answer')}"
        f" drawn at random{unrated}. The ratings alone say {figure.people_mean:.2f}, {figure.people_low:z.2f} to"
        f" {figure.people_high:.2f}; the judge alone {figure.judge_mean:.2f}. 50 more ratings would narrow the"
        f" interval from {figure.high - figure.low:.2f} to about {figure.width_after_next_50:.2f}.{waiting}"
    )


def told_estimate(out: Console, estimate: JudgeRunEstimate, head: str) -> None:
    calls = estimate.calls
    cap = f"with retries at most {estimate.calls_at_most:,}, the cap where no budget is given"
    out.print(head, markup=False)
    print_facts(
        out,
        ("Calls", f"{calls.expected:,} expected, at most {calls.high:,}; {cap}"),
        ("Dollars", price_text(estimate.usd)),
    )
