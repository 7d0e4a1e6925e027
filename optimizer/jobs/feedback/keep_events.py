"""Stores what was read: of one request, or of all requests that share a commit, in the same few statements.

Part of ingest_feedback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NotRequired, cast

from typing_extensions import TypedDict

from optimizer.core.base.errors import KeyReused
from optimizer.core.dataset.examples import Example
from optimizer.core.feedback.rating_draws import ReviewPayload
from optimizer.core.feedback.reported import EventRejected, example_of
from optimizer.core.feedback.review_kinds import RELEASE_EXAMPLE
from optimizer.core.feedback.stored_rows import EventRow, feedback_of
from optimizer.jobs.feedback.place_events import ArmFinder, Delivery, PlacedEvent, ReadEvent
from optimizer.jobs.ids import new_id, new_ulids
from optimizer.ports import Added, Transaction

# What is not added to the examples: what its input does.
NO_EXAMPLE: Mapping[Added, str] = {
    "two_splits": "says nearly the same as examples of another split than its own",
    "sealed": "is one of the sealed holdout of a retired family of this name",
}


class RejectedEvent(TypedDict):
    """``index`` counts from 0. ``type``: `malformed` (a field is unknown, or holds what it may not), `unknown_family`,
    `unknown_interaction` (none here, or more than one), `family_not_allowed` and `source_not_allowed` (of the key),
    `id_conflict` (the id came before with other content; with the same it is a duplicate), `mask_too_slow`,
    `text_too_long` (above `limits.event_text_bytes`), `token_of_retired_family`, or what is wrong with the token.
    """

    index: int
    type: str
    detail: str


class EventsTaken(TypedDict):
    """``in_no_arm``: how many of the accepted ones name a rollout of which no stage gave their unit their variant
    within the minute before `assigned_at`. ``set_aside``: how many corrections among them become no example, since
    they say nearly the same as examples of two splits, or what the holdout of a retired family of that name asks. Both
    are left out where there are none.
    """

    accepted: int
    duplicates: int
    rejected: Sequence[RejectedEvent]
    in_no_arm: NotRequired[int]
    set_aside: NotRequired[int]


class Rejection(RejectedEvent):
    errors: NotRequired[Sequence[Mapping[str, str]]]  # each with a JSON pointer: of fields of the only event


@dataclass(frozen=True, slots=True)
class EventWriteJob:
    """A job for the writing transaction: stores what was read of one request, and gives its answer.

    Args:
        rejected: by the reading.
        rejection: makes one more.
    """

    delivery: Delivery
    reads: Sequence[ReadEvent]
    rejected: Sequence[Rejection]
    rejection: Callable[[int, EventRejected], Rejection]

    def __call__(self, tx: Transaction) -> EventsTaken:
        (outcome,) = keep_all(tx, [self])
        if isinstance(outcome, KeyReused):
            raise outcome
        return outcome

    @property
    def together(self) -> Callable[[Transaction, Sequence[EventWriteJob]], list[EventsTaken | KeyReused]] | None:
        """How several of one commit are stored at once; None for one whose interaction the request before
        it may bring.
        """
        return None if any(read.report.get("interaction") is not None for read in self.reads) else keep_all


def keep_all(tx: Transaction, jobs: Sequence[EventWriteJob]) -> list[EventsTaken | KeyReused]:
    """The answers, in the order of the jobs, which share a store. An event counts for the first request that brings it.

    KeyReused takes the place of an answer where nothing was stored, since the key came before with another body. Raises
    Conflict where two jobs have one idempotency key; then nothing of any of them is stored.
    """
    store = jobs[0].delivery.store
    # Only now that it is their turn to write, since a cohort may have closed meanwhile.
    at = jobs[0].delivery.clock.now()
    ids = new_ulids()
    begun = [_begin(tx, job, at, ids) for job in jobs]
    requests = [each for each in begun if isinstance(each, _EventRequest)]
    names = {event.name for each in requests for event in each.placed if event.is_named}
    known = store.events.known(tx, names) if names else {}
    for each in requests:
        each.sort_out(known)
    store.events.add_new(
        tx,
        [interaction for each in requests for interaction in each.interactions()],
        [event for each in requests for event in each.feedback()],
    )
    return [each.answer() if isinstance(each, _EventRequest) else each for each in begun]


def _begin(tx: Transaction, job: EventWriteJob, at: datetime, ids: Iterator[str]) -> _EventRequest | KeyReused:
    try:
        return _EventRequest(tx, job, at, ids)
    except KeyReused as error:
        return error


@dataclass(slots=True)
class _EventRequest:
    """One request inside the transaction."""

    tx: Transaction
    job: EventWriteJob
    at: datetime
    ids: Iterator[str]
    placed: list[PlacedEvent] = field(init=False)
    before: EventsTaken | None = field(init=False)  # the answer to the same request that came earlier
    fresh: list[PlacedEvent] = field(default_factory=list)
    n_duplicates: int = 0
    rejected: list[Rejection] = field(init=False)

    def __post_init__(self) -> None:
        self.rejected = list(self.job.rejected)
        self.before = self._answer_before()
        self.placed = [] if self.before is not None else self._place_all()

    def sort_out(self, known: dict[tuple[str, str], str]) -> None:
        """Tells what is new from what is known already, and adds it to that."""
        for event in self.placed:
            before = known.get(event.name) if event.is_named else None
            if not event.is_named:
                self.fresh.append(event)
            elif before is None:
                known[event.name] = event.content_hash
                self.fresh.append(event)
            elif before == event.content_hash:
                self.n_duplicates += 1
            else:
                refusal = EventRejected(
                    "id_conflict",
                    f"Event {event.id!r} of family {event.arm.family!r} is stored with other content, and events never"
                    " change. Give a new event a new id; an outcome names its interaction by `interaction`.",
                )
                self.rejected.append(self.job.rejection(event.position, refusal))

    def interactions(self) -> list[EventRow]:
        actor, by_gateway = self.job.delivery.actor, self.job.delivery.by_gateway
        return [
            event.interaction(self.at, actor, by_gateway=by_gateway)
            for event in self.fresh
            if event.report.is_interaction
        ]

    def feedback(self) -> list[EventRow]:
        return [event.feedback(self.at, self.job.delivery.actor) for event in self.fresh if event.report.is_feedback]

    def answer(self) -> EventsTaken:
        if self.before is not None:
            return self.before
        n_set_aside = self._add_corrections()
        answer: EventsTaken = {
            "accepted": len(self.fresh),
            "duplicates": self.n_duplicates,
            "rejected": sorted(self.rejected, key=lambda r: r["index"]),
        }
        if n := sum(event.fits_no_stage for event in self.fresh):
            answer["in_no_arm"] = n
        if n_set_aside:
            answer["set_aside"] = n_set_aside
        delivery = self.job.delivery
        if delivery.idempotency is not None:
            delivery.store.events.store_answer(self.tx, *delivery.idempotency, answer, self.at)
        return answer

    def _answer_before(self) -> EventsTaken | None:
        delivery = self.job.delivery
        if delivery.idempotency is None:
            return None
        stored = delivery.store.events.stored_answer(self.tx, *delivery.idempotency)
        return cast(EventsTaken | None, stored)

    def _place_all(self) -> list[PlacedEvent]:
        """Events that name only an interaction come last, since the same request may report it."""
        reads = self.job.reads
        placing = ArmFinder(self.job.delivery, self.tx, reads, self.at, self.ids)
        placed = []
        for read in sorted(reads, key=lambda read: not read.sent.family):
            try:
                placed.append(placing.place(read, placing.arm_of(read)))
            except EventRejected as error:
                self.rejected.append(self.job.rejection(read.position, error))
        return sorted(placed, key=lambda event: event.position)

    def _add_corrections(self) -> int:
        """How many become no example: see ``NO_EXAMPLE``."""
        corrections = [event for event in self.fresh if event.report.get("expected") is not None]
        examples = [example for event in corrections if (example := self._example(event)) is not None]
        if not examples:
            return 0
        outcomes = self.job.delivery.store.examples.add(self.tx, examples)
        for example, outcome in zip(examples, outcomes, strict=True):
            if outcome in ("accepted", "joined"):
                self._ask_for_release(example)
        return sum(outcome in NO_EXAMPLE for outcome in outcomes)

    def _example(self, placed: PlacedEvent) -> Example | None:
        delivery = self.job.delivery
        event, input = feedback_of(placed.feedback(self.at, delivery.actor)), placed.report.get("input")
        if input is None and event.interaction is not None:
            interaction = delivery.store.events.interaction(self.tx, event.interaction, placed.arm.family)
            input = interaction.input if interaction is not None else None
        return example_of(delivery.families[placed.arm.family], event, input)

    def _ask_for_release(self, example: Example) -> None:
        store = self.job.delivery.store
        split = store.examples.standing(self.tx, example.family, ids=[example.id], groups=())[0].split
        if example.released or split == "holdout":  # the holdout is never quoted, and no review may show it
            return
        payload = ReviewPayload(example=example.id, split=split, sent_by=self.job.delivery.actor)
        store.reviews.open(self.tx, new_id("rv"), example.family, RELEASE_EXAMPLE, example.id, payload, self.at)
