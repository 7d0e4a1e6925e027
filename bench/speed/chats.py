"""Chat completions through api and gateway, as ``detent serve`` starts them, before a model that answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from bench.common import Cell, cell
from bench.speed import client, rivals
from bench.speed.client import Load
from bench.speed.installation import KEY, ROOT, add_key, address_of
from bench.speed.servers import free_port
from tests.worlds.gateway_world import family, make_home

FAMILY, N_PIECES = "topic", 20
PATH = "/v1/chat/completions"
STREAMS = (1, 16, 64)
WORDS = "It is about an invoice that was charged twice, so billing has to look at it once more today please."


@dataclass(frozen=True, slots=True, kw_only=True)
class Chats:
    url: str
    model_url: str
    pids: tuple[int, ...]  # api, gateway

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


@contextmanager
def chats() -> Iterator[Chats]:
    """Everything that was started has ended when this ends."""
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="detent-speed-chat-"))
        home = Path(folder) / "home"
        home.mkdir()
        model_url = opened.enter_context(rivals.running("model", model_file(Path(folder) / "answers")))
        model = {"openai_compatible": model_url, "model": "m", "concurrency": 128, "queue": 1000, "retries": 0}
        model["price"] = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
        settings = make_home(home, {FAMILY: family(FAMILY, "remote")}, {"remote": model})
        (home / "config" / "dev.yaml").write_text(json.dumps({"port": 0}), encoding="utf-8")
        add_key(settings, "serve")
        gateway = opened.enter_context(_running("gateway", home))
        address_of(settings, "gateway", gateway)
        api = opened.enter_context(_running("api", home))
        yield Chats(url=address_of(settings, "api", api), model_url=model_url, pids=(api.pid, gateway.pid))


def cells(rounds: int, seconds: float) -> list[Cell]:
    """Milliseconds that a chat takes longer than the same request sent to the model itself."""
    cells = []
    with chats() as place:
        _look(place)
        for streams in (False, True):
            for n in STREAMS:
                ours, other = in_turns(place, n, streams, rounds, seconds)
                how = f"{n} streams of {N_PIECES} pieces" if streams else f"{n} at once, answers whole"
                cells += [_overhead(f"{what} of a chat, {how}", ours, other, what) for what in ("p50", "p99")]
    return cells


def in_turns(place: Chats, n: int, streams: bool, rounds: int, seconds: float) -> tuple[list[Load], list[Load]]:
    """Loads through Detent and of the model itself, by turns."""
    requests = [f"POST {PATH} {json.dumps(_body(streams), separators=(',', ':'))}"]
    sides = {place.url: place.headers, place.model_url: {"Content-Type": "application/json"}}
    loads = client.in_turns(sides, requests, rounds=rounds, seconds=seconds, connections=n)
    return loads[place.url], loads[place.model_url]


def _overhead(case: str, ours: Sequence[Load], other: Sequence[Load], what: str) -> Cell:
    name = f"{what}_ms"
    mine, theirs = ([getattr(load, name) for load in side] for side in (ours, other))
    over = [one - its for one, its in zip(mine, theirs, strict=True)]
    spread = f"{min(over):.4g} to {max(over):.4g} beside {min(theirs):.4g} to {max(theirs):.4g}"
    return cell(case, np.median(over), f"ms more; {spread}", len(over), other=np.median(theirs), by="the model itself")


def _body(streams: bool) -> dict[str, object]:
    text = "I was charged twice for the same invoice."
    return {"model": FAMILY, "stream": streams, "user": "u1", "messages": [{"role": "user", "content": text}]}


def _look(place: Chats) -> None:
    """Raises where what is to be measured is not what a client would get."""
    for streams in (False, True):
        answer = httpx.post(place.url + PATH, json=_body(streams), headers=place.headers, timeout=30)
        answer.raise_for_status()
        assert (answer.text.count('"content":') >= N_PIECES) if streams else WORDS in answer.text, answer.text


def model_file(path: Path, **waits: float) -> Path:
    """The answers of ``rivals``' model: a whole one, and a stream of pieces; ``waits``: its delays."""
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 30, "completion_tokens": N_PIECES, "total_tokens": 30 + N_PIECES}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    path.write_text(json.dumps({"whole": whole, "pieces": _pieces(usage), **waits}), encoding="utf-8")
    return path


def _pieces(usage: dict[str, int]) -> list[dict[str, object]]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    words = [f"{word} " for word in WORDS.split()][:N_PIECES]
    chunks = [{**head, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*chunks, {**head, "choices": [], "usage": usage}]


@contextmanager
def _running(name: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETENT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "optimizer.processes", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **environment,
            "DETENT_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "DETENT_PORT": str(free_port()),
            "DETENT_GATEWAY_PORT": str(free_port()),
        },
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def cpu_s(pids: Sequence[int]) -> list[float]:
    """Processor time of each process so far, system time included."""
    return [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]
