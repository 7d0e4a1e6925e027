"""How the processes run uvicorn: whose address counts, and when a connection has had its time."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.hot.chat import _limits_of
from api.http import exchange
from api.http.door import Door
from api.http.server import configuration
from optimizer.host.config import ServerLimits, load_settings


def client_seen(folder: Path, proxies: list[str], forwarded_for: str) -> str:
    """The client's address as the application sees it when 127.0.0.1 sends this header."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    config = configuration(app, load_settings(home=folder, api={"trusted_proxies": proxies}))
    config.load()
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", forwarded_for.encode())]}
    asyncio.run(config.loaded_app(scope, None, None))  # type: ignore[arg-type, func-returns-value]
    return str(seen[0])


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "expected"),
    [
        pytest.param([], "192.0.2.1", "127.0.0.1", id="no proxy is trusted"),
        pytest.param(["10.0.0.1"], "192.0.2.1", "127.0.0.1", id="another one is"),
        pytest.param(["127.0.0.1"], "192.0.2.1", "192.0.2.1", id="this one is"),
        pytest.param(["127.0.0.0/8"], "127.0.0.1, 192.0.2.1", "192.0.2.1", id="a client that writes the header itself"),
        pytest.param(["127.0.0.1", "10.0.0.1"], "192.0.2.1, 10.0.0.1", "192.0.2.1", id="two in a row"),
    ],
)
def test_a_forwarded_address_is_believed_of_a_trusted_proxy_alone(tmp_path, proxies, forwarded_for, expected):
    assert client_seen(tmp_path, proxies, forwarded_for) == expected


def test_a_proxy_has_as_many_connections_as_all_together_and_others_their_own_number() -> None:
    door = Door(ServerLimits(connections=5), per_address=2, is_proxy=lambda address: address == "proxy")
    connections = [Mock() for _ in range(7)]
    addresses = ("a", "a", "a", "proxy", "proxy", "proxy")
    assert [door.enter(one, address) is None for one, address in zip(connections, addresses, strict=False)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    door.leave(connections[0])
    door.leave(connections[1])
    assert door.enter(connections[6], "b") is None


def test_an_ipv6_host_which_has_many_addresses_has_no_more_connections_and_chats_than_others() -> None:
    door = Door(ServerLimits(), per_address=2, is_proxy=lambda address: False)
    addresses = [f"2001:db8:1:2::{number}" for number in range(3)]
    connections = [Mock() for _ in range(5)]
    assert [door.enter(*one) is None for one in zip(connections, addresses, strict=False)] == [True, True, False]
    assert door.enter(connections[3], "2001:db8:1:3::1") is None
    door.leave(connections[0])
    door.leave(connections[1])
    assert door.enter(connections[4], addresses[0]) is None

    services: Any = SimpleNamespace(chat_windows=None, address_windows=Mock())
    requests: list[Any] = [
        SimpleNamespace(scope={"client": (address, 1), "state": {"caller": SimpleNamespace(agent=None)}})
        for address in addresses
    ]
    assert len({sender for request in requests for _, sender in _limits_of(request, services)}) == 1


def test_an_exchange_has_the_names_by_which_uvicorn_knows_a_request() -> None:
    read = set(re.findall(r"\bcycle\.(\w+)", inspect.getsource(HttpToolsProtocol))) - {"run_asgi"}  # never called here
    assert read == set(re.findall(r"``([a-z_]+)``", exchange.__doc__ or ""))
    assert read <= vars(exchange.Exchange({}, Mock(), (), False, True)).keys()
    theirs = {*vars(FlowControl), *vars(FlowControl(Mock()))}
    assert {name for name in vars(exchange.Flow) if not name.startswith("_")} <= theirs
