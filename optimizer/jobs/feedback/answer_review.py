"""A person answers one review, of whatever kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Json, Page, Text, members_of, page_read
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.feedback.reported import typed_value
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER, RELEASE
from optimizer.jobs.context import Context
from optimizer.jobs.dataset import release_example
from optimizer.jobs.dataset.sealed_events import sealed_interactions
from optimizer.jobs.feedback import label_interaction, rate_answer
from optimizer.jobs.feedback.ingest_feedback import intake_of
from optimizer.jobs.request import ItemRequest, Name, PageRequest
from optimizer.ports import Review, Store, Transaction

OF_INTERACTIONS = (LABEL_INTERACTION, RATE_ANSWER)
WITHDRAWN = "withdraw_answer"  # in the record of changes


class ReviewsRequest(PageRequest):
    family: str | None = None
    status: Annotated[str | None, Field(description="open or answered")] = None


class ReviewAnswerRequest(ItemRequest):
    answer: Annotated[Name, Field(description="release or keep_back; of a drawn answer 0 to 1, or unrated")]
    expected: Annotated[Any, Field(description="Of an answer in doubt: what the output field should have been")] = None
    expected_text: Annotated[
        str | None,
        Field(description="The same as a person types it: JSON where the family's output is JSON or a list, else text"),
    ] = None
    as_answered: Annotated[bool, Field(description="Of an answer in doubt: it was right")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewWithTexts(Review):
    """What a person needs to answer it. Of an interaction ``input`` and ``output`` are shown until it is answered, and
    only while the sealed holdout does not ask the same, as it may once another question was answered.
    """

    input: Text[Mapping[str, Json] | None]
    output: Text[str | None]
    expected: Text[Mapping[str, Json] | None]
    why: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewsPage(Page[ReviewWithTexts]):
    """``n_open``: how many wait for an answer, of the family that was asked for, on all pages together."""

    items: Sequence[ReviewWithTexts]  # named anew, or what reads the answer would not know its kind
    n_open: int


def read_reviews(context: Context, request: ReviewsRequest) -> ReviewsPage:
    """Questions that wait for a person, such as whether an example may stand in a prompt, with what they are about. One
    about a family that is not here, such as a retired one, waits for nobody until that comes back.
    """
    family, present = context.family_asked(request.family), context.families().families
    with context.store.read() as tx:
        store = context.store
        page = page_read(
            lambda start, n: store.reviews.page(
                tx, family, request.status, among=present if request.status == "open" else None, start=start, n=n
            ),
            request.cursor,
            request.limit,
        )
        examples = store.examples.named(tx, {(review.family, review.subject) for review in page.items})
        waiting = {
            review_open.subject
            for review_open in page.items
            if review_open.kind in OF_INTERACTIONS and review_open.status == "open"
        }
        answers = {
            (interaction.arm.family, interaction.id): interaction
            for some in store.events.interactions(tx, waiting).values()
            for interaction in some
        }
        for sealed in sealed_interactions(tx, store, [*answers.values()], present):
            del answers[sealed]
        views = []
        for review in page.items:
            about = review.family, review.subject
            example = examples.get(about)
            interaction = answers.get(about) if review.kind in OF_INTERACTIONS and review.status == "open" else None
            shown = interaction or example
            views.append(
                ReviewWithTexts(
                    **members_of(review),
                    input=shown.input if shown is not None else None,
                    output=interaction.output if interaction is not None else None,
                    expected=example.expected if example is not None else None,
                    why=review.payload.get("why", ""),
                )
            )
        return ReviewsPage(
            items=views, next_cursor=page.next_cursor, n_open=store.reviews.n_open(tx, family, among=present)
        )


def answer_review(context: Context, request: ReviewAnswerRequest) -> Review:
    """Answers one question as a person does: `release`, `keep_back`, or how good a drawn answer is.

    `POST /v1/reviews/{id}/withdraw` takes it back, as long as that leaves nothing behind.

    Raises as ``rate_answer``, ``label_interaction`` and ``release_example`` do.
    """
    store, clock, actor, review, answer = context.store, context.clock, context.actor, request.id, request.answer
    expected, as_answered = request.expected, request.as_answered
    with store.read() as tx:
        record = store.reviews.get(tx, review)
    context.require_family(record.family)
    family, kind = context.family(record.family), record.kind
    if request.expected_text is not None:
        if expected is not None:
            raise InvalidInput("What was expected is said twice. Leave out `expected` or `expected_text`.")
        expected = typed_value(family.output.parser, request.expected_text)
    is_labelled = expected is not None or as_answered
    if kind == RATE_ANSWER:
        if is_labelled:
            raise InvalidInput(
                "What was expected is said of reviews of answers in doubt; an answer that was drawn is rated."
            )
        return rate_answer.rate_answer(review, answer, actor=actor, store=store, clock=clock, intake=intake_of(context))
    if kind == LABEL_INTERACTION:
        value = None if expected is None else {family.output.field: expected}
        return label_interaction.label_interaction(
            context, review, answer, family=family, expected=value, as_answered=as_answered
        )
    if is_labelled:
        raise InvalidInput(
            "What was expected is said of reviews of interactions; an example says already what is expected."
        )
    return release_example.release_example(review, answer, actor=actor, store=store, clock=clock)


def withdraw_answer(context: Context, request: ItemRequest) -> Review:
    """Takes the answer to a question back, which then waits again: `keep_back` at any time, the release of an example
    while nothing was made that may hold it.

    Raises:
        NotFound: there is no such review.
        Conflict: the answer is a rating or a label, or something was made since. Repeating it changes nothing.
    """
    store, actor, now = context.store, context.actor, context.clock.now()

    def change(tx: Transaction) -> Review:
        record = store.reviews.get(tx, request.id)
        context.require_family(record.family)
        if record.status == "open":
            return record
        if record.is_final:
            raise Conflict(
                "A rating is an event, which is never edited, and the judge's figure has counted it."
                if record.kind == RATE_ANSWER
                else "What the answer should have been has made an example, which lies in its part of the data for"
                " good. Import it again with another label to correct it (detent data import)."
            )
        if record.answer == RELEASE:
            holder = _holder_since(tx, store, record)
            if holder is not None:
                raise Conflict(f"{holder} may hold the text since it was released, so the release stays.")
            if not store.examples.withdraw(tx, record.family, record.subject):
                raise Conflict("The example is a golden scenario by now, or has been forgotten, so the release stays.")
        detail = {"review": record.id, "answer": record.answer}
        family, subject = record.family, record.subject
        store.audit.add(tx, at=now, actor=actor, action=WITHDRAWN, family=family, subject=subject, detail=detail)
        return store.reviews.reopen(tx, record.id)

    return store.write(change)


def _holder_since(tx: Transaction, store: Store, record: Review) -> str | None:
    """The first thing that may hold an example which was released with this answer; None where there is none."""
    since = record.answered_at
    assert since is not None
    for kind, spent in (("Study", store.studies.spent_since(tx, since)), ("Run", store.runs.spent_since(tx, since))):
        for run in spent:  # those that run, and those that came to their end since
            if run.family == record.family:
                return f"{kind} {run.run}"
    for variant in store.variants.of_family(tx, record.family):
        if variant.created_at >= since:
            return f"Variant {variant.variant.id}"
    return None
