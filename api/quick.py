"""The prompt of a unit without FastAPI, and without any layer: what stands in every request's path does no more than
its answer needs.

Only the plain case is answered here, a GET by a caller who may for a family that is served. All else, each refusal
among it, is left to the route of the same path (``routes/serving.py``): nothing has been counted by then, and what is
wrong with a request is said in one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote_plus

from starlette.types import Scope, Send

from api.access.auth import Caller, Keys, without_key
from api.access.local_door import hosts_here
from api.http.connections import AT_ONCE
from api.http.etags import is_listed
from api.http.in_flight import InFlight, Passage
from api.http.request_ids import REQUEST_ID, new_request_id
from api.http.safe_headers import RAW, RAW_CSP
from api.served import MAX_UNIT_CHARS, serve_family
from api.services import Services
from optimizer.core.base.errors import TooMany
from optimizer.core.serving.access import hash_of
from optimizer.host.ports_in_use import is_loopback

BEFORE, AFTER = "/v1/families/", "/prompt"
CACHING = {"Cache-Control": "private, no-cache", "Vary": "X-Detent-Unit, Authorization, X-API-Key"}
CONSTANT = (*((name.lower().encode(), value.encode()) for name, value in CACHING.items()), *RAW, RAW_CSP)
RAW_CONSTANT = b"".join(b"%b: %b\r\n" % header for header in CONSTANT)
JSON = (b"content-type", b"application/json")
# Without keys any further header may be a browser's or a proxy's: then the ordinary route looks at them all.
OF_PROGRAMS = frozenset(b"accept accept-encoding accept-language connection content-type user-agent".split())
WITH_A_BODY = frozenset((b"content-length", b"transfer-encoding", b"expect"))
NO_UNIT = "\0"  # is none, as no unit is without characters

is_of_this_machine = lru_cache(maxsize=1024)(is_loopback)
hosts_of_server = lru_cache(maxsize=64)(hosts_here)


@dataclass(slots=True)
class Sent:
    """What the headers of a request say that matters here; the first of each, as everywhere."""

    authorization: bytes | None = None
    key: bytes | None = None
    unit: bytes | None = None
    host: bytes | None = None
    etags: bytes | None = None
    id: bytes | None = None
    is_plain: bool = True  # nothing that a browser or a proxy might have added

    @property
    def secret(self) -> str | None:
        scheme, _, value = (self.authorization or b"").partition(b" ")
        found = value.strip() if scheme.lower() == b"bearer" else b""
        return (found or self.key or b"").decode("latin-1") or None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    own: list[tuple[bytes, bytes]]
    body: bytes
    passage: Passage

    async def send(self, scope: Scope, send: Send) -> None:
        try:
            at_once = scope.get("extensions", {}).get(AT_ONCE)
            raw = b"".join([b"%b: %b\r\n" % header for header in self.own]) + RAW_CONSTANT
            if at_once is None or not at_once(scope, self.status, raw, self.body):
                headers = [*self.own, *CONSTANT]
                await send({"type": "http.response.start", "status": self.status, "headers": headers})
                await send({"type": "http.response.body", "body": self.body})
        finally:
            self.passage.end()


def quick_prompt(scope: Scope, shared: Services, in_flight: InFlight) -> Answer | None:
    """The answer, its fetch counted; or None for the ordinary route to answer."""
    path: str = scope["path"]
    served = shared.serving.now_served
    family = served.families.get(path[len(BEFORE) : -len(AFTER)])
    sent = _read(scope["headers"])
    if family is None or sent is None or served.keys is None:
        return None
    unit, now = _unit(scope["query_string"], sent.unit), shared.clock.now()
    caller = _caller(scope, sent, served.keys, shared.actor_without_key, now)
    if unit == NO_UNIT or caller is None:
        return None
    passage = _passage(caller, family.name, in_flight)
    if passage is None:
        return None
    if not shared.request_limits.count_held(caller, now):
        passage.end()
        return None
    found = serve_family(shared, family, unit, now)
    prebuilt, token = family.prebuilt(found.choice), found.token.encode()
    id = sent.id or new_request_id().encode()
    own = [(b"etag", prebuilt.etag.encode()), (b"x-detent-assignment", token), (b"x-request-id", id)]
    if sent.etags is not None and is_listed(prebuilt.etag, sent.etags.decode("latin-1")):
        return Answer(304, own, b"", passage)
    body = prebuilt.with_token(token)
    return Answer(200, [(b"content-length", b"%d" % len(body)), JSON, *own], body, passage)


def is_prompt(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    path: str = scope["path"]
    return path.endswith(AFTER) and path.startswith(BEFORE)


def _read(headers: Iterable[tuple[bytes, bytes]]) -> Sent | None:
    """None for a request that brings a body, or names itself two hosts."""
    sent = Sent()
    for name, value in headers:
        if name in OF_PROGRAMS:
            continue
        if name == b"host":
            if sent.host is not None:
                return None
            sent.host = value
        elif name == b"authorization":
            sent.authorization = value if sent.authorization is None else sent.authorization
        elif name == b"x-api-key":
            sent.key = value if sent.key is None else sent.key
        elif name == b"x-detent-unit":
            sent.unit = value if sent.unit is None else sent.unit
        elif name == b"if-none-match":
            sent.etags = value if sent.etags is None else sent.etags
        elif name == b"x-request-id":
            sent.id = value if REQUEST_ID.fullmatch(value) else sent.id
        elif name in WITH_A_BODY:
            return None
        else:
            sent.is_plain = False
    return sent


def _unit(query: bytes, header: bytes | None) -> str | None:
    """The unit as ``served.unit_of`` reads it; NO_UNIT where that has to say what is wrong."""
    from_query = None
    if query:
        if not query.startswith(b"unit=") or b"&" in query or not query.isascii():
            return NO_UNIT
        from_query = unquote_plus(query[5:].decode())
    try:
        unit = header.decode() if header is not None else from_query
    except UnicodeDecodeError:
        return NO_UNIT
    if unit is None:
        return None
    fits = 0 < len(unit) <= MAX_UNIT_CHARS and (from_query is None or from_query == unit)
    return unit if fits else NO_UNIT


def _caller(scope: Scope, sent: Sent, keys: Keys, actor_without_key: str, now: datetime) -> Caller | None:
    """None where the ordinary route has to look, or to refuse."""
    host = scope["client"][0] if scope["client"] else None
    if keys.any_exist:
        secret = sent.secret
        opens = keys.by_hash.get(hash_of(secret)) if secret is not None else None
        return opens.caller if opens is not None and not opens.is_over(now) else None
    if not sent.is_plain or scope["http_version"] != "1.1" or not is_of_this_machine(host):
        return None
    named, server = (sent.host or b"").decode("latin-1").lower(), scope.get("server")
    known = hosts_of_server(tuple(server) if server else None)
    return without_key(actor_without_key, host) if named in known else None


def _passage(caller: Caller, family: str, in_flight: InFlight) -> Passage | None:
    """None for a caller who may not, or has too much in work."""
    if not caller.access.reaches("serve") or not caller.access.may_see(family):
        return None
    passage = Passage(in_flight)
    try:
        passage.admit(caller.quota)
    except TooMany:
        return None
    return passage
