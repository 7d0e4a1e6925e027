"""Prompts, open or filled in, and the snapshot without FastAPI, and without any layer: what stands in every request's
path does no more than its answer needs.

Only the plain case is answered here, a sound request by a caller who may for a family that is served. All else, each
refusal among it, is left to the route of the same path (``routes/serving.py``): nothing has been counted by then, and
what is wrong with a request is said in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from api.access.auth import Caller, Keys, without_key
from api.access.local_door import hosts_here
from api.http.bodies import QUICK_BYTES, checked, read_json
from api.http.body_limits import limit_of
from api.http.connections import AT_ONCE
from api.http.etags import is_listed
from api.http.in_flight import InFlight, Passage
from api.http.request_ids import REQUEST_ID, new_request_id
from api.http.safe_headers import RAW, RAW_CSP
from api.prompt import ServedFamily
from api.schemas import RenderBody
from api.served import MAX_UNIT_CHARS, Served, count, decide, serve_family
from api.services import Services
from optimizer.core.base.errors import DetentError, TooMany
from optimizer.core.family.rendering import clip_inputs, fill
from optimizer.core.models.injection import injection_signs, texts_in
from optimizer.core.serving.access import Role, hash_of
from optimizer.host.ports_in_use import is_loopback

BEFORE, PROMPT, RENDER, SNAPSHOT = "/v1/families/", "/prompt", "/render", "/v1/snapshot"
RENDER_PATH = BEFORE + "{family}" + RENDER
CACHING = {"Cache-Control": "private, no-cache", "Vary": "X-Detent-Unit, Authorization, X-API-Key"}
Headers = tuple[tuple[bytes, bytes], ...]
CONSTANT: Headers = (*((name.lower().encode(), value.encode()) for name, value in CACHING.items()), *RAW, RAW_CSP)
CONSTANT_OF_RENDER: Headers = ((b"cache-control", b"no-store"), *RAW, RAW_CSP)
JSON = (b"content-type", b"application/json")
# Without keys any further header may be a browser's or a proxy's: then the ordinary route looks at them all.
OF_PROGRAMS = frozenset(b"accept accept-encoding accept-language connection user-agent".split())
WITH_A_BODY = frozenset((b"content-length", b"transfer-encoding", b"expect"))
NO_UNIT = "\0"  # is none, as no unit is without characters


@lru_cache(maxsize=8)
def as_sent(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


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
    is_keyed: bool = False  # by an Idempotency-Key

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
    constant: Headers = CONSTANT

    async def send(self, scope: Scope, send: Send) -> None:
        try:
            at_once = scope.get("extensions", {}).get(AT_ONCE)
            raw = b"".join([b"%b: %b\r\n" % header for header in self.own]) + as_sent(self.constant)
            if at_once is None or not at_once(scope, self.status, raw, self.body):
                headers = [*self.own, *self.constant]
                await send({"type": "http.response.start", "status": self.status, "headers": headers})
                await send({"type": "http.response.body", "body": self.body})
        finally:
            self.passage.end()


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose prompt is to be filled in for whom, as it stands at a moment."""

    family: ServedFamily
    caller: Caller
    now: datetime


def is_quick(scope: Scope) -> bool:
    """Whether ``quick`` has an answer to this path."""
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    if scope["method"] == "GET":
        return (path.endswith(PROMPT) and path.startswith(BEFORE)) or path == SNAPSHOT
    return scope["method"] == "POST" and path.endswith(RENDER) and path.startswith(BEFORE)


def quick_prompt(scope: Scope, shared: Services, in_flight: InFlight) -> Answer | None:
    """The answer, its fetch counted; or None for the ordinary route to answer. So for the snapshot."""
    path: str = scope["path"]
    if path == SNAPSHOT:
        return _snapshot(scope, shared, in_flight)
    served = shared.serving.now_served
    family = served.families.get(path[len(BEFORE) : -len(PROMPT)])
    sent = read_headers(scope["headers"])
    if family is None or sent is None or served.keys is None:
        return None
    unit, now = _unit(scope["query_string"], sent.unit), shared.clock.now()
    caller = caller_at(scope, sent, served.keys, shared.actor_without_key, now)
    if unit == NO_UNIT or caller is None:
        return None
    passage = admitted(caller, family.name, in_flight)
    if passage is None:
        return None
    if not shared.request_limits.count_held(caller, now):
        passage.end()
        return None
    found = serve_family(shared, family, unit, now)
    prebuilt, token = family.prebuilt(found.choice), found.token.encode()
    return _cached(prebuilt.etag, prebuilt.with_token(token), sent, passage, (b"x-detent-assignment", token))


def _snapshot(scope: Scope, shared: Services, in_flight: InFlight) -> Answer | None:
    served, sent, now = shared.serving.now_served, read_headers(scope["headers"]), shared.clock.now()
    if sent is None or served.keys is None or scope["query_string"]:
        return None
    caller = caller_at(scope, sent, served.keys, shared.actor_without_key, now)
    if caller is None:
        return None
    passage = admitted(caller, None, in_flight)
    if passage is None:
        return None
    if not shared.request_limits.count_held(caller, now):
        passage.end()
        return None
    found = shared.snapshots.of(served.families, caller.access, now)
    return _cached(found.etag, found.body, sent, passage)


