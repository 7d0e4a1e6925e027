"""Requests that ask for another protocol, and nginx with the well-known block that passes them on."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clock import PROCESSES_S, until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
UPGRADES = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
}
NGINX_CONF = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  keepalive_timeout 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream detent {{ server {api}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://detent;
      proxy_http_version {version};
      proxy_set_header Host {api};
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""


def exchanged(address: str, sent: bytes) -> bytes:
    """What is answered until the server closes."""
    host, _, port = address.rpartition(":")
    came = b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(sent)
        while piece := connection.recv(65536):
            came += piece
    return came


def request(address: str, method: str, path: str, asking: str, framing: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{asking}"
    if framing == "chunks":
        half = len(body) // 2
        pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


@contextmanager
def nginx(folder: Path, api: str, version: str = "1.1") -> Iterator[str]:
    """Its address. ``version``: of HTTP, in which it asks the api; 1.0 where its configuration names none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = NGINX_CONF.format(folder=folder, api=api, port=port, version=version)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    with nginx_in(folder, port):
        yield f"127.0.0.1:{port}"


@contextmanager
def nginx_in(folder: Path, port: int) -> Iterator[None]:
    """Runs until the end by the ``nginx.conf`` of the folder, by which it listens at this port."""
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off; master_process off;"])
    try:
        until(lambda: process.poll() is not None or _listens(port), "nginx", patience_s=PROCESSES_S)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
