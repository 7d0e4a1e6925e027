"""JSON bodies, read strictly, so that every value can be stored, hashed and sent on.

What a text costs depends on its values, not its bytes (three bytes, ``[],``, become an object of sixty), so values are
counted before any is made (docs/adr/0017-request-bodies-are-bounded-before-parsing.md).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.requests import Request
from starlette.types import Receive, Scope

from api.http.body_limits import BodyLimit, length_of
from api.http.problems import MalformedBody, UnsupportedMediaType
from optimizer.core.base.errors import MAX_FAULTS, Fault, pointer_of

T = TypeVar("T")
MAX_INTEGER = 2**53 - 1  # what every JSON reader holds exactly (RFC 8785)
MAX_DEPTH = 64  # what looks at a value later goes a few calls deeper with each level
# A longer text is read beside the event loop:
# looking at the eight thousand values that so many bytes may hold takes 10 ms.
QUICK_BYTES = 16_384
QUICK_TEXT_BYTES, QUICK_VALUES = (
    131_072,
    2_000,
)  # a longer text with few values is also quick: it takes half a millisecond
PIECE_BYTES = 1_048_576  # of a body that one step takes: other threads run between two of them
# Lines have no registered type; a client that knows only that it sends a file says octet-stream, or nothing.
LINES_TYPES = frozenset(
    ("", *(f"application/{name}" for name in ("x-ndjson", "ndjson", "x-jsonl", "jsonl", "jsonlines", "octet-stream")))
)
_NO_SIGNS = bytes(set(range(256)) - set(b'",[{'))


class StrictRequest(Request):
    """A request whose body is bounded, and whose ``json()`` refuses what JSON cannot hold everywhere: NaN, infinities,
    huge integers, NUL characters.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: BodyLimit, on_whole: OnWhole | None = None) -> None:
        """``on_whole``: called with this once all of the body has come, before anything is done with it; may raise."""
        super().__init__(scope, receive)
        self.limit, self._on_whole = limit, on_whole
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        # Name, in lower case -> its first header.
        self.first = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(headers)}
        self._query: Mapping[str, str] | None = None

    @property
    def query(self) -> Mapping[str, str]:
        """Name -> its last parameter."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            if "&" in text or "%" in text or "+" in text:
                self._query = dict(parse_qsl(text, keep_blank_values=True))
            else:  # one parameter as it is, as most have it
                name, _, value = text.partition("=")
                self._query = {name: value} if text else {}
        return self._query

    @property
    def media_type(self) -> str:
        """In lower case, without parameters; "" where none is declared."""
        return self.first.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def declared(self) -> int | None:
        """Bytes of the body, as its sender says; None where it does not."""
        length = self.first.get("content-length", "").encode()
        return length_of(length) if length.isdigit() else None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Raises TooLarge once more has come than the route takes; a larger declared length is refused at once."""
        n_bytes = self.declared or 0
        if n_bytes <= self.limit.n_bytes:
            n_bytes = 0
            async for piece in super().stream():
                n_bytes += len(piece)
                if n_bytes > self.limit.n_bytes:
                    break
                yield piece
        if n_bytes > self.limit.n_bytes:
            self.state.headers["Connection"] = "close"  # the rest is not read
            raise self.limit.too_large()
        if self._on_whole is not None:
            self._on_whole(self)

    async def json(self) -> Any:
        if not hasattr(self, "_checked"):
            value = await self.value()
            self._checked = await beside(len(await self.body()), lambda: storable_value(value))
        return self._checked

    async def declared_json(self) -> Any:
        """``json()`` of a body that says what it is; None without a body."""
        if not await self.body():
            return None
        check_media_type(self)
        return await self.json()

    async def value(self) -> Any:
        """The body as JSON, for a route that checks its parts itself."""
        body = await self.body()
        if QUICK_BYTES < len(body) <= QUICK_TEXT_BYTES and _n_separators(body) < QUICK_VALUES:
            return read_json(body, self.limit)
        return await beside(len(body), lambda: read_json(body, self.limit))


OnWhole = Callable[[StrictRequest], object]


async def beside(n_bytes: int, work: Callable[[], T]) -> T:
    """The result of ``work`` on so many bytes, beside the event loop where that may take longer than serving should
    wait.
    """
    return work() if n_bytes <= QUICK_BYTES else await asyncio.to_thread(work)


