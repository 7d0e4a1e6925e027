"""What the gateway has beside the services that every process has: models behind their guards, threads, counts, money, cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import Request

from api.chat_answer import Answered
from api.guarded_models import GuardedModels
from api.hourly_money import HourlyMoney
from api.metrics import Metrics
from api.model_threads import ModelThreads
from api.policies import Policies
from api.reader import Reader
from api.response_cache import ResponseCache
from optimizer.core.family import Family
from optimizer.core.scoring import Judge

if TYPE_CHECKING:
    from optimizer.adapters.language_models import Models
    from optimizer.adapters.spool import Spool


@dataclass(kw_only=True)
class ModelSide:
    """``catalogue`` is what config/models.yaml names; ``models`` is the one way to ask them."""

    catalogue: Models
    spool: Spool  # for records that the store does not take at once
    metrics: Metrics = field(default_factory=Metrics)
    models: GuardedModels = field(init=False)
    threads: ModelThreads = field(default_factory=ModelThreads)
    money: HourlyMoney = field(default_factory=HourlyMoney)
    cache: ResponseCache = field(default_factory=ResponseCache)
    settling: dict[asyncio.Task[Answered], Reader] = field(default_factory=dict)  # calls under way, and who waits for them
    recording: set[asyncio.Task[None]] = field(default_factory=set)
    policies: Policies = field(default_factory=Policies)
    judge_of: Callable[[str, Family], Judge] | None = (
        None  # a function that a family's file names, by its dotted path; None: there are none
    )

    users: Callable[[], AbstractContextManager[None]] = nullcontext  # entered around each call for a user

    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self.models = GuardedModels(
            self.catalogue, self.metrics, users=self.users, bill=lambda family, usd: self.money.add(family, usd, self.now())
        )


def of(request: Request) -> ModelSide:
    side: ModelSide = request.app.state.model_side
    return side
