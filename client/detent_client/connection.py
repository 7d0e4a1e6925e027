"""Requests to the server, each bounded in time and size. Only the background thread makes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx

THREAD_NAME = "detent-client"
REQUEST_S = 10.0
CONNECT_S = 3.0
MAX_BYTES = 64 * 1024 * 1024
MAX_RETRY_AFTER_S = 60.0
REFUSED = (400, 413, 422)  # what was sent is wrong, and sending it again would not help

# httpx logs each request at level INFO: one line a second of what nobody asked for.
logging.getLogger("httpx").addFilter(lambda record: record.threadName != THREAD_NAME)


@dataclass(frozen=True, slots=True)
class Answer:
    """``sent_at``: when it was asked for, monotonic."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: float


class RequestFailed(Exception):
    """No answer, or one that means: later. Its text names no address."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Connection:
    """One server, one key."""

    def __init__(
        self,
        url: str,
        key: str | None,
        transport: httpx.BaseTransport | None = None,
        families: Sequence[str] | None = None,
    ) -> None:
        """``families``: those of the snapshot; None for all that the key is for. Raises ValueError or InvalidURL for an
        address or a key that no request can carry.
        """
        self.families = families
        self._snapshot_path = "/v1/snapshot" + (f"?family={','.join(families)}" if families is not None else "")
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key is not None else {},
            timeout=httpx.Timeout(REQUEST_S, connect=CONNECT_S),
            transport=transport,
        )

    def snapshot(self, etag: str | None) -> Answer:
        """200 or 304. Raises RequestFailed."""
        answer = self._ask("GET", self._snapshot_path, {"If-None-Match": etag} if etag is not None else {}, None)
        if answer.status not in (200, 304):
            raise _failure(answer)
        return answer

    def post(self, path: str, body: bytes, *, refused: Sequence[int] = REFUSED) -> Mapping[str, Any] | None:
        """What the server says became of it; None where it refused the whole, as these statuses say. Raises
        RequestFailed.
        """
        answer = self._ask("POST", path, {"Content-Type": "application/json"}, body)
        if answer.status in refused:
            return None
        if answer.status != 200:
            raise _failure(answer)
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("accepted"), int) or not _is_delivery(said):
            raise RequestFailed("an answer that no Detent server gives")
        return said

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        sent_at = monotonic()
        body = bytearray()
        try:
            with self._http.stream(method, path, headers=dict(headers), content=content) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES or monotonic() - sent_at > REQUEST_S:
                        raise RequestFailed("an answer that is too long or takes too long")
                return Answer(response.status_code, response.headers, bytes(body), sent_at)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            raise RequestFailed(type(error).__name__) from None


def _is_delivery(said: Mapping[str, Any]) -> bool:
    return isinstance(said.get("rejected", []), list) and isinstance(said.get("in_no_arm", 0), int)


def _failure(answer: Answer) -> RequestFailed:
    try:
        wait = min(max(float(answer.headers.get("retry-after", "")), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:  # none, or a date
        wait = None
    return RequestFailed(f"status {answer.status}", wait)
