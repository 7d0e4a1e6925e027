"""``detent review``: questions that only a person may answer,
such as whether a text from production may become an example.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.judge.commands import told_figure
from optimizer.cli.output import FamilyName, Json, percent, say, show, show_report, table, tell_change
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.feedback.review_kinds import RATE_ANSWER, RELEASE

if TYPE_CHECKING:
    from optimizer.core.base.answers import Page
    from optimizer.core.family.family import Family
    from optimizer.jobs.feedback.answer_review import ReviewWithTexts
    from optimizer.ports import Review

app = typer.Typer(name="review", no_args_is_help=True, help="Questions waiting for a person: list and answer.")


@app.command("list")
def list_reviews(
    family: Annotated[str | None, typer.Option(help="Only of this family.")] = None,
    status: Annotated[str, typer.Option(help="open, answered or all.")] = "open",
    as_json: Json = False,
) -> None:
    """Show what waits for an answer.

    Example: detent review list --family triage
    """
    check_one_of("--status", status, ("open", "answered", "all"))
    from optimizer.jobs.feedback.answer_review import read_reviews

    session = Session()
    if family is not None:
        session.family_view(family)
    page = reviews_of(session, family, None if status == "all" else status)
    columns = {
        "id": "Review",
        "family": "Family",
        "kind": "Kind",
        "why": "Why",
        "input": "Input",
        "output": "Answered",
        "expected": "Expected",
        "answer": "Answer",
    }
    show_report(
        as_json,
        read_reviews,
        page,
        table([asdict(item) for item in page.items], columns, empty="Nothing waits for an answer."),
    )


@app.command()
def answer(
    review: Annotated[str | None, typer.Argument(help="Id of the review.", show_default=False)] = None,
    answer: Annotated[
        str | None,
        typer.Argument(
            help="release or keep_back: whether the text may be used as an example. Of a drawn answer a number from 0"
            " to 1: how good it is; or unrated.",
            show_default=False,
        ),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option(
            help="Of an interaction: what the output should have been, as text or as JSON (the field's value)."
        ),
    ] = None,
    as_answered: Annotated[
        bool, typer.Option("--as-answered", help="Of an interaction: the answer that was given was right.")
    ] = False,
    answer_all: Annotated[
        bool, typer.Option("--all", help="All that are open, one after the other, each by one key.")
    ] = False,
    only_family: Annotated[str | None, typer.Option("--family", help="With --all: only of this family.")] = None,
    as_json: Json = False,
) -> None:
    """Answer one question, or all that are open.

    A text is released as an example or kept back. An answer in doubt that is released needs what it should have been
    (--expected), or --as-answered. A drawn answer is rated from 0, useless, to 1, as good as can be, or unrated.
    `detent review withdraw` takes an answer back, as long as nothing holds what it released.

    With --all, at a terminal, each takes one key: 1 to 5 or u rates; a (it was right), a label's number or e (type it)
    answers one in doubt; r and k release or keep back; s skips, z takes the last answer back, q stops.

    Examples:
      detent review answer rv_01… release --expected billing
      detent review answer rv_01… 0.75
      detent review answer --all --family triage
    """
    if answer_all:
        if review is not None or expected is not None or as_answered:
            raise InvalidInput("--all asks for every open review; leave out REVIEW, ANSWER and what is expected.")
        _answer_all(Session(), only_family, as_json)
        return
    if review is None or answer is None or only_family is not None:
        raise InvalidInput("Name a review and its answer, or say --all, to which alone --family belongs.")
    from optimizer.jobs.feedback.answer_review import answer_review

    session = Session()
    row = session.show(
        as_json, answer_review, id=review, answer=answer, expected_text=expected, as_answered=as_answered
    )
    waiting = reviews_of(session, row.family, "open").items
    if row.kind == RATE_ANSWER:
        _told_rating(row, waiting)
        return
    n_open, released, family_name = len(waiting), answer == RELEASE, row.family
    list_open = f"detent review list --family {family_name}"
    study = f"detent study run {family_name} --dry-run"
    released_text = "the text is an example from now on, and a prompt may quote it"
    tell_change(
        f"{review}: {released_text if released else 'the text stays out of every prompt'}.",
        why="",
        undo=f"none: {family_name}'s examples hold it with this answer for good."
        if released and row.is_final
        else f"detent review withdraw {row.id}" + (", until a study, run or variant is made" if released else ""),
        then=(
            f"{list_open} ({count(n_open, 'review')} open)"
            if n_open
            else f"no review of {family_name} is open; {study}"
        ),
    )


@app.command()
def withdraw(
    review: Annotated[str, typer.Argument(help="Id of the review.", show_default=False)], as_json: Json = False
) -> None:
    """Take the answer to a question back, which then waits again.

    What was kept back can be asked about again at any time. The release of an example is taken back while no study, run
    or variant was made since that may hold its text. Ratings and labels stay.

    Examples:
      detent review withdraw rv_01…
    """
    from optimizer.jobs.feedback.answer_review import withdraw_answer

    row = Session().show(as_json, withdraw_answer, id=review)
    tell_change(
        f"{review} waits for an answer again, and what it is about stands in no prompt.",
        why="",
        undo=f"detent review answer {review} release",
        then=f"detent review list --family {row.family}",
    )


def _answer_all(session: Session, family: str | None, as_json: bool) -> None:
    from optimizer.cli.review.screens import ask_each, read_key_press

    if not sys.stdin.isatty():
        raise InvalidInput(
            "--all asks by single keys, and there is no terminal here. Answer one at a time: detent review answer"
            " REVIEW ANSWER; detent review list --json says which are open."
        )
    if family is not None:
        session.family_view(family)
    rows = [asdict(item) for item in reviews_of(session, family, "open").items]
    families = {name: definition_of(session, name) for name in {row["family"] for row in rows}}
    from optimizer.jobs.feedback.answer_review import answer_review

    summary = ask_each(
        rows,
        families,
        send=(
            lambda id, answer, *, expected, as_answered: session.ask(
                answer_review, id=id, answer=answer, expected=expected, as_answered=as_answered
            )
        ),
        read_key=read_key_press,
    )
    show(as_json, {"items": summary.answered})
    open_now = reviews_of(session, family, "open").items
    only = f" --family {family}" if family is not None else ""
    rated = sorted({row["family"] for row in summary.answered if row["kind"] == RATE_ANSWER})
    unrated = any(item.kind == RATE_ANSWER for item in open_now)
    tell_change(
        f"{count(len(summary.answered), 'review')} answered, {count(len(open_now), 'review')} open.",
        why="",
        undo="detent review withdraw REVIEW; none of a rating or a label.",
        then=f"detent review answer --all{only}"
        if open_now
        else "; ".join(f"detent judge calibrate {name}" for name in rated if not unrated),
    )
    if summary.n_refused:
        raise typer.Exit(1)


def _told_rating(row: Review, waiting: Sequence[Review]) -> None:
    from optimizer.jobs.feedback.answer_review import UNRATED

    n = sum(item.kind == RATE_ANSWER for item in waiting)
    tell_change(
        f"{row.id}: {'not rated' if row.answer == UNRATED else f'rated {row.answer}'}.",
        why="",
        undo="none: an answer stays.",
        then=f"detent review list --family {row.family} ({count(n, 'drawn answer')} left to rate)"
        if n
        else f"detent judge calibrate {row.family}; detent judge show {row.family}",
    )


@app.command()
def draw(
    family: FamilyName,
    n: Annotated[int, typer.Option("--n", help="Answers to draw.", min=1, max=1000)] = 50,
    days: Annotated[float, typer.Option(help="How far back judged answers are drawn from.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say from how many, and open no review.")] = False,
    as_json: Json = False,
) -> None:
    """Draw judged answers at random and put them before a person, who rates each from 0 to 1.

    Each is kept with the probability with which it was drawn; the interval of a judged figure rests on these ratings
    alone. Rate them in the order in which they are listed: it rests on those before the first that waits.

    Example: detent review draw triage --n 50
    """
    from optimizer.core.feedback.rating_draws import span_of
    from optimizer.jobs.feedback.calibrate_judge import draw_ratings

    span_of(days, "drawn")  # says what is wrong with --days in the words of a command
    draw_report = Session().show(as_json, draw_ratings, family=family, n=n, days=days, dry_run=dry_run)
    figure, sample = draw_report.figure, f"{draw_report.n} of {count(draw_report.frame, 'judged answer')}"
    chance = f"each with a chance of {percent(draw_report.inclusion)}"
    if as_json:
        return
    say(told_figure(figure))
    if dry_run:
        say(f"{family}: would draw {sample}, {chance}. Nothing was drawn.")
    else:
        say(
            f"{family}: {sample} were drawn, {chance}. Undo: none; answer unrated what cannot be rated. Next: detent"
            f" review list --family {family}."
        )


@app.command()
def collect(
    family: FamilyName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which answers, and open no review.")] = False,
    as_json: Json = False,
) -> None:
    """Put production answers in doubt up for review now; the worker does so once a day.

    Example: detent review collect triage --dry-run
    """
    from optimizer.jobs.feedback.collect_reviews import collect_family_reviews

    report = Session().show_page(
        as_json,
        collect_family_reviews,
        {"interaction": "Interaction", "doubt": "Doubt", "why": "Why"},
        empty="Nothing in doubt that could be reviewed since the last look.",
        family=family,
        dry_run=dry_run,
    )
    if report.items and not dry_run:
        say(
            f"{family}: {len(report.items)} reviews opened. Undo: detent review answer REVIEW keep_back. Next: detent"
            f" review list --family {family}."
        )


def reviews_of(session: Session, family: str | None, status: str | None) -> Page[ReviewWithTexts]:
    """Reviews with the texts that a person needs to answer them."""
    from optimizer.jobs.feedback.answer_review import read_reviews

    return session.whole(read_reviews, family=family, status=status)


def definition_of(session: Session, family: str) -> Family | None:
    """The family's definition; None where its file is gone or was never readable."""
    with suppress(NotFound):
        return session.family_view(family).definition
    return None
