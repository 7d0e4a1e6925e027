"""Reviews with the texts that a person needs to answer them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from optimizer.cli.session import Session
from optimizer.core.base.errors import NotFound

if TYPE_CHECKING:
    from optimizer.core.base.answers import Page
    from optimizer.core.family.family import Family
    from optimizer.jobs.feedback.answer_review import ReviewWithTexts


def reviews_of(session: Session, family: str | None, status: str | None) -> Page[ReviewWithTexts]:
    from optimizer.jobs.feedback.answer_review import read_reviews

    return session.whole(read_reviews, family=family, status=status)


def definition_of(session: Session, family: str) -> Family | None:
    """The family's definition; None where its file is gone or was never readable."""
    with suppress(NotFound):
        return session.family_view(family).definition
    return None
