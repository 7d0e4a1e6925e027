"""A person says how good an answer is that was drawn at random."""

from __future__ import annotations

from optimizer.core.base.errors import DetentError, InvalidInput, NotAuthorised, NotFound
from optimizer.core.feedback.rating_draws import rating_of
from optimizer.core.feedback.review_kinds import RATE_ANSWER
from optimizer.jobs.dataset.release_example import record_answer
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest
from optimizer.jobs.feedback.keep_events import RejectedEvent
from optimizer.ports import Clock, Review, Store, Transaction

UNRATED = "unrated"


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
