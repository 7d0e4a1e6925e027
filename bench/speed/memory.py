"""How much memory the api and the process for feedback hold under a stream of prompts and feedback."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
import psutil

from bench.common import Cell
from bench.speed import client
from bench.speed.events import KINDS, posts
from bench.speed.installation import FAMILY, installation, tokens_of

PROMPTS_PER_S, PROMPT_CONNECTIONS = 500.0, 16
BATCHES_PER_S, BATCH, BATCH_CONNECTIONS = 10.0, 100, 4
LOOK_EVERY_S = 1.0
MIB = 1024.0**2


def cells(minutes: float) -> list[Cell]:
    """MiB by minute, and how many more each minute after the first, in which buffers and caches fill."""
    with installation() as place:
        processes, seconds = [psutil.Process(pid) for pid in place.pids], 60 * minutes
        prompts = [f"GET /v1/families/{FAMILY}/prompt?unit=u{i}" for i in range(20_000)]
        events = posts(tokens_of(place, 2_000), next(iter(KINDS)), batch=BATCH, n=200)
        sampled: list[float] = []
        order = {"seconds": seconds, "headers": place.headers}
        with (
            client.steady(place.url, prompts, connections=PROMPT_CONNECTIONS, per_s=PROMPTS_PER_S, **order),
            client.steady(place.url, events, connections=BATCH_CONNECTIONS, per_s=BATCHES_PER_S, **order),
        ):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                sampled.append(sum(one.memory_info().rss for one in processes) / MIB)
                time.sleep(LOOK_EVERY_S)
    return of_samples(sampled, round(60 / LOOK_EVERY_S))


def of_samples(sampled: Sequence[float], a_minute: int) -> list[Cell]:
    """Raises ClientFailed for fewer than three whole minutes: growth could not be told."""
    minutes = [sampled[at : at + a_minute] for at in range(0, len(sampled) - a_minute // 2, a_minute)]
    if len(minutes) < 3:
        raise client.ClientFailed(f"{len(minutes)} minutes are too few to tell growth; ask for at least three.")
    growth, low, high = slope(sampled[a_minute:], a_minute)
    cells = [_minute(number, minute) for number, minute in enumerate(minutes, start=1)]
    spread = f"{min(sampled):.4g} to {max(sampled):.4g} MiB held"
    print(f"{growth:.3f} MiB a minute ({low:.3f} to {high:.3f}), {spread}", file=sys.stderr)
    case = f"growth of memory from the second minute on, {len(minutes)} minutes"
    unit = f"MiB a minute; {low:.3g} to {high:.3g}; {spread}"
    return [_cell(case, growth, unit, len(sampled)), *cells]


def slope(sampled: Sequence[float], a_minute: int) -> tuple[float, float, float]:
    """MiB a minute by least squares, and its 95 % interval by the bootstrap over stretches of half a minute."""
    values, length = np.array(sampled), max(2, a_minute // 2)
    at = np.arange(len(values)) / a_minute
    stretches = [np.arange(start, min(start + length, len(values))) for start in range(0, len(values), length)]
    rng = np.random.default_rng(1)
    fitted = [float(np.polyfit(at, values, 1)[0])]
    for _ in range(1000):
        drawn = np.concatenate([stretches[i] for i in rng.integers(len(stretches), size=len(stretches))])
        if np.ptp(drawn) > length:
            fitted.append(float(np.polyfit(at[drawn], values[drawn], 1)[0]))
    low, high = np.quantile(fitted[1:], [0.025, 0.975])
    return fitted[0], float(low), float(high)


def _minute(number: int, sampled: Sequence[float]) -> Cell:
    unit = f"MiB; {min(sampled):.4g} to {max(sampled):.4g}"
    return _cell(f"memory in minute {number}", float(np.median(sampled)), unit, len(sampled))


def _cell(case: str, ours: float, unit: str, n: int) -> Cell:
    return Cell(case=case, ours=ours, unit=unit, n=n)
