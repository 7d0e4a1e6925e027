"""Prompts, open or filled in, and the snapshot without FastAPI, and without any layer, task, or waiting: what stands in
every request's path does no more than its answer needs.

Only the plain case is answered here, a sound request by a caller who may for a family that is served. All else, each
refusal among it, is left to the route of the same path (``routes/serving.py``): nothing has been counted by then, and
what is wrong with a request is said in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import structlog
from pydantic import ValidationError
from starlette import types
from starlette.types import Receive, Scope

from api.access.auth import Caller, Keys, without_key
from api.access.local_door import hosts_here
from api.http.bodies import QUICK_BYTES, checked, read_json
from api.http.body_limits import BodyLimit, limit_of
from api.http.etags import is_listed
from api.http.in_flight import InFlight, Passage
from api.http.request_ids import REQUEST_ID, new_request_id
from api.http.safe_headers import RAW, RAW_CSP
from api.prompt import ServedFamily
from api.schemas import RenderBody
from api.served import MAX_UNIT_CHARS, Served, count, decide
from api.services import Services
from optimizer.core.base.errors import DetentError, TooMany
from optimizer.core.family.rendering import fill, long_inputs
from optimizer.core.family.variant import Message
from optimizer.core.models.injection import injection_signs, texts_in
from optimizer.core.serving.access import Role, hash_of
from optimizer.host.ports_in_use import is_loopback

OF_API, BEFORE, PROMPT, RENDER, SNAPSHOT = b"/v1/", b"/v1/families/", b"/prompt", b"/render", b"/v1/snapshot"
RENDER_PATH = "/v1/families/{family}/render"
CACHING = {"Cache-Control": "private, no-cache", "Vary": "X-Detent-Unit, Authorization, X-API-Key"}
Headers = tuple[tuple[bytes, bytes], ...]
Told = tuple[int, bytes, bytes]  # status, headers as they are sent, body
CONSTANT: Headers = (*((name.lower().encode(), value.encode()) for name, value in CACHING.items()), *RAW, RAW_CSP)
CONSTANT_OF_RENDER: Headers = ((b"cache-control", b"no-store"), *RAW, RAW_CSP)
JSON = (b"content-type", b"application/json")
JSON_LINE = b"%b: %b\r\n" % JSON
# Without keys any further header may be a browser's or a proxy's: then the ordinary route looks at them all.
OF_PROGRAMS = frozenset(b"accept accept-encoding accept-language connection user-agent".split())
FOR_OTHERS = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
PLAIN_MEMBERS = frozenset(("unit", "variables", "history"))
MOST_DIGITS = len(str(QUICK_BYTES))  # of a length: zeros in front may be as many as a header holds
NO_UNIT = "\0"  # is none, as no unit is without characters

log = structlog.get_logger("api")


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
    agent: bytes = b""
    is_plain: bool = True  # nothing that a browser or a proxy might have added
    is_keyed: bool = False  # by an Idempotency-Key

    @property
    def secret(self) -> str | None:
        scheme, _, value = (self.authorization or b"").partition(b" ")
        found = value.strip() if scheme.lower() == b"bearer" else b""
        return (found or self.key or b"").decode("latin-1") or None


class PlainBody(NamedTuple):
    """What ``render`` is sent, as ``RenderBody`` has it."""

    unit: str | None
    variables: dict[str, Any]
    history: Sequence[Message] = ()


@dataclass(slots=True)
class Asked:
    """A prompt, a filled-in one or the snapshot, of which the path and the headers are sound."""

    how: Callable[[Quick, Services, Asked, Scope, bytes], Told | None]
    sent: Sent
    family: str = ""
    query: bytes = b""


class Quick:
    """Answers what is plain in one step once all of it has come; ``shared`` is given when the process has opened it."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self.shared: Services | None = None
        self._of_render: BodyLimit | None = None

    def asked(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Asked | None:
        path, _, query = target.partition(b"?")
        if self.shared is None or b"#" in target or not path.startswith(OF_API):
            return None
        if method == b"GET":
            if path.endswith(PROMPT) and path.startswith(BEFORE):
                sent = read_headers(headers)
                family = path[len(BEFORE) : -len(PROMPT)].decode("latin-1")
                return Asked(Quick._prompt, sent, family, query) if sent is not None else None
            sent = read_headers(headers) if path == SNAPSHOT and not query else None
            return Asked(Quick._snapshot, sent) if sent is not None else None
        if method == b"POST" and path.endswith(RENDER) and path.startswith(BEFORE) and not query:
            sent = read_headers(headers, with_a_body=True)
            family = path[len(BEFORE) : -len(RENDER)].decode("latin-1")
            return Asked(Quick._filled, sent, family) if sent is not None else None
        return None

    def answer(self, asked: Asked, scope: Scope, body: bytes) -> Told | None:
        """The answer, its fetch counted; or None for the ordinary route to answer."""
        assert self.shared is not None  # else nothing is asked for here
        try:
            return asked.how(self, self.shared, asked, scope, body)
        except (DetentError, ValidationError):  # nothing was counted, and the ordinary route says what is wrong
            return None
        except Exception as error:  # a fault of this path alone would only make answers slow
            log.error("not answered at once", family=asked.family, error=str(error), exc_info=error)
            return None

    def _prompt(self, shared: Services, asked: Asked, scope: Scope, body: bytes) -> Told | None:
        sent, served, now = asked.sent, shared.serving.now_served, shared.clock.now()
        family, unit = served.families.get(asked.family), _unit(asked.query, sent.unit)
        if family is None or unit == NO_UNIT:
            return None
        caller = self._caller(shared, scope, sent, served.keys, now, family.name)
        if caller is None:
            return None
        found = decide(shared, family, unit, now)
        prebuilt, token = family.prebuilt(found.choice), found.token.encode()
        if not shared.request_limits.count_held(caller, now):
            return None
        count(shared, found)
        return _cached(prebuilt.etag, prebuilt.with_token(token), sent, b"x-detent-assignment: %b\r\n" % token)

    def _snapshot(self, shared: Services, asked: Asked, scope: Scope, body: bytes) -> Told | None:
        served, now = shared.serving.now_served, shared.clock.now()
        caller = self._caller(shared, scope, asked.sent, served.keys, now)
        found = shared.snapshots.of(served.families, caller.access, now) if caller is not None else None
        if caller is None or found is None or not shared.request_limits.count_held(caller, now):
            return None
        return _cached(found.etag, found.body, asked.sent)

    def _filled(self, shared: Services, asked: Asked, scope: Scope, body: bytes) -> Told | None:
        """None, or an error that says nothing, for a body that the ordinary route has to look at."""
        served, now = shared.serving.now_served, shared.clock.now()
        family, limit = served.families.get(asked.family), self._of_render
        if limit is None:
            limit = self._of_render = limit_of(RENDER_PATH, shared.settings.limits)
        if family is None or len(body) > limit.n_bytes:
            return None
        caller = self._caller(shared, scope, asked.sent, served.keys, now, family.name, len(body))
        if caller is None:
            return None
        given = read_render(body, limit)
        if family.definition is not None and long_inputs(family.definition, given.variables):
            return None  # it is cut, which the answer says, or refused
        found = decide(shared, family, given.unit, now)
        if not family.variants[found.choice.variant].messages:
            return None
        made = _fill(family, found, given)
        if not shared.request_limits.count_held(caller, now):
            return None
        count(shared, found)
        own = b"content-length: %d\r\n%b%b" % (len(made), JSON_LINE, id_line(asked.sent))
        return 200, own + as_sent(CONSTANT_OF_RENDER), made

    def _caller(
        self,
        shared: Services,
        scope: Scope,
        sent: Sent,
        keys: Keys | None,
        now: datetime,
        family: str | None = None,
        n_bytes: int = 0,
    ) -> Caller | None:
        """None for a caller who may not, or has too much in work."""
        caller = caller_at(scope, sent, keys, shared.actor_without_key, now) if keys is not None else None
        if caller is None or not may(caller, family) or not self._in_flight.has_room(caller.quota, n_bytes):
            return None
        return caller


def _cached(etag: str, body: bytes, sent: Sent, own: bytes = b"") -> Told:
    """The body, or 304 for who has it."""
    raw = b"etag: %b\r\n%b%b%b" % (etag.encode(), own, id_line(sent), as_sent(CONSTANT))
    if sent.etags is not None and is_listed(etag, sent.etags.decode("latin-1")):
        return 304, raw, b""
    return 200, b"content-length: %d\r\n%b%b" % (len(body), JSON_LINE, raw), body


def read_render(body: bytes, limit: BodyLimit) -> RenderBody | PlainBody:
    """Raises what the ordinary route raises."""
    value = read_json(body, limit)
    return plain_body(value, body) or RenderBody.model_validate(checked(value))


def plain_body(value: Any, body: bytes) -> PlainBody | None:
    """A unit and texts, as nearly all bodies are, in which neither schema nor rules of bodies would find a fault."""
    if type(value) is not dict or b"\\u0000" in body or not PLAIN_MEMBERS.issuperset(value):
        return None
    unit, variables = value.get("unit"), value.get("variables")
    is_unit = unit is None or (type(unit) is str and 0 < len(unit) <= MAX_UNIT_CHARS)
    if not is_unit or type(variables) is not dict or value.get("history", []) != []:
        return None
    return PlainBody(unit, variables) if all([type(text) is str for text in variables.values()]) else None


def _fill(family: ServedFamily, found: Served, given: RenderBody | PlainBody) -> bytes:
    definition, unfilled, token = family.definition, family.unfilled(found.choice), found.token.encode()
    variables, signs = given.variables, signs_of(given.variables, given.history)
    made = unfilled.filled_with(variables, token, signs) if not given.history else None
    if made is not None:
        return made
    declared = definition.inputs if definition is not None else None
    return unfilled.filled(fill(unfilled.messages, variables, given.history, declared=declared), token, signs)


def signs_of(variables: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Signs of injection in what a user may have written."""
    said = [turn.get("content") for turn in history if turn.get("role") in ("user", "tool")]
    return injection_signs(texts_in([*variables.values(), *said]))


def received_again(message: types.Message | None, receive: Receive) -> Receive:
    """Receives the message first that has been received already."""
    waiting = [message] if message is not None else []

    async def received() -> types.Message:
        return waiting.pop() if waiting else await receive()

    return received


def id_line(sent: Sent) -> bytes:
    return b"x-request-id: %b\r\n" % (sent.id or new_request_id().encode())


def id_header(sent: Sent) -> tuple[bytes, bytes]:
    return b"x-request-id", sent.id or new_request_id().encode()


def read_headers(headers: Iterable[tuple[bytes, bytes]], *, with_a_body: bool = False) -> Sent | None:
    """None for a request that names itself two hosts, wants another protocol, or brings a body; with ``with_a_body``
    for one that is long or not said to be JSON.
    """
    sent, types = Sent(), []
    for name, value in headers:
        if name == b"user-agent":
            sent.agent = value
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
            if not value.isdigit() or len(value) > MOST_DIGITS or int(value) > QUICK_BYTES:
                return None
        elif name in FOR_OTHERS:
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
    return without_key(actor_without_key, host, sent.agent.decode("latin-1")) if named in known else None


def caller_now(scope: Scope, sent: Sent, shared: Services) -> Caller | None:
    """As ``caller_at``, by the keys of this moment."""
    keys = shared.serving.now_served.keys
    return None if keys is None else caller_at(scope, sent, keys, shared.actor_without_key, shared.clock.now())


def short_body(
    scope: Scope, message: types.Message, sent: Sent, caller: Caller, shared: Services, passage: Passage
) -> bytes | None:
    """A whole short body, counted, of a caller who is still the one that was admitted; None for what the ordinary route
    has to look at, or to refuse. Raises TooMany or Busy where its sender has too much in work.
    """
    body: bytes = message.get("body", b"")
    if message["type"] != "http.request" or message.get("more_body", False) or len(body) > QUICK_BYTES:
        return None
    if caller_now(scope, sent, shared) != caller or len(body) > limit_of(scope["path"], shared.settings.limits).n_bytes:
        return None
    passage.take(len(body))
    return body


def may(caller: Caller, family: str | None, role: Role = "serve") -> bool:
    return caller.access.reaches(role) and (family is None or caller.access.may_see(family))


def admitted(caller: Caller, family: str | None, in_flight: InFlight, role: Role = "serve") -> Passage | None:
    """None for a caller who may not, or has too much in work."""
    if not may(caller, family, role):
        return None
    passage = Passage(in_flight)
    try:
        passage.admit(caller.quota)
    except TooMany:
        return None
    return passage
