"""A person says what a production answer should have been, and that it may be used. Only then it becomes an example."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import Conflict, Fault, InvalidInput, NotFound
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.masking import Masker
from optimizer.core.family.rendering import expected_text, parse_output, with_own_labels
from optimizer.core.family.settings import Output
from optimizer.core.feedback.events import Interaction
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RELEASE
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.release_example import ANSWERS, record_answer
from optimizer.jobs.feedback.keep_events import NO_EXAMPLE
from optimizer.ports import Review, Transaction

MOST_LABELS = 20  # that an error lists; a family may have hundreds


def label_interaction(
    context: Context,
    review: str,
    answer: str,
    *,
    family: Family,
    expected: Mapping[str, Any] | None = None,
    as_answered: bool = False,
) -> Review:
    """Answers the review and returns it; ``release`` makes a released example in the same transaction,
    split by hash as every other.

    Args:
        expected: what the output should have been, as the family's examples say it.
        as_answered: the answer that was given was right. One of both is needed to release.
    Raises:
        InvalidInput: another answer, a review of another kind, or no expected output that the family can read.
        NotFound: no such review, or its interaction was removed in between.
        Conflict: answered differently before, or nearly what examples of another split say, or what the holdout of a
            retired family of this name asks.
    """
    if answer not in ANSWERS:
        raise InvalidInput(f"A review of an interaction is answered with {' or '.join(ANSWERS)}, not with {answer!r}.")
    store, actor, now = context.store, context.actor, context.clock.now()

    def change(tx: Transaction) -> Review:
        record = store.reviews.get(tx, review)
        if record.kind != LABEL_INTERACTION or record.family != family.name:
            raise InvalidInput(
                f"Review {review} is about {record.kind} of {record.family}, not about an interaction of {family.name}."
            )
        became: dict[str, str] = {}
        if record.status == "open" and answer == RELEASE:
            interaction = store.events.interaction(tx, record.subject, family.name)
            if interaction is None:
                raise NotFound(
                    f"Interaction {record.subject!r} is no longer kept. Answer keep_back: detent review answer"
                    f" {review} keep_back"
                )
            inputs = interaction.input
            missing = [name for name in family.inputs if inputs is None or name not in inputs]
            if inputs is None or missing:
                raise NotFound(
                    f"Of interaction {interaction.id!r} the input {', '.join(missing)} is no longer kept. Answer"
                    " keep_back."
                )
            correct = _expected(family, interaction, expected, as_answered)
            fault = kind_of(family).example_fault(family, family.declared_inputs(inputs), correct)
            if fault is not None:
                raise InvalidInput(
                    f"Interaction {interaction.id!r} can be no example: {fault}. Answer keep_back: detent review answer"
                    f" {review} keep_back"
                )
            example = make_example(
                id=f"ia_{interaction.id}",
                family=family.name,
                input=family.declared_inputs(inputs),
                expected=Masker(family.privacy.rules).mask(correct),
                origin="interaction",
                released=True,
                created_at=now,
                unit_hmac=interaction.arm.unit_hmac,
                interaction=interaction.id,
            )
            (verdict,) = store.examples.add(tx, [example])
            if verdict in NO_EXAMPLE:
                raise Conflict(
                    f"The input of {interaction.id!r} {NO_EXAMPLE[verdict]}, and what is learned from must not say what"
                    f" is measured. Answer keep_back: detent review answer {review} keep_back"
                )
            store.examples.release(tx, family.name, example.id, actor)
            standing = store.examples.standing(tx, family.name, ids=[example.id], groups=())
            became = {"example": example.id, "split": standing[0].split}
        return record_answer(tx, store, record, answer, actor=actor, at=now, **became)

    return store.write(change)


def _expected(
    family: Family, interaction: Interaction, expected: Mapping[str, Any] | None, as_answered: bool
) -> dict[str, Any]:
    field = family.output.field
    if (expected is None) != as_answered:
        detail = (
            f"To release an answer say what its {field} should have been ({_to_type(family.output)}), or that it was"
            " right as it was given (--as-answered), and not both."
        )
        raise InvalidInput(detail, [Fault(pointer="/expected", detail=detail)])
    if expected is not None:
        read = parse_output(family.output, expected_text(family.output, expected))
        if read.error is not None:
            text = expected_text(family.output, expected)
            detail = (
                f"The expected {field} {text!r} cannot be read by the family's own parser ({family.output.parser}):"
                f" {read.error}. Say {_to_type(family.output, text)}."
            )
            raise InvalidInput(detail, [Fault(pointer="/expected", detail=detail)])
        return with_own_labels(family.output, expected)
    read = parse_output(family.output, interaction.output or "")
    if read.error is not None:
        detail = (
            f"The answer cannot be read ({read.error}), so it cannot have been right. Say what it should have been:"
            f" {_to_type(family.output)}."
        )
        raise InvalidInput(detail, [Fault(pointer="/as_answered", detail=detail)])
    return {field: read.value}


def _to_type(output: Output, text: str = "") -> str:
    """``--expected`` with what may follow it: of labels the ones most like ``text`` first."""
    if output.labels is None:
        return {"json": "--expected 'JSON'", "list": "--expected '[\"TEXT\", ...]'"}.get(
            output.parser, "--expected TEXT"
        )
    folded = {label.casefold(): label for label in output.labels}
    close = [folded[name] for name in difflib.get_close_matches(text.casefold(), folded, n=1)]
    shown = list(dict.fromkeys([*close, *output.labels]))[:MOST_LABELS]
    more = (
        f", ... {len(output.labels)} in all: output.labels of its family.yaml"
        if len(output.labels) > len(shown)
        else ""
    )
    return f"--expected LABEL, known are {', '.join(shown)}{more}" + (f"; did you mean {close[0]}?" if close else "")
