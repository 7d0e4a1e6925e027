"""Puts production answers that are in doubt before a person: disputed, low, or given without being sure.

No text is copied, nothing is learned yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog

from optimizer.core.family.family import Family, kind_of
from optimizer.core.feedback.events import Interaction
from optimizer.core.feedback.rating_draws import UNIT_DAYS, UncertainAnswer, first_of_units, uncertain_answers
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.label_interaction import KIND
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest
from optimizer.ports import Clock, Store, Transaction

EVERY = timedelta(days=1)
SETTLED = timedelta(
    seconds=60
)  # after which nothing more is received in a stretch: events are stamped before they are committed
LONGEST = timedelta(days=7)  # a worker that was away for longer does not read all of it
MOST_READ = 20_000  # outcomes, and executed requests, of a look
MOST_WEIGHED = 1_000  # of those in doubt, of which the texts are read to see whether they can be labelled
log = structlog.get_logger(__name__)


def is_due(family: Family, *, store: Store, clock: Clock) -> bool:
    """Once a day. A family that asks for nothing, keeps no text, or has no answers of models is skipped."""
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
    """Opens a review for each interaction in doubt since the last look (the first: of a day), and returns them;
    with ``dry_run`` it only says which.

    At most ``review.per_day`` within 24 hours, each unit at most once in a week, each interaction once for ever. What
    was in doubt beyond that is passed over.
    """
    if not _is_reviewed(family):
        return CollectReport(items=(), dry_run=dry_run)
    now = clock.now()

    with store.read() as tx:  # a day of events takes a while to read, and a write would block other writers
        picked = _picked(family, tx, store, now)
    if dry_run:
        return CollectReport(items=picked, dry_run=True)

    def keep(tx: Transaction) -> CollectReport:
        before = store.reviews.of_kind(tx, family.name, KIND)  # another process may have collected at the same time
        new = [answer for answer in picked if answer.interaction not in before]
        for answer in new:
            payload = {name: value for name, value in asdict(answer).items() if name != "interaction"}
            store.reviews.open(tx, new_id("rv"), family.name, KIND, answer.interaction, payload, now)
        store.minute_stats.set_watermark(tx, _name(family), now - SETTLED)
        return CollectReport(items=new, dry_run=False)

    opened = store.write(keep)
    if opened.items:
        log.info("answers put up for review", family=family.name, n=len(opened.items))
    return opened


def _picked(family: Family, tx: Transaction, store: Store, now: datetime) -> list[UncertainAnswer]:
    until = now - SETTLED
    last = store.minute_stats.watermark(tx, _name(family))
    since = until - EVERY if last is None else max(last, until - LONGEST)
    before = store.reviews.of_kind(tx, family.name, KIND)
    n_left = family.review.per_day - sum(at > now - EVERY for at in before.values())
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
        if _can_be_labelled(family, each)
    ]
    return first_of_units(uncertain, {each.id: each.arm.unit_hmac for each in usable}, known=units, most=n_left)


def _interactions(family: Family, tx: Transaction, store: Store, ids: Sequence[str]) -> list[Interaction]:
    stored = store.events.interactions(tx, ids)
    return [each for name in ids for each in stored.get(name, ()) if each.arm.family == family.name]


def _can_be_labelled(family: Family, interaction: Interaction) -> bool:
    """Its answer and every input are kept."""
    inputs = interaction.input
    return interaction.output is not None and inputs is not None and all(name in inputs for name in family.inputs)


def _is_reviewed(family: Family) -> bool:
    return kind_of(family).asks_models and family.review.per_day > 0 and family.privacy.store != "metadata"


def _name(family: Family) -> str:
    return f"reviews {family.name}"
