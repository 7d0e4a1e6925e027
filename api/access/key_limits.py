"""Limits of single keys, which hold across processes: the store counts what a key uses before it is let through.

Only while the store cannot be written are requests let through uncounted, up to each process's share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from api.access.answer_lengths import AnswerLengths
from api.access.auth import Caller
from api.access.callers import CallerCounts
from api.access.limits import share_of
from optimizer.core.base.errors import Busy, ModelFailed, TooMany
from optimizer.core.base.minute_sums import DAY, floor, seconds_left
from optimizer.core.models.budget import charge_after_failure, output_limit, reservation_usd
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.serving.access import KeyLimits
from optimizer.ports import Clock, Limited, Store, Transaction

log = structlog.get_logger("api")


@dataclass(slots=True)
class _Allotment:
    """What this process has taken of a key's minute and not used yet."""

    window: datetime
    n_left: int = 0
    used_up: bool = False  # nothing is left of the minute, here or elsewhere
    n_alone: int = 0  # taken without the store, which could not be written
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class RequestLimits:
    """Requests a minute per key. A process takes some of the rest at a time, so that few requests wait for the store.

    While the store cannot be written, each process holds its share of the limit for itself, of at least one: prompts go
    on being served.
    """

    def __init__(self, store: Store, clock: Clock, workers: int = 1, callers: CallerCounts | None = None) -> None:
        """``workers``: how many processes count the same requests. ``callers``: where those without a key count."""
        self._store, self._clock, self._workers = store, clock, workers
        self._callers = callers or CallerCounts()
        self._allotments: dict[str, _Allotment] = {}

    async def count(self, caller: Caller) -> None:
        """Counts one request; raises TooMany where the key has none left in this minute."""
        most = caller.access.limits.requests_per_minute
        if most is None:
            if caller.agent is not None:
                self._callers.count("keyless", caller.agent)
            return
        now = self._clock.now()
        window, allotment = floor(now, 1), self._allotments.get(caller.actor)
        if allotment is None or allotment.window != window:
            allotment = self._allotments[caller.actor] = _Allotment(window=window)
        if allotment.n_left == 0 and not allotment.used_up:
            async with allotment.turn:
                if allotment.n_left == 0 and not allotment.used_up:
                    allotment.n_left = await self._some(caller.actor, allotment, most)
                    allotment.used_up = allotment.n_left == 0
        if allotment.n_left == 0:
            wait_s = seconds_left(now, 1)
            raise TooMany(
                f"Key {caller.actor!r} has used the {most:,} requests a minute that it may send. Wait {wait_s} s; the"
                " limit was set when the key was made.",
                limit=most,
                retry_after_s=wait_s,
            )
        allotment.n_left -= 1

    async def _some(self, key: str, allotment: _Allotment, most: int) -> int:
        window = allotment.window
        try:
            return await self._store.awrite(
                lambda tx: self._store.key_usage.take_some(tx, key, "requests_per_minute", window, most)
            )
        except Exception as error:
            if allotment.n_alone == 0:
                log.warning("limits of a key cannot be shared", key=key, error=str(error))
            if allotment.n_alone >= share_of(most, self._workers):
                return 0
            allotment.n_alone += 1
            return 1


@dataclass(slots=True)
class KeyCall:
    """One call on the wire that counts for a key; whoever makes it says here what became of it."""

    is_sent: bool = False
    n_bytes: int = 0  # of the pieces that had come when it failed
    answer: ModelAnswer | None = None


