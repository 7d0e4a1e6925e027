"""How the embedded model is best run on this machine: processes or threads, idle or busy, prefixes kept or not.

    python bench/embedded_model.py [--rounds 5] [--calls 6]

Each case asks the same questions both ways in turn. ``ours`` and ``other`` are calls per second; the interval is of
their ratio, by bootstrap over the rounds. Takes about two minutes; close other programs first.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from math import exp, log
from time import perf_counter
from typing import Any

import httpx
import psutil
from common import Cell, write_result

from optimizer.adapters.models.embedded_files import weights_file
from optimizer.adapters.models.embedded_server import N_CTX, PROMPT_CACHE_MIB

SERVER = """
import json, sys, xllamacpp
weights, threads, cache_mib, n_ctx = sys.argv[1], *map(int, sys.argv[2:])
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.verbosity = weights, n_ctx, 1, -1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
params.cache_ram_mib = cache_mib
server = xllamacpp.Server(params)
print(json.dumps(server.listening_address), flush=True)
sys.stdin.read()
"""
BUSY = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True: pass
"""
WORDS = [
    "river",
    "stone",
    "light",
    "engine",
    "market",
    "garden",
    "winter",
    "signal",
    "paper",
    "music",
    "bridge",
    "theory",
    "forest",
    "memory",
    "circle",
]


@contextmanager
def server(threads: int = 1, cache_mib: int = PROMPT_CACHE_MIB) -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(weights_file()), str(threads), str(cache_mib), str(N_CTX)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def busy_core() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE
    )  # ends with this process, however that ends
    try:
        yield
    finally:
        process.kill()
        process.wait()


def messages(prefix: int, question: int) -> list[dict[str, Any]]:
    """About 230 tokens that calls of one ``prefix`` share, and 60 of their own."""
    rng = random.Random(prefix)
    shared: list[dict[str, Any]] = [
        {"role": "system", "content": f"Task {prefix}: name the topic of the text in one word."}
    ]
    for _ in range(3):
        shared += [
            {"role": "user", "content": " ".join(rng.choices(WORDS, k=60))},
            {"role": "assistant", "content": rng.choice(WORDS)},
        ]
    return [*shared, {"role": "user", "content": " ".join(random.Random(1000 + question).choices(WORDS, k=50))}]


def rate(urls: Sequence[str], questions: Sequence[tuple[int, int]]) -> float:
    """Calls per second, one caller per address; ``questions`` are (prefix, question)."""

    def ask(url: str, mine: Sequence[tuple[int, int]]) -> None:
        with httpx.Client(timeout=600) as client:
            for prefix, question in mine:
                body = {
                    "messages": messages(prefix, question),
                    "max_tokens": 12,
                    "temperature": 0,
                    "cache_prompt": True,
                }
                client.post(f"{url}/v1/chat/completions", json=body).raise_for_status()

    started = perf_counter()
    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(ask, urls, [questions[i :: len(urls)] for i in range(len(urls))]))
    return len(questions) / (perf_counter() - started)


def compare(
    case: str, other_name: str, ours: Sequence[str], other: Sequence[str], n_prefixes: int, rounds: int, n_calls: int
) -> Cell:
    pairs = []
    for number in range(-1, rounds):  # the first round warms the prefixes and does not count
        questions = [(i % n_prefixes, 100 * (number + 2) + i) for i in range(n_calls)]
        pair = (rate(ours, questions), rate(other, questions))
        if number >= 0:
            pairs.append(pair)
    ratios = [log(a / b) for a, b in pairs]
    rng = random.Random(0)
    means = sorted(sum(rng.choices(ratios, k=len(ratios))) / len(ratios) for _ in range(2000))
    return Cell(
        case=case,
        ours=sum(a for a, _ in pairs) / rounds,
        other=sum(b for _, b in pairs) / rounds,
        other_name=other_name,
        ratio=exp(sum(ratios) / rounds),
        low=exp(means[50]),
        high=exp(means[1949]),
        unit="calls/s",
        n=rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=6, help="per round and way")
    options = parser.parse_args()
    rounds, calls = options.rounds, options.calls
    cells = []
    idle = psutil.cpu_percent(interval=2.0) < 15
    if not idle:
        print(
            "Other programs keep this machine busy, so two threads are measured in the busy case only.", file=sys.stderr
        )
    with ExitStack() as stack:
        first, second = stack.enter_context(server()), stack.enter_context(server())
        threads = stack.enter_context(server(threads=2))
        forgetful = stack.enter_context(server(cache_mib=0))
        cells.append(compare("two processes", "one process", [first, second], [first], 1, rounds, calls))
        if idle:
            cells.append(
                compare("two processes", "one process with two threads", [first, second], [threads], 1, rounds, calls)
            )
        cells.append(compare("two prefixes in turn", "prompts not kept", [first], [forgetful], 2, rounds, calls))
        with busy_core(), busy_core():
            cells.append(
                compare("one thread, both cores busy", "two threads", [first], [threads], 1, min(rounds, 2), 1)
            )
    write_result("embedded_model", cells)


if __name__ == "__main__":
    main()
