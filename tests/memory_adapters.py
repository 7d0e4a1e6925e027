"""Events and journal in dictionaries: the contract tests hold them to the database's behaviour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from optimizer.core.base.errors import Busy, Conflict, InvalidInput, NotFound
from optimizer.core.base.values import Spend
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction, LabelSummary, LaterParts
from optimizer.core.feedback.stored_rows import ARM_COLUMNS, INTERACTION_COLUMNS, EventRow, feedback_of
from optimizer.core.models.language import ModelAnswer
from optimizer.ports import JournalEntry, Transaction

Name = tuple[str, str]


class _Event(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def arm(self) -> Arm: ...
    @property
    def content_hash(self) -> str: ...


E = TypeVar("E", bound=_Event)


class MemoryEvents:
    """ports.Events without a database: a transaction of any kind is taken and ignored."""

    def __init__(self) -> None:
        self._interactions: dict[Name, Interaction] = {}
        self._feedback: dict[Name, FeedbackEvent] = {}
        self._answers: dict[Name, tuple[str, Mapping[str, Any]]] = {}
        self._later: dict[Name, LaterParts] = {}

    def add_new(self, tx: Transaction, interactions: Sequence[EventRow], feedback: Sequence[EventRow]) -> None:
        served, told = _by_name(map(_interaction_of, interactions)), _by_name(map(feedback_of, feedback))
        if self._interactions.keys() & served.keys() or self._feedback.keys() & told.keys():
            raise Busy("An event with one of these ids is stored already. Send again.", retry_after_s=1)
        self._interactions |= served
        self._feedback |= told

    def add_texts(self, tx: Transaction, interaction: Interaction, texts: Mapping[str, Any]) -> None:
        known = self._interactions[interaction.arm.family, interaction.id]
        lacking = {name: value for name, value in texts.items() if getattr(known, name) is None}
        self._interactions[interaction.arm.family, interaction.id] = replace(known, **lacking)

    def add_later_parts(self, tx: Transaction, row: LaterParts) -> None:
        self._later[row.family, row.interaction] = row

    def later_parts(self, tx: Transaction, family: str, interactions: Collection[str]) -> dict[str, LaterParts]:
        return {id: self._later[family, id] for id in interactions if (family, id) in self._later}

    def made_of_parts(
        self, tx: Transaction, family: str, variants: Collection[str], *, since: datetime, limit: int
    ) -> list[Interaction]:
        found = [
            one
            for one in self._interactions.values()
            if one.arm.family == family
            and one.arm.variant in variants
            and one.received_at >= since
            and one.parts is not None
        ]
        return sorted(found, key=lambda one: (one.received_at, one.id), reverse=True)[:limit]

    def n_made_of_parts(self, tx: Transaction, family: str, variants: Collection[str], *, since: datetime) -> int:
        return len(self.made_of_parts(tx, family, variants, since=since, limit=len(self._interactions)))

    def corrections(self, tx: Transaction, family: str, interactions: Collection[str]) -> dict[str, Mapping[str, Any]]:
        found = (one for one in self._feedback.values() if one.arm.family == family and one.interaction in interactions)
        ordered = sorted(found, key=lambda one: (one.received_at, one.id))
        return {
            one.interaction: one.expected for one in ordered if one.interaction is not None and one.expected is not None
        }

    def known(self, tx: Transaction, names: Collection[Name]) -> dict[Name, str]:
        both: list[Mapping[Name, _Event]] = [self._feedback, self._interactions]
        return {name: events[name].content_hash for events in both for name in names if name in events}

    def interaction(self, tx: Transaction, id: str, family: str | None = None) -> Interaction | None:
        found = [one for one in self._interactions.values() if one.id == id and family in (None, one.arm.family)]
        return min(found, key=lambda one: one.received_at, default=None)

    def interactions(self, tx: Transaction, ids: Collection[str]) -> dict[str, list[Interaction]]:
        found: dict[str, list[Interaction]] = {}
        for one in self._interactions.values():
            if one.id in ids:
                found.setdefault(one.id, []).append(one)
        return found

    def feedback_of(self, tx: Transaction, family: str, interaction: str) -> list[FeedbackEvent]:
        found = (one for one in self._feedback.values() if one.arm.family == family and one.interaction == interaction)
        return sorted(found, key=lambda one: (one.received_at, one.id))

    def page_of_feedback(self, tx: Transaction, **asked: Any) -> tuple[list[FeedbackEvent], str | None]:
        return _page(self._feedback.values(), **asked)

    def page_of_interactions(self, tx: Transaction, **asked: Any) -> tuple[list[Interaction], str | None]:
        return _page(self._interactions.values(), **asked)

    def stored_answer(self, tx: Transaction, scope: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        return self._answers.get((scope, key))

    def store_answer(
        self, tx: Transaction, scope: str, key: str, body_hash: str, answer: Mapping[str, Any], at: datetime
    ) -> None:
        if (scope, key) in self._answers:
            raise Conflict(
                "A request with this Idempotency-Key is being carried out at this moment. Send it again for its"
                " answer.",
                key=key,
            )
        self._answers[scope, key] = (body_hash, dict(answer))

    def arm_summary(self, tx: Transaction, family: str, rollout: str | None) -> list[dict[str, Any]]:
        def of_arm(event: _Event) -> bool:
            return event.arm.family == family and rollout in (None, event.arm.rollout)

        interactions = [one for one in self._interactions.values() if of_arm(one)]
        feedback = [one for one in self._feedback.values() if of_arm(one)]
        events: list[_Event] = [*interactions, *feedback]
        arms = sorted({(one.arm.variant, one.arm.role) for one in events}, key=lambda arm: (arm[0] or "", arm[1] or ""))
        return [
            _summary(
                arm,
                [i for i in interactions if (i.arm.variant, i.arm.role) == arm],
                [f for f in feedback if (f.arm.variant, f.arm.role) == arm],
            )
            for arm in arms
        ]

    def cost_usd(self, tx: Transaction, family: str, since: datetime) -> float:
        own = [one for one in self._interactions.values() if one.by_gateway]
        mine = [one for one in own if one.arm.family == family and one.received_at >= since]
        later = [one for one in self._later.values() if one.family == family and one.received_at >= since]
        return sum(one.cost_usd or 0.0 for one in mine) + sum(one.cost_usd for one in later)

    def label_summary(self, tx: Transaction, family: str, since: datetime) -> list[LabelSummary]:
        labels: dict[tuple[str | None, Literal["success", "score"], Any], list[float]] = {}
        for one in self._feedback.values():
            if one.arm.family != family or one.received_at < since:
                continue
            if one.success is not None:
                labels.setdefault((one.arm.variant, "success", one.source), []).append(float(one.success))
            if one.score is not None:
                labels.setdefault((one.arm.variant, "score", one.source), []).append(one.score)
        ordered = sorted(labels, key=lambda key: (key[0] or "", key[1], key[2]))
        return [
            LabelSummary(variant=k[0], field=k[1], source=k[2], n=len(labels[k]), mean=_mean(labels[k]) or 0.0)
            for k in ordered
        ]


def _interaction_of(row: EventRow) -> Interaction:
    values = dict(zip(INTERACTION_COLUMNS, row, strict=True))
    return Interaction(arm=Arm(**{name: values.pop(name) for name in ARM_COLUMNS}), **values)


def _by_name(events: Iterable[E]) -> dict[Name, E]:
    return {(event.arm.family, event.id): event for event in events}


def _page(
    events: Iterable[E],
    *,
    family: str | None,
    variant: str | None,
    since: datetime | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[E], str | None]:
    wanted = (
        one
        for one in events
        if family in (None, one.arm.family)
        and variant in (None, one.arm.variant)
        and (since is None or one.received_at >= since)
    )
    ordered = sorted(wanted, key=lambda one: (one.received_at, one.id, one.arm.family))
    start = 0 if cursor is None else _position(cursor, ordered)
    page = ordered[start : start + limit]
    more = len(ordered) > start + limit
    return page, f"{page[-1].arm.family}/{page[-1].id}" if more else None


def _position(cursor: str, ordered: Sequence[_Event]) -> int:
    names = [f"{one.arm.family}/{one.id}" for one in ordered]
    if cursor not in names:
        raise InvalidInput("This cursor was not made by this server; take next_cursor of the page before, unchanged.")
    return names.index(cursor) + 1


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _summary(
    arm: tuple[str | None, str | None], interactions: Sequence[Interaction], feedback: Sequence[FeedbackEvent]
) -> dict[str, Any]:
    return {
        "variant": arm[0],
        "role": arm[1],
        "n_interactions": len(interactions),
        "n_errors": sum(one.error is not None for one in interactions),
        "n_labelled": sum(one.success is not None for one in feedback),
        "n_success": sum(one.success is True for one in feedback),
        "n_scored": sum(one.score is not None for one in feedback),
        "mean_score": _mean(one.score for one in feedback),
        "mean_latency_ms": _mean(one.latency_ms for one in interactions),
        "cost_usd": sum(one.cost_usd or 0.0 for one in interactions),
    }


@dataclass(slots=True)
class _Call:
    entry: JournalEntry
    cost_usd: float = 0.0


class MemoryJournal:
    """ports.Journal without a database."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def find(self, tx: Transaction, key: str, *, study: str | None, not_before: datetime) -> ModelAnswer | None:
        def usable(entry: JournalEntry) -> bool:
            own = study is not None and entry.study == study
            return own or (entry.temperature == 0.0 and entry.settled_at is not None and entry.settled_at >= not_before)

        found = [
            one
            for one in self._of(lambda e: e.key == key and e.status == "settled" and usable(e))
            if one.answer is not None
        ]
        best = min(found, key=lambda e: (study is None or e.study != study, e.settled_at, e.id), default=None)
        return None if best is None or best.answer is None else replace(best.answer, from_journal=True)

    def find_all(
        self, tx: Transaction, keys: Collection[str], *, study: str | None, not_before: datetime
    ) -> dict[str, ModelAnswer]:
        found = {key: self.find(tx, key, study=study, not_before=not_before) for key in keys}
        return {key: answer for key, answer in found.items() if answer is not None}

    def send(self, tx: Transaction, entry: JournalEntry) -> None:
        self._calls[entry.id] = _Call(entry)

    def settle(self, tx: Transaction, id: str, answer: ModelAnswer, at: datetime) -> None:
        self._end(id, answer.cost_usd, status="settled", answer=replace(answer, from_journal=False), settled_at=at)

    def fail(self, tx: Transaction, id: str, error: str, cost_usd: float, at: datetime) -> None:
        self._end(id, cost_usd, status="failed", error=error, settled_at=at)

    def mark_lost(self, tx: Transaction, study: str, at: datetime) -> int:
        in_flight = self._of(lambda e: e.study == study and e.status == "sent")
        for entry in in_flight:
            self._end(entry.id, entry.reserved_usd, status="lost", settled_at=at)
        return len(in_flight)

    def spend(self, tx: Transaction, study: str) -> Spend:
        calls = [call for call in self._calls.values() if call.entry.study == study]
        usd = sum(call.entry.reserved_usd if call.entry.status in ("sent", "lost") else call.cost_usd for call in calls)
        return Spend(usd=usd, n_calls=len(calls), n_lost=sum(call.entry.status == "lost" for call in calls))

    def answers(self, tx: Transaction, study: str) -> dict[str, ModelAnswer]:
        settled = [
            e
            for e in self.calls(tx, study)
            if e.status == "settled" and e.answer is not None and e.settled_at is not None
        ]
        newest_first = sorted(settled, key=lambda e: (e.settled_at, e.id), reverse=True)
        return {e.key: e.answer for e in newest_first if e.answer is not None}

    def latencies(self, tx: Transaction, study: str, model: str) -> list[float]:
        entries = self._of(lambda e: e.study == study and e.status == "settled" and e.model == model)
        return sorted(e.answer.latency_ms for e in entries if e.answer is not None)

    def calls(self, tx: Transaction, study: str) -> list[JournalEntry]:
        return sorted(self._of(lambda e: e.study == study), key=lambda e: (e.sent_at, e.id))

    def _of(self, wanted: Callable[[JournalEntry], bool]) -> list[JournalEntry]:
        return [call.entry for call in self._calls.values() if wanted(call.entry)]

    def _end(self, id: str, cost_usd: float, **changes: Any) -> None:
        call = self._calls.get(id)
        if call is None:
            raise NotFound(f"There is no journaled call {id!r}; a call must be journaled before it is sent.")
        self._calls[id] = _Call(replace(call.entry, **changes), cost_usd)