class KeySpending:
    """Model calls and dollars a day of one key, counted before each call and settled after it."""

    def __init__(
        self, key: str, limits: KeyLimits, store: Store, clock: Clock, lengths: AnswerLengths | None = None
    ) -> None:
        """Args: lengths: by which calls are reserved; None: by the longest possible answer."""
        self._key, self._limits, self._store, self._clock, self._lengths = key, limits, store, clock, lengths

    @classmethod
    def of(cls, caller: Caller, store: Store, clock: Clock, lengths: AnswerLengths | None = None) -> KeySpending | None:
        """None for a key without such limits, whose calls then need no count."""
        limits = caller.access.limits
        if limits.calls_per_day is None and limits.usd_per_day is None:
            return None
        return cls(caller.actor, limits, store, clock, lengths)

    @asynccontextmanager
    async def call(
        self, request: ModelRequest, price: ModelPrice | None, most_tokens: int | None
    ) -> AsyncIterator[KeyCall]:
        """Around one call on the wire, and the wait for its turn.

        A client that leaves after the call was sent leaves the highest price counted, and a process that dies what was
        reserved. One that leaves before has used nothing.

        Raises:
            ModelFailed: kind ``limit``; the model was not asked.
        """
        now = self._clock.now()
        day = floor(now, DAY)
        reserved, most = await self._reserve(request, price, most_tokens, now, day)
        call = KeyCall()
        try:
            yield call
        except (Exception, asyncio.CancelledError) as error:
            # no ModelFailed: its client left, or the gateway ends
            is_sent = error.members.get("sent") is not False if isinstance(error, ModelFailed) else call.is_sent
            cost = charge_after_failure(error, most, was_sent=is_sent, n_bytes=call.n_bytes, of_service=True)
            await self._settle(day, reserved, cost, called=is_sent)
            raise
        await self._settle(day, reserved, most if call.answer is None else call.answer.cost_usd, called=True)

    async def _reserve(
        self, request: ModelRequest, price: ModelPrice | None, most_tokens: int | None, now: datetime, day: datetime
    ) -> tuple[float, float]:
        """Dollars that are reserved, and the most that the call may cost."""
        limits = self._limits
        usd = most = 0.0
        if limits.usd_per_day is not None:
            tokens = output_limit(request.params, most_tokens)
            if price is None or (price.output_usd_per_mtok > 0 and not tokens):
                raise self._refused(
                    f"Model {request.model!r} has no price or no limit of its answer, so the ${limits.usd_per_day:g} a"
                    f" day of key {self._key!r} could not be held. Give it both in config/models.yaml, or limit the"
                    " key's calls instead.",
                    now,
                )
            expected = tokens if self._lengths is None else self._lengths.expected(request.model, tokens)
            usd, most = (reservation_usd(request, price, length) for length in (expected, tokens))

        def take(tx: Transaction) -> Limited | None:
            usage = self._store.key_usage
            if limits.calls_per_day is not None and not usage.take(
                tx, self._key, "calls_per_day", day, 1, limits.calls_per_day
            ):
                return "calls_per_day"
            if limits.usd_per_day is not None and not usage.take(
                tx, self._key, "usd_per_day", day, usd, limits.usd_per_day
            ):
                if limits.calls_per_day is not None:
                    usage.give_back(tx, self._key, "calls_per_day", day, 1)
                return "usd_per_day"
            return None

        try:
            limit_reached = await self._store.awrite(take)
        except Busy as error:  # what cannot be counted is not spent
            raise ModelFailed.unsent(error) from error
        if limit_reached == "calls_per_day":
            raise self._refused(
                f"Key {self._key!r} has used the {limits.calls_per_day:,} model calls that it may make in a day (UTC).",
                now,
            )
        if limit_reached == "usd_per_day":
            raise self._refused(
                f"Key {self._key!r} may spend ${limits.usd_per_day:g} a day (UTC), and the next call could cost"
                f" ${usd:.6f} and pass that.",
                now,
            )
        return usd, most

    async def _settle(self, day: datetime, reserved: float, cost: float, *, called: bool) -> None:
        def give_back(tx: Transaction) -> None:
            usage = self._store.key_usage
            if self._limits.usd_per_day is not None:
                usage.give_back(tx, self._key, "usd_per_day", day, reserved - cost)
            if self._limits.calls_per_day is not None and not called:
                usage.give_back(tx, self._key, "calls_per_day", day, 1)

        if (self._limits.usd_per_day is None or reserved == cost) and called:
            return
        try:
            await self._store.awrite(give_back)
        except Exception as error:  # the call is made; what stays reserved keeps the limit on the safe side
            log.warning(
                "a call of a key was not settled", key=self._key, reserved_usd=reserved, cost_usd=cost, error=str(error)
            )

    def _refused(self, detail: str, now: datetime) -> ModelFailed:
        wait_s = seconds_left(now, DAY)
        return ModelFailed(
            f"{detail} No model was asked.", kind="limit", sent=False, key=self._key, retry_after_s=wait_s
        )
