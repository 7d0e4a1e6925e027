"""Reads stored events of production."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page, members_of as answer_members
from optimizer.core.base.errors import NotFound
from optimizer.core.feedback.events import Interaction
from optimizer.core.serving.access import require
from optimizer.core.views.events import (
    FeedbackView,
    FoundInteraction,
    InteractionView,
    InteractionWithFeedback,
    members_of,
    part_without_texts,
)
from optimizer.core.views.quality import value_of
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import (
    outcome_without_texts,
    sealed_interactions,
    sealed_outcomes,
    without_texts,
)
from optimizer.jobs.request import FamilyPageRequest, ItemRequest, Moment
from optimizer.ports import InteractionFilter, Transaction

USUAL_WINDOW = timedelta(days=1)


class EventsRequest(FamilyPageRequest):
    variant: Annotated[str | None, Field(max_length=200)] = None
    since: Annotated[Moment | None, Field(description="Received at or after this time")] = None


class FindInteractionsRequest(FamilyPageRequest):
    variant: Annotated[str | None, Field(max_length=200)] = None
    since: Annotated[Moment | None, Field(description="Received at or after this time; by default a day ago")] = None
    until: Annotated[Moment | None, Field(description="Received before this time; by default now")] = None
    unit_hmacs: Annotated[
        str | None,
        Field(max_length=1000, description="The unit, as events show it; by commas also as it was under older keys"),
    ] = None
    failed: Annotated[bool | None, Field(description="Only those with an error, or without one")] = None
    score_at_most: Annotated[
        float | None, Field(ge=0, le=1, description="An outcome has at most this score; a failure has 0")
    ] = None
    text: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="In input, output or error as stored; needs role read-texts"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInteractions:
    """Received in [since, until), the newest first. ``looked_back_to``: every match since then is here or on a page
    before; ``next_cursor`` goes on from there, also where nothing was found so far. ``lowest_score`` of each: of the
    feedback on it, where a failure counts as 0 and a success as 1.
    """

    since: datetime
    until: datetime
    looked_back_to: datetime
    items: Sequence[FoundInteraction]  # type: ignore[valid-type]
    next_cursor: str | None


class InteractionRequest(ItemRequest):
    family: Annotated[str | None, Field(max_length=200)] = None


def read_feedback(context: Context, request: EventsRequest) -> Page[FeedbackView]:  # type: ignore[valid-type]
    """Feedback events, oldest first; without texts on what the sealed holdout asks, too."""
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        outcomes, next_cursor = store.events.page_of_feedback(
            tx,
            family=family,
            variant=request.variant,
            since=request.since,
            cursor=request.cursor,
            limit=request.limit,
        )
        sealed = sealed_outcomes(tx, store, outcomes, context.families().families)
    shown = [outcome_without_texts(one) if (one.arm.family, one.id) in sealed else one for one in outcomes]
    return Page(items=[FeedbackView(**members_of(one)) for one in shown], next_cursor=next_cursor)


def read_interactions(context: Context, request: EventsRequest) -> Page[InteractionView]:  # type: ignore[valid-type]
    """Interactions, oldest first. Their texts are null for a key without role read-texts, and for every key where the
    sealed holdout asks the same.
    """
    family = context.family_asked(request.family)
    with context.store.read() as tx:
        interactions, next_cursor = context.store.events.page_of_interactions(
            tx,
            family=family,
            variant=request.variant,
            since=request.since,
            cursor=request.cursor,
            limit=request.limit,
        )
        views = _views(tx, context, interactions)
    return Page(items=views, next_cursor=next_cursor)


def find_interactions(context: Context, request: FindInteractionsRequest) -> FoundInteractions:
    """Interactions of a time, newest first, by what is known of them. A page looks at some ten thousand of them at
    most. A text is not looked for in what the sealed holdout asks, too, and no member of the answer tells of a match
    there.

    Raises NotAuthorised where a text is looked for by a key that may not read texts.
    """
    if request.text is not None:
        require(context.access, "read-texts", actor=context.actor)
    if request.family is not None:
        context.require_family(request.family)
    until = request.until or context.clock.now()
    matching = InteractionFilter(
        since=request.since or until - USUAL_WINDOW,
        until=until,
        families=context.access.families if request.family is None else (request.family,),
        variant=request.variant,
        units=None if request.unit_hmacs is None else request.unit_hmacs.split(","),
        failed=request.failed,
        score_at_most=request.score_at_most,
        text=request.text,
    )
    text, declared = request.text, context.families().families
    with context.store.read() as tx:

        def with_text(matches: Sequence[Interaction]) -> list[Interaction]:
            sealed = sealed_interactions(tx, context.store, matches, declared)
            return [one for one in matches if (one.arm.family, one.id) not in sealed and _has(one, text or "")]

        matches = context.store.events.matches(
            tx, matching, cursor=request.cursor, limit=request.limit, shown=None if text is None else with_text
        )
        views = _views(tx, context, matches.items)
        lowest = _lowest_scores(tx, context, matches.items)
    interactions = [
        FoundInteraction(**answer_members(view), lowest_score=lowest.get((one.arm.family, one.id)))
        for one, view in zip(matches.items, views, strict=True)
    ]
    return FoundInteractions(
        since=matching.since,
        until=until,
        looked_back_to=matches.looked_back_to,
        items=interactions,
        next_cursor=matches.next_cursor,
    )


def _lowest_scores(
    tx: Transaction, context: Context, interactions: Sequence[Interaction]
) -> dict[tuple[str, str], float]:
    lowest: dict[tuple[str, str], float] = {}
    for outcome in context.store.events.feedback_of(tx, {(each.arm.family, each.id) for each in interactions}):
        score = value_of(outcome)
        if outcome.interaction is not None and score is not None:
            key = outcome.arm.family, outcome.interaction
            lowest[key] = min(lowest.get(key, 1.0), score)
    return lowest


def _has(one: Interaction, text: str) -> bool:
    """Whether a text of it has this one in it; the store looked at the names of inputs, too."""
    texts = " ".join(str(each) for each in (*(one.input or {}).values(), one.output, one.error) if each is not None)
    return text.casefold() in texts.casefold()


def _views(tx: Transaction, context: Context, interactions: Sequence[Interaction]) -> list[InteractionView]:  # type: ignore[valid-type]
    sealed = sealed_interactions(tx, context.store, interactions, context.families().families)
    return [
        InteractionView(**members_of(without_texts(each)), sealed=True)
        if (each.arm.family, each.id) in sealed
        else InteractionView(**members_of(each))
        for each in interactions
    ]


def read_interaction(context: Context, request: InteractionRequest) -> InteractionWithFeedback:  # type: ignore[valid-type]
    """One interaction with the feedback on it. Its texts are null for a key without role read-texts, and for every key
    where the sealed holdout asks the same.

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
        outcomes = events.feedback_of(tx, [(interaction.arm.family, id)])
        later = events.later_parts(tx, interaction.arm.family, {id}).get(id)
        is_sealed = bool(sealed_interactions(tx, context.store, [interaction], context.families().families, outcomes))
    later_parts = later.parts if later is not None else None
    if is_sealed:
        interaction, outcomes = without_texts(interaction), [outcome_without_texts(one) for one in outcomes]
        later_parts = None if later_parts is None else [part_without_texts(part) for part in later_parts]
    return InteractionWithFeedback(  # type: ignore[no-any-return]
        **members_of(interaction),
        feedback=[FeedbackView(**members_of(outcome)) for outcome in outcomes],
        later_parts=later_parts,
        sealed=is_sealed,
    )
