"""Tells systemd, where it started ``detent serve`` with ``Type=notify``, that the service is ready, still answers, and
ends: datagrams as sd_notify(3) describes them.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import MutableMapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Self
from urllib.parse import urlsplit

ANSWER_S = 5.0  # the longest wait for an answer of the api
LOOK_S = 2.0  # between two questions; WatchdogSec of the unit is far longer


class ServiceManager:
    """``look`` is called again and again by the loop that supervises, so that nothing is sent where that hangs."""

    def __init__(self, address: str) -> None:
        """``address``: path of a socket; ``@`` begins an abstract one."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._due = 0.0  # monotonic seconds
        self._question: threading.Thread | None = None
        self._has_answered = self._is_ready = False

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str]) -> Self | None:
        """None where none listens. Its variables are taken out: no child speaks for this process."""
        address, _, _ = (environment.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        return cls(address) if address else None

    def look(self, api: str) -> None:
        """Asks the api at this address when it is time to, in a thread, and sends what the last answer allows."""
        now = time.monotonic()
        if now >= self._due and not (self._question and self._question.is_alive()):
            self._due = now + LOOK_S
            self._question = threading.Thread(target=self._ask, args=(api,), daemon=True)
            self._question.start()
        if self._has_answered and self.tell("WATCHDOG=1" if self._is_ready else "READY=1\nWATCHDOG=1"):
            self._has_answered, self._is_ready = False, True

    def tell(self, state: str) -> bool:
        """Never waits. False where it cannot be sent: nobody listens, or the queue of who listens is full."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # else who reads nothing would stop the supervision
                sender.sendto(state.encode(), self._address)
        except OSError:
            return False
        return True

    def _ask(self, api: str) -> None:
        self._has_answered = answers(api)


def answers(api: str) -> bool:
    """Whether the api answers and the worker ticks. Where nobody can tell of the worker, since the store is away or
    locked or the clock was set back, the api's answer counts alone: a restart would mend none of these.
    """
    place = urlsplit(api)
    with closing(HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_S)) as connection:
        try:
            connection.request("GET", "/ready")
            dependencies = json.loads(connection.getresponse().read())["dependencies"]
        except (OSError, HTTPException, ValueError, KeyError):
            return False
    store, worker = dependencies["store"], dependencies["worker"]
    is_known = store["ok"] and not store["busy"] and (worker["last_tick_age_s"] or 0.0) >= 0
    return bool(worker["ok"] or not is_known)
