"""Records interactions: in the store if it takes them at once, else in the spool, which is drained later.

Either way an interaction is on disk before its answer is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import structlog

from api.services import Services
from optimizer.adapters.files.spool import Spool, left_behind
from optimizer.core.base.errors import Busy
from optimizer.core.feedback.events import LaterParts
from optimizer.jobs.feedback import spooled_records
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest
from optimizer.jobs.feedback.keep_events import RejectedEvent
from optimizer.jobs.feedback.place_events import ReadEvent
from optimizer.jobs.feedback.spooled_records import (
    add_later_parts_once,
    interaction_record,
    later_parts_record,
    without_texts,
)
from optimizer.ports import Transaction

RECORD_WAIT_S = 0.25  # an answer waits no longer than this for the store before its interaction goes into the spool
ANSWER_BYTES = 64 * 1024  # room that is promised for what a record holds beside the input

T = TypeVar("T")

log = structlog.get_logger("gateway")


async def record_interaction(shared: Services, spool: Spool, event: Mapping[str, Any], actor: str) -> None:
    """Returns once it is on disk. Raises Busy where it can be put nowhere, or does not fit a record."""
    intake = shared.intake(actor, by_gateway=True)
    request, reads = await _read(intake, event)
    # Nested too deep, too slow to mask: its sender chose the texts, and must not choose to leave no record.
    if not reads:
        request, reads = await _read(intake, without_texts(event))
    rejected: Sequence[RejectedEvent] = request.rejected
    if reads:
        answer = await _in_store(shared, spool, request.job(reads))
        if answer is None:
            await asyncio.to_thread(_put, spool, reads[0], actor)
            return
        rejected = answer["rejected"]
        _log_rejected(event, rejected)
    if rejected:
        raise Busy("What was answered fits no record, so it is not given. The gateway's log says why.")


async def _read(intake: Intake, event: Mapping[str, Any]) -> tuple[IntakeRequest, Sequence[ReadEvent]]:
    request = IntakeRequest(intake)
    reads = await request.aread([event]) if "assignment" in event else request.read_of_no_family(event)
    _log_rejected(event, request.rejected)
    return request, reads


def _log_rejected(event: Mapping[str, Any], rejected: Sequence[RejectedEvent]) -> None:
    for one in rejected:
        log.error("interaction rejected", interaction=event["id"], type=one["type"], detail=one["detail"])


async def record_later(shared: Services, spool: Spool, row: LaterParts) -> None:
    """Records what was asked after an answer, in the same way."""

    def write(tx: Transaction) -> bool:
        add_later_parts_once(tx, shared.store, row)
        return True

    if not await _in_store(shared, spool, write):
        await asyncio.to_thread(spool.append, later_parts_record(row))


def drain(shared: Services, spool: Spool) -> None:
    """Puts what waits into the store, oldest first: of this gateway and of those that have ended.

    Raises Busy while the store takes nothing.
    """
    for one in chain([spool], left_behind(spool)):
        spooled_records.drain(one, shared.store, partial(shared.intake, by_gateway=True))


async def _in_store(shared: Services, spool: Spool, write: Callable[[Transaction], T]) -> T | None:
    """The write's result; None where the store did not take it at once. Nothing overtakes what waits in the spool."""
    if not spool.is_empty:
        return None
    try:
        async with asyncio.timeout(RECORD_WAIT_S) as waiting:
            return await shared.store.awrite(write)
    except Exception as error:
        if (
            not waiting.expired()
        ):  # after a timeout it is withdrawn, or it is under way and comes twice, which counts once
            log.warning("the store took no record, so it goes into the spool", error=str(error))
        return None


def _put(spool: Spool, read: ReadEvent, actor: str) -> None:
    record = interaction_record(read, actor)
    try:
        spool.append(record)
    except Busy as error:
        log.error(
            "no room for the texts of an interaction, so they are left out",
            interaction=read.report.get("id"),
            error=str(error),
        )
        spool.append({**record, "values": without_texts(record["values"])})
