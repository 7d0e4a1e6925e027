"""Reviews with the texts that a person needs to answer them, and what a person types as the value that is right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.strict_json import read_json

LABEL = "label_interaction"  # a kind of review: what should this answer have been?
RATE = "rate_answer"  # how good is this answer, which was drawn at random?
OF_ANSWERS = (LABEL, RATE)


def reviews_with_texts(session: Session, family: str | None, status: str) -> list[dict[str, Any]]:
    """As ``detent review list`` shows them."""
    if family is not None:
        session.family(family)
    store = session.store
    with store.read() as tx:
        rows = [asdict(one) for one in store.reviews.page(tx, family, None if status == "all" else status)]
        texts = {
            (name, example.id): example
            for name in {row["family"] for row in rows}
            for split in ("train", "dev")
            for example in store.examples.of_split(tx, name, split=split)
        }
        waiting = {row["subject"] for row in rows if row["kind"] in OF_ANSWERS and row["status"] == "open"}
        given = {
            (one.arm.family, one.id): one for some in store.events.interactions(tx, waiting).values() for one in some
        }
    for row in rows:
        example = texts.get((row["family"], row["subject"]))
        is_shown = row["kind"] in OF_ANSWERS and row["status"] == "open"
        asked = given.get((row["family"], row["subject"])) if is_shown else None
        row["input"], row["expected"] = (dict(example.input), dict(example.expected)) if example else (None, None)
        if asked is not None:  # its text is shown until it is answered: afterwards it may lie in the sealed holdout
            row["input"] = dict(asked.input) if asked.input is not None else None
        row["output"] = asked.output if asked is not None else None
        row["why"] = row["payload"].get("why", "")
    return rows


def value_of(parser: str, text: str) -> Any:
    """``--expected`` as the value of the output field:
    JSON where the family's output is JSON or a list, else the text itself.
    """
    if parser not in ("json", "list"):
        return text
    try:
        return read_json(text)
    except ValueError as error:
        raise InvalidInput(
            f"--expected is no JSON ({error}), and the family's output is read as {parser}. Put it in single quotes."
        ) from error
