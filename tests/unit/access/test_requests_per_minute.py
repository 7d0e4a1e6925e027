"""Requests a minute of a key while the store, which counts them for all processes, cannot be written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.access.auth import Caller
from api.access.key_limits import RequestLimits
from optimizer.core.base.errors import Busy, TooMany
from optimizer.core.serving.access import access_of
from tests.clock import Clock
from tests.stores import NOW


class FullDisk:
    async def awrite(self, take: Any) -> Any:
        raise Busy("The disk is full.")


@pytest.mark.parametrize(
    ("most", "workers", "n_passed"),
    [
        pytest.param(8, 1, 8, id="one process"),
        pytest.param(8, 4, 2, id="a share"),
        pytest.param(3, 4, 1, id="fewer than processes"),
    ],
)
def test_while_the_store_cannot_be_written_each_process_passes_its_share_and_at_least_one(most, workers, n_passed):
    access = access_of(["serve"], now=NOW, limits={"requests_per_minute": most})
    caller = Caller(actor="app", access=access, quota="key:app")
    store: Any = FullDisk()
    limits = RequestLimits(store, Clock(NOW), workers)

    async def passes() -> bool:
        try:
            await limits.count(caller)
        except TooMany:
            return False
        return True

    async def asked() -> list[bool]:
        return [await passes() for _ in range(n_passed + 2)]

    assert asyncio.run(asked()) == [True] * n_passed + [False] * 2