def _cached(etag: str, body: bytes, sent: Sent, passage: Passage, *own: tuple[bytes, bytes]) -> Answer:
    """The body, or 304 for who has it."""
    headers = [(b"etag", etag.encode()), *own, id_header(sent)]
    if sent.etags is not None and is_listed(etag, sent.etags.decode("latin-1")):
        return Answer(304, headers, b"", passage)
    return Answer(200, [(b"content-length", b"%d" % len(body)), JSON, *headers], body, passage)


async def quick_render(
    scope: Scope, receive: Receive, shared: Services, in_flight: InFlight
) -> tuple[Answer | None, Receive]:
    """The answer, its fetch counted; or None for the ordinary route, and what that has to receive from."""
    sent = read_headers(scope["headers"], with_a_body=True)
    asked = _asked(scope, shared, sent) if sent is not None and not scope["query_string"] else None
    passage = admitted(asked.caller, asked.family.name, in_flight) if asked is not None else None
    if sent is None or asked is None or passage is None:
        return None, receive
    message: Message | None = None
    try:
        message = await receive()  # may take a minute: family, key and time are asked for again
        caller, asked = asked.caller, _asked(scope, shared, sent)
        if asked is not None and asked.caller == caller:
            answer = _rendered(message, asked, shared, sent, passage)
            if answer is not None and shared.request_limits.count_held(caller, asked.now):
                count(shared, answer[0])
                return answer[1], receive
    except (DetentError, ValidationError):
        pass
    except BaseException:
        passage.end()
        raise
    passage.end()
    return None, received_again(message, receive)


def _asked(scope: Scope, shared: Services, sent: Sent) -> Asked | None:
    served, now = shared.serving.now_served, shared.clock.now()
    family = served.families.get(scope["path"][len(BEFORE) : -len(RENDER)])
    if family is None or served.keys is None:
        return None
    caller = caller_at(scope, sent, served.keys, shared.actor_without_key, now)
    return Asked(family, caller, now) if caller is not None else None


def _rendered(
    message: Message, asked: Asked, shared: Services, sent: Sent, passage: Passage
) -> tuple[Served, Answer] | None:
    """None, or an error that says nothing, for a body that the ordinary route has to look at."""
    family = asked.family
    body: bytes = message.get("body", b"")
    if message["type"] != "http.request" or message.get("more_body", False) or len(body) > QUICK_BYTES:
        return None
    passage.take(len(body))
    limit = limit_of(RENDER_PATH, shared.settings.limits)
    if len(body) > limit.n_bytes:
        return None
    given = RenderBody.model_validate(checked(read_json(body, limit)))
    found = decide(shared, family, given.unit, asked.now)
    if not family.variants[found.choice.variant].messages:
        return None
    definition, unfilled = family.definition, family.unfilled(found.choice)
    variables = clip_inputs(definition, given.variables) if definition is not None else given.variables
    declared = definition.inputs if definition is not None else None
    messages = fill(unfilled.messages, variables, given.history, declared=declared)
    signs = signs_of(variables, given.history)
    made = unfilled.filled(messages, found.token.encode(), signs)
    headers = [(b"content-length", b"%d" % len(made)), JSON, id_header(sent)]
    return found, Answer(200, headers, made, passage, CONSTANT_OF_RENDER)


def signs_of(variables: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Signs of injection in what a user may have written."""
    said = [turn.get("content") for turn in history if turn.get("role") in ("user", "tool")]
    return injection_signs(texts_in([*variables.values(), *said]))


def received_again(message: Message | None, receive: Receive) -> Receive:
    """Receives the message first that has been received already."""
    waiting = [message] if message is not None else []

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


def id_header(sent: Sent) -> tuple[bytes, bytes]:
    return b"x-request-id", sent.id or new_request_id().encode()


def read_headers(headers: Iterable[tuple[bytes, bytes]], *, with_a_body: bool = False) -> Sent | None:
    """None for a request that names itself two hosts, brings a body, or one that is long or not said to be JSON."""
    sent, types = Sent(), []
    for name, value in headers:
        if name in OF_PROGRAMS:
            continue
        if with_a_body and name == b"content-type":
            types.append(value)
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
        elif name == b"content-length" and with_a_body:
            if not value.isdigit() or int(value[:20]) > QUICK_BYTES:
                return None
        elif name in WITH_A_BODY:
            return None
        elif name == b"idempotency-key":
            sent.is_keyed, sent.is_plain = True, False
        elif name != b"content-type":
            sent.is_plain = False
    return sent if not with_a_body or types == [JSON[1]] else None


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


def caller_at(scope: Scope, sent: Sent, keys: Keys, actor_without_key: str, now: datetime) -> Caller | None:
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


def admitted(caller: Caller, family: str | None, in_flight: InFlight, role: Role = "serve") -> Passage | None:
    """None for a caller who may not, or has too much in work."""
    if not caller.access.reaches(role) or (family is not None and not caller.access.may_see(family)):
        return None
    passage = Passage(in_flight)
    try:
        passage.admit(caller.quota)
    except TooMany:
        return None
    return passage
