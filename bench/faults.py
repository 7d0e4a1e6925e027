"""How soon people are told of a fault, by how many messages, and whether the alert ends by itself: real processes.

    python bench/faults.py [--runs 3] [--only errors] [--seed 1]

One ``detent serve`` with a family for each run of a fault, whose traffic comes over HTTP while every family goes
through its fault at the same time; messages come to a webhook of this process. Four earlier weeks are put into the
store as sums by minute, since rules look at what is usual. What happens to processes, provider and disk is done to
them: a kill, a stopped server, a full file system (which needs root, to mount one of memory; else it is left out).

It takes about three quarters of an hour, most of it waiting: a rule clears 15 minutes after the fault. How far it is
stands on stderr. Writes bench/results/faults.json and docs/reference/faults-measured.md; exits 1 where a fault was not
told within the time that docs/reference/alerts-measured.md states, by more than one message, or did not end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import exp, log
from pathlib import Path
from typing import Any

import httpx
from alert_rules import (
    BAR_MIN,
    COST_SPREAD,
    COST_USD,
    FAULTS,
    LABELLED,
    LATENCY_MS,
    LATENCY_SPREAD,
    SUCCESS,
    Fault,
    SimulatedTraffic,
)
from common import Cell, measured_before, options_of, write_result
from crash import KilledInstallation
from pages import results_of

from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.worlds.gateway_world import family as family_file, make_home

USUAL_RATE, FAST_RATE = 60, 3000  # requests a minute
WARM_UP_S, AFTER_S = 240.0, 120.0  # before a fault; for which it lasts on once it was told
LONGEST_S = 1200.0  # after which a fault counts as not told
CLEARED_S = 1800.0  # and its alert as not ended
HISTORY = timedelta(hours=2)  # on either side of the same hour of four weeks
MINUTE, WEEK = timedelta(minutes=1), timedelta(weeks=1)
DISK_MB = 1500
PAUSE_S = 10.0
MESSAGE = re.compile(
    r"(?P<event>Raised|Cleared)(?: \(\w+\))?: \w+(?:, family (?P<family>\w+))?\n(?P<detail>.*)\n.*, (?P<alert>al_\w+)\)"
)
TURNED, SOURCE, PROVIDER = "outcomes turn round", "outcomes come from a judge", "provider gone"
WORKER, MLFLOW, DISK = "worker killed", "MLflow killed", "disk at 95 %"
# Minutes until a fault is told, at the latest: the bar of bench/alert_rules.py where half of the requests fail, else
# the longest of its simulated runs.
STATED_MIN = {"errors 50 %": BAR_MIN, PROVIDER: BAR_MIN, WORKER: 1.0, MLFLOW: 1.0, DISK: 2.0}
STATED_AS = {**{name: name for name in FAULTS}, SOURCE: "feedback stops"}


@dataclass(kw_only=True)
class Lane:
    """One run of one fault. Mutable: it is filled while the run goes on; times are those of ``time.monotonic``.

    ``name``: of its family; of a process or the disk, the word by which messages name it, and then ``rate`` is 0.
    """

    case: str
    name: str
    rate: int = 0
    begins_at: float = 0.0
    ended_at: float | None = None
    told_at: float | None = None
    cleared_at: float | None = None
    messages: list[str] = field(default_factory=list)
    alerts: set[str] = field(default_factory=set)  # by id
    variant: str = ""

    @property
    def is_on(self) -> bool:
        return bool(self.begins_at) and time.monotonic() >= self.begins_at and self.ended_at is None

    @property
    def is_done(self) -> bool:
        now = time.monotonic()
        if self.cleared_at is not None:
            return True
        if self.told_at is None:
            return bool(self.begins_at) and now > self.begins_at + LONGEST_S
        return self.ended_at is not None and now > self.ended_at + CLEARED_S

    @property
    def told_min(self) -> float | None:
        return None if self.told_at is None else (self.told_at - self.begins_at) / 60

    @property
    def cleared_min(self) -> float | None:
        """After the end of the fault."""
        if self.cleared_at is None or self.ended_at is None:
            return None
        return max(0.0, self.cleared_at - self.ended_at) / 60


class Board:
    """The messages as a channel gets them, each put to the lane that it is about."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}  # those that may be told now
        self.others: list[str] = []  # about nothing that was done
        self._lock = threading.Lock()

    def take(self, text: str) -> None:
        with self._lock:
            match = MESSAGE.match(text)
            lane = self._lane(match) if match is not None else None
            if lane is None or match is None:
                self.others.append(text)
            elif match["event"] == "Raised":
                lane.messages.append(match["detail"])
                lane.alerts.add(match["alert"])
                lane.told_at = lane.told_at or time.monotonic()
            elif match["alert"] in lane.alerts:  # that of the run before may come twice
                lane.cleared_at = time.monotonic()

    def _lane(self, match: re.Match[str]) -> Lane | None:
        words = set(re.findall(r"\w+", match["detail"]))
        by_word = next((lane for lane in self.lanes.values() if not lane.rate and lane.name in words), None)
        return self.lanes.get(match["family"]) if match["family"] else by_word


