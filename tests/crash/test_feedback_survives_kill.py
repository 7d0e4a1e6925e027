"""The api and the process for feedback, which take batches and single events over many connections, are killed at a
random moment: what they acknowledged is there once, and of what they did not, each post is there whole or not at all.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from bench.speed import installation as speed
from bench.speed.events import answered, outcome
from bench.speed.installation import Installation, installation, tokens_of
from tests.forked import Forked

BATCH, BATCH_SENDERS, SINGLE_SENDERS = 40, 3, 5


@dataclass
class Sender(threading.Thread):
    """Posts events of ``n`` until nothing answers any more."""

    place: Installation
    name_of: str
    n: int
    tokens: list[str]
    posts: list[list[str]] = field(default_factory=list)  # the ids of each, in their order
    n_acknowledged: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        with httpx.Client(base_url=self.place.url, headers=self.place.headers, timeout=30) as client:
            while True:
                events = [self._event(len(self.posts), i) for i in range(self.n)]
                self.posts.append([event["id"] for event in events])
                try:
                    answer = client.post("/v1/feedback", json=events if self.n > 1 else events[0])
                except httpx.TransportError:
                    return
                if answer.status_code == 503 and "not known what of the body was kept" in answer.text:
                    return
                if answer.status_code != 200 or answer.json()["accepted"] != self.n:
                    self.faults.append(answer.text)
                    return
                self.n_acknowledged += 1

    def _event(self, post: int, i: int) -> dict[str, Any]:
        token = self.tokens[(post + i) % len(self.tokens)]
        return {"id": f"{self.name_of}-{post}-{i}", **(answered(token, i) if i % 2 == 0 else outcome(token, i))}


def forked(entry: str, number: int, fd: int, folder: str, environment: Mapping[str, str]) -> Forked:
    command = [sys.executable, "-m", "optimizer.processes", entry, "--fd", str(fd), "--number", str(number)]
    return Forked(command, env={**environment, "DETENT_HOME": folder}, stdin=subprocess.PIPE, pass_fds=[fd])


@pytest.mark.parametrize(("seed", "order"), [(1, 1), pytest.param(2, 1, marks=pytest.mark.long), (3, -1)])
def test_every_acknowledged_event_is_there_once_and_every_post_whole_or_not(
    seed: int, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``order``: which of the two processes ends first."""
    monkeypatch.setattr(speed, "_started", forked)
    with installation() as place:
        tokens = tokens_of(place, 20)
        senders = [Sender(place, f"batch{k}", BATCH, tokens) for k in range(BATCH_SENDERS)]
        senders += [Sender(place, f"single{k}", 1, tokens) for k in range(SINGLE_SENDERS)]
        for sender in senders:
            sender.start()
        until = time.monotonic() + 60
        while not all(sender.n_acknowledged for sender in senders) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0.1, 0.7))
        for pid in place.pids[::order]:
            os.kill(pid, signal.SIGKILL)
        for sender in senders:
            sender.join(60)
        with sqlite3.connect(place.home / "var" / "detent.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            answers = Counter(id for (id,) in connection.execute("SELECT id FROM interactions"))
            outcomes = Counter(id for (id,) in connection.execute("SELECT id FROM feedback_events"))
    assert [sender.faults for sender in senders if sender.faults] == []
    assert min(sender.n_acknowledged for sender in senders) > 0
    for sender in senders:
        for number, ids in enumerate(sender.posts):
            found = [(outcomes[id], answers[id]) for id in ids]
            whole = [(1, 1 if i % 2 == 0 else 0) for i in range(len(ids))]
            none = [(0, 0)] * len(ids)
            assert found == whole or (number >= sender.n_acknowledged and found == none), (sender.name_of, number)
        assert len(sender.posts) - sender.n_acknowledged <= 1
