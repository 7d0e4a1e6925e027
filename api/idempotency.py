"""Idempotency-Key: the name under which a request's answer is kept, in the transaction of what it changed.

A use case that changes something is given a store that makes the answer of the report that its writing transaction
gives (``call_once``). Change and answer are then on disk together, or neither is: the same request sent again,
whatever was killed between, gets the first answer and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, cast, get_args

from fastapi import Request, Response
from pydantic_core import to_json

from api.access.auth import Caller
from api.services import Services
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.serving.assignment import unit_hmac
from optimizer.ports import Store, Transaction
from optimizer.runtime.use_cases import UseCase

T = TypeVar("T")

MAX_KEY_CHARS = 255
KEY_HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$"},
    "description": "Same key and body: the first answer again. Same key, other body: 422.",
}


class KeyedRequest(NamedTuple):
    """A request that names a key.

    ``scope``: who sends it and to where; ``sent``: SHA-256 of all that it says.
    """

    scope: str
    key: str
    sent: str


class RepeatedRequest(Exception):
    """While this request was prepared, the same one was carried out: its answer is the answer to both."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__("answered before")
        self.answer = answer


def idempotency_of(request: Request, body: bytes) -> KeyedRequest | None:
    """The request's key, or None without one; raises InvalidInput for one that cannot be kept."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not key.strip() or len(key) > MAX_KEY_CHARS or not key.isprintable():
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_CHARS} printable characters"
        raise InvalidInput(
            f"The Idempotency-Key cannot be used: {detail}.", [Fault(pointer="/Idempotency-Key", detail=detail)]
        )
    return KeyedRequest(f"{request.state.caller.quota} {request.url.path}", key, sha256(body).hexdigest())


def keyed_request(request: Request, body: bytes, shared: Services) -> KeyedRequest | None:
    """The same of a request whose path may hold a unit: the path's HMAC takes its place."""
    keyed = idempotency_of(request, b"%s %s\n%s" % (request.method.encode(), request.url.query.encode(), body))
    if keyed is None:
        return None
    where = unit_hmac(shared.secrets.unit_keys[-1], request.url.path)  # the same after a rotation
    return keyed._replace(scope=f"{request.state.caller.quota} {where}")


def call_once(
    use_case: UseCase,
    asking: Any,
    request: Request,
    shared: Services,
    caller: Caller,
    answered: Callable[..., Response],
) -> Any:
    """The report of a use case, from a route or a page.

    Where it changes something, files that were edited are read before, and what is served after it.

    Args:
        asking: the use case's request; the other one is what it came in.
        answered: makes the answer to keep, where the request names a key.
    Raises:
        RepeatedRequest: the same request was carried out meanwhile under its key.
    """
    if use_case.change is not None:
        shared.serving.load_changed_files()  # it may follow an edit at once
    store = _keyed_store(request, shared, use_case.report, answered)
    report = use_case.call(replace(shared.context(caller), store=store), asking)
    if use_case.change is not None:
        shared.serving.refresh()
    return report


def _keyed_store(request: Request, shared: Services, report: Any, answered: Callable[..., Response]) -> Store:
    """The store for a use case.

    Args:
        report: the type of the report, or several in a union.
    """
    keyed: KeyedRequest | None = getattr(request.state, "keyed", None)
    if keyed is None:
        return shared.store
    kinds = get_args(report) or (report,)

    def record_of(result: Any) -> Mapping[str, Any] | None:
        """A unit is stored as its HMAC only; the path names it again when the answer is repeated."""
        if not isinstance(result, kinds):
            return None
        answer = answered(result)
        values = json.loads(bytes(answer.body))
        if "unit" in values and "unit" in request.path_params:
            values["unit"] = None
        headers = {
            name: value for name, value in answer.headers.items() if name in ("etag", "location", "cache-control")
        }
        return {"status": answer.status_code, "headers": headers, "body": values}

    return cast(Store, _KeepingStore(shared, keyed, record_of))


def again(answer: Mapping[str, Any], request: Request, usual_status: int) -> Response:
    """The first answer again, to the byte."""
    body = dict(answer["body"])
    if "unit" in body:
        body["unit"] = request.path_params["unit"]
    return Response(to_json(body), answer["status"] or usual_status, dict(answer["headers"]), "application/json")


class _KeepingStore:
    """The store, whose writes keep the answer beside the change; no answer where ``record_of`` gives None."""

    def __init__(
        self, shared: Services, keyed: KeyedRequest, record_of: Callable[[Any], Mapping[str, Any] | None]
    ) -> None:
        self._shared, self._keyed, self._record_of = shared, keyed, record_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared.store, name)

    def write(self, fn: Callable[[Transaction], T], *, rows: int = 1) -> T:
        store, keyed = self._shared.store, self._keyed

        def change(tx: Transaction) -> T:
            first = store.events.stored_answer(tx, *keyed)
            if first is not None:
                raise RepeatedRequest(first)
            result = fn(tx)
            record = self._record_of(result)
            if record is not None:
                store.events.store_answer(tx, *keyed, record, self._shared.clock.now())
            return result

        return store.write(change, rows=rows + 1)
