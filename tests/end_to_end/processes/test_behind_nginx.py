"""The nginx block of docs/how-to/put-a-proxy-in-front.md, run as it stands there,
with ports and certificate of the test.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from optimizer.host.run_files import announce
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import add_key, family, make_home, remote, running, serving
from tests.worlds.upgrades import NGINX, nginx_in

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(
    NGINX is None or OPENSSL is None, reason="nginx and openssl are not installed on this machine"
)

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "put-a-proxy-in-front.md"
NAME = "detent.example.com"
KEY = {"Authorization": "Bearer a-secret"}


@dataclass
class Front:
    """A running proxy; ``clients`` are the addresses that the API took its requests to come from."""

    tls: int
    plain: int
    trust: ssl.SSLContext
    provider: FaultyProvider
    clients: list[str] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trust, **options)
        return httpx.Client(
            transport=transport, base_url=f"https://127.0.0.1:{self.tls}", headers={"Host": NAME}, timeout=60
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, extensions={"sni_hostname": NAME}, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certificate(folder: Path) -> None:
    assert OPENSSL is not None
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", "privkey.pem", "-out", "fullchain.pem"]
    made = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)


def configuration(folder: Path, api: str, tls: int, plain: int) -> str:
    block = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    text = block[1].replace("127.0.0.1:8321", api.removeprefix("http://")).replace("/etc/ssl/detent", str(folder))
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{tls} ssl").replace(
        "listen 80;", f"listen 127.0.0.1:{plain};"
    )
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log"
        f" off;\n{paths}{text}}}\n"
    )


@contextmanager
def nginx(folder: Path, api: str) -> Iterator[tuple[int, int]]:
    tls, plain = free_port(), free_port()
    certificate(folder)
    (folder / "nginx.conf").write_text(configuration(folder, api, tls, plain), encoding="utf-8")
    with nginx_in(folder, tls):
        yield tls, plain


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    clients: list[str] = []
    with faulty_provider() as behind, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETENT_API__TRUSTED_PROXIES", '["127.0.0.1"]')
        families, models = {"topic": family("topic", "remote")}, {"remote": remote(behind.url)}
        settings = make_home(tmp_path_factory.mktemp("home"), families, models)
        add_key(settings, "a-secret", "admin")
        app = create_app(settings)

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                clients.append(scope["client"][0])
            await app(scope, receive, send)

        with running(settings) as gateway:
            announce(settings, "gateway", gateway)
            folder = tmp_path_factory.mktemp("nginx")
            with serving(noting, settings) as api, nginx(folder, api) as (tls, plain):
                trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
                yield Front(tls=tls, plain=plain, trust=trust, provider=behind, clients=clients)


def test_a_stream_comes_through_piece_by_piece(front: Front) -> None:
    front.provider.hold = threading.Event()  # the second piece is written once the first has come through
    body = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True}
    seen = ""
    with (
        front.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json=body, headers=KEY, extensions={"sni_hostname": NAME}
        ) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: "))["choices"]
                seen += (choices[0]["delta"].get("content") or "") if choices else ""
                if seen:
                    front.provider.hold.set()
    assert seen == "".join(PIECES)


def test_without_a_key_nothing_is_answered_and_with_one_the_answer_is_untouched(front: Front) -> None:
    refused = front.ask("GET", "/v1/families")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    answered = front.ask("GET", "/v1/families/topic/prompt", headers={**KEY, "X-Request-ID": "mine-1"})
    assert (answered.status_code, answered.headers["x-request-id"]) == (200, "mine-1")
    assert {"etag", "x-detent-assignment", "cache-control"} <= set(answered.headers)
    again = front.ask("GET", "/v1/families/topic/prompt", headers={**KEY, "If-None-Match": answered.headers["etag"]})
    assert again.status_code == 304


def test_the_client_is_who_connects_to_the_proxy_whatever_it_says_itself(front: Front) -> None:
    front.clients.clear()
    with front.client(local_address="127.0.0.2") as client:
        headers = {**KEY, "X-Forwarded-For": "203.0.113.9, 127.0.0.1"}
        assert client.get("/v1/families", headers=headers, extensions={"sni_hostname": NAME}).status_code == 200
    assert front.clients == ["127.0.0.2"]


def test_a_body_that_is_too_large_does_not_reach_the_server_and_the_largest_that_fits_does(front: Front) -> None:
    front.clients.clear()
    headers = {**KEY, "Content-Type": "application/json"}
    assert front.ask("POST", "/v1/feedback", headers=headers, content=b" " * (8 * 1024**2 + 1)).status_code == 413
    assert front.clients == []
    answer = front.ask("POST", "/v1/feedback", headers=headers, content=b" " * (8 * 1024**2 - 2) + b"[]")
    assert answer.headers["content-type"] == "application/problem+json", "no event: in Detent's own words"
    assert len(front.clients) == 1


def test_another_name_than_its_own_is_not_passed_on(front: Front) -> None:
    front.clients.clear()
    with pytest.raises(httpx.ConnectError, match=r"(?i)unrecognized name|handshake"), front.client() as client:
        client.get(
            "/v1/families", headers={**KEY, "Host": "other.example"}, extensions={"sni_hostname": "other.example"}
        )
    assert front.ask("GET", "/v1/families", headers={**KEY, "Host": "other.example"}).status_code == 421
    assert front.clients == []


def test_plain_http_leads_to_tls_and_passes_nothing_on(front: Front) -> None:
    answer = httpx.get(f"http://127.0.0.1:{front.plain}/v1/families?limit=1", headers={**KEY, "Host": NAME})
    assert (answer.status_code, answer.headers["location"]) == (301, f"https://{NAME}/v1/families?limit=1")
