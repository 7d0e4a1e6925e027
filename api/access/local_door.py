"""Lets programs on this machine in without a key, checked before anything else of a request is read."""

from __future__ import annotations

from functools import lru_cache

from starlette.requests import Request

from api.http.problems import UnsupportedMediaType
from optimizer.core.base.errors import NotAuthorised
from optimizer.core.serving.local_door import LOCAL_NAMES, hosts_of, is_form, refusal
from optimizer.host.ports_in_use import is_loopback, reachable_host


def require_program_of_this_machine(request: Request, *, is_page: bool = False) -> None:
    """Raises NotAuthorised for another machine, a page of a browser, or a proxy; ``is_page``: of the dashboard's.

    Host is compared with the address and port on which the connection came in, as this process's socket knows them.
    """
    scope = request.scope
    client, server = scope["client"], scope.get("server")
    if not is_loopback(client[0] if client else None):
        raise NotAuthorised(
            "Without keys this server answers this machine only. Make a key with `detent keys` and send it as"
            " `Authorization: Bearer KEY`."
        )
    why = _refusal(
        scope["method"], tuple(scope["headers"]), tuple(server) if server else None, scope["http_version"], is_page
    )
    if why is not None:
        raise NotAuthorised(f"This server has no keys: {why}.")


@lru_cache(maxsize=64)  # the requests of one client hardly differ in their headers
def _refusal(
    method: str,
    headers: tuple[tuple[bytes, bytes], ...],
    server: tuple[str, int | None] | None,
    version: str,
    is_page: bool,
) -> str | None:
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    name, port = server or (LOCAL_NAMES[0], None)  # without a port it is a Unix socket's path
    hosts = hosts_of(port, {*LOCAL_NAMES, reachable_host(name)} if port is not None else LOCAL_NAMES)
    return refusal(method, texts, hosts, http_version=version, is_page=is_page)


def refuse_forms(request: Request) -> None:
    """Raises UnsupportedMediaType for a body that any web page can make a browser send, with or without a key."""
    for name, value in request.scope["headers"]:
        if name == b"content-type" and is_form(form := value.decode("latin-1")):
            raise UnsupportedMediaType(
                f"The body is {form[:80]}, which this server never takes. Send JSON with `Content-Type:"
                " application/json`."
            )
