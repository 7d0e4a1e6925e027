"""A person decides whether a correction from production may be quoted in prompts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.review_kinds import RELEASE, RELEASE_EXAMPLE
from optimizer.ports import Clock, Review, Store, Transaction

Answer = Literal["release", "keep_back"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


def release_example(review: str, answer: str, *, actor: str, store: Store, clock: Clock) -> Review:
    """Answers the review and returns it; ``release`` makes its example quotable in the same transaction.

    Repeating it changes nothing.

    Raises:
        InvalidInput: another answer than release or keep_back, or a review of another kind.
        NotFound: no such review, or its example was forgotten in between.
        Conflict: answered differently before.
    """
    if answer not in ANSWERS:
        raise InvalidInput(f"A review of an example is answered with {' or '.join(ANSWERS)}, not with {answer!r}.")
    now = clock.now()

    def change(tx: Transaction) -> Review:
        record = store.reviews.get(tx, review)
        if record.kind != RELEASE_EXAMPLE:
            raise InvalidInput(f"Review {review} is about {record.kind}, not about an example.")
        if record.status == "open" and answer == RELEASE:
            store.examples.release(tx, record.family, record.subject, actor)
        return record_answer(tx, store, record, answer, actor=actor, at=now)

    return store.write(change)


def record_answer(
    tx: Transaction, store: Store, record: Review, answer: str, *, actor: str, at: datetime, **more: str
) -> Review:
    """The review as answered. The first time it goes into the record of changes, with ``more``.

    Raises Conflict where it has another answer already.
    """
    answered = store.reviews.answer(tx, record.id, answer, actor, at)
    if record.status == "open":
        detail = {"review": record.id, "answer": answer, **more}
        family, subject = record.family, record.subject
        store.audit.add(tx, at=at, actor=actor, action=record.kind, family=family, subject=subject, detail=detail)
    return answered
