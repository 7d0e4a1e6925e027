"""What passing a request on to the gateway takes of the event loop on which prompts are answered."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from api.http import forwarding
from api.http.forwarding import Gateway


def test_the_client_is_made_once_and_beside_the_event_loop(tmp_path: Path, monkeypatch) -> None:
    makers: list[threading.Thread] = []
    made = forwarding._made_client
    monkeypatch.setattr(forwarding, "_made_client", lambda: makers.append(threading.current_thread()) or made())

    async def first_requests_at_once() -> None:
        gateway = Gateway(tmp_path / "gateway.json")
        first, *others = await asyncio.gather(*(gateway._http() for _ in range(5)))
        assert all(other is first for other in others)
        await gateway.close()

    asyncio.run(first_requests_at_once())
    assert len(makers) == 1
    assert makers[0] is not threading.main_thread()
