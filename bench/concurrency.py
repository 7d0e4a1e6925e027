"""Calls of a remote model by coroutines and by threads: how many a second, what each costs this machine,
and how soon a cancelled batch ends.

    python bench/concurrency.py [--calls 1500] [--rounds 5]

A server on loopback, in a process of its own, answers each call after 100 ms. The evaluator asks it through the journal
with its budget, as a study does; each case runs in a fresh process, in turns, so that memory and processor time are its
own. Threads are the other way to wait: the same requests by httpx's blocking client, each call in a thread of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
from common import Cell, ratio_interval, write_result

LATENCY_S = 0.1
AT_ONCE = (16, 64, 256)
FAMILY: dict[str, Any] = {
    "name": "topics",
    "inputs": {"document": {"type": "text", "max_chars": 600}},
    "output": {"field": "topic", "parser": "label", "labels": ["biology", "physics", "music"]},
    "prompt": {
        "current": "1",
        "versions": {"1": {"content": [{"role": "user", "content": "Document: {{document}}\nTopic:"}]}},
    },
    "model": {"default": "remote", "tiers": ["remote"], "max_tokens": 8},
    "scorer": {"label_match": 1.0},
}
TEXT = "a document of some length about what people study, sing and measure. " * 7
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "usage": {"prompt_tokens": 200, "completion_tokens": 2},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "music"}}],
}


async def serve() -> None:
    """Prints its port; then, whenever a line comes in, when the last call came (monotonic seconds)
    and how many came.
    """
    payload = json.dumps(ANSWER).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n".encode()
    came = {"n": 0, "at": 0.0}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in header.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                came["n"], came["at"] = came["n"] + 1, time.monotonic()
                await asyncio.sleep(LATENCY_S)
                writer.write(head + payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(came), flush=True)


def one(way: str, at_once: int, n_calls: int, url: str, cancel_after_s: float | None) -> dict[str, Any]:
    """One case in this process."""
    from optimizer.adapters.clock import SystemClock
    from optimizer.adapters.models.model_settings import ModelSettings
    from optimizer.adapters.models.openai_compatible import OpenAICompatible
    from optimizer.adapters.models.openai_wire import body_of, read_answer
    from optimizer.adapters.store import Database
    from optimizer.core.base.errors import StudyStopped
    from optimizer.core.base.values import Budget
    from optimizer.core.dataset.examples import make_example
    from optimizer.core.declaration.read import parse_family
    from optimizer.core.evaluation.scoring import Scorer
    from optimizer.core.family.metrics import METRICS
    from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
    from optimizer.core.search.study import Study
    from optimizer.jobs.calls.call_book import Account
    from optimizer.jobs.calls.call_model import JournaledModel
    from optimizer.jobs.studies.context import StopFlag
    from optimizer.jobs.studies.evaluation import Evaluator

    class Threaded:
        """The same model, each of its calls in a thread."""

        def __init__(self, model: OpenAICompatible) -> None:
            self._http = httpx.Client(limits=httpx.Limits(max_connections=at_once))
            self._threads = ThreadPoolExecutor(at_once)
            self.name, self.revision, self.price, self.retries = model.name, model.revision, model.price, model.retries
            self.concurrency, self.max_output_tokens = model.concurrency, model.max_output_tokens

        async def complete(self, request: ModelRequest) -> ModelAnswer:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, request)

        def _ask(self, request: ModelRequest) -> ModelAnswer:
            started = time.perf_counter()
            values = self._http.post(
                f"{url}/chat/completions", json=body_of(request, "m", self.max_output_tokens), timeout=30.0
            ).json()
            latency_ms = (time.perf_counter() - started) * 1000
            return read_answer(values, model=self.name, request=request, price=self.price, latency_ms=latency_ms)

    family = parse_family(FAMILY)
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    examples = [
        make_example(
            family="topics",
            input={"document": f"Number {i}: {TEXT}"},
            expected={"topic": "music"},
            origin="curated",
            created_at=begun,
        )
        for i in range(n_calls + at_once)
    ]
    with tempfile.TemporaryDirectory(prefix="detent-concurrency-") as folder:
        store, clock = Database(f"sqlite:///{folder}/detent.db"), SystemClock()
        store.migrate()
        study = Study(
            id="st_measured",
            family="topics",
            strategy="bootstrap",
            aim="quality",
            status="running",
            seed=0,
            budget=Budget(usd=1e6),
            definition={},
            champion="v",
            created_at=begun,
            created_by="bench",
        )
        store.write(lambda tx: store.studies.add(tx, study))
        settings = ModelSettings(
            openai_compatible=url, model="m", timeout_s=30.0, retries=0, concurrency=at_once, max_output_tokens=16
        )
        price = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)
        remote = OpenAICompatible("remote", settings, api_key=None, price=price)
        calls = JournaledModel(
            remote if way == "coroutines" else Threaded(remote),
            Account(study=study.id, family="topics", purpose="search", budget=study.budget),
            store=store,
            clock=clock,
            stop=StopFlag(store, clock, study.id),
        )
        scorer = Scorer(family.output, family.metrics, list(METRICS.built_in.values()))
        evaluator = Evaluator(family, scorer, lambda name: calls)
        evaluator.evaluate(family.variant(), examples[:at_once])  # connections, threads and plans are made
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cancelled: list[float] = []

        def cancel() -> None:
            time.sleep(cancel_after_s or 0.0)
            store.write(lambda tx: store.studies.update(tx, study.id, stop_requested=True))
            cancelled.append(time.monotonic())

        if cancel_after_s is not None:
            threading.Thread(target=cancel, daemon=True).start()
        wall, processor, n = time.perf_counter(), time.process_time(), 0
        try:
            n = len(evaluator.evaluate(family.variant(), examples[at_once:]))
        except StudyStopped:
            n = evaluator.n_fresh - at_once
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        latencies = sorted(call.answer.latency_ms for call in _settled(store, study.id))[at_once:]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.close()
        remote.close()
    return {
        "n": n,
        "calls_per_s": n / wall,
        "cpu_ms": 1000 * processor / max(n, 1),
        "memory_mib": grown / 1024,
        "grown_mib": (grown - memory) / 1024,
        "latency_p95_ms": latencies[int(0.95 * len(latencies))],
        "cancelled_at": cancelled[0] if cancelled else None,
    }


def _settled(store: Any, study: str) -> list[Any]:
    with store.read() as tx:
        return [call for call in store.journal.calls(tx, study) if call.answer is not None]


class Server:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def came(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def run(server: Server, way: str, at_once: int, n_calls: int, cancel_after_s: float | None = None) -> dict[str, Any]:
    words = [sys.executable, __file__, "--one", way, str(at_once), str(n_calls), server.url]
    words += [] if cancel_after_s is None else [str(cancel_after_s)]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def measure(n_calls: int, rounds: int) -> list[Cell]:
    server, cells = Server(), []
    try:
        for at_once in AT_ONCE:
            both: dict[str, list[dict[str, Any]]] = {"coroutines": [], "threads": []}
            for i in range(rounds):
                for way in ("coroutines", "threads") if i % 2 == 0 else ("threads", "coroutines"):
                    both[way].append(run(server, way, at_once, max(n_calls, at_once * 6)))
            cells += [_cell(f"{at_once} at once: {text}", name, unit, both) for name, text, unit in FIGURES]
        ends: dict[str, list[dict[str, Any]]] = {"coroutines": [], "threads": []}
        for _ in range(rounds):
            for way, ended in ends.items():
                told = run(server, way, 64, 4000, cancel_after_s=1.0)
                ended.append({"late_s": server.came()["at"] - told["cancelled_at"]})
        cells.append(_late(ends))
    finally:
        server.close()
    return cells


FIGURES = (
    ("calls_per_s", "calls a second", "1/s; bounds of the ratio"),
    ("cpu_ms", "processor time of ours a call", "ms; bounds of the ratio"),
    ("memory_mib", "most memory of the process", "MiB; bounds of the ratio"),
    ("latency_p95_ms", "p95 latency as measured (the server takes 100)", "ms; bounds of the ratio"),
)


def _late(ends: dict[str, list[dict[str, Any]]]) -> Cell:
    ours, other = ([one["late_s"] for one in ends[way]] for way in ("coroutines", "threads"))
    return Cell(
        case="64 at once, cancelled: so long after it the last call came",
        ours=max(ours),
        other=max(other),
        other_name="threads",
        ratio=None,
        low=min(ours),
        high=max(ours),
        unit="s, the longest of the rounds; bounds: the shortest and longest of ours",
        n=len(ours),
    )


def _cell(case: str, name: str, unit: str, both: dict[str, list[dict[str, Any]]]) -> Cell:
    ours, other = ([found[name] for found in both[way]] for way in ("coroutines", "threads"))
    low, high = ratio_interval(ours, other)
    return Cell(
        case=case,
        ours=sum(ours) / len(ours),
        other=sum(other) / len(other),
        other_name="threads",
        ratio=sum(ours) / sum(other),
        low=low,
        high=high,
        unit=unit,
        n=sum(found["n"] for found in both["coroutines"]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
    elif given.one:
        way, at_once, n_calls, url, *cancel = given.one
        print(json.dumps(one(way, int(at_once), int(n_calls), url, float(cancel[0]) if cancel else None)))
    else:
        write_result("concurrency", measure(given.calls, given.rounds))


if __name__ == "__main__":
    main()
