"""What it costs an application to decide in process which prompt a user gets, and to fill it in.

    python bench/client.py [--rounds 9] [--peers PYTHON]

The claim: a decision takes under 5 microseconds, with the prompt filled in under 20; 1,000 threads may share one
client; and it adds no request to a user's path. Data: the prompt of one family during a rollout, from an api process
as `detent serve` starts it, for 20,000 units in turn. Peers, in the same run: Langfuse's client from its cache, which
draws no version for a user, and OpenFeature's provider of OFREP, which asks this very server each time. Each client is
a process of its own; one calls while the others wait, and the one that begins changes from round to round. Requests are
counted by a relay between client and server. PYTHON is an interpreter that has the peers' packages; the lock of this
project has not both. A few minutes. Together with bench/serving.py this makes docs/reference/speed.md."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import ROOT, Cell, beside, options_of, write_result
from bench.speed.client import cell_of
from bench.speed.installation import FAMILY, KEY, Installation, installation

PROGRAM = ROOT / "bench" / "speed" / "prompt_clients.py"
PACKAGES = {"langfuse": "langfuse", "openfeature": "openfeature-provider-ofrep"}
CALLS = {"detent": 20_000, "langfuse": 20_000, "openfeature": 300}  # of one round
THREADS = 1000
COUNTED_S = 5.0
REQUEST = re.compile(rb"(?:GET|POST) (/\S*?)(?:\?\S*)? HTTP/1\.1\r\n")


def main() -> None:
    options = options_of(__doc__, rounds=9, peers=(sys.executable, "has langfuse and the OFREP provider"))
    check_packages(options.peers)
    write_result("client", cells(options.rounds, options.peers))


def check_packages(peers: str) -> None:
    """Ends with the command that is missing."""
    modules = {"langfuse": "langfuse", "openfeature": "openfeature.contrib.provider.ofrep"}
    missing = [
        PACKAGES[name]
        for name, module in modules.items()
        if subprocess.run([peers, "-c", f"import {module}"], capture_output=True, timeout=120).returncode
    ]
    if missing:
        raise SystemExit(
            f"{peers} lacks what is to be measured beside the client. Make an environment and name its interpreter:\n"
            f"    python3 -m venv peers && peers/bin/python -m pip install {' '.join(missing)}\n"
            "    python bench/client.py --peers peers/bin/python"
        )


def cells(rounds: int, peers: str) -> list[Cell]:
    with installation() as place, ExitStack() as running:
        prompt = fetched(place)
        stand_in = running.enter_context(langfuse_server(prompt["messages"]))
        addresses = {"detent": place.url, "langfuse": stand_in, "openfeature": place.url}
        sides = {
            name: running.enter_context(process(name, sys.executable if name == "detent" else peers, url))
            for name, url in addresses.items()
        }
        assert sides["langfuse"].messages == sides["openfeature"].messages, "the peers do not give the same prompt"
        measured = in_turns(sides, rounds)
        threads = [sides["detent"].measure("prompt", CALLS["detent"], THREADS) for _ in range(rounds)]
        counted = requests_of(place)
    alone = [run["mean_us"] for run in measured["detent", "prompt"]]
    return [
        *(cell for call in ("decision", "prompt") for cell in cells_of(call, measured, sides)),
        cell_of(
            f"a prompt in process, {THREADS:,} threads with one client",
            [run["mean_us"] for run in threads],
            alone,
            "one thread",
            "us",
        ),
        *counted,
    ]


def cells_of(
    call: str, measured: Mapping[tuple[str, str], Sequence[Mapping[str, float]]], sides: Mapping[str, Side]
) -> Iterator[Cell]:
    what = "a decision in process" if call == "decision" else "a prompt in process, decided and filled in"
    for peer in PACKAGES:
        for figure, of in (("p50_us", ""), ("p99_us", "p99 of ")):
            ours, other = ([run[figure] for run in measured[side, call]] for side in ("detent", peer))
            yield cell_of(f"{of}{what}, beside {peer}", ours, other, sides[peer].name, "us")


@dataclass(frozen=True, slots=True)
class Side:
    """A client in a process of its own. ``messages``: those of the first unit, filled in."""

    name: str
    messages: list[Mapping[str, Any]]
    child: subprocess.Popen[str]

    def measure(self, call: str, n: int, threads: int = 1) -> Mapping[str, float]:
        """Microseconds of n calls."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps({"call": call, "n": n, "threads": threads}) + "\n")
        self.child.stdin.flush()
        figures: Mapping[str, float] = answer_of(self.child)
        return figures


