"""One ``detent serve`` with keys, on a home and free loopback ports of its own,
before a provider on loopback; what its processes hold.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from bench.siege.one_request import FAMILY_MASKED
from optimizer.core.serving.access import access_of, hash_of
from optimizer.runtime import wiring
from tests.stand_ins.faulty_provider import faulty_provider
from tests.stand_ins.running_server import CHILDREN, Server
from tests.worlds.gateway_world import make_home

FAMILY = "triage"
SERVE_KEY, FEEDBACK_KEY = "siege-serve-key", "siege-feedback-key"  # of a home that lives as long as the siege
NEEDED = ("store", "families", "gateway", "worker")  # of what /ready names; MLflow is not started
SAMPLE_S = 0.5


class ServiceUnderSiege:
    """A running installation. Processes are reached by the pid that they announced themselves."""

    def __init__(self, home: Path, model_url: str) -> None:
        model = {"openai_compatible": model_url, "model": "m", "concurrency": 32, "queue": 1000, "retries": 0}
        family = FAMILY_MASKED + "model: {default: remote, tiers: [remote], max_tokens: 12}\n"
        settings = make_home(home, {FAMILY: family}, {"remote": model})
        (home / "config" / "dev.yaml").write_text(json.dumps({"port": 0}))
        store, now = wiring.open_store(settings), datetime.now(UTC)
        try:
            for role, secret in (("serve", SERVE_KEY), ("feedback", FEEDBACK_KEY)):
                access = access_of([role], now=now)
                store.write(
                    lambda tx, name=secret, access=access: store.api_keys.add(tx, name, access, hash_of(name), now)
                )
        finally:
            store.close()
        self.home, self.server = home, Server(home)

    def pid(self, name: str) -> int | None:
        return self.server.process.pid if name == "serve" else self.server.pid(name)

    def missing(self) -> list[str]:
        """What is not ready: processes that have not announced themselves, or what /ready does not call well."""
        if absent := [name for name in CHILDREN if self.pid(name) is None]:
            return absent
        try:
            known = httpx.get(f"{self.server.url}/ready", timeout=2).json()["dependencies"]
        except (httpx.TransportError, ValueError, KeyError, AssertionError) as error:  # the api is being started
            return [f"/ready: {type(error).__name__}"]
        return [name for name in NEEDED if not known[name]["ok"]]


@contextmanager
def besieged(home: Path) -> Iterator[ServiceUnderSiege]:
    """Everything that was started has ended when this ends, also by Ctrl-C."""
    with faulty_provider() as provider:
        provider.pieces = ["billing"]
        place = ServiceUnderSiege(home, provider.url)
        try:
            place.server.wait_ready()
            yield place
        finally:
            place.server.end()


class Memory(threading.Thread):
    """Resident bytes of each process by name, twice a second: the first and the most.

    One that was started again is held to the first.
    """

    def __init__(self, place: ServiceUnderSiege) -> None:
        super().__init__(daemon=True)
        self._place, self._end = place, threading.Event()
        self.first: dict[str, int] = {}
        self.most: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        while not self._end.wait(SAMPLE_S):
            for name in ("serve", *CHILDREN):
                with suppress(psutil.Error):
                    if pid := self._place.pid(name):
                        held = psutil.Process(pid).memory_info().rss
                        self.first.setdefault(name, held)
                        self.most[name] = max(self.most[name], held)

    def grown_mb(self) -> dict[str, float]:
        return {name: (self.most[name] - first) / 1e6 for name, first in self.first.items()}

    def finish(self) -> None:
        self._end.set()
        self.join()
