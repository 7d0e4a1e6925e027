"""Random requests to the hot routes, sent over a socket to the api of the kept home, so that what connections answer at
once is answered there. Of each answer status, headers and body are kept, the last two as hashes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from api.access.limits import MinuteWindows
from api.access.wrong_keys import WrongKeys
from api.app import create_app
from api.gateway.app import create_gateway
from tests.recordings.fixed import fixed, no_loops
from tests.recordings.home import KEPT, PREFIX, clock_then, migrated
from tests.stand_ins.faulty_provider import faulty_provider
from tests.worlds.gateway_world import serving

HOT = KEPT / "hot_requests.txt"
N, FEW = 20_000, 500
PER_LINE = 20
OWN_HEADERS = {"date", "x-request-id", "x-detent-assignment", "x-detent-interaction"}  # of each answer alone
OWN_VALUES = re.compile(r'"(id|interaction|assignment|request_id|created|latency_ms)":\s?("[^"]*"|[\d.]+)')
FAMILIES = ("triage", "triage", "triage", "topics", "summarization", "cascades", "old", "new", "gone", "no such", "ä")
KEYS = ("application",) * 12 + ("server", "boss", "boss", "reader", "gone", "no such", "")
UNITS = ("u1", "u9", "ü ö", "a/b", "", " ", "x" * 513, "\u0000", "%", "日本")
Asked = tuple[str, str, dict[str, str], bytes]  # method, path, headers, body


class Users:
    """Draws the requests one after the other; tokens and tags of earlier answers come back in later ones."""

    def __init__(self, seed: int = 33) -> None:
        self._draw = Random(seed)
        self.tokens: list[str] = ["no.token"]
        self.etag = '"x"'

    def next(self) -> Asked:
        d = self._draw
        kind = d.choices(
            (self._prompt, self._render, self._snapshot, self._feedback, self._interactions, self._chat),
            (45, 20, 5, 15, 11, 4),
        )[0]
        method, path, headers, body = kind()
        key = d.choice(KEYS)
        if key:
            headers |= {"X-API-Key": f"secret-{key}"} if d.random() < 0.2 else {"Authorization": f"Bearer secret-{key}"}
        if d.random() < 0.3:
            headers["X-Request-ID"] = d.choice(("mine-1", "x" * 300, "ä"))
        if d.random() < 0.02:
            headers["Origin"] = "http://example.com"
        if d.random() < 0.02:
            method = d.choice(("HEAD", "PUT", "OPTIONS", "DELETE"))
        return method, path, headers, body

    def _unit(self) -> str:
        return f"u{self._draw.randrange(2000)}" if self._draw.random() < 0.8 else self._draw.choice(UNITS)

    def _prompt(self) -> Asked:
        d, path = self._draw, f"/v1/families/{quote(self._family())}/prompt"
        query = d.choices(("", f"?unit={quote(self._unit())}", "?unit=a&unit=b", "?unit=u1&other=1"), (6, 88, 3, 3))[0]
        return "GET", path + query, {"If-None-Match": self.etag} if d.random() < 0.05 else {}, b""

    def _render(self) -> Asked:
        d = self._draw
        text = d.choice(("An invoice?", "long " * 40, "", "{{text}}", "ä\u2028", 7, None))
        body: Any = {"unit": self._unit(), "variables": {d.choice(("text", "text", "document", "other")): text}}
        if d.random() < 0.1:
            body = d.choice(({}, [], {"variables": {}}, {**body, "history": [{"role": "user", "content": "x"}]}))
        return "POST", f"/v1/families/{quote(self._family())}/render", *self._json(body)

    def _snapshot(self) -> Asked:
        return "GET", "/v1/snapshot", {"If-None-Match": self.etag} if self._draw.random() < 0.5 else {}, b""

    def _feedback(self) -> Asked:
        return self._events("/v1/feedback", lambda: {"success": self._draw.random() < 0.5})

    def _interactions(self) -> Asked:
        said = {"output": "billing", "latency_ms": 12.5, "input": {"text": "Invoice of ann@example.com"}}
        return self._events("/v1/interactions", lambda: dict(said))

    def _events(self, path: str, make: Any) -> Asked:
        d, events = self._draw, list[Any]()
        for _ in range(d.choice((1, 1, 1, 2, 5))):
            event = make()
            arm = {"assignment": d.choice(self.tokens[-50:])}
            event |= arm if d.random() < 0.6 else {"family": self._family(), "unit": self._unit()}
            if d.random() < 0.3:
                event["id"] = f"e{d.randrange(200)}"
            if d.random() < 0.2:
                odd = {"score": d.choice((0.5, 2, "x")), "source": "person", "interaction": "in_1", "other": 1}
                name = d.choice(list(odd))
                event[name] = odd[name]
            events.append(event if d.random() < 0.97 else d.choice((None, 3, [])))
        headers, body = self._json(events[0] if len(events) == 1 and d.random() < 0.8 else events)
        if d.random() < 0.2:
            headers["Idempotency-Key"] = d.choice((f"k{d.randrange(300)}", "", "x" * 300))
        return "POST", path, headers, body

    def _chat(self) -> Asked:
        d = self._draw
        body: Any = {"model": self._family(), "user": self._unit(), "messages": [{"role": "user", "content": "Why?"}]}
        odd = {"messages": [], "stream": True, "temperature": 3, "n": 2, "user": None, "model": "embedded"}
        if d.random() < 0.3:
            name = d.choice(list(odd))
            body[name] = odd[name]
        return "POST", "/v1/chat/completions", *self._json(body)

    def _family(self) -> str:
        return self._draw.choice(FAMILIES)

    def _json(self, value: Any) -> tuple[dict[str, str], bytes]:
        d, body = self._draw, json.dumps(value).encode()
        if d.random() < 0.03:
            body = d.choice((b"{", b"", b"[1e999]", b'{"a": NaN}', b"\xff", b"[" * 100, b'{"a": "\\u0000"}'))
        kind = d.choices(("application/json", "text/plain", "application/x-www-form-urlencoded", ""), (94, 2, 2, 2))[0]
        return ({"Content-Type": kind} if kind else {}), body


def answers(n: int) -> Iterator[tuple[Asked | None, str, str]]:
    """Each request, its answer as kept, and as it is; last what was counted."""
    with ExitStack() as place:
        folder = place.enter_context(TemporaryDirectory(prefix=PREFIX))
        place.enter_context(fixed(clock_then()))
        for loops in ("api.app.running_loops", "api.gateway.app.running_loops"):
            place.enter_context(patch(loops, no_loops))
        settings = migrated(Path(folder))
        behind = place.enter_context(faulty_provider())
        behind.pieces = ["billing"]
        model = {"openai_compatible": behind.url, "model": "m", "retries": 0, "max_output_tokens": 8}
        (settings.models_file).write_text(json.dumps(dict.fromkeys(("embedded", "fake", "cheap", "strong"), model)))
        gateway, app = create_gateway(settings), create_app(settings)
        url = place.enter_context(serving(gateway, settings))
        (settings.run_dir() / "gateway.json").write_text(json.dumps({"pid": 1, "url": url}), encoding="utf-8")
        api = place.enter_context(serving(app, settings))
        for shared in (app.state.services, gateway.state.services):
            shared.wrong_keys = WrongKeys(now=partial(next, count(0, 20)))  # s from one wrong key to the next
            shared.event_windows = MinuteWindows(10_000_000, "events", now=lambda: 0.0)
        connection, users = HTTPConnection(api.removeprefix("http://"), timeout=60), Users()
        place.callback(connection.close)
        for _ in range(n):
            asked = users.next()
            method, path, headers, body = asked
            sent = {name: value.encode("utf-8") for name, value in headers.items()}
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            yield asked, *_kept(answer.status, answer.getheaders(), answer.read(), users)
        store = app.state.services.store
        for one in (app, gateway):
            one.state.services.exposures.flush(store)
        with store.read() as tx:
            named, ids = sorted({*FAMILIES}), [f"e{i}" for i in range(200)]
            counted = [[asdict(arm) for arm in store.exposures.totals(tx, name, None)] for name in named]
            events = [len(store.events.known(tx, [(name, id) for id in ids])) for name in named]
        told = json.dumps([counted, events], default=str, sort_keys=True)
        yield None, told, told


def _kept(status: int, headers: list[tuple[str, str]], body: bytes, users: Users) -> tuple[str, str]:
    said = {name.lower(): value for name, value in headers}
    try:
        told = json.loads(body)
        if isinstance(told, dict) and "assignment" in told and "messages" in told:
            users.tokens.append(told["assignment"])
    except ValueError:
        told = None
    if status == 200 and b'"families"' in body[:20]:
        users.etag = said.get("etag", users.etag)
    text = body.decode("utf-8", "replace")
    if "choices" in text[:2000] or "x-detent-interaction" in said:
        text = OWN_VALUES.sub("", text)
        said.pop("content-length", None)
    if '"request_id"' in text:
        text = re.sub(r'"request_id":\s?"[0-9a-z]{26}"', "", text)
    heads = "\n".join(f"{name}: {value}" for name, value in sorted(said.items()) if name not in OWN_HEADERS)
    return f"{status}{_hash(heads)[:4]}{_hash(text)[:6]}", f"{status}\n{heads}\n\n{text}"


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def write_hot_requests() -> None:
    """Twenty to a line; then what was counted, after few and after all."""
    (*few, counted_few), (*all_, counted) = ([kept for _, kept, _ in answers(n)] for n in (FEW, N))
    assert all_[:FEW] == few, "the same requests, the same answers"
    lines = [" ".join(all_[start : start + PER_LINE]) for start in range(0, N, PER_LINE)]
    HOT.write_text("\n".join([*lines, counted_few, counted]) + "\n", encoding="utf-8")


def differing(n: int) -> list[str]:
    """The requests that are answered otherwise than they were, and how."""
    *lines, counted_few, counted = HOT.read_text(encoding="utf-8").splitlines()
    before = [*" ".join(lines).split()[:n], counted_few if n == FEW else counted]
    told = []
    for place, (kept, (asked, now, answer)) in enumerate(zip(before, answers(n), strict=True)):
        if kept != now:
            parts = zip(("status", "headers", "body"), (slice(3), slice(3, 7), slice(7, None)), strict=True)
            what = ", ".join(name for name, part in parts if kept[part] != now[part])
            what = f"request {place}: other {what if asked else 'counts'}: {asked}"
            told.append(f"{what}\nis now answered {answer[:1500]}")
    return told