@contextmanager
def process(client: str, python: str, url: str) -> Iterator[Side]:
    order = {"client": client, "url": url, "key": KEY, "family": FAMILY}
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client") if client == "detent" else ""}
    with subprocess.Popen(
        [python, str(PROGRAM), json.dumps(order)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield Side(child=child, **answer_of(child))
        finally:
            child.terminate()


def answer_of(child: subprocess.Popen[str]) -> Any:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("A client ended before it answered, so nothing was measured; it said above why.")
    return json.loads(line)


def in_turns(sides: Mapping[str, Side], rounds: int) -> dict[tuple[str, str], list[Mapping[str, float]]]:
    """By side and call, the figures of each round. The side that begins changes from round to round."""
    measured: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for call in ("decision", "prompt"):
        for name, side in sides.items():
            side.measure(call, max(CALLS[name] // 10, 50))
        for number in range(rounds):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                figures = sides[name].measure(call, CALLS[name])
                measured.setdefault((name, call), []).append(figures)
                print(f"{call} {name}: {figures['p50_us']:.2f} us, p99 {figures['p99_us']:.2f} us", file=sys.stderr)
    return measured


def fetched(place: Installation) -> Mapping[str, Any]:
    request = urllib.request.Request(f"{place.url}/v1/families/{FAMILY}/prompt?unit=u0", headers=place.headers)
    with urllib.request.urlopen(request) as answer:
        prompt: Mapping[str, Any] = json.loads(answer.read())
    assert prompt["rollout"] is not None, "no rollout is under way, so this would measure something else"
    return prompt


def requests_of(place: Installation) -> list[Cell]:
    """Of a client for so long while it gives prompts as fast as it can, beside one that is asked for one only."""
    rates, n_prompts = [], 0
    for is_busy in (True, False):
        with relay(place.url) as (url, counts), process("detent", sys.executable, url) as side:
            counts.clear()
            until = time.monotonic() + COUNTED_S
            while (left := until - time.monotonic()) > 0:
                if is_busy:
                    side.measure("prompt", 1000)
                    n_prompts += 1000
                else:
                    time.sleep(left)
            rates.append(sum(counts.values()) / COUNTED_S)
            print(f"{'busy' if is_busy else 'idle'}: {dict(counts)}", file=sys.stderr)
    busy, idle = rates
    return [
        beside(
            "requests to the server while prompts are given as fast as can be",
            busy,
            idle,
            "while none is asked for",
            f"a second; at {n_prompts / COUNTED_S:,.0f} prompts a second beside none",
            1,
        )
    ]


@contextmanager
def relay(url: str) -> Iterator[tuple[str, Counter[str]]]:
    """Passes bytes on to a server, and counts the requests among them by path."""
    host, port = url.removeprefix("http://").split(":")
    counts: Counter[str] = Counter()
    listening = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket, counting: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if counting:
                    counts.update(path.decode() for path in REQUEST.findall(piece))
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection((host, int(port)))
                for source, target, counting in ((near, far, True), (far, near, False)):
                    threading.Thread(target=copy, args=(source, target, counting), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", counts
    finally:
        listening.close()


@contextmanager
def langfuse_server(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Answers as Langfuse documents `GET /api/public/v2/prompts/{name}`, always with one prompt."""
    shown = {"type": "chat", "name": FAMILY, "version": 1, "prompt": list(messages), "config": {}, "tags": []}
    body = json.dumps({**shown, "labels": ["production"]}).encode()

    class Prompts(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Prompts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
