"""What befalls an installation, one after the other.

Each ends by itself within some fifteen seconds, and at once when ``end`` is set.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from urllib.parse import urlsplit

import httpx

from bench.siege import pipelining
from bench.siege.besieged import FAMILY, FEEDBACK_KEY, SERVE_KEY, ServiceUnderSiege
from bench.siege.worst_texts import ENTRANCES, LIMITS, body_of
from tests.worlds.upgrades import NGINX, UPGRADES, exchanged, nginx, request

SLOW_S, LOCK_S, STOPPED_S, BETWEEN_S = 12.0, 5.0, 5.0, 1.0
API_KILLED = "kill -9 of the api"
READY_S, LOOK_S = 180.0, 0.05  # the longest wait for /ready, and how often it is asked
N_SLOWLORIS, N_SLOW_BODIES, N_HUGE, N_WRONG_KEYS, N_UPGRADES = 50, 8, 3, 200, 1000
PIPELINING = ((60, "/x"), (60, "/openapi.json"), (150, "/x"))  # connections, and what they ask for without a key
FOREIGN = "upgrades: answers to another"
HALF_A_HEAD = "GET /v1/families/triage/prompt HTTP/1.1\r\nHost: {host}\r\nX-Slow: "
HALF_A_BODY = (
    "POST /v1/feedback HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {FEEDBACK_KEY}\r\nContent-Length: {LIMITS.events_bytes}\r\n\r\n["
)
LOCK = """
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
store.execute("BEGIN IMMEDIATE")
time.sleep(float(sys.argv[2]))
store.execute("ROLLBACK")
"""


@dataclass
class Faults:
    """``ready_s``: fault > seconds until everything was ready again, of each turn; ``turns``:
    fault > when it began and everything was ready again.
    """

    place: ServiceUnderSiege
    end: Event = field(default_factory=Event)
    ready_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Bodies and client are made before any wait is measured: making them holds up this process,
        in which the well-behaved clients run too.
        """
        fed = ("/feedback", "/render", "/completions")
        self._huge = cycle([body_of(case) for case, (path, _) in ENTRANCES.items() if path.endswith(fed)])
        self._client = httpx.Client(
            base_url=self.place.server.url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0)
        )

    @property
    def away(self) -> list[tuple[float, float]]:
        """When the api was killed and ready again."""
        return self.turns[API_KILLED]

    def in_turn(self, until: float) -> None:
        """Every fault at least once; then on until this moment (monotonic).

        A turn that has begun is finished, so kills come last.
        """
        while not self.end.is_set():
            for name, fault in FAULTS.items():
                self._one(name, fault)
                if self.end.wait(BETWEEN_S):
                    return
            if monotonic() >= until:
                return

    def _one(self, name: str, fault: Callable[[Faults], None]) -> None:
        began = monotonic()
        fault(self)
        over = monotonic()
        last: list[str] = []
        while (missing := self.place.missing()) and monotonic() < over + READY_S and not self.end.wait(LOOK_S):
            last = missing
        self.ready_s[name].append(monotonic() - over)
        self.turns[name].append((began, monotonic()))
        print(
            f"{name}: ready again after {self.ready_s[name][-1]:.2f} s{', last ' + ', '.join(last) if last else ''}",
            file=sys.stderr,
            flush=True,
        )

    def slowloris(self) -> None:
        self._trickle(N_SLOWLORIS, HALF_A_HEAD, "slowloris connections")

    def slow_bodies(self) -> None:
        self._trickle(N_SLOW_BODIES, HALF_A_BODY, "slow bodies")

    def _trickle(self, n: int, opening: str, what: str) -> None:
        """A byte every half second on each connection; counts those that the server closed."""
        host = urlsplit(self.place.server.url).netloc
        address, until = (host.split(":")[0], int(host.split(":")[1])), monotonic() + SLOW_S
        with ExitStack() as held:
            left = [held.enter_context(socket.create_connection(address, timeout=10)) for _ in range(n)]
            for one in left:
                one.sendall(opening.format(host=host).encode())
            while left and monotonic() < until and not self.end.wait(0.5):
                answered, _, _ = select.select(
                    left, [], [], 0
                )  # an answer or the end: either way the server is done with it
                left = [one for one in left if one not in answered]
                for one in left:
                    with suppress(OSError):
                        one.sendall(b" ")
            self.told[f"{what} opened"] += n
            self.told[f"{what} that the server closed"] += n - len(left)

    def huge_bodies(self) -> None:
        for _ in range(N_HUGE):
            path, body, media_type = next(self._huge)
            self._send("huge bodies", path, FEEDBACK_KEY, body, media_type)

    def wrong_keys(self) -> None:
        until = monotonic() + SLOW_S
        for n in range(N_WRONG_KEYS):
            if self.end.is_set() or monotonic() > until:
                return
            self._send("wrong keys", "/v1/feedback", f"wrong-{n}", b"{}", "application/json")

    def _send(self, what: str, path: str, key: str, body: bytes, media_type: str) -> None:
        head = {"authorization": f"Bearer {key}", "content-type": media_type}
        try:
            status = str(self._client.post(path, content=body, headers=head).status_code)
        except httpx.TransportError as error:
            status = type(error).__name__
        self.told[f"{what}: {status}"] += 1

    def pipeline(self, n: int, path: str) -> None:
        address = urlsplit(self.place.server.url).netloc
        _run([sys.executable, pipelining.__file__, address, path, str(n), str(SLOW_S)], SLOW_S + 40)

    def upgrades(self) -> None:
        """Through nginx, which passes them on, with requests of others between them on its kept connections."""
        path, key = f"/v1/families/{FAMILY}/prompt?unit=u", f"Authorization: Bearer {SERVE_KEY}\r\n"
        with TemporaryDirectory() as folder, nginx(Path(folder), urlsplit(self.place.server.url).netloc) as proxy:
            for n in range(N_UPGRADES):
                if self.end.is_set():
                    return
                hidden = request(proxy, "GET", path, f"{key}X-Request-ID: hidden\r\n", "length", b"")
                asking = tuple(UPGRADES.values())[n % 2] + key
                render = path.replace("prompt?unit=u", "render")
                exchanged(proxy, request(proxy, "POST", render, asking, ("length", "chunks")[n // 2 % 2], hidden))
                own = f"own-{n}"
                answer = exchanged(proxy, request(proxy, "GET", path, f"{key}X-Request-ID: {own}\r\n", "length", b""))
                is_own = b" 200 OK" in answer and f"x-request-id: {own}\r\n".encode() in answer.lower()
                self.told["upgrades: own answers" if is_own else FOREIGN] += 1

    def lock_store(self) -> None:
        _run([sys.executable, "-c", LOCK, str(self.place.home / "var" / "detent.db"), str(LOCK_S)], LOCK_S + 40)

    def stop_worker(self) -> None:
        pid = self._running("worker")
        os.kill(pid, signal.SIGSTOP)
        try:
            self.end.wait(STOPPED_S)
        finally:
            os.kill(pid, signal.SIGCONT)

    def kill(self, name: str) -> None:
        os.kill(self._running(name), signal.SIGKILL)
        self.told["kills"] += 1

    def _running(self, name: str) -> int:
        pid = self.place.pid(name)
        if pid is None:
            raise RuntimeError(f"the {name} did not come back within {READY_S:g} s; see {self.place.home}/var/logs")
        return pid


def _run(command: list[str], patience_s: float) -> None:
    """A program of its own, which has ended when this ends."""
    running = subprocess.Popen(command)
    try:
        running.wait(patience_s)
    finally:
        running.kill()
        running.wait()


FAULTS: dict[str, Callable[[Faults], None]] = {
    f"{N_SLOWLORIS} slowloris connections": Faults.slowloris,
    f"{N_SLOW_BODIES} slow bodies": Faults.slow_bodies,
    f"{N_HUGE} huge hostile bodies": Faults.huge_bodies,
    f"up to {N_WRONG_KEYS} wrong keys": Faults.wrong_keys,
    **{
        f"15.7 MB of {path} sent one behind the other over {n} connections": partial(Faults.pipeline, n=n, path=path)
        for n, path in PIPELINING
    },
    **({f"{N_UPGRADES:,} upgrades through nginx": Faults.upgrades} if NGINX else {}),
    f"the store locked for {LOCK_S:g} s": Faults.lock_store,
    f"the worker stopped for {STOPPED_S:g} s": Faults.stop_worker,
    "kill -9 of the worker": lambda faults: faults.kill("worker"),
    "kill -9 of the gateway": lambda faults: faults.kill("gateway"),
    API_KILLED: lambda faults: faults.kill("api"),
}
