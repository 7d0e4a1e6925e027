"""A webhook's other side: a real HTTP server on a free port of this machine, which answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.stand_ins.local_server import local_server

SECRET = "T0SECRET/B0SECRET/verysecretpart"


@dataclass
class WebhookServer:
    url: str
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # of the next requests; afterwards 200
    received: list[dict[str, Any]] = field(default_factory=list)
    n_requests: int = 0

    @property
    def texts(self) -> list[str]:
        """First lines of what was taken."""
        return [str(body.get("text", body.get("content"))).splitlines()[0] for body in self.received]


@contextmanager
def webhook_server() -> Iterator[WebhookServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            here.n_requests += 1
            status, headers = here.answers.pop(0) if here.answers else (200, {})
            if self.path != f"/services/{SECRET}":
                status = 404
            if status < 300:
                here.received.append(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with local_server(Handler) as url:
        here = WebhookServer(url=f"{url}/services/{SECRET}")
        yield here
