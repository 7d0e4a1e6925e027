"""A person answers one review, of whatever kind."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Json, Page, Text, members_of, page_read
from optimizer.core.base.errors import Conflict, DetentError, Fault, InvalidInput, NotAuthorised, NotFound
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.masking import Masker
from optimizer.core.family.rendering import expected_text, parse_output, with_own_labels
from optimizer.core.family.settings import Output
from optimizer.core.feedback.events import Interaction
from optimizer.core.feedback.rating_draws import rating_of
from optimizer.core.feedback.reported import typed_value
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER, RELEASE
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.release_example import ANSWERS, record_answer, release_example
from optimizer.jobs.dataset.sealed_events import sealed_interactions
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest, intake_of
from optimizer.jobs.feedback.keep_events import NO_EXAMPLE, RejectedEvent
from optimizer.jobs.request import ItemRequest, Name, PageRequest
from optimizer.ports import Clock, Review, Store, Transaction

OF_INTERACTIONS = (LABEL_INTERACTION, RATE_ANSWER)
WITHDRAWN = "withdraw_answer"  # in the record of changes
UNRATED = "unrated"
MOST_LABELS = 20  # that an error lists; a family may have hundreds


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
        return rate_answer(review, answer, actor=actor, store=store, clock=clock, intake=intake_of(context))
    if kind == LABEL_INTERACTION:
        value = None if expected is None else {family.output.field: expected}
        return label_interaction(context, review, answer, family=family, expected=value, as_answered=as_answered)
    if is_labelled:
        raise InvalidInput(
            "What was expected is said of reviews of interactions; an example says already what is expected."
        )
    return release_example(review, answer, actor=actor, store=store, clock=clock)


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


# --- how good an answer is that was drawn at random -------------------------------------------------------------------


def rate_answer(review: str, answer: str, *, actor: str, store: Store, clock: Clock, intake: Intake) -> Review:
    """Answers the review and returns it. A rating becomes a person's feedback on the answer in the same transaction.

    Args:
        answer: a number from 0, useless, to 1, as good as can be; or ``unrated``: it cannot be told.
        intake: as the sender may report; it needs the right to speak as a person.
    Raises:
        InvalidInput: another answer, or a review of another kind.
        NotFound: no such review, or the answer that it is about was removed in between.
        NotAuthorised: the key may not send feedback of a person, or of this family.
        Conflict: answered differently before.
    """
    rating = rating_of(answer)
    if rating is None and answer != UNRATED:
        raise InvalidInput(
            f"A drawn answer is rated with a number from 0 to 1, or {UNRATED} where it cannot be told, not with"
            f" {answer!r}."
        )
    with store.read() as tx:
        review_asked = _rating_review(store, tx, review)
    rating_text = UNRATED if rating is None else f"{rating:g}"
    request = IntakeRequest(intake)
    reads = (
        []
        if rating is None
        else request.read(
            [
                {
                    "id": f"rating_{review_asked.id}",
                    "family": review_asked.family,
                    "interaction": review_asked.subject,
                    "source": "person",
                    "score": rating,
                    "tags": {"draw": review_asked.payload["draw"]},
                }
            ]
        )
    )
    if request.rejected:
        raise _refusal(request.rejected[0])

    def change(tx: Transaction) -> Review:
        before = _rating_review(store, tx, review)
        answered = record_answer(tx, store, before, rating_text, actor=actor, at=clock.now())
        if before.status == "open":
            result = request.job(reads)(tx)
            if result["rejected"]:
                raise _refusal(result["rejected"][0])
        return answered

    return store.write(change, rows=3)


def _rating_review(store: Store, tx: Transaction, review: str) -> Review:
    record = store.reviews.get(tx, review)
    if record.kind != RATE_ANSWER:
        raise InvalidInput(f"Review {review} is about {record.kind}, not about an answer that was drawn for rating.")
    return record


def _refusal(rejected: RejectedEvent) -> DetentError:
    kinds: dict[str, type[DetentError]] = {
        "source_not_allowed": NotAuthorised,
        "family_not_allowed": NotAuthorised,
        "unknown_interaction": NotFound,
    }
    kind = kinds.get(rejected["type"], InvalidInput)
    return kind(
        f"The answer was not rated, since a rating is feedback of a person: {rejected['detail']} Where the answer is no"
        f" longer kept, answer {UNRATED}."
    )


# --- what a production answer should have been; only then it becomes an example ---------------------------------------


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
