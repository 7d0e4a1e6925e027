"""Puts production answers before a person: those in doubt (disputed, low, or given without being sure), and queries
that may become golden scenarios.

No text is copied, nothing is learned or released yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from pydantic import Field

from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.family.family import Family, kind_of
from optimizer.core.feedback.event_kinds import MAX_NAME_CHARS
from optimizer.core.feedback.events import Interaction
from optimizer.core.feedback.rating_draws import (
    UNIT_DAYS,
    ReviewPayload,
    UncertainAnswer,
    first_of_units,
    uncertain_answers,
)
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import sealed_among, sealed_interactions
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import ChangeReport, checked_reason
from optimizer.jobs.request import DryRunRequest, FamilyRequest, Reason
from optimizer.ports import Clock, Store, Transaction

EVERY = timedelta(days=1)
# After which nothing more is received in a stretch: events are stamped before they are committed.
SETTLED = timedelta(seconds=60)
LONGEST = timedelta(days=7)  # a worker that was away for longer does not read all of it
MOST_READ = 20_000  # outcomes, and executed requests, of a look
MOST_WEIGHED = 1_000  # interactions in doubt whose texts are read to see whether they can be labelled
log = structlog.get_logger(__name__)


def is_due(family: Family, *, store: Store, clock: Clock) -> bool:
    """Once a day. A family that asks for none, stores no text, or has no answers of models is skipped."""
    if not _is_reviewed(family):
        return False
    with store.read() as tx:
        last = store.minute_stats.watermark(tx, _name(family))
    return last is None or clock.now() - SETTLED - last >= EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """Of which answers a review was opened; with ``dry_run`` would be."""

    items: Sequence[UncertainAnswer]
    dry_run: bool


def collect_family_reviews(context: Context, request: DryRunRequest) -> CollectReport:
    """Puts production answers in doubt up for review now; the worker does so once a day."""
    family = context.family(request.family)
    return collect_reviews(family, store=context.store, clock=context.clock, dry_run=request.dry_run)


def collect_reviews(family: Family, *, store: Store, clock: Clock, dry_run: bool = False) -> CollectReport:
    """Opens a review for each interaction in doubt since the last look (at first: of a day), and returns them.

    With ``dry_run`` it only says which. There are at most ``review.per_day`` within 24 hours, each unit at most once in
    a week, and each interaction only once. Interactions in doubt beyond that are passed over.
    """
    if not _is_reviewed(family):
        return CollectReport(items=(), dry_run=dry_run)
    now = clock.now()

    with store.read() as tx:  # a day of events takes a while to read, and a write would block other writers
        picked = _picked(family, tx, store, now)
    if dry_run:
        return CollectReport(items=picked, dry_run=True)

    def keep(tx: Transaction) -> CollectReport:
        doubts = {answer.interaction: ReviewPayload(doubt=answer.doubt, why=answer.why) for answer in picked}
        reviews = open_reviews(tx, store, family, doubts, now)
        store.minute_stats.set_watermark(tx, _name(family), now - SETTLED)
        return CollectReport(items=[answer for answer in picked if answer.interaction in reviews], dry_run=False)

    opened = store.write(keep)
    if opened.items:
        log.info("answers put up for review", family=family.name, n=len(opened.items))
    return opened


def open_reviews(
    tx: Transaction, store: Store, family: Family, doubts: Mapping[str, ReviewPayload], now: datetime
) -> dict[str, str]:
    """Opens a review of each of these interactions that has none, the first of them within ``review.per_day``; of none
    that the sealed holdout asks, too, since nobody would see what it is about.

    Returns the reviews' ids by interaction. It looks again in its transaction, since others open reviews meanwhile.
    """
    before, n_left = _reviewed_before(tx, store, family, now)
    new = [interaction for interaction in doubts if interaction not in before] if n_left > 0 else []
    sealed = sealed_among(tx, store, family, new)
    new = [interaction for interaction in new if interaction not in sealed][:n_left]
    return _open(tx, store, family, {interaction: doubts[interaction] for interaction in new}, now)


def _reviewed_before(
    tx: Transaction, store: Store, family: Family, now: datetime
) -> tuple[Mapping[str, datetime], int]:
    """(interactions that have a review, and since when; how many more may be opened today)."""
    before = store.reviews.of_kind(tx, family.name, LABEL_INTERACTION)
    return before, family.review.per_day - sum(at > now - EVERY for at in before.values())


def _open(
    tx: Transaction, store: Store, family: Family, payloads: Mapping[str, ReviewPayload], now: datetime
) -> dict[str, str]:
    reviews = {interaction: new_id("rv") for interaction in payloads}
    for interaction, id in reviews.items():
        store.reviews.open(tx, id, family.name, LABEL_INTERACTION, interaction, payloads[interaction], now)
    return reviews


def _picked(family: Family, tx: Transaction, store: Store, now: datetime) -> list[UncertainAnswer]:
    until = now - SETTLED
    last = store.minute_stats.watermark(tx, _name(family))
    since = until - EVERY if last is None else max(last, until - LONGEST)
    before, n_left = _reviewed_before(tx, store, family, now)
    if n_left <= 0 or since >= until:
        return []
    answers = store.traffic.seen(tx, family.name, since, until, MOST_READ)
    uncertain = [answer for answer in uncertain_answers(answers, family.review) if answer.interaction not in before][
        :MOST_WEIGHED
    ]
    recent = [subject for subject, at in before.items() if at > now - timedelta(days=UNIT_DAYS)]
    units = {each.arm.unit_hmac for each in _interactions(family, tx, store, recent) if each.arm.unit_hmac is not None}
    usable = [
        each
        for each in _interactions(family, tx, store, [answer.interaction for answer in uncertain])
        if each.output is not None
        and each.input is not None
        and family.input_fault(family.declared_inputs(each.input)) is None
    ]
    sealed = sealed_interactions(tx, store, usable, {family.name: family})
    usable = [each for each in usable if (family.name, each.id) not in sealed]
    return first_of_units(uncertain, {each.id: each.arm.unit_hmac for each in usable}, known=units, most=n_left)


def _interactions(family: Family, tx: Transaction, store: Store, ids: Sequence[str]) -> list[Interaction]:
    stored = store.events.interactions(tx, ids)
    return [each for name in ids for each in stored.get(name, ()) if each.arm.family == family.name]


def _is_reviewed(family: Family) -> bool:
    return kind_of(family).asks_models and family.review.per_day > 0 and family.privacy.store != "metadata"


def _name(family: Family) -> str:
    return f"reviews {family.name}"


MOST_OFFERED = 100
OFFERED = "offer_scenarios"


class ScenarioOffersRequest(FamilyRequest):
    interactions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]],
        Field(min_length=1, max_length=MOST_OFFERED, description="Ids of interactions whose input is kept"),
    ]
    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOffers(ChangeReport):
    """``reviews``: those that were opened, in the order of the interactions; the others have one already."""

    reviews: list[str]


def offer_scenarios(context: Context, request: ScenarioOffersRequest) -> ScenarioOffers:
    """Opens a review for each of these interactions, in which a person says what should have been answered, or keeps
    the text back. What is released may become a golden scenario. Safe to repeat: an interaction is asked about once.

    Raises:
        InvalidInput: the family asks no model.
        NotFound: an interaction of the family is not there.
        Conflict: an input of it is not kept, or the sealed holdout asks the same, so that nobody could tell what should
            have been answered.
    """
    family, store, actor = context.family(request.family), context.store, context.actor
    reason, now, ids = checked_reason(request.reason), context.clock.now(), list(dict.fromkeys(request.interactions))
    if not kind_of(family).asks_models:
        raise InvalidInput(
            f"Golden scenarios are answered by a model, and {family.name}, a family of kind {family.kind}, asks none."
        )

    def change(tx: Transaction) -> ScenarioOffers:
        stored = store.events.interactions(tx, ids)
        for id in ids:
            own = next((each for each in stored.get(id, ()) if each.arm.family == family.name), None)
            if own is None:
                raise NotFound(f"{family.name} has no interaction {id!r}. It may have been pruned.", interaction=id)
            if sealed_interactions(tx, store, [own], {family.name: family}):
                raise Conflict(
                    f"The sealed holdout asks what interaction {id!r} asks, and nobody sees its text. Offer another.",
                    interaction=id,
                )
            fault = (
                f"the input {', '.join(family.inputs)} is not kept"
                if own.input is None
                else family.input_fault(family.declared_inputs(own.input))
            )
            if fault is not None:
                raise Conflict(
                    f"Of interaction {id!r} {fault}, so nobody can say what should have been answered.",
                    interaction=id,
                )
        before = store.reviews.of_kind(tx, family.name, LABEL_INTERACTION)
        since = f", since: {request.reason}" if request.reason else ""
        why = (
            f"{actor} asks for an example of it{since}. Say what should have been answered, or keep it back. What is"
            " released may become a golden scenario, which every evaluation asks"
        )
        payloads = {id: ReviewPayload(why=why) for id in ids if id not in before}
        reviews = [*_open(tx, store, family, payloads, now).values()]
        if reviews:
            detail = {"interactions": ids, "reviews": reviews, "reason": reason}
            store.audit.add(
                tx, at=now, actor=actor, action=OFFERED, family=family.name, subject=family.name, detail=detail
            )
        n_before = len(ids) - len(reviews)
        again = f"; about {count(n_before, 'other')} a person was asked before" if n_before else ""
        return ScenarioOffers(
            family=family.name,
            what=f"{count(len(reviews), 'query', 'queries')} of {family.name} wait for a person{again}",
            why=reason,
            undo="detent review answer REVIEW keep_back",
            next=f"detent review list --family {family.name}",
            changed=bool(reviews),
            reviews=reviews,
        )

    return store.write(change)
