"""JSON bodies, read strictly: what comes through can be stored, hashed and sent on without surprises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from api.problems import MalformedBody, UnsupportedMediaType
from optimizer.core.errors import Fault, pointer_of

MAX_INTEGER = 2**53 - 1  # what every JSON reader holds exactly (RFC 8785)
MAX_FAULTS = 100


class StrictRequest(Request):
    """A request whose ``json()`` refuses what JSON cannot hold everywhere: NaN, infinities, huge integers, NUL characters."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


def read_json(body: bytes) -> Any:
    """The value of a JSON text; raises MalformedBody with the position of what is wrong."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(f"The body is no JSON text: {error}. Send UTF-8 JSON.") from None


def parse(body: bytes) -> Any:
    """``read_json``, and MalformedBody with every member that cannot be kept."""
    value = read_json(body)
    faults = [fault for fault, _ in zip(_faults(value), range(MAX_FAULTS), strict=False)]
    if faults:
        listed = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults[:5])
        raise MalformedBody(f"The body holds values that cannot be kept: {listed}.", faults)
    return value


def check_media_type(request: Request) -> None:
    """A body of JSON must say so: a web page of somebody else can send anything but that without being asked first."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != "application/json" and not (given.startswith("application/") and given.endswith("+json")):
        raise UnsupportedMediaType(
            f"The body is {given or 'of no declared type'}, and JSON is expected. Send `Content-Type: application/json`."
        )


def _faults(root: Any) -> Iterator[Fault]:
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        pointer, value = stack.pop()
        if isinstance(value, dict):
            for name, member in value.items():
                where = pointer + pointer_of([name])
                if "\0" in name:
                    yield Fault(pointer=where, detail="a name holds the character U+0000; remove it")
                stack.append((where, member))
        elif isinstance(value, list):
            stack.extend((f"{pointer}/{i}", member) for i, member in enumerate(value))
        elif isinstance(value, str):
            if "\0" in value:
                yield Fault(pointer=pointer, detail="the text holds the character U+0000; remove it")
        elif isinstance(value, float):
            if not math.isfinite(value):
                yield Fault(pointer=pointer, detail="the number is too large")
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            yield Fault(pointer=pointer, detail=f"the integer is outside ±{MAX_INTEGER}; send it as text")
