"""Records in the spool: what the gateway could not store at once, as JSON and back, and into the store at last.

Records are read, masked and checked before: a text that a family does not store is not in the spool either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import structlog

from optimizer.core.base.errors import Busy
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.feedback.events import Arm, LaterParts
from optimizer.core.feedback.reported import FIELDS, Report, protect_parts
from optimizer.core.policy.attempts import Attempt, part_of, total_cost_usd
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest
from optimizer.jobs.feedback.keep_events import RejectedEvent
from optimizer.jobs.feedback.place_events import ReadEvent
from optimizer.ports import Clock, Store, Transaction

log = structlog.get_logger(__name__)

_TEXTS = ("input", "output", "tags", "conversation")


def interaction_record(read: ReadEvent, actor: str) -> dict[str, Any]:
    """An interaction whose arm its token says, and who asked for it."""
    values = {name: _plain(value) for name, value in read.report.values.items() if name not in ("assignment", "unit")}
    arm = {name: _plain(value) for name, value in asdict(read.sent).items()}
    token = None if read.token is None else [read.token[0], _plain(read.token[1])]
    return {"actor": actor, "values": values, "arm": arm, "token": token}


def without_texts(interaction: Mapping[str, Any]) -> dict[str, Any]:
    """What is reported of an interaction but its texts: who answered, how, how quickly and for how much remains."""
    values = {name: value for name, value in interaction.items() if name not in _TEXTS}
    parts = (
        {"parts": [{n: v for n, v in part.items() if n != "output"} for part in values["parts"]]}
        if "parts" in values
        else {}
    )
    return {**values, **parts, "output": "", "tags": {"shortened": True}}


def later_parts_record(row: LaterParts) -> dict[str, Any]:
    return {"row": {name: _plain(value) for name, value in asdict(row).items()}}


class WaitingRecords(Protocol):
    """A spool that this process holds."""

    @property
    def aside(self) -> Path: ...
    def waiting(self) -> tuple[Sequence[Mapping[str, Any]], int]: ...
    def drained(self, place: int) -> None: ...
    def set_aside(self, record: Mapping[str, Any]) -> None: ...


def drain(spool: WaitingRecords, store: Store, intake_of: Callable[[str], Intake]) -> None:
    """Puts what waits into the store, oldest first. A record that cannot be kept is set aside, and said in the log.

    Raises Busy while the store takes nothing.
    """

    def keep(records: Sequence[Mapping[str, Any]]) -> None:
        write = partial(keep_records, records=records, store=store, intake_of=intake_of)
        for rejected in store.write(write, rows=len(records)):
            log.error("interaction rejected", type=rejected["type"], detail=rejected["detail"])

    while (waiting := spool.waiting())[0]:
        records, place = waiting
        try:
            keep(records)
        except Busy:
            raise
        except Exception:  # one of them cannot be kept: the others must not wait for it
            for record in records:
                try:
                    keep([record])
                except Busy:
                    raise
                except Exception as error:
                    spool.set_aside(record)
                    log.error(
                        "a record of the spool cannot be kept and was set aside",
                        file=str(spool.aside),
                        error=str(error),
                        exc_info=error,
                    )
        spool.drained(place)
        log.info("interactions of the spool are in the store", n=len(records))


def keep_records(
    tx: Transaction, records: Sequence[Mapping[str, Any]], store: Store, intake_of: Callable[[str], Intake]
) -> Sequence[RejectedEvent]:
    """Puts them into the store; one that is there already changes nothing.

    ``intake_of``: actor -> how to store its interactions.
    """
    rejected: list[RejectedEvent] = []
    for actor, some in groupby(records, lambda record: record.get("actor")):
        if actor is None:
            for one in some:
                row = one["row"]
                later_parts = LaterParts(**{**row, "received_at": datetime.fromisoformat(row["received_at"])})
                add_later_parts_once(tx, store, later_parts)
        else:
            write = IntakeRequest(intake_of(actor)).job([_read(index, one) for index, one in enumerate(some)])
            rejected += write(tx)["rejected"]
    return rejected


def add_later_parts_once(tx: Transaction, store: Store, row: LaterParts) -> None:
    if not store.events.later_parts(tx, row.family, {row.interaction}):
        store.events.add_later_parts(tx, row)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _read(index: int, record: Mapping[str, Any]) -> ReadEvent:
    values = {name: FIELDS[name].kind.check(value) for name, value in record["values"].items() if name in FIELDS}
    cohort_start = record["arm"]["cohort_start"]
    arm = {**record["arm"], "cohort_start": None if cohort_start is None else datetime.fromisoformat(cohort_start)}
    token = record.get("token")  # a model that was asked by its own name has none
    return ReadEvent(
        position=index,
        report=Report(values=values, is_interaction=True, is_feedback=False),
        sent=Arm(**arm),
        by_token=True,
        token=None if token is None else (token[0], datetime.fromisoformat(token[1])),
    )


def later_parts(family: Family, interaction: str, attempts: Sequence[Attempt], clock: Clock) -> LaterParts | None:
    """The row beside the interaction, its texts under the family's privacy; None where there are no attempts."""
    if not attempts:
        return None
    privacy = family.privacy
    parts = [part_of(attempt) for attempt in attempts]
    try:
        parts = protect_parts(parts, store=privacy.store, masker=Masker(privacy.rules))
    except MaskTooSlow:  # what cannot be masked is not kept; that it was asked is
        parts = protect_parts(parts, store="metadata", masker=Masker(()))
    return LaterParts(
        family=family.name,
        interaction=interaction,
        parts=parts,
        cost_usd=total_cost_usd(attempts),
        received_at=clock.now(),
    )
