"""Load over HTTP by a client that is never slower than the server: wrk, or, where that is not on PATH,
raw sockets on asyncio in a process of its own. Sides are asked in turns, and a cell has the median of the rounds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.common import Cell, beside, ratio_interval

CONNECTIONS, WARM_S = 16, 1.0
OWN = Path(__file__).with_name("raw_client.py")
SCRIPT = """
local requests, n = {}, 0
init = function(args)
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
    if body == "" then body = nil end
    requests[#requests + 1] = wrk.format(method, path, nil, body)
  end
end
request = function()
  n = n % #requests + 1
  return requests[n]
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"n": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "failed": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a client found: requests answered, in how many seconds, and how long half and 99 % of them waited."""

    n: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int  # connections lost and answers other than 2xx

    @property
    def per_s(self) -> float:
        return self.n / self.seconds


class ClientFailed(RuntimeError):
    """The client ended with an error, or some request was not answered as it should be: nothing was measured."""


class TooFewSent(ClientFailed):
    """The machine had no room for the load that was wanted."""


def name() -> str:
    return "wrk" if shutil.which("wrk") else "raw sockets on asyncio (wrk is not on PATH)"


def ask(
    url: str, requests: Sequence[str], *, connections: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Load:
    """Sends the requests in turn, one at a time on each connection, for so long.

    Args:
        requests: each ``METHOD /path`` or ``METHOD /path BODY``, without a line break.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests"
        file.write_text("\n".join(requests) + "\n", encoding="utf-8")
        header_lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        if shutil.which("wrk"):
            script = Path(folder) / "script.lua"
            script.write_text(SCRIPT, encoding="utf-8")
            marked = [word for header in header_lines for word in ("-H", header)]
            command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", *marked]
            command += ["-s", str(script), url, "--", str(file)]
        else:
            command = [
                sys.executable,
                str(OWN),
                url,
                str(file),
                str(connections),
                str(seconds),
                json.dumps(header_lines),
            ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0 or "{" not in done.stdout:
        raise ClientFailed(f"The client failed: {done.stderr or done.stdout}")
    load = Load(**json.loads(done.stdout.strip().splitlines()[-1]))
    if load.failed or not load.n:
        raise ClientFailed(f"{load.failed} of {load.n} requests failed, so nothing was measured.")
    return load


def in_turns(
    sides: Mapping[str, Mapping[str, str]],
    requests: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    connections: int = CONNECTIONS,
) -> dict[str, list[Load]]:
    """Loads by address, one of each round. The side that begins changes from round to round."""
    for url, headers in sides.items():
        ask(url, requests, connections=connections, seconds=WARM_S, headers=headers)
    loads: dict[str, list[Load]] = {url: [] for url in sides}
    for number in range(rounds):
        for url in list(sides)[:: 1 if number % 2 else -1]:
            load = ask(url, requests, connections=connections, seconds=seconds, headers=sides[url])
            loads[url].append(load)
            print(f"{url} {load.per_s:,.0f}/s p50 {load.p50_ms:.2f} p99 {load.p99_ms:.2f} ms", file=sys.stderr)
    return loads


def ratio_of_rates(case: str, ours: Sequence[Load], other: Sequence[Load], name: str) -> Cell:
    return cell_of(case, [load.per_s for load in ours], [load.per_s for load in other], name, "a second")


def ratio_of_waits(case: str, ours: Sequence[Load], other: Sequence[Load], name: str) -> Cell:
    return cell_of(case, [load.p99_ms for load in ours], [load.p99_ms for load in other], name, "ms")


def cell_of(case: str, ours: Sequence[float], other: Sequence[float], name: str, unit: str) -> Cell:
    mine, theirs = float(np.median(ours)), float(np.median(other))
    spread = f"{min(ours):.4g} to {max(ours):.4g} beside {min(other):.4g} to {max(other):.4g}"
    bounds = ratio_interval(ours, other, np.median)
    return beside(case, mine, theirs, name, f"{unit}; {spread}", len(ours), bounds)


@contextmanager
def steady(
    url: str,
    requests: Sequence[str],
    *,
    connections: int,
    per_s: float,
    seconds: float,
    headers: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Sends so many requests a second for so long beside what the block does, and has ended when this ends.

    Raises ClientFailed where any was not answered as it should be, and TooFewSent where fewer than nine in ten of them
    came to be sent.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests"
        file.write_text("\n".join(requests) + "\n", encoding="utf-8")
        header_lines = json.dumps([f"{name}: {value}" for name, value in (headers or {}).items()])
        command = [sys.executable, str(OWN), url, str(file), str(connections), str(seconds), header_lines, str(per_s)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield
            output, _ = process.communicate(timeout=seconds + 60)
        finally:
            process.kill()
            process.wait()
    load = Load(**json.loads(output.strip().splitlines()[-1])) if process.returncode == 0 else None
    if load is None or load.failed:
        raise ClientFailed("Requests of the steady client failed, so nothing was measured beside them.")
    if load.per_s < 0.9 * per_s:
        raise TooFewSent(f"Only {load.per_s:.0f} of {per_s:.0f} requests a second came to be sent.")