def read_json(body: bytes, limit: BodyLimit | None = None) -> Any:
    """The value of a JSON text.

    Raises MalformedBody with the position of the fault, and TooLarge before it makes more values than the limit allows.
    """
    if limit is not None and count_values(body, limit.n_values) > limit.n_values:
        raise limit.too_many_values()
    try:  # texts are not looked up among those before: a hostile body repeats none, and this takes half as long
        return from_json(body, allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        raise MalformedBody(f"The body is no JSON text: {error}. Send UTF-8 JSON.") from None


def count_values(body: bytes, enough: int) -> int:
    """At least the number of values in the text, without names of members; for more than ``enough``, some larger
    number.

    Texts inside are skipped only where there might be more than enough, since signs inside them are no values. Each
    step is one pass in C over a piece of the body: a look at each sign costs a hundred times that.
    """
    most = 1 + _n_separators(body)
    if most <= enough:
        return most
    signs = b"".join(map(_signs, _pieces(body)))
    if signs.count(b'"') > 4 * enough:  # more than a name and a text for each value
        return enough + 1
    return 1 + _n_separators(b"".join(signs.split(b'"')[::2]))


def _signs(piece: bytes) -> bytes:
    """The quotes, commas and opening brackets that matter: in ordinary texts a hundredth of all signs."""
    if b"\\" in piece:
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
    return piece.translate(None, _NO_SIGNS)


def _pieces(body: bytes) -> Iterator[bytes]:
    """The body in parts, none of which ends between a backslash and what it escapes."""
    start = 0
    while start < len(body):
        piece = body[start : start + PIECE_BYTES]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = body[start : start + PIECE_BYTES + 1]
        yield piece
        start += len(piece)


def _n_separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def storable_value(value: Any) -> Any:
    """The value; raises MalformedBody with the first hundred members that cannot be kept."""
    faults = list(islice(_faults(value), MAX_FAULTS))
    if faults:
        listed = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults[:5])
        raise MalformedBody(f"The body holds values that cannot be kept: {listed}.", faults)
    return value


def check_media_type(request: StrictRequest) -> None:
    """A JSON body must say so: a foreign web page can send any other type without the browser asking first."""
    media_type = request.media_type
    if not _is_json(media_type):
        raise UnsupportedMediaType(
            f"The body is {media_type or 'of no declared type'}, and JSON is expected. Send `Content-Type:"
            " application/json`."
        )


def check_lines_type(request: StrictRequest) -> None:
    """A body of JSON lines may leave its type undeclared; another format is refused before its first line is read."""
    media_type = request.media_type
    if not (_is_json(media_type) or media_type in LINES_TYPES):
        raise UnsupportedMediaType(
            f"The body is {media_type[:80]}, and events are read from JSON alone. Send one JSON object per line as"
            " `Content-Type: application/x-ndjson`, or all events as columns as `Content-Type: application/json`."
        )


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _faults(root: Any) -> Iterator[Fault]:
    """Keeps the path as it walks, one entry per level, and writes it out for a fault only."""
    path: list[Any] = []
    levels: list[Iterator[tuple[Any, Any]]] = [iter([("", root)])]
    while levels:
        name, value = next(levels[-1], (None, None))
        if name is None:
            levels.pop()
            if path:
                path.pop()
            continue
        path.append(name)
        if isinstance(name, str) and "\0" in name:
            yield Fault(pointer=pointer_of(path[1:]), detail="a name holds the character U+0000; remove it")
        if isinstance(value, dict | list) and len(levels) <= MAX_DEPTH:
            members: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
            levels.append(iter(members))
            continue
        if (problem := _problem(value)) is not None:
            yield Fault(pointer=pointer_of(path[1:]), detail=problem)
        path.pop()


def _problem(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return f"the value is nested more than {MAX_DEPTH} levels deep"
    if isinstance(value, str) and "\0" in value:
        return "the text holds the character U+0000; remove it"
    if isinstance(value, float) and not math.isfinite(value):
        return "the number is too large"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"the integer is outside ±{MAX_INTEGER}; send it as text"
    return None
