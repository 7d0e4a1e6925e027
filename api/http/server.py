"""Configures uvicorn for every HTTP process of this package."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any

import uvicorn

from api.http.connections import TimedProtocol
from api.http.door import Door
from api.http.in_flight import share_text
from optimizer.host.config import Settings

LOOK_EVERY_TICKS = 5  # of a tenth of a second
UNSENT_BYTES = 64 * 1024  # of an answer that the system buffers before the client reads; its default is megabytes


class Server(uvicorn.Server):
    """Ends connections whose other side has had its time, and writes no further ahead of a client than it reads."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in getattr(self, "servers", ()):
            for listener in server.sockets:
                # Connections that this socket accepts inherit the bound, where the system knows it (Linux, macOS)
                fileno = listener.fileno()
                option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
                if option is not None:
                    with socket.socket(fileno=os.dup(fileno)) as listening:
                        listening.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if (state := getattr(self.config.app, "state", None)) is not None:
            state.is_ending = True  # a stream that would go on for hours ends by itself
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if counter % LOOK_EVERY_TICKS == 0:
            for connection in list(self.server_state.connections):
                assert isinstance(connection, TimedProtocol)
                connection.end_if_late(connection.loop.time())
        return await super().on_tick(counter)


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
