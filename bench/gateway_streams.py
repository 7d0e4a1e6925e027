"""What one chat completion costs the gateway: CPU of its process per request,
provider and client outside it, 64 at once.

    python bench/gateway_streams.py

The gateway runs as under ``detent serve``, on a home of its own in a temporary folder, before a provider on loopback
that answers at once with 20 pieces. The time includes what belongs to every request: HTTP in and out, assignment,
rendering, one model call, the record in SQLite (synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from common import ROOT, Cell, write_result

from optimizer.host.config import load_settings
from optimizer.runtime import wiring

sys.path.insert(0, str(ROOT))  # the provider and the home of the tests
from bench.speed.servers import free_port
from tests.faulty_provider import faulty_provider
from tests.gateway_world import family, make_home

AT_ONCE, N_REQUESTS, N_PIECES, N_ROUNDS = 64, 256, 20, 5


def main() -> None:
    cells = []
    with tempfile.TemporaryDirectory() as folder, faulty_provider() as behind:
        behind.pieces = ["word "] * N_PIECES
        models = {
            "remote": {
                "openai_compatible": behind.url,
                "model": "m",
                "concurrency": AT_ONCE,
                "queue": 1000,
                "retries": 0,
            }
        }
        home = Path(folder)
        settings = make_home(home, {"topic": family("topic", "remote")}, models)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETENT_")} | {
            "DETENT_HOME": folder,
            "DETENT_GATEWAY_PORT": str(free_port()),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "optimizer.processes", "gateway"]
        gateway = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            url = _address(settings.run_dir() / "gateway.json")
            process = psutil.Process(gateway.pid)
            for case, stream in (("whole", False), (f"streamed, {N_PIECES} pieces", True)):
                asyncio.run(_ask(url, stream, AT_ONCE))  # warm
                rounds = []
                for _ in range(N_ROUNDS):
                    before = process.cpu_times()
                    asyncio.run(_ask(url, stream, N_REQUESTS))
                    after = process.cpu_times()
                    rounds.append((after.user + after.system - before.user - before.system) * 1000 / N_REQUESTS)
                rounds.sort()
                cells.append(
                    Cell(
                        case=f"{case}, {AT_ONCE} at once",
                        ours=rounds[len(rounds) // 2],
                        other=None,
                        other_name="",
                        ratio=None,
                        low=rounds[0],
                        high=rounds[-1],
                        unit="ms of CPU a request (median, least and most of the rounds)",
                        n=N_REQUESTS * N_ROUNDS,
                    )
                )
        finally:
            gateway.terminate()
            gateway.wait(30)
        store = wiring.open_store(load_settings(home=home))
        with store.read() as tx:
            n = sum(arm["n_interactions"] for arm in store.events.arm_summary(tx, "topic", None))
        store.close()
        assert n == 2 * (AT_ONCE + N_ROUNDS * N_REQUESTS), f"{n} interactions are on record"
    write_result("gateway_streams", cells)


def _address(file: Path) -> str:
    while True:
        if file.exists():
            return str(json.loads(file.read_text(encoding="utf-8"))["url"])
        time.sleep(0.1)


async def _ask(url: str, stream: bool, n: int) -> None:
    body = {"model": "topic", "stream": stream, "messages": [{"role": "user", "content": "Stars?"}]}
    places = asyncio.Semaphore(AT_ONCE)
    limits = httpx.Limits(
        max_connections=AT_ONCE, keepalive_expiry=2
    )  # the server closes idle connections after 5 s, also just as one is used
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def one() -> None:
            async with places:
                answer = await client.post(f"{url}/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(*(one() for _ in range(n)))


if __name__ == "__main__":
    main()
