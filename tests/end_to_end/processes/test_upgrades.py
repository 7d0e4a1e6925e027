"""Requests that ask for another protocol, on every listener of ``detent serve`` (here in this process) and through
nginx's well-known block for WebSockets: each is answered like any other, and nobody gets an answer that is another's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import create_app
from api.feedback import create_feedback
from api.gateway.app import create_gateway
from optimizer.host.config import load_settings
from optimizer.host.run_files import announce
from tests.stand_ins.faulty_provider import faulty_provider
from tests.stand_ins.running_server import make_home
from tests.worlds.gateway_world import serving
from tests.worlds.upgrades import NGINX, UPGRADES, exchanged, nginx, request

FAMILY = "support_topics"
EVENT = {"family": FAMILY, "unit": "u", "output": "billing"}
CHAT = {"model": FAMILY, "user": "u", "messages": [{"role": "user", "content": "Invoice?"}]}
ROUTES = {
    "prompt": ("api", "GET", f"/v1/families/{FAMILY}/prompt?unit=u", None),
    "snapshot": ("api", "GET", "/v1/snapshot", None),
    "render": ("api", "POST", f"/v1/families/{FAMILY}/render", {"unit": "u", "variables": {"message": "Invoice?"}}),
    "feedback": ("api", "POST", "/v1/feedback", EVENT),
    "interactions": ("api", "POST", "/v1/interactions", EVENT),
    "chat": ("api", "POST", "/v1/chat/completions", CHAT),
    "chat at the gateway": ("gateway", "POST", "/v1/chat/completions", CHAT),
    "feedback at its process": ("feedback", "POST", "/v1/feedback", [EVENT]),
    "interactions at its process": ("feedback", "POST", "/v1/interactions", [EVENT]),
}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Host and port of each listener."""
    with faulty_provider() as provider, ExitStack() as listeners:
        provider.pieces = ["billing"]
        settings = load_settings(home=make_home(tmp_path_factory.mktemp("upgrades") / "home", provider.url))
        made = {}
        for name, create in (("feedback", create_feedback), ("gateway", create_gateway), ("api", create_app)):
            url = listeners.enter_context(serving(create(settings), settings, behind_the_api=name != "api"))
            announce(settings, name, url)
            made[name] = urlsplit(url).netloc
        yield made


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("token", UPGRADES)
@pytest.mark.parametrize("route", ROUTES)
def test_it_is_answered_as_if_it_had_not_asked(addresses: dict[str, str], route: str, token: str, framing: str) -> None:
    process, method, path, value = ROUTES[route]
    address = addresses[process]
    body = json.dumps(value).encode() if value is not None else b"{}"
    behind = f"GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    came = exchanged(address, request(address, method, path, UPGRADES[token], framing, body) + behind)
    assert came.count(b"HTTP/1.1 ") == 1, came
    assert came.startswith(b"HTTP/1.1 200"), came
    assert b"\r\nconnection: close\r\n" in came


needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed on this machine")


@needs_nginx
@pytest.mark.parametrize("token", UPGRADES)
def test_behind_a_proxy_that_speaks_http_1_0_it_is_answered_as_well(
    addresses: dict[str, str], tmp_path: Path, token: str
) -> None:
    def status(asking: str, method: str, path: str, body: bytes) -> bytes:
        came = exchanged(proxy, request(proxy, method, path, asking, "length", body))
        assert came.count(b"HTTP/1.1 ") == 1, came
        return came.split()[1]

    hidden = request("a", "GET", "/health", "", "length", b"")
    with nginx(tmp_path, addresses["api"], version="1.0") as proxy:
        assert status(UPGRADES[token], "GET", "/health", b"") == b"200"
        for _, method, path, _ in ROUTES.values():  # where there are no keys, what a proxy sends is refused
            assert status(UPGRADES[token], method, path, hidden) == status("", method, path, hidden) == b"403"


@needs_nginx
def test_behind_a_proxy_that_passes_upgrades_on_nobody_gets_the_answer_to_another(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    n_tries, ended = 200, threading.Event()
    with nginx(tmp_path, addresses["api"]) as proxy, ThreadPoolExecutor(6) as clients:

        def victim(name: int) -> list[str]:
            """Ids of the answers that were not to its own request."""
            foreign = []
            with httpx.Client(base_url=f"http://{proxy}", trust_env=False, timeout=60) as client:
                for n in range(100_000):
                    if ended.is_set():
                        break
                    own = f"victim-{name}-{n}"
                    answer = client.get(f"/v1/families/{FAMILY}/prompt?unit=u{n}", headers={"X-Request-ID": own})
                    if answer.headers.get("x-request-id") != own:
                        foreign.append(answer.headers.get("x-request-id", ""))
            return foreign

        def attacker(n: int) -> bytes:
            hidden = request(proxy, "POST", "/v1/chat/completions", "X-Request-ID: hidden\r\n", "length", b"{}")
            token = UPGRADES[("h2c", "websocket")[n % 2]] + "X-Request-ID: attacker\r\n"
            path = (f"/v1/families/{FAMILY}/render", "/v1/feedback", "/v1/chat/completions")[n % 3]
            return exchanged(proxy, request(proxy, "POST", path, token, ("length", "chunks")[n % 2], hidden))

        victims = [clients.submit(victim, name) for name in range(3)]
        try:
            answers = list(clients.map(attacker, range(n_tries)))
        finally:
            ended.set()
        assert [one.result() for one in victims] == [[], [], []]
    assert all(answer.count(b"HTTP/1.1 ") == 1 and b"x-request-id: attacker" in answer for answer in answers)
