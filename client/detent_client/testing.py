"""A client for an application's own tests: no server, no thread; what it was told is in lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from detent_client.async_client import AsyncClient
from detent_client.background import Background
from detent_client.choice import Choice
from detent_client.client import BaseClient, Client
from detent_client.connection import Connection, RequestFailed
from detent_client.fallback import FallbackSource, Prompt, own_choice
from detent_client.session import Session


class StillBackground(Background):
    """Starts nothing and sends nothing."""

    def __init__(self) -> None:
        super().__init__(_no_server, refresh_s=1.0, max_events=1_000_000)

    def start(self) -> None:
        pass

    def flush(self, timeout_s: float) -> bool:
        return True


class GivenPrompts(FallbackSource):
    """Prompts by family, and those of single units."""

    def __init__(self, families: Mapping[str, Prompt], units: Mapping[tuple[str, str], Prompt]) -> None:
        super().__init__(families)
        self._units = {(family, unit): own_choice(family, prompt) for (family, unit), prompt in units.items()}

    def choice(self, family: str, unit: str | None) -> Choice | None:
        return (self._units.get((family, unit)) if unit is not None else None) or super().choice(family, unit)


class ReportedEvents(BaseClient):
    """What an application has reported to a fake, each event as the server would get it."""

    def __init__(
        self, families: Mapping[str, Prompt], *, units: Mapping[tuple[str, str], Prompt] | None = None
    ) -> None:
        """``families``: a text or messages each, with open variables; ``units``: another prompt by family and unit."""
        self._session = Session(
            StillBackground(), fallback=GivenPrompts(families, units or {}), max_stale_s=0.0, timeout_s=0.0
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self._session.background.outbox.waiting()]

    @property
    def interactions(self) -> list[dict[str, Any]]:
        return [event for event in self.events if "latency_ms" in event or "output" in event or "error" in event]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("interaction") is not None]


class FakeClient(ReportedEvents, Client):
    """In the place of ``Client``."""


class FakeAsyncClient(ReportedEvents, AsyncClient):
    """In the place of ``AsyncClient``."""


def _no_server() -> Connection:
    raise RequestFailed("a fake has no server")
