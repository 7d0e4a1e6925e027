"""Reviews with the texts that a person needs to answer them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from optimizer.core.base.errors import NotFound

if TYPE_CHECKING:
    from optimizer.core.base.answers import Page
    from optimizer.core.family.family import Family
    from optimizer.jobs.feedback.answer_review import ReviewWithTexts
    from optimizer.runtime.client import Client

LABEL = "label_interaction"  # a kind of review: what should this answer have been?
RATE = "rate_answer"  # how good is this answer, which was drawn at random?


def reviews_of(client: Client, family: str | None, status: str | None) -> Page[ReviewWithTexts]:
    from optimizer.jobs.feedback.answer_review import ReviewsRequest, read_reviews
    from optimizer.runtime.client import whole

    return whole(client, read_reviews, ReviewsRequest(family=family, status=status))


def definition_of(client: Client, family: str) -> Family | None:
    """None where its file is gone or was never readable."""
    from optimizer.runtime.client import family_view

    with suppress(NotFound):
        return family_view(client, family).definition
    return None
