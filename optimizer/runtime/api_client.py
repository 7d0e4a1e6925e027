"""The command line's connection to a running server. Problem documents come back as the errors that they were."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from optimizer.core.base import errors
from optimizer.core.base.errors import DetentError, InvalidInput, NotAuthenticated
from optimizer.core.serving.access import COMMAND_LINE
from optimizer.host.ports_in_use import is_loopback

BY_SLUG: Mapping[str, type[DetentError]] = {
    kind.slug: kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DetentError)
}

SHORT = httpx.Limits(keepalive_expiry=2)  # s; a server ends idle connections after five, and a POST is not repeated


class ApiClient:
    """One server. Its methods raise the DetentError that the server's problem document names."""

    def __init__(self, url: str, api_key: str | None = None, *, http: httpx.Client | None = None) -> None:
        """Args:
        http: what reaches the server, in place of a connection to ``url``.
        """
        self.url = url
        key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        headers = httpx.Headers({"User-Agent": COMMAND_LINE, **key}, encoding="utf-8")  # a key may hold any character
        self._http = http or httpx.Client(base_url=url, headers=headers, timeout=60.0, limits=SHORT, trust_env=False)

    @classmethod
    def at(cls, url: str, api_key: str | None) -> ApiClient:
        """The server at an address, which may be on another machine.

        Raises InvalidInput for what is no address, and where the key would cross a network unencrypted.
        """
        try:
            httpx.URL(url)
            parts = urlsplit(url)
            host = parts.hostname or ""
            host.encode("idna")  # as it is looked up
            is_address = parts.scheme in ("http", "https") and host != "" and parts.port != 0
        except (ValueError, httpx.InvalidURL):
            is_address = False
        if not is_address:
            raise InvalidInput(f"{url!r} is no address of a server. Write it as https://detent.example.com.")
        if parts.scheme == "http" and not is_loopback(host):
            raise InvalidInput(
                f"{url} is plain HTTP to another machine: everyone on the way could read the key and what is answered,"
                " and change both. Use an https address (docs/how-to/put-a-proxy-in-front.md), or a tunnel to this"
                " machine."
            )
        return cls(url.rstrip("/"), api_key)

    def is_alive(self) -> bool:
        """Whether it answers /health within two seconds, whatever it says of the key."""
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def why_not_ready(self) -> str | None:
        """What the server's /ready says is wrong; None where it is ready."""
        try:
            answer = self._http.get("/ready")
            store = answer.json()["dependencies"]["store"]
        except (httpx.HTTPError, ValueError, LookupError) as error:
            return f"/ready does not answer: {error or type(error).__name__}"
        return None if answer.is_success else store["detail"] or "the store was not read yet"

    @contextmanager
    def stream(self, method: str, path: str, *, within_s: float, **options: Any) -> Iterator[Iterator[bytes]]:
        """The body of a good answer, piece by piece as it comes. ``within_s``: how long each piece may take."""
        try:
            timeout = httpx.Timeout(60.0, read=within_s)
            with self._http.stream(method, path, timeout=timeout, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise problem(answer)
                yield answer.iter_bytes()
        except httpx.HTTPError as error:
            raise self._silent(error, method, path) from None

    def content(self, method: str, path: str, **options: Any) -> bytes:
        """The body of the answer to a request, whose ``options`` are those of httpx."""
        try:
            answer = self._http.request(method, path, **options)
        except ValueError as error:  # JSON has no NaN, no Infinity and no half character
            raise InvalidInput(
                f"A value cannot be sent to the server: {error}. Numbers must be finite, and texts Unicode."
            ) from None
        except httpx.HTTPError as error:
            raise self._silent(error, method, path) from None
        if answer.is_success:
            return answer.content
        raise problem(answer)

    def _silent(self, error: httpx.HTTPError, method: str, path: str) -> DetentError:
        changes_nothing = method == "GET" or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        outcome = "nothing was changed" if changes_nothing else "the command may or may not have been carried out"
        return DetentError(
            f"The server at {self.url} did not answer {method} {path}: {error or type(error).__name__}. "
            f"On its machine, `detent status` and var/logs/api.log say why; {outcome}."
        )


def problem(answer: httpx.Response) -> DetentError:
    """The error that an answer describes."""
    try:
        document = dict(answer.json())
    except ValueError:
        return DetentError(f"The server answered {answer.status_code} without saying why. Look at var/logs/api.log.")
    error = error_of(document)
    if isinstance(error, NotAuthenticated):
        error.detail += " The command line sends the key in DETENT_API_KEY."
    return error


def error_of(document: Mapping[str, Any]) -> DetentError:
    """The error that a problem document names.

    The last word of ``type`` gives its class; its members come back as they were sent.
    """
    document = dict(document)
    slug = str(document.pop("type", "")).rstrip("/").rsplit("/", 1)[-1]
    detail = str(document.pop("detail", document.get("title", "The server refused without saying why.")))
    members = {k: v for k, v in document.items() if k not in ("title", "status", "instance")}
    if members.get("errors") == [{"pointer": "", "detail": detail}]:  # a fault without a place
        del members["errors"]
    error = DetentError.__new__(BY_SLUG.get(slug, DetentError))
    DetentError.__init__(error, detail, **members)
    return error
