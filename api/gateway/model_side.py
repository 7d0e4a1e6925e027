"""The gateway's own services, beside those of every process: guarded models, calls under way, counts, money, cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

import structlog
from fastapi import Request

from api.access.answer_lengths import AnswerLengths
from api.access.limits import MinuteWindows
from api.gateway.chat_answer import ChatResult
from api.gateway.guarded_models import GuardedModels
from api.gateway.hourly_money import HourlyMoney
from api.gateway.metrics import Metrics
from api.gateway.reader import Reader
from api.gateway.response_cache import ResponseCache
from api.gateway.store_metrics import StoreMetrics
from optimizer.adapters.files.spool import Spool
from optimizer.adapters.models.language_models import Models
from optimizer.core.base.errors import Busy, InvalidInput
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity
from optimizer.core.evaluation.scoring import Judge
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.jobs.calls.shelves import StudentShelf

T = TypeVar("T")

MOST = 512  # most of them wait: each model lets only as many calls out as config/models.yaml says


class ModelCalls:
    """A bounded number of tasks that call models. Used from one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.is_closed = False  # True: no call begins any more
        self.n_held = 0

    def start(self, call: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The coming result of ``call``; raises Busy where too many wait already, and when the process ends."""
        if self.n_held >= self._most or self.is_closed:
            raise Busy(
                f"{self.n_held} model calls are in work or waiting, and more would only wait longer. Try again in a few"
                " seconds.",
                retry_after_s=5,
            )
        task = asyncio.create_task(call())
        self.n_held += 1
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, _: asyncio.Task[Any]) -> None:
        self.n_held -= 1


MAX_KNOWN = 256
FRESH_S = 30.0  # how long a calibration is used before the store is read again

log = structlog.get_logger("gateway")


class Policies:
    """Policies by variant id. One that cannot be read stops only its own variant."""

    def __init__(self) -> None:
        self._known: dict[str, Policy | None] = {}

    def of(self, id: str, variant: Variant) -> Policy | None:
        """The policy; None for a variant that one call of its model answers."""
        if not variant.policy:
            return None
        if id not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[id] = self._read(id, variant)
        return self._known[id]

    def _read(self, id: str, variant: Variant) -> Policy | None:
        try:
            policy = parse_policy(variant.policy)
        except InvalidInput as error:  # made before its knobs were checked
            log.error("policy not executed; the variant's model answers alone", variant=id, error=error.detail)
            return None
        return None if policy.is_plain else policy


class CalibrationCache:
    """Calibrations of judges that hold answers back.

    While the store is away the last one that was read holds. Before the first there is none, and the judge does not
    decide. Used in one event loop.
    """

    def __init__(self, read: Callable[[Family], Calibration | None]) -> None:
        self._read = read
        self._known: dict[tuple[str, str], tuple[float, Calibration | None]] = {}

    async def of(self, family: Family) -> Calibration | None:
        key = (family.name, judge_identity(family))
        read_at, known = self._known.get(key, (-FRESH_S, None))
        if monotonic() - read_at < FRESH_S and key in self._known:
            return known
        try:
            known = await asyncio.to_thread(self._read, family)
        except Exception as error:  # whatever is wrong with the store: an answer does not wait for it
            log.error("calibration of a judge not read; the last one holds", family=family.name, error=str(error))
        self._known[key] = (monotonic(), known)
        return known


@dataclass(kw_only=True)
class ModelSide:
    """``catalogue`` is what config/models.yaml names; ``models`` is the one way to ask them."""

    catalogue: Models
    spool: Spool  # takes records that the store does not take at once
    metrics: Metrics = field(default_factory=Metrics)
    store_metrics: StoreMetrics = field(default_factory=StoreMetrics)
    models: GuardedModels = field(init=False)
    calls: ModelCalls = field(default_factory=ModelCalls)
    money: HourlyMoney = field(default_factory=HourlyMoney)
    cache: ResponseCache = field(default_factory=ResponseCache)
    # Calls under way, and who waits for them.
    settling: dict[asyncio.Task[ChatResult], Reader] = field(default_factory=dict)
    recording: set[asyncio.Task[None]] = field(default_factory=set)
    policies: Policies = field(default_factory=Policies)
    # Opens a function of a family's file by its dotted path; None: there are none.
    judge_of: Callable[[str, Family], Judge] | None = None

    # Of families' judges; without any no judge decides here.
    calibrations: CalibrationCache = field(default_factory=lambda: CalibrationCache(lambda family: None))
    shelf: StudentShelf | None = None  # the students that answer as tiers; None: there are none

    users: Callable[[], AbstractContextManager[None]] = nullcontext  # entered around each call for a user

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    user_windows: MinuteWindows | None = None  # of chats; None: no limit
    lengths: AnswerLengths | None = None  # by which limits of money reserve; None: by the longest possible answer

    def __post_init__(self) -> None:
        self.models = GuardedModels(
            self.catalogue,
            self.metrics,
            users=self.users,
            bill=lambda family, usd: self.money.add(family, usd, self.now()),
            lengths=self.lengths,
        )


def of(request: Request) -> ModelSide:
    side: ModelSide = request.app.state.model_side
    return side
