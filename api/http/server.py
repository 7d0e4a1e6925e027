"""Configures uvicorn for every HTTP process of this package."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import uvicorn

from api.http.connections import TimedProtocol
from api.http.door import Door
from api.http.in_flight import share_text
from optimizer.host.config import Settings


class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if (state := getattr(self.config.app, "state", None)) is not None:
            state.is_ending = True  # a stream that would go on for hours ends by itself
        await super().shutdown(sockets)


def configuration(app: Any, settings: Settings, *, behind_the_api: bool = False, **more: Any) -> uvicorn.Config:
    """How uvicorn runs this application.

    Args:
        behind_the_api: all connections come from one address, that of the api, which counts those of its clients.
    """
    workers = 1 if behind_the_api else settings.api.workers
    limits, proxies = settings.limits.share(workers), settings.api.trusted_proxies
    per_address = None if behind_the_api else limits.connections_per_address
    return uvicorn.Config(
        app,
        http=partial(
            TimedProtocol,
            Door(limits, per_address=per_address, is_proxy=settings.api.trusts, share_text=share_text(workers)),
        ),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies)
        and not behind_the_api,  # otherwise the sender could write any address into a header
        forwarded_allow_ips=[str(network) for network in proxies],
        timeout_graceful_shutdown=3,
        lifespan="on",
        **more,
    )
