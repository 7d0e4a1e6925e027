"""Reviews with the texts that a person needs to answer them, and what a person types as the value that is right."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.strict_json import read_json

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
