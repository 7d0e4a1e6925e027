"""A person answers one review, whatever it is about."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Page, page_of
from optimizer.core.base.errors import InvalidInput
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.release_example import release_example
from optimizer.jobs.feedback import label_interaction, rate_answer
from optimizer.jobs.feedback.ingest_feedback import intake_of
from optimizer.jobs.request import Name, PageRequest, Request
from optimizer.ports import Review


class ReviewsRequest(PageRequest):
    family: str | None = None
    status: Annotated[str | None, Field(description="open or answered")] = None


class ReviewAnswerRequest(Request):
    id: str
    answer: Annotated[Name, Field(description="release or keep_back; of a drawn answer 0 to 1, or unrated")]
    expected: Annotated[Any, Field(description="Of an answer in doubt: what the output field should have been")] = None
    as_answered: Annotated[bool, Field(description="Of an answer in doubt: it was right")] = False


def read_reviews(context: Context, request: ReviewsRequest) -> Page[Review]:
    """Questions that wait for a person, such as whether an example may stand in a prompt."""
    family = context.family_asked(request.family)
    with context.store.read() as tx:
        return page_of(context.store.reviews.page(tx, family, request.status), request.cursor, request.limit)


def answer_review(context: Context, request: ReviewAnswerRequest) -> Review:
    """Answers one question as a person does: `release`, `keep_back`, or how good a drawn answer is. No undo.

    Raises as ``rate_answer``, ``label_interaction`` and ``release_example`` do.
    """
    store, clock, actor, review, answer = context.store, context.clock, context.actor, request.id, request.answer
    expected, as_answered = request.expected, request.as_answered
    with store.read() as tx:
        asked = store.reviews.get(tx, review)
    context.require_family(asked.family)
    family, kind = context.family(asked.family), asked.kind
    is_labelled = expected is not None or as_answered
    if kind == rate_answer.KIND:
        if is_labelled:
            raise InvalidInput(
                "What was expected is said of reviews of answers in doubt; an answer that was drawn is rated."
            )
        return rate_answer.rate_answer(review, answer, actor=actor, store=store, clock=clock, intake=intake_of(context))
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
