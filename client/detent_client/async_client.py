"""The client of an application that runs on asyncio. It decides on the event loop, which takes microseconds; its thread
is the one that asks the server, so that a busy loop lets no lease run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any

from detent_client.background import EXIT_S
from detent_client.choice import Choice
from detent_client.client import BaseClient
from detent_client.prompt import Prompt
from detent_client.template import History, Variables


class PromptRequest:
    """``await`` it, or ``async with`` it as with ``Prompt``."""

    def __init__(self, ask: Callable[[], Awaitable[Prompt]]) -> None:
        self._ask = ask
        self._prompt: Prompt | None = None

    def __await__(self) -> Generator[Any, None, Prompt]:
        return self._ask().__await__()

    async def __aenter__(self) -> Prompt:
        self._prompt = await self._ask()
        return self._prompt.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._prompt is not None
        self._prompt.__exit__(kind, error, trace)


class AsyncClient(BaseClient):
    """As ``Client``. ``feedback`` and ``status`` need no ``await``: they never wait."""

    async def decide(self, family: str, unit: str | None = None, *, count: bool = True) -> Choice:
        await self._session.first_snapshot()
        return self._session.decide(family, unit, count=count)

    def prompt(
        self,
        family: str,
        /,
        *,
        unit: str | None = None,
        history: History = (),
        variables: Variables | None = None,
        **more: Any,
    ) -> PromptRequest:
        """``async with client.prompt(...) as p`` or ``p = await client.prompt(...)``."""

        async def ask() -> Prompt:
            await self._session.first_snapshot()
            return self._session.prompt(family, unit, {**(variables or {}), **more}, history)

        return PromptRequest(ask)

    async def flush(self, timeout: float = 5.0) -> bool:
        return await asyncio.to_thread(self._session.background.flush, timeout)

    async def aclose(self, timeout: float = EXIT_S) -> None:
        await asyncio.to_thread(self._session.background.close, timeout)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
