"""A person answers one review, whatever it is about."""

from __future__ import annotations

from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.jobs.dataset.release_example import release_example
from optimizer.jobs.feedback import label_interaction, rate_answer
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.ports import Clock, Review, Store


def answer_review(
    review: str,
    answer: str,
    *,
    family: Family,
    expected: Any = None,
    as_answered: bool = False,
    actor: str,
    store: Store,
    clock: Clock,
    intake: Intake,
) -> Review:
    """Answers it and returns it: a number or ``unrated`` for a drawn answer, else ``release`` or ``keep_back``.

    Args:
        family: of the review.
        expected, as_answered: of an interaction in doubt alone: what the output field should have been, or that the
            answer was right; one of them is needed to release it.
    Raises:
        As ``rate_answer``, ``label_interaction`` and ``release_example`` do.
    """
    with store.read() as tx:
        kind = store.reviews.get(tx, review).kind
    is_labelled = expected is not None or as_answered
    if kind == rate_answer.KIND:
        if is_labelled:
            raise InvalidInput(
                "What was expected is said of reviews of answers in doubt; an answer that was drawn is rated."
            )
        return rate_answer.rate_answer(review, answer, actor=actor, store=store, clock=clock, intake=intake)
    if kind == label_interaction.KIND:
        value = None if expected is None else {family.output.field: expected}
        return label_interaction.label_interaction(
            review, answer, family=family, expected=value, as_answered=as_answered, actor=actor, store=store,
            clock=clock,
        )  # fmt: skip
    if is_labelled:
        raise InvalidInput(
            "What was expected is said of reviews of interactions; an example says already what is expected."
        )
    return release_example(review, answer, actor=actor, store=store, clock=clock)