@contextmanager
def answering(post: Callable[[bytes], Mapping[str, Any]], port: int = 0) -> Iterator[int]:
    """A server on loopback that answers every POST by ``post``; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(post(self.rfile.read(int(self.headers.get("Content-Length", 0))))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def completion(_: bytes) -> Mapping[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "billing"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 30, "completion_tokens": 1, "total_tokens": 31}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class Provider:
    """A model's server that can be taken away; it keeps its port."""

    def __init__(self) -> None:
        self._opened = contextlib.ExitStack()
        self.port = self._opened.enter_context(answering(completion))

    def stop(self) -> None:
        self._opened.close()

    def start(self) -> None:
        self._opened.enter_context(answering(completion, self.port))


def fault_of(case: str) -> Fault:
    return FAULTS.get(case, Fault())


def events_of(lane: Lane, n: int, rng: random.Random) -> list[dict[str, Any]]:
    """``n`` requests as an application reports them, 30 % of them with their outcome."""
    fault = fault_of(lane.case) if lane.is_on else Fault()
    is_turned, is_judged = (lane.is_on and lane.case == case for case in (TURNED, SOURCE))
    events = []
    for _ in range(n):
        event: dict[str, Any] = {
            "family": lane.name,
            "variant": lane.variant,
            "unit": f"u{rng.randrange(10_000)}",
            "model": f"m_{lane.name}",
            "latency_ms": exp(rng.gauss(log(LATENCY_MS * fault.slower), LATENCY_SPREAD)),
            "cost_usd": exp(rng.gauss(log(COST_USD * fault.dearer), COST_SPREAD)),
        }
        if rng.random() < fault.errors:
            event["error"] = "overloaded"
        if rng.random() < LABELLED * fault.labelled:
            event["success"] = (rng.random() < SUCCESS) is not is_turned
            event["source"] = "judge" if is_judged else "user"
        events.append(event)
    return events


def poisson(mean: float, rng: random.Random) -> int:
    """By its waiting times (Knuth); means here are at most 50."""
    n, product = 0, rng.random()
    while product > exp(-mean):
        n, product = n + 1, product * rng.random()
    return n


def report(lanes: Sequence[Lane], place: KilledInstallation, seed: int, ended: threading.Event) -> None:
    """Sends what each family's application saw, second by second."""
    rng, http, at = random.Random(seed), httpx.Client(timeout=20), time.monotonic()
    while not ended.is_set():
        events = [event for lane in lanes for event in events_of(lane, poisson(lane.rate / 60, rng), rng)]
        for first in range(0, len(events), 500):
            with contextlib.suppress(httpx.TransportError):
                answer = http.post(f"{place.url}/v1/feedback", json=events[first : first + 500])
                if answer.status_code != 200 or answer.json()["rejected"]:
                    print(f"not taken: {answer.status_code} {answer.text[:300]}", file=sys.stderr)
        at += 1.0
        ended.wait(max(0.0, at - time.monotonic()))


