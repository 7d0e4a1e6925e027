"""What both clients do: decide, fill in, count and report. Nothing here waits for the server, but the first decision
for the first snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from detent_client.assignment import Assignment, address_of
from detent_client.background import Background
from detent_client.choice import Choice
from detent_client.errors import DetentError, InvalidAssignment, InvalidInput, NeedsServer, Unavailable, UnknownFamily
from detent_client.events import SIGNALS, event_of, new_id
from detent_client.fallback import FallbackSource
from detent_client.prompt import Prompt
from detent_client.server_time import time_text
from detent_client.snapshot import Snapshot, server_now
from detent_client.status import Status, families_status
from detent_client.template import History, Rendering, Variables

DAY_S = 86_400.0
MAX_UNIT_CHARS = 512
OUTCOMES = ("success", "score", "label", "expected", *SIGNALS)

log = logging.getLogger("detent_client")


class Session:
    """``max_stale_s``: an older snapshot is served no more."""

    def __init__(
        self, background: Background, *, fallback: FallbackSource | None, max_stale_s: float, timeout_s: float
    ) -> None:
        self.background = background
        self.timeout_s = timeout_s
        self._fallback = fallback
        self._max_stale_s = max_stale_s
        self._n_fallbacks = 0
        self._told: set[tuple[str, str]] = set()

    def decide(self, family: str, unit: str | None, *, count: bool) -> Choice:
        choice, at = self._decided(family, unit)
        if count:
            self._count(choice, at)
        return choice

    def prompt(self, family: str, unit: str | None, variables: Variables, history: History) -> Prompt:
        choice, at = self._decided(family, unit)
        if choice.role == "fallback":
            rendering = choice.variant.template.fill_anyhow(variables, history)
        else:
            try:
                rendering = choice.variant.template.fill(variables, history)
            except InvalidInput as error:
                choice, rendering = self.filled_fallback(family, unit, variables, history, error)
        self._count(choice, at)
        return self.served(choice, rendering, unit, variables, at)

    def open_prompt(self, family: str, unit: str | None) -> tuple[Choice, Prompt]:
        """For a package that fills in by itself: counted, and without messages yet."""
        choice, at = self._decided(family, unit)
        self._count(choice, at)
        return choice, self.served(choice, Rendering([]), unit, {}, at)

    def served(
        self, choice: Choice, rendering: Rendering, unit: str | None, variables: Variables, at: float | None = None
    ) -> Prompt:
        """Of a choice that is counted already. ``at``: of its exposure, since 1970 by the server's clock; now."""
        at = at if at is not None else server_now(self.background.snapshot)
        return Prompt(
            choice,
            rendering,
            unit=unit if is_unit(unit) else None,
            variables=variables,
            at=at,
            report=self.background.report,
            drop=self._drop,
            leave=partial(self._leave_arm, choice, at),
        )

    def count(self, choice: Choice) -> None:
        """Of a choice that the server made: an exposure, now."""
        self.background.start()
        self._count(choice, server_now(self.background.snapshot))

    def feedback(
        self, of: Prompt | Assignment | str, facts: Mapping[str, Any], *, id: str | None, occurred_at: str | None
    ) -> bool:
        """False where it was dropped. Where no fallback was given: raises ValueError without an outcome, and
        InvalidAssignment.
        """
        try:
            if all({**(facts.get("tags") or {}), **facts}.get(name) is None for name in OUTCOMES):
                raise ValueError(f"Feedback has at least one of {', '.join(OUTCOMES)}.")
            address = address_of(of.assignment if isinstance(of, Prompt) else of)
        except (ValueError, TypeError, InvalidAssignment) as error:
            if self._fallback is None:
                raise
            self._drop("feedback was dropped", type(error).__name__)
            return False
        at = occurred_at if occurred_at is not None else time_text(server_now(self.background.snapshot))
        event = event_of(address, {"occurred_at": at, **facts}, id=id if id is not None else new_id("fb"))
        return self.background.report(event)

    def status(self) -> Status:
        background, now = self.background, monotonic()
        snapshot = background.snapshot
        return Status(
            client=background.client_id,
            age_s=now - snapshot.fetched_at if snapshot is not None else None,
            failure=background.failure or background.send_failure,
            families=families_status(snapshot, now),
            n_fallbacks=self._n_fallbacks,
            events_sent=background.outbox.sent,
            events_in_no_arm=background.outbox.in_no_arm,
            events_waiting=background.outbox.n_waiting,
            events_dropped=background.outbox.dropped,
            events_rejected=dict(background.outbox.rejected),
            exposures_waiting=background.exposures.n_waiting,
            exposures_dropped=background.exposures.dropped,
            exposures_taken_back=background.exposures.taken_back,
        )

    async def first_snapshot(self) -> None:
        """Waits for it without blocking the event loop: what is decided after that waits for nothing."""
        while self.background.must_wait(self.timeout_s):  # not in a thread of the loop's: it may have none that is free
            await asyncio.sleep(0.01)

    def _snapshot(self) -> Snapshot | None:
        """The last good one, unless it is too old."""
        self.background.wait_for_snapshot(self.timeout_s)
        snapshot = self.background.snapshot
        return snapshot if snapshot is not None and monotonic() - snapshot.fetched_at <= self._max_stale_s else None

    def _decided(self, family: str, unit: str | None) -> tuple[Choice, float]:
        """With the time since 1970, by the server's clock."""
        snapshot = self._snapshot()
        at = server_now(self.background.snapshot)  # also where that is too old to be served
        try:
            return _choice_from(snapshot, family, unit, at), at
        except DetentError as error:
            if (choice := self._fallback_choice(family, unit, error)) is None:
                raise
            return choice, at

    def filled_fallback(
        self, family: str, unit: str | None, variables: Variables, history: History, error: InvalidInput
    ) -> tuple[Choice, Rendering]:
        if (choice := self._fallback_choice(family, unit, error)) is None:
            raise error
        return choice, choice.variant.template.fill_anyhow(variables, history)

    def _fallback_choice(self, family: str, unit: str | None, error: DetentError) -> Choice | None:
        choice = self._fallback.choice(family, unit) if self._fallback is not None else None
        if choice is not None:
            self._n_fallbacks += 1
            why = str(error) if getattr(error, "pointers", ()) == ("/unit",) else type(error).__name__  # quotes nobody
            self._tell(f"{family}: the fallback is served", why)
            snapshot = self.background.snapshot  # without its time: by which clock would this be counted?
            choice = replace(choice, is_counted=snapshot is not None and snapshot.time is not None)
        return choice

    def _leave_arm(self, choice: Choice, at: float, reason: str) -> None:
        variant = choice.variant
        if choice.is_counted and variant.id is not None:
            self.background.exposures.take_back(variant.family, variant.id, choice.rollout, choice.stage, at)
            self._tell(f"{variant.family}: prompts count in no arm", reason)

    def _drop(self, what: str, why: str = "too late") -> None:
        self.background.outbox.dropped += 1
        self._tell(what, why)

    def _tell(self, what: str, why: str) -> None:
        """Once. ``why``: of an exception its kind, where its words may quote what a user wrote."""
        if (what, why) not in self._told:
            self._told.add((what, why))
            log.warning("%s (%s); this is told once", what, why)

    def _count(self, choice: Choice, at: float) -> None:
        variant = choice.variant
        if choice.is_counted and variant.id is not None:
            self.background.exposures.count(variant.family, variant.id, choice.rollout, choice.stage, at)


def _choice_from(snapshot: Snapshot | None, family: str, unit: str | None, at: float) -> Choice:
    if snapshot is None:
        raise Unavailable(
            "No snapshot of the server is at hand, or it is older than max_stale. Look at the server's address and key,"
            " or give the client a fallback."
        )
    if (entry := snapshot.families.get(family)) is None:
        raise UnknownFamily(f"The server serves no family {family!r}; `detent family list` shows those it has.")
    if unit is not None and not is_unit(unit):
        raise InvalidInput(f"A unit is a text of 1 to {MAX_UNIT_CHARS} characters, no blank, no U+0000.", ["/unit"])
    choice = entry.choose(unit, at if snapshot.time is not None else None, snapshot.leases)
    if choice.variant.needs_server and (choice := entry.champion).variant.needs_server:  # in no arm
        raise NeedsServer(
            f"Family {family!r} has a policy, which the server carries out: send chats to /v1/chat/completions with the"
            f" family as the model, or records of a family of kind policy to /v1/families/{family}/render."
        )
    return choice


def is_unit(unit: object) -> bool:
    return isinstance(unit, str) and 0 < len(unit) <= MAX_UNIT_CHARS and bool(unit.strip()) and "\0" not in unit
