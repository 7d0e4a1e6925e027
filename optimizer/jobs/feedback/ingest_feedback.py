"""Every event from production comes in here: one request, one transaction, one answer on what became of each event."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from typing import Any

from optimizer.core.base.canonical import is_within
from optimizer.core.base.errors import Busy, InvalidInput, shorten
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker, MaskTooSlow, masker_of
from optimizer.core.family.settings import MaskPattern
from optimizer.core.feedback.events import NO_FAMILY, Arm
from optimizer.core.feedback.reported import EventRejected, Report, check_correction, check_texts, protect, read_report
from optimizer.core.feedback.signals import with_outcome
from optimizer.core.serving.assignment import Assignment
from optimizer.core.serving.attribution import arm_of_token
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.keep_events import EventsTaken, EventWriteJob, Rejection
from optimizer.jobs.feedback.place_events import (
    Delivery,
    ReadEvent,
    arm_of_interaction,
    unknown_interaction,
)

AT_ONCE_CHARS = 2_000  # an event this short is read in less time than waiting for its turn takes
LONG_AT_ONCE = 2  # readings in threads: each takes its share of the interpreter from what serves
MAX_DETAIL_CHARS = 2000  # of what is said of one event
RECORD_WAIT_S, RECORD_LOOK_S = 10.0, 0.25  # as long as a write tries
GATEWAY_ID = re.compile("in_[0-9a-z]{26}")


class Turns:
    """The readings of one process take turns, since each takes the processor for milliseconds.

    Requests for prompts are served between two of them.
    """

    def __init__(self, *, events: int = 20, chars: int = 10_000) -> None:
        """Args:
        events, chars: the most that are read on the event loop; a request with more goes to a thread.
        """
        self.events, self.chars = events, chars
        self._short, self.long = asyncio.Lock(), asyncio.Semaphore(LONG_AT_ONCE)
        self.records = asyncio.Lock()  # of many that wait for records, one looks at a time
        self._asked_of: Mapping[str, Family] | None = None
        self._has_patterns = False

    def has_patterns(self, families: Mapping[str, Family]) -> bool:
        """Whether any of them masks by a user's own expression. Each event asks, so it is known while these serve."""
        if self._asked_of is not families:
            masks = (mask for family in families.values() for mask in family.privacy.mask)
            self._has_patterns = any(isinstance(mask, MaskPattern) for mask in masks)
            self._asked_of = families
        return self._has_patterns

    @asynccontextmanager
    async def short(self) -> AsyncIterator[None]:
        """The turn of a reading on the event loop."""
        async with self._short:
            await asyncio.sleep(0)  # what has become ready goes first
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake(Delivery):
    """What taking events in needs beside. ``take`` and ``atake`` do the same, for threads and for asyncio; clients of
    the gateway, who may name an answer before its record is stored, come by ``atake``.

    Args:
        verify: token -> Assignment; raises InvalidInput whose member ``type`` says what is wrong with it. Without that
            member nothing is wrong with the token, and no event is taken.
        hmac_unit: unit as sent -> the only form in which it is stored.
        older_hmacs: the same under unit keys that were in use before, which tokens and interactions may still name.
        text_bytes: most bytes of one text of an event, since masking takes time by length; None: no bound.
        waiting: gives the ids of the interactions that wait on disk for the store.
        turns: shared by all requests of the process.
    """

    verify: Callable[[str], Assignment]
    hmac_unit: Callable[[str], str]
    older_hmacs: Callable[[str], Sequence[str]] = lambda unit: ()
    text_bytes: int | None = None
    waiting: Callable[[], set[str]] = set
    turns: Turns = field(default_factory=Turns)

    def take(self, events: Sequence[Any]) -> EventsTaken:
        """Stores what is sound and returns after the commit; what is rejected is a ``Rejection``.

        Raises:
            KeyReused: the idempotency key came with another body before.
            Busy: the store takes no more now; nothing was kept.
        """
        request = IntakeRequest(self)
        return self.store.write(request.job(request.read(events)), rows=len(events))

    async def atake(self, events: Sequence[Any], n_bytes: int | None = None) -> EventsTaken:
        """As ``take``: a few short events are read on the event loop; long readings and the commit do not hold it up.

        ``n_bytes``: of their JSON text, where that is known.
        """
        await self._await_records(events)
        request = IntakeRequest(self)
        return await self.store.awrite(request.job(await request.aread(events, n_bytes)), rows=len(events))

    async def _await_records(self, events: Sequence[Any]) -> None:
        """Returns once the store has each answer of the gateway that an event names without its token. Raises Busy."""
        named = {
            id
            for raw in events
            if isinstance(raw, Mapping) and raw.get("assignment") is None
            if isinstance(id := raw.get("interaction"), str) and GATEWAY_ID.fullmatch(id)
        }
        until = monotonic() + RECORD_WAIT_S
        while named:
            async with self.turns.records:
                named = await asyncio.to_thread(self._on_their_way, named)
            if not named:
                return
            if monotonic() > until:
                raise Busy(
                    f"The record of interaction {min(named)} waits on disk for the store, and what names it is not"
                    " stored. Send it again: events with an id of their own count once.",
                    retry_after_s=5,
                )
            await asyncio.sleep(RECORD_LOOK_S)

    def _on_their_way(self, named: Collection[str]) -> set[str]:
        """Those that only the disk holds. The disk is looked at first: what has left it since is in the store."""
        waiting = self.waiting().intersection(named)
        if not waiting:
            return waiting
        with self.store.read() as tx:
            return waiting - self.store.events.interactions(tx, waiting).keys()


