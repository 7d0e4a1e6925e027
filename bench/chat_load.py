"""Ten users who chat at once, before a model with a known delay: how long they wait, what fails, what a core carries.

    python bench/chat_load.py [--seconds 60]

One ``detent serve`` whose users are those of deploy/load.py: each asks again as soon as it is answered, and repeats
what failed once, a second later. The model streams 20 pieces in a second, the first after .3 s, and takes three calls
at once. While ten users chat, prompts are fetched and outcomes reported, ten of each a second. Then api, gateway and
worker are killed in turn while ten users chat. What a core carries is measured before a model that answers at once. It
takes about six minutes. Writes bench/results/chat_load.json and docs/reference/load-measured.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import ROOT, Cell, options_of, write_result
from crash import KilledInstallation
from pages import text_of

from bench.speed import rivals
from bench.speed.chats import N_PIECES, cpu_s, model_file
from tests.worlds.gateway_world import family as family_file, make_home

FIRST_S, WHOLE_S, AT_ONCE = 0.3, 1.0, 3
USERS, MANY = 10, 16
KILLS, BETWEEN_KILLS_S = ("api", "gateway", "worker"), 30.0
SLOW, QUICK = "slow", "quick"
FAILED = "chats that failed"
BARS = {  # at most, in the unit of the cell; uptime at least
    "p95 of a chat": 4.0,
    "chats that timed out": 0.01,
    FAILED: 0.005,
    "p95 of a prompt or outcome": 2.0,
    "p95 of the first piece beyond the model's own": 0.5,
}
UPTIME_BAR = 0.995


def cpu_of(place: KilledInstallation) -> float:
    """Processor seconds of the processes that a chat goes through."""
    return sum(cpu_s([pid for name in ("api", "gateway", "feedback") if (pid := place.running(name))]))


@contextmanager
def serving() -> Iterator[KilledInstallation]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="detent-load-")))
        models = {}
        between_s = (WHOLE_S - FIRST_S) / N_PIECES
        for name, waits, at_once in (
            (SLOW, {"first_s": FIRST_S, "between_s": between_s}, AT_ONCE),
            (QUICK, {}, 128),
        ):
            url = opened.enter_context(rivals.running("model", model_file(folder / f"{name}.json", **waits)))
            price = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
            models[f"m_{name}"] = {"openai_compatible": url, "model": "m", "concurrency": at_once, "price": price}
        home = folder / "home"
        home.mkdir()
        make_home(home, {name: family_file(name, f"m_{name}") for name in (SLOW, QUICK)}, models)
        place = KilledInstallation(home=home)
        opened.callback(place.stop)
        place.start()
        yield place


def load(place: KilledInstallation, family: str, users: int, seconds: float) -> dict[str, Any]:
    """The figures of deploy/load.py, a program of its own, as an operator runs it."""
    words = [str(ROOT / "deploy" / "load.py"), place.url, "--family", family, "--users", str(users)]
    done = subprocess.run(
        [sys.executable, *words, "--seconds", str(seconds), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"deploy/load.py ended with {done.returncode}: {done.stderr[-1000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    print(json.dumps({"family": family, **figures}), file=sys.stderr, flush=True)
    return figures


@dataclass(kw_only=True)
class Prober(threading.Thread):
    """Fetches a prompt and reports an outcome ten times a second, as an application beside the chats. Mutable."""

    place: KilledInstallation
    url: str
    ms: list[float] = field(default_factory=list)
    away_s: float = 0.0  # from the first that failed to the next that was answered
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        http, away_since = httpx.Client(timeout=5), None
        outcome = {"family": SLOW, "unit": "u", "success": True, "source": "user"}
        while not self.ended.wait(0.1):
            began = time.perf_counter()
            try:
                for answer in (
                    http.get(f"{self.url}/v1/families/{SLOW}/prompt?unit=u"),
                    http.post(f"{self.url}/v1/feedback", json=outcome),
                ):
                    answer.raise_for_status()
                    self.ms.append(answer.elapsed.total_seconds() * 1000)
            except httpx.HTTPError:
                away_since = away_since or began
            else:
                if away_since is not None:
                    self.away_s, away_since = self.away_s + time.perf_counter() - away_since, None
        if away_since is not None:
            self.away_s += time.perf_counter() - away_since


@contextmanager
def probing(place: KilledInstallation) -> Iterator[Prober]:
    prober = Prober(place=place, url=place.url)
    prober.start()
    try:
        yield prober
    finally:
        prober.ended.set()
        prober.join(30)


def kill_in_turn(place: KilledInstallation, ended: threading.Event) -> int:
    n = 0
    while not ended.wait(BETWEEN_KILLS_S):
        with contextlib.suppress(ProcessLookupError, AssertionError):  # it may not be back yet
            place.kill(KILLS[n % len(KILLS)])
        n += 1
    return n


def measure(seconds: float) -> list[Cell]:
    cells = [Cell(case="load of the machine before", ours=os.getloadavg()[0], unit="programs that want to run", n=1)]

    def cell(case: str, ours: float | None, unit: str, n: int) -> None:
        cells.append(Cell(case=case, ours=ours, unit=unit, n=n))

    with serving() as place:
        load(place, SLOW, AT_ONCE, 5)
        with probing(place) as prober:
            ten = load(place, SLOW, USERS, seconds)
        n = ten["chats"]
        cell("p95 of a chat", ten["p95_ms"] / 1000, "s", n)
        cell("chats that timed out", ten["timeout_share"], "share", n)
        cell("chats that failed", ten["error_share"], "share", n)
        cell("chats", ten["chats_per_second"], "a second", n)
        cell("p95 of a prompt or outcome", float(np.quantile(prober.ms, 0.95)) / 1000, "s", len(prober.ms))
        three = load(place, SLOW, AT_ONCE, seconds / 2)
        beyond = three["first_piece_p95_ms"] / 1000 - FIRST_S
        cell("p95 of the first piece beyond the model's own", beyond, "s", three["chats"])
        load(place, QUICK, MANY, 5)
        before = cpu_of(place)
        most = load(place, QUICK, MANY, seconds / 2)
        cell("what a core carries", most["chats"] / (cpu_of(place) - before), "chats a second", most["chats"])
        ended = threading.Event()
        killer = threading.Thread(target=kill_in_turn, args=(place, ended), daemon=True)
        n_kills = int(3 * seconds // BETWEEN_KILLS_S)
        with probing(place) as prober:
            killer.start()
            under_kills = load(place, SLOW, USERS, n_kills * BETWEEN_KILLS_S + 15)
            ended.set()
            killer.join(60)
        cell("kills", n_kills, "of api, gateway and worker in turn", n_kills)
        cell("chats that failed under kills", under_kills["error_share"], "share", under_kills["chats"])
        away = prober.away_s / n_kills
        cell("prompts and outcomes away", away, "s a kill, on average", n_kills)
        cell("uptime at one kill an hour", 1 - away / 3600, "share", n_kills)
    return cells


def page(result: dict[str, Any]) -> str:
    ours = {cell["case"]: cell["ours"] for cell in result["cells"]}
    missed = [case for case, bar in BARS.items() if ours[case] > bar]
    missed += [case for case, share in ours.items() if case.startswith("uptime") and share < UPTIME_BAR]
    return text_of("load-measured", **result, bars=BARS, uptime=UPTIME_BAR, missed=missed)


def main() -> None:
    options = options_of(__doc__, seconds=(60.0, "of ten users without kills (default 60)"))
    write_result("chat_load", measure(options.seconds))


if __name__ == "__main__":
    main()
