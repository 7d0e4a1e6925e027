"""``detent review``: questions that only a person may answer, such as whether a text from production may become an example."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json, say, show, table
from optimizer.cli.session import Session, check_one_of

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
    session = Session()
    if family is not None:
        session.family(family)
    store = session.store
    with store.read() as tx:
        rows = store.reviews.page(tx, family, None if status == "all" else status)
        texts = {
            (name, example.id): example
            for name in {row["family"] for row in rows}
            for split in ("train", "dev")
            for example in store.examples.of_split(tx, name, split=split)
        }
    for row in rows:
        example = texts.get((row["family"], row["subject"]))
        row["input"], row["expected"] = (dict(example.input), dict(example.expected)) if example else (None, None)
    columns = {"id": "Review", "family": "Family", "kind": "Kind", "input": "Input", "expected": "Expected", "answer": "Answer"}
    show(as_json, {"items": rows}, table(rows, columns, empty="Nothing waits for an answer."))


@app.command()
def answer(
    review: Annotated[str, typer.Argument(help="Id of the review.", show_default=False)],
    answer: Annotated[
        str, typer.Argument(help="release or keep_back: whether the text may become a few-shot example.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Answer one question.

    Example: detent review answer rv_01… release
    """
    from optimizer.jobs.release_example import release_example

    session = Session()
    row = release_example(review, answer, actor=session.actor, store=session.store, clock=session.clock)
    show(as_json, row, lambda out: None)
    say(f"{review}: {'the text may become an example' if answer == 'release' else 'the text stays out of every prompt'}.")
