"""Model calls under way: so many at once, those that wait among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from optimizer.core.base.errors import Busy

T = TypeVar("T")

MOST = 512  # most of them wait: each model lets only as many calls out as config/models.yaml says


class ModelCalls:
    """A bounded number of tasks that call models. Used from one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._is_closed = False
        self.n_held = 0

    def start(self, call: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The coming result of ``call``; raises Busy where too many wait already, and when the process ends."""
        if self.n_held >= self._most or self._is_closed:
            raise Busy(
                f"{self.n_held} model calls are in work or waiting, and more would only wait longer. Try again in a few"
                " seconds.",
                retry_after_s=5,
            )
        task = asyncio.create_task(call())
        self.n_held += 1
        task.add_done_callback(self._let_go)
        return task

    def close(self) -> None:
        """None begins any more."""
        self._is_closed = True

    def _let_go(self, _: asyncio.Task[Any]) -> None:
        self.n_held -= 1
