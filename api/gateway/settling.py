"""Makes a call's answer beside the event loop, and records it exactly once, even if it failed.

A client that leaves ends the work, not its record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from time import perf_counter
from typing import Any

import structlog

from api.gateway.chat_answer import AnsweredCall, ChatResult, failure_report, json_bytes, report_of
from api.gateway.model_side import ModelSide
from api.gateway.reader import ClientGone, Reader
from api.gateway.recording import ANSWER_BYTES, record_interaction, record_later
from api.services import Services
from optimizer.core.base.errors import ModelFailed
from optimizer.core.policy.attempts import Attempt
from optimizer.core.policy.nearest import nearest_of
from optimizer.jobs.feedback.spooled_records import later_parts

log = structlog.get_logger("gateway")

FollowUp = Callable[[], Awaitable[Sequence[Attempt]]]


async def begin(
    shared: Services,
    side: ModelSide,
    call: AnsweredCall,
    reader: Reader,
    start: Callable[[], asyncio.Future[ChatResult]],
) -> asyncio.Task[ChatResult]:
    """Starts the making of an answer, unless it is known. The task settles the call: it ends when that is on record.

    Raises:
        Busy: there is too much to do already, or no room for a record; nothing was begun.
    """
    started = perf_counter()
    if call.injection:
        log.warning("an input speaks to the model", interaction=call.id, family=call.family, signs=list(call.injection))
    for sign in call.injection:
        side.metrics.inputs_flagged.labels(family=call.family, sign=sign).inc()
    with ExitStack() as stack:
        # Before any wait, so that the next call counts it.
        stack.enter_context(side.money.under_way(call.family, call.may_cost_usd))
        n_bytes = ANSWER_BYTES + 2 * len(json_bytes(call.input))
        if side.spool.promise_at_once(n_bytes):
            stack.callback(side.spool.give_back, n_bytes)
        else:
            await asyncio.to_thread(stack.enter_context, side.spool.promise(n_bytes))
        cached = side.cache.find(call, call.definition.cache) if call.definition is not None else None
        if cached is None:
            coming = start()
        else:
            side.metrics.cached_answers.labels(family=call.family, model=cached.models[-1]).inc()
            coming = asyncio.get_running_loop().create_future()
            coming.set_result(cached)
        room = stack.pop_all()
    task = asyncio.create_task(_settle(shared, side, call, reader, coming, started))
    task.add_done_callback(lambda _: room.close())
    side.settling[task] = reader
    task.add_done_callback(lambda done: _settled(side, done))
    return task


def _settled(side: ModelSide, task: asyncio.Task[ChatResult]) -> None:
    del side.settling[task]
    if not task.cancelled():
        task.exception()  # told to the client, where there still is one


async def _settle(
    shared: Services,
    side: ModelSide,
    call: AnsweredCall,
    reader: Reader,
    coming: asyncio.Future[ChatResult],
    started: float,
) -> ChatResult:
    def first_ms() -> float | None:
        return None if reader.first_at is None else (reader.first_at - started) * 1000

    try:
        answered = await coming
    except ModelFailed as error:
        # Answered like every refusal of a busy server: nothing is kept.
        if error.kind not in ("busy", "limit") or getattr(error, "record", None):
            latency_ms = (perf_counter() - started) * 1000
            report = failure_report(
                f"{error.kind}: {error.detail}",
                model=_last_asked(call, reader, error),
                output=reader.text,
                latency_ms=latency_ms,
                time_to_first_token_ms=first_ms(),
            )
            await _record_failure(shared, side, call, report, error)
        raise
    except ClientGone as error:
        if reader.asked is not None:  # how long the answer would have taken is not known, so no latency is reported
            report = failure_report(
                f"{reader.why} after {len(reader.text)} characters of the answer",
                model=reader.asked,
                output=reader.text,
                time_to_first_token_ms=first_ms(),
            )
            await _record_failure(shared, side, call, report, error)
        raise
    except Exception as error:
        log.error("a call failed inside the gateway", interaction=call.id, exc_info=error)
        report = failure_report(
            f"internal: {type(error).__name__}; the gateway's log holds the rest",
            model=reader.asked or call.request.model,
            output=reader.text,
        )
        await _record_failure(shared, side, call, report, error)
        raise
    latency_ms = (perf_counter() - started) * 1000
    await _record(shared, side, call, report_of(answered, latency_ms=latency_ms, time_to_first_token_ms=first_ms()))
    if call.definition is not None:
        side.cache.keep(call, answered, call.definition.cache)
    _start_follow_up(shared, side, call, answered.follow_up)
    return answered


def _last_asked(call: AnsweredCall, reader: Reader, error: ModelFailed) -> str:
    """By its name in config/models.yaml. Where none was asked, the one that was left alone: it is at fault, too."""
    models = error.members.get("models_asked") or [error.members.get("model")]
    return models[-1] or reader.asked or call.request.model


def _start_follow_up(shared: Services, side: ModelSide, call: AnsweredCall, follow_up: FollowUp | None) -> None:
    if follow_up is not None:
        task = asyncio.create_task(_follow(shared, side, call, follow_up))
        side.recording.add(task)
        task.add_done_callback(side.recording.discard)


async def _follow(shared: Services, side: ModelSide, call: AnsweredCall, follow_up: FollowUp) -> None:
    """What a policy asks behind its answer, on record beside the interaction."""
    family = call.definition
    try:
        with side.money.under_way(call.family, call.may_cost_usd):
            attempts = await follow_up()
        if family is not None:
            row = later_parts(family, call.id, attempts, shared.clock)
            if row is not None:
                await record_later(shared, side.spool, row)
    except Exception as error:
        log.error("later parts not recorded", interaction=call.id, error=str(error), exc_info=error)


async def _record(shared: Services, side: ModelSide, call: AnsweredCall, report: Mapping[str, Any]) -> None:
    """Puts the interaction on disk.

    Raises Busy where that cannot be done: an answer that is on no record is not given.
    """
    # It may reach the store much later.
    began = shared.clock.now() - timedelta(milliseconds=report.get("latency_ms") or 0)
    event = {"id": call.id, "occurred_at": began, **report}
    if call.served is not None:
        event |= {"assignment": call.token, "input": dict(call.input)}
    elif call.unit is not None:
        event["unit"] = call.unit
    if call.injection:
        event["tags"] = {**event.get("tags", {}), "injection": ",".join(call.injection)}
    if nearest_of(call.variant.policy) is not None and not call.shown.is_nearest:
        event["tags"] = {**event.get("tags", {}), "render": call.shown.kind}
    if call.truncated:
        event["tags"] = {**event.get("tags", {}), "truncated": ",".join(call.truncated)}
    try:
        await record_interaction(shared, side.spool, event, call.actor)
    except Exception as error:
        log.error("interaction not recorded", interaction=call.id, error=str(error), exc_info=error)
        raise


async def _record_failure(
    shared: Services, side: ModelSide, call: AnsweredCall, report: Mapping[str, Any], error: Exception
) -> None:
    """Records a failure with what a policy had asked and paid before, and what it still asks.

    The client hears of the failure itself, whatever becomes of its record.
    """
    with suppress(Exception):  # logged
        await _record(shared, side, call, {**report, **getattr(error, "record", {})})
    _start_follow_up(shared, side, call, getattr(error, "follow_up", None))