def chat(lane: Lane, place: KilledInstallation, seed: int, ended: threading.Event) -> None:
    """Asks the family's model, which an application's user waits for; a refusal is what it is."""
    rng, http = random.Random(seed), httpx.Client(timeout=30)
    while not ended.wait(rng.expovariate(lane.rate / 60)):
        body = {"model": lane.name, "user": "u", "messages": [{"role": "user", "content": f"{rng.random()}"}]}
        with contextlib.suppress(httpx.TransportError):
            http.post(f"{place.url}/v1/chat/completions", json=body)


def remember(home: Path, lanes: Sequence[Lane], seed: int) -> None:
    """Puts the same hours of four earlier weeks into the store, as sums by minute of the usual traffic."""
    settings = load_settings("dev", home)
    store, now = wiring.open_store(settings), datetime.now(UTC).replace(second=0, microsecond=0)
    try:
        for n, lane in enumerate(lanes):
            traffic = SimulatedTraffic(family=lane.name, rate=lane.rate, seed=seed * 1000 + n, swing=0.0)
            rows = []
            for week in range(1, 5):
                start = now - week * WEEK - HISTORY
                for minute in range(2 * HISTORY // MINUTE):
                    rows += traffic.rows(start + minute * MINUTE)
            usual = [row for row in rows if row.source in (("",) if lane.case == PROVIDER else ("", "user"))]
            for row in usual:
                row.variant, row.model = "", f"m_{lane.name}"
            store.write(lambda tx, usual=usual: store.minute_stats.put(tx, usual), rows=len(usual))
    finally:
        store.close()


@contextmanager
def small_disk(is_wanted: bool) -> Iterator[tuple[Path, bool]]:
    """A folder for the home, and whether it is a file system of its own, in memory and small."""
    folder = Path(tempfile.mkdtemp(prefix="detent-faults-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    is_own = is_wanted and os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield folder, is_own
    finally:
        if is_own:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def fill_disk(home: Path) -> Callable[[], None]:
    """Fills it to 95 %; what is given back makes room again."""
    usage, file = shutil.disk_usage(home), home / "filler"
    n = int(0.955 * (usage.used + usage.free) - usage.used)
    with file.open("wb") as out:
        for _ in range(n >> 20):
            out.write(bytes(1 << 20))
    return file.unlink


def lanes_of(runs: int, only: str | None) -> list[Lane]:
    cases = [*FAULTS, SOURCE, TURNED, PROVIDER]
    lanes = []
    for number, case in enumerate(cases):
        rate = FAST_RATE if case == "errors 5 %" else USUAL_RATE  # at 60 its time is not stated: chance is as large
        lanes += [Lane(case=case, name=f"f{number}_{run}", rate=rate) for run in range(runs)]
    return [lane for lane in lanes if only is None or only in lane.case]


@dataclass(kw_only=True)
class FaultSiege:
    """Everything that happens to one installation."""

    place: KilledInstallation
    lanes: Sequence[Lane]
    providers: Mapping[str, Provider]
    board: Board
    rng: random.Random
    strikes: Sequence[Lane]  # of processes and the disk, in their order
    _began_at: float = field(default_factory=time.monotonic)
    _said_at: float = 0.0
    _gone: set[str] = field(default_factory=set)

    def run(self, seed: int) -> None:
        ended = threading.Event()
        reported = [lane for lane in self.lanes if lane.case != PROVIDER]
        threads = [threading.Thread(target=report, args=(reported, self.place, seed, ended), daemon=True)]
        threads += [
            threading.Thread(target=chat, args=(lane, self.place, seed + n, ended), daemon=True)
            for n, lane in enumerate(self.lanes)
            if lane.case == PROVIDER
        ]
        for thread in threads:
            thread.start()
        for lane in self.lanes:
            self.board.lanes[lane.name] = lane
            lane.begins_at = time.monotonic() + WARM_UP_S + self.rng.uniform(0, 60)
        self._follow(self.lanes, lambda lane: lane.told_at is not None or lane.is_done)
        # While the families' alerts wait to be cleared, so that a kill is seen to lose none of them.
        for lane in self.strikes:
            self._strike(lane)
        self._follow(self.lanes, lambda lane: lane.is_done)
        ended.set()
        for thread in threads:
            thread.join(30)

    def _strike(self, lane: Lane) -> None:
        """Does it to the home, and waits until it was told and has ended."""
        time.sleep(PAUSE_S)  # what is being sent while the worker is killed may come twice
        self.board.lanes[lane.name] = lane
        lane.begins_at = time.monotonic()
        if lane.case == DISK:
            give_back = fill_disk(self.place.home)
            self._follow([lane], lambda lane: lane.told_at is not None or lane.is_done)
            give_back()
        else:
            self.place.kill("worker" if lane.case == WORKER else "mlflow")
        lane.ended_at = time.monotonic()
        self._follow([lane], lambda lane: lane.is_done)

    def _follow(self, lanes: Sequence[Lane], is_past: Callable[[Lane], bool]) -> None:
        while not all(is_past(lane) for lane in lanes):
            self._look()
            time.sleep(0.5)

    def _look(self) -> None:
        """Begins and ends what is due, and says how far everything is."""
        now = time.monotonic()
        for lane in self.lanes:
            provider = self.providers.get(lane.name)
            if lane.is_on and provider is not None and lane.name not in self._gone:
                self._gone.add(lane.name)
                provider.stop()
            if lane.ended_at is None and lane.told_at is not None and now > lane.told_at + AFTER_S:
                lane.ended_at = now
                if provider is not None:
                    provider.start()
        if now - self._said_at > 30:
            self._said_at = now
            every = [*self.lanes, *self.strikes]
            marks = zip(*((a.told_at, a.is_done) for a in every), strict=True)
            n_told, done = (sum(map(bool, one)) for one in marks)
            print(
                f"{(now - self._began_at) / 60:5.1f} min: {n_told} of {len(every)} told, {done} over;"
                f" {len(self.board.others)} messages about something else",
                file=sys.stderr,
                flush=True,
            )


def measure(runs: int, only: str | None, seed: int) -> tuple[list[Lane], list[str]]:
    rng, lanes = random.Random(seed), lanes_of(runs, only)
    with contextlib.ExitStack() as opened:
        home, is_own = opened.enter_context(small_disk(only is None or only in DISK))
        words = {WORKER: "worker", MLFLOW: "mlflow", **({DISK: "disk"} if is_own else {})}
        strikes = [
            Lane(case=case, name=word)
            for case, word in words.items()
            for _ in range(runs)
            if only is None or only in case
        ]
        if not is_own:
            print(f"{DISK} is left out: no file system of its own was mounted, which needs root", file=sys.stderr)
        board = Board()

        def take(body: bytes) -> Mapping[str, Any]:
            board.take(str(json.loads(body)["text"]))
            return {}

        port = opened.enter_context(answering(take))
        providers = {lane.name: Provider() for lane in lanes if lane.case == PROVIDER}
        quiet = opened.enter_context(answering(completion))
        price = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
        models = {
            f"m_{name}": {
                "openai_compatible": f"http://127.0.0.1:{at}/v1",
                "model": "m",
                "price": price,
                "max_output_tokens": 16,
                "timeout_s": 5,
            }
            for name, at in [("quiet", quiet), *((name, one.port) for name, one in providers.items())]
        }
        files = {
            lane.name: family_file(lane.name, f"m_{lane.name if lane.name in providers else 'quiet'}")
            for lane in lanes or [Lane(case="", name="quiet")]
        }
        make_home(home, files, models)
        own = {"DETENT_ALERT_SLACK_WEBHOOK": f"http://127.0.0.1:{port}/hook"}
        place = KilledInstallation(home=home, own=own)
        opened.callback(place.stop)
        remember(home, lanes, seed)
        place.start()
        for lane in lanes:
            lane.variant = str(place.get(f"/v1/families/{lane.name}/prompt")["variant"])
        FaultSiege(place=place, lanes=lanes, providers=providers, board=board, rng=rng, strikes=strikes).run(seed)
        return [*lanes, *strikes], board.others


def stated_min(lane: Lane) -> float | None:
    """Minutes within which it is to be told, by what the docs say; None: they say nothing."""
    if lane.case in STATED_MIN:
        return STATED_MIN[lane.case]
    if lane.case not in STATED_AS:
        return None
    cells = {cell["case"]: cell["ours"] for cell in results_of("alerts-measured")[0]["cells"]}
    longest = cells[f"{STATED_AS[lane.case]}, {lane.rate} requests a minute, until told, longest"]
    return float(longest) if longest is not None else None


def cells_of(case: str, lanes: Sequence[Lane]) -> list[Cell]:
    n, minutes = len(lanes), sorted(lane.told_min for lane in lanes if lane.told_min is not None)
    cleared = sorted(lane.cleared_min for lane in lanes if lane.cleared_min is not None)
    stated = stated_min(lanes[0])

    def cell(what: str, ours: float | None, unit: str) -> Cell:
        return Cell(case=f"{case}, {what}", ours=ours, unit=unit, n=n)

    return [
        cell("requests a minute", lanes[0].rate, "of the family"),
        cell("stated", stated, "minutes until told, at the latest"),
        cell("told", len(minutes) / n, "share of runs"),
        cell("until told, shortest", minutes[0] if minutes else None, "minutes"),
        cell("until told, longest", minutes[-1] if len(minutes) == n else None, "minutes"),
        cell("resolved", len(cleared) / n, "share of runs"),
        cell("until resolved, longest", cleared[-1] if len(cleared) == n else None, "minutes after its end"),
        cell("messages", max(len(lane.messages) for lane in lanes), "most messages a run"),
    ]


def faults_in(cells: Sequence[Cell]) -> list[str]:
    """What the docs promise and did not happen."""
    of = {cell.case: cell.ours for cell in cells}
    missed = []
    for case in dict.fromkeys(cell.case.rpartition(", told")[0] for cell in cells if cell.case.endswith(", told")):
        longest, stated = of[f"{case}, until told, longest"], of[f"{case}, stated"]
        if longest is None or (stated is not None and longest > stated):
            missed.append(f"{case}: told after {longest} minutes, stated are {stated}")
        if of[f"{case}, messages"] != 1:
            missed.append(f"{case}: {of[f'{case}, messages']} messages")
        if of[f"{case}, resolved"] != 1:
            missed.append(f"{case}: not resolved by itself")
    return missed


OTHERS = "messages about nothing that was done"


def main() -> int:
    options = options_of(__doc__, runs=3, only=(str, "the results of the others stay"), seed=1)
    print("This takes about 45 minutes: 5 until faults begin, up to 20 until all are told, then 20.", file=sys.stderr)
    lanes, others = measure(options.runs, options.only, options.seed)
    cells = [
        cell
        for case in dict.fromkeys(lane.case for lane in lanes)
        for cell in cells_of(case, [lane for lane in lanes if lane.case == case])
    ]
    cells.append(Cell(case=OTHERS, ours=len(others), unit="messages", n=1))
    for lane in lanes:
        print(f"{lane.case} ({lane.name}): {lane.messages}", file=sys.stderr)
    print(*others, sep="\n", file=sys.stderr)
    if options.only is not None:
        anew = {cell.case for cell in cells}
        cells = [*(cell for cell in measured_before("faults") if cell.case not in anew), *cells]
    write_result("faults", cells)
    missed = faults_in(cells)
    print(*(missed or ["everything was told in its time, by one message, and ended by itself"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
