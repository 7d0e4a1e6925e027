#!/usr/bin/env python3
"""Sends chats of several users at once to a running server, and says how long they took and how many failed.

    python deploy/load.py http://127.0.0.1:8321 --family triage [--key KEY] [--users 10] [--seconds 60]

It needs Python alone. Each user asks again as soon as it is answered; a request that fails is repeated once, a second
later, as an application would. The model's own limit (`concurrency: 3` in config/models.yaml) is the server's. Every
chat asks the family's model, which may cost money, and is kept as an interaction. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from math import ceil
from typing import Any

ATTEMPTS, PAUSE_S = 2, 1.0


@dataclass(kw_only=True)
class LoadTally:
    """What came of the chats. ``ms``, ``first_ms``: of those that were answered, retries included. Mutable: grows."""

    ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    n_timeouts: int = 0
    n_failed: int = 0
    n_repeated: int = 0
    why: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def n(self) -> int:
        return len(self.ms) + self.n_timeouts + self.n_failed

    def failed(self, why: str, *, timed_out: bool) -> None:
        with self.lock:
            self.n_timeouts += timed_out
            self.n_failed += not timed_out
            self.why[why] = self.why.get(why, 0) + 1


def p95(values: list[float]) -> float:
    """By nearest rank; not a number without values."""
    return sorted(values)[ceil(0.95 * len(values)) - 1] if values else float("nan")


def ask(options: argparse.Namespace, unit: str, text: str) -> float:
    """Asks to the end of the answer; returns when its first piece came, by ``time.perf_counter``.

    Raises TimeoutError, OSError, or ValueError for an answer that is none.
    """
    address = urllib.parse.urlsplit(options.url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=options.timeout)
    headers = {"Content-Type": "application/json"}
    if options.key:
        headers["Authorization"] = f"Bearer {options.key}"
    body: dict[str, Any] = {"model": options.family, "messages": [{"role": "user", "content": text}], "user": unit}
    try:
        connection.request(
            "POST", f"{address.path.rstrip('/')}/v1/chat/completions", json.dumps({**body, "stream": True}), headers
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        first = 0.0
        for line in answer:
            if not line.startswith(b"data:"):
                continue
            first = first or time.perf_counter()
            if line.strip() == b"data: [DONE]":
                return first
            if b'"error"' in line and b'"choices"' not in line:
                raise ValueError("an error in the stream")
        raise ValueError("the stream ended too soon")
    finally:
        connection.close()


def one_chat(options: argparse.Namespace, tally: LoadTally, unit: str, text: str) -> None:
    """One chat of a user, repeated once where it fails."""
    began = time.perf_counter()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            first = ask(options, unit, text)
        except (OSError, ValueError, http.client.HTTPException) as error:
            timed_out = isinstance(error, TimeoutError)
            if attempt == ATTEMPTS:
                tally.failed("timeout" if timed_out else str(error) or type(error).__name__, timed_out=timed_out)
                return
            with tally.lock:
                tally.n_repeated += 1
            time.sleep(PAUSE_S)
        else:
            with tally.lock:
                tally.ms.append(1000 * (time.perf_counter() - began))
                tally.first_ms.append(1000 * (first - began))
            return


def load(options: argparse.Namespace) -> tuple[LoadTally, float]:
    """The tally, and the seconds that it took."""
    tally, until = LoadTally(), time.perf_counter() + options.seconds

    def user(n: int) -> None:
        k = 0
        while time.perf_counter() < until:
            one_chat(options, tally, f"load-{n}", f"{options.message} ({n}.{k})")
            k += 1

    users = [threading.Thread(target=user, args=(n,), daemon=True) for n in range(options.users)]
    began = time.perf_counter()
    for each in users:
        each.start()
    for each in users:
        each.join()
    return tally, time.perf_counter() - began


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the server, such as http://127.0.0.1:8321")
    parser.add_argument("--family", required=True, help="that is asked, with one input; or a model")
    parser.add_argument("--key", default=os.environ.get("DETENT_API_KEY"), help="default: DETENT_API_KEY")
    parser.add_argument("--users", type=int, default=10, help="at once (default 10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which new chats begin (default 60)")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds of one attempt (default 30)")
    parser.add_argument("--message", default="Where is my invoice?", help="what is asked; a number is added")
    parser.add_argument("--p95-s", type=float, default=4.0, help="target of a chat, retries included (default 4.0)")
    parser.add_argument("--timeouts", type=float, default=0.01, help="target: share of chats (default 0.01)")
    parser.add_argument("--errors", type=float, default=0.005, help="target: share of chats (default 0.005)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse_args(arguments)
    tally, seconds = load(options)
    n = tally.n
    figures: dict[str, Any] = {
        "users": options.users,
        "seconds": round(seconds, 1),
        "chats": n,
        "chats_per_second": round(len(tally.ms) / seconds, 2) if seconds else 0.0,
        "p95_ms": round(p95(tally.ms), 1) if tally.ms else None,
        "first_piece_p95_ms": round(p95(tally.first_ms), 1) if tally.first_ms else None,
        "timeout_share": round(tally.n_timeouts / n, 4) if n else None,
        "error_share": round(tally.n_failed / n, 4) if n else None,
        "repeated": tally.n_repeated,
        "why": tally.why,
    }
    missed = [
        name
        for name, value, most in (
            ("p95_ms", figures["p95_ms"], 1000 * options.p95_s),
            ("timeout_share", figures["timeout_share"], options.timeouts),
            ("error_share", figures["error_share"], options.errors),
        )
        if value is None or value > most
    ]
    if options.json:
        print(json.dumps({**figures, "missed": missed}))
    else:
        for name, value in figures.items():
            print(f"{name:<20}{value}{'   MISSED' if name in missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