def intake_of(context: Context) -> Intake:
    """Takes in what the asker may report."""
    return Intake(
        store=context.store,
        clock=context.clock,
        families=context.families().families,
        verify=context.verify,
        hmac_unit=context.hmac_unit,
        older_hmacs=context.older_hmacs,
        actor=context.actor,
        access=context.access,
    )


class IntakeRequest:
    """One request on its way in.

    ``read`` does all that may be slow and only reads the store; ``job`` is what the writing transaction does.
    """

    def __init__(self, intake: Intake) -> None:
        self._in = intake
        self._received_at: datetime = intake.clock.now()
        self._maskers: dict[str, Masker] = {}
        self._all_masks: Masker | None = None
        self._rejected: list[Rejection] = []
        self._alone = True

    @property
    def rejected(self) -> Sequence[Rejection]:
        return self._rejected

    # --- before the transaction ---------------------------------------------------------------------------------------

    async def aread(self, events: Sequence[Any], n_bytes: int | None = None) -> list[ReadEvent]:
        if len(events) == 1 and self.reads_quickly(events, AT_ONCE_CHARS, n_bytes):
            return self.read(events)
        if self.reads_quickly(events, self._in.turns.chars, n_bytes):
            async with self._in.turns.short():
                return self.read(events)
        async with self._in.turns.long:
            return await asyncio.to_thread(self.read, events)

    def reads_quickly(self, events: Sequence[Any], chars: int, n_bytes: int | None = None) -> bool:
        """Whether reading takes some milliseconds at most.

        That is so for few events and characters, none of which needs the store or a user's own expression to mask it.
        """
        names_interaction_only = any(
            isinstance(raw, Mapping)
            and raw.get("interaction") is not None
            and raw.get("family") is None
            and raw.get("assignment") is None
            for raw in events
        )
        if len(events) > self._in.turns.events or names_interaction_only:
            return False
        if self._in.turns.has_patterns(self._in.families):
            return False
        return (n_bytes is not None and n_bytes <= chars) or is_within(events, chars)

    def read(self, events: Sequence[Any]) -> list[ReadEvent]:
        reads = []
        self._alone = len(events) == 1
        for index, raw in enumerate(events):
            try:
                reads.append(self._read(index, raw))
            except EventRejected as error:
                self._rejected.append(self.rejection(index, error))
        return self._with_families(reads) if any(not read.sent.family for read in reads) else reads

    def read_of_no_family(self, event: Mapping[str, Any]) -> list[ReadEvent]:
        """The gateway's record of a model that was asked by its own name, without its texts: no family allows storing
        them.
        """
        try:
            report = read_report(event, now=self._received_at, of_no_family=True)
        except EventRejected as error:
            self._rejected.append(self.rejection(0, error))
            return []
        report = protect(report, store="metadata", masker=Masker(()))
        unit = report.get("unit")
        arm = Arm(family=NO_FAMILY, unit_hmac=self._in.hmac_unit(unit) if unit else None)
        return [ReadEvent(position=0, report=report, sent=arm, by_token=True)]

    def _with_families(self, reads: Sequence[ReadEvent]) -> list[ReadEvent]:
        """Events that name only an interaction get its family's checks and masks, which the transaction has no time
        for.
        """
        interactions = {read.report.get("interaction") for read in reads if not read.sent.family}
        # (id, family) -> the arm of an interaction that an event of this request reports under a family of its own.
        arms: dict[str, dict[str, Arm]] = {}
        for read in reads:
            id = read.report.get("id") or read.report.get("interaction")
            if read.report.is_interaction and read.sent.family and id is not None:
                arms.setdefault(id, {}).setdefault(read.sent.family, read.sent)
        with self._in.store.read() as tx:
            for id, ones in self._in.store.events.interactions(tx, interactions).items():
                arms.setdefault(id, {}).update(
                    {
                        interaction.arm.family: interaction.arm
                        for interaction in ones
                        if self._in.access.may_see(interaction.arm.family)
                    }
                )
        protected = []
        for read in reads:
            try:
                protected.append(read if read.sent.family else self._of_interaction(read, arms))
            except EventRejected as error:
                self._rejected.append(self.rejection(read.position, error))
        return protected

    def _of_interaction(self, read: ReadEvent, arms: Mapping[str, Mapping[str, Arm]]) -> ReadEvent:
        arm = arm_of_interaction(read, arms)
        if arm is None:
            raise unknown_interaction(read)
        return read._replace(report=self._protected(read.report, arm), read_for=arm.family)

    def _read(self, index: int, raw: Any) -> ReadEvent:
        report = read_report(raw, now=self._received_at)
        if self._in.text_bytes is not None:
            check_texts(report, self._in.text_bytes)
        source = report.get("source")
        if source is not None and not self._in.access.may_send(source):
            raise EventRejected(
                "source_not_allowed",
                f"The key {self._in.actor!r} may not send events of source {source!r}, whose word counts for more than"
                f" a user's. `detent keys create NAME --role feedback --source {source}` makes a key that may.",
            )
        get: Callable[[str], Any] = report.values.get
        unit_hmac = self._in.hmac_unit(get("unit")) if get("unit") is not None else None
        older_units = self._in.older_hmacs(get("unit")) if get("unit") is not None else ()
        token = None
        if get("assignment") is not None:
            try:
                assignment = self._in.verify(get("assignment"))
            except InvalidInput as error:
                if "type" not in error.members:  # no fault of the token: this installation's own keys cannot be read
                    raise
                raise EventRejected(str(error.members["type"]), error.detail) from error
            token = assignment.family, assignment.issued_at
            is_older = assignment.unit_hmac in older_units
            arm = arm_of_token(report, assignment, assignment.unit_hmac if is_older else unit_hmac)
        else:
            arm = Arm(family=get("family") or "", variant=get("variant"), rollout=get("rollout"), unit_hmac=unit_hmac)
        if arm.family:
            known = self._in.families.get(arm.family)
            if known is not None and known.name != arm.family:  # it was renamed since
                arm = replace(arm, family=known.name)
            report = self._protected(report, arm)
        return ReadEvent(
            position=index, report=report, sent=arm, by_token=token is not None, token=token, older_units=older_units
        )

    def _protected(self, report: Report, arm: Arm) -> Report:
        """The report, checked against its family, without what may not be stored. Nothing else is hashed, stored or
        logged.
        """
        if not self._in.access.may_see(arm.family):
            own = ", ".join(self._in.access.families or ())
            raise EventRejected(
                "family_not_allowed",
                f"The key {self._in.actor!r} sends events of {own} only, and this one is of {arm.family!r}.",
            )
        family = self._family(arm.family)
        report = with_outcome(family, report)
        check_correction(family, report)
        conversation = report.get("conversation")
        # The unit is the conversation's key.
        if conversation is not None and arm.unit_hmac in (
            self._in.hmac_unit(conversation),
            *self._in.older_hmacs(conversation),
        ):
            report = report._replace(values={**report.values, "conversation": arm.unit_hmac})
        try:
            return protect(report, store=family.privacy.store, masker=self._masker(family))
        except MaskTooSlow as error:
            raise EventRejected("mask_too_slow", error.detail) from None

    def _family(self, name: str) -> Family:
        if name == NO_FAMILY:
            raise EventRejected(
                "unknown_family",
                "That interaction is of a model that was asked by its own name: it belongs to no family, and no outcome"
                " counts for it.",
            )
        family = self._in.families.get(name)
        if family is None:
            raise EventRejected(
                "unknown_family", f"There is no family {name!r} here; `detent family list` shows those that exist."
            )
        return family

    def _masker(self, family: Family) -> Masker:
        if family.name not in self._maskers:
            rules = tuple(family.privacy.rules)
            own = any(not isinstance(rule, str) for rule in rules)
            self._maskers[family.name] = Masker(rules) if own else masker_of(rules)
        return self._maskers[family.name]

    def rejection(self, index: int, error: EventRejected) -> Rejection:
        """The answer is stored with its idempotency key and may quote the event, whose family may be unknown: all masks
        apply.
        """
        if self._all_masks is None:
            self._all_masks = Masker([rule for family in self._in.families.values() for rule in family.privacy.rules])
        rejection: Rejection = {"index": index, "type": error.type, "detail": ""}
        try:
            rejection["detail"] = shorten(self._all_masks.mask(error.detail), MAX_DETAIL_CHARS)
            if error.faults and self._alone:
                rejection["errors"] = self._all_masks.mask(error.members["errors"])
        except MaskTooSlow as slow:
            rejection["detail"] = (
                f"{slow.detail} What is wrong with the event may quote such a text, so it is not said here."
            )
        return rejection

    def job(self, reads: Sequence[ReadEvent]) -> EventWriteJob:
        return EventWriteJob(self._in, reads, self._rejected, self.rejection)
