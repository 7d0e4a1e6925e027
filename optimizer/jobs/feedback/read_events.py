"""What production reported, as it is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from optimizer.core.base.answers import Page
from optimizer.core.base.errors import NotFound
from optimizer.core.views.events import FeedbackView, InteractionView, InteractionWithFeedback, members_of
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyPageRequest, ItemRequest


class EventsRequest(FamilyPageRequest):
    variant: Annotated[str | None, Field(max_length=200)] = None
    since: Annotated[AwareDatetime | None, Field(description="Received at or after this time")] = None


class InteractionRequest(ItemRequest):
    family: Annotated[str | None, Field(max_length=200)] = None


def read_feedback(context: Context, request: EventsRequest) -> Page[FeedbackView]:  # type: ignore[valid-type]
    """Feedback events, oldest first."""
    family = context.family_asked(request.family)
    with context.store.read() as tx:
        events, next_cursor = context.store.events.page_of_feedback(
            tx,
            family=family,
            variant=request.variant,
            since=_usable(request.since),
            cursor=request.cursor,
            limit=request.limit,
        )
    return Page(items=[FeedbackView(**members_of(event)) for event in events], next_cursor=next_cursor)


def read_interactions(context: Context, request: EventsRequest) -> Page[InteractionView]:  # type: ignore[valid-type]
    """Interactions, oldest first. Their texts are null for a key without role read-texts."""
    family = context.family_asked(request.family)
    with context.store.read() as tx:
        interactions, next_cursor = context.store.events.page_of_interactions(
            tx,
            family=family,
            variant=request.variant,
            since=_usable(request.since),
            cursor=request.cursor,
            limit=request.limit,
        )
    return Page(
        items=[InteractionView(**members_of(interaction)) for interaction in interactions], next_cursor=next_cursor
    )


def read_interaction(context: Context, request: InteractionRequest) -> InteractionWithFeedback:  # type: ignore[valid-type]
    """One interaction with the feedback on it.

    Ids are unique within a family: name it where two families share an id.
    """
    id, own = request.id, context.access.families
    if request.family is not None:
        context.require_family(request.family)
    families = own if request.family is None and own is not None else (request.family,)
    with context.store.read() as tx:
        events = context.store.events
        interaction = next(filter(None, (events.interaction(tx, id, name) for name in families)), None)
        if interaction is None:
            raise NotFound(
                f"There is no interaction {id!r}. It may have been pruned, or never been reported.", interaction=id
            )
        outcomes = events.feedback_of(tx, interaction.arm.family, id)
        later = events.later_parts(tx, interaction.arm.family, {id}).get(id)
    return InteractionWithFeedback(  # type: ignore[no-any-return]
        **members_of(interaction),
        feedback=[FeedbackView(**members_of(outcome)) for outcome in outcomes],
        later_parts=later.parts if later is not None else None,
    )


def _usable(since: datetime | None) -> datetime | None:
    """Times at the ends of the calendar have no UTC form; they mean the beginning of it."""
    return since if since is None or 1 < since.year < 9999 else None
