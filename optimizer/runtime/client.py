"""Asks for a use case: over HTTP where a server answers, else by a call in this process. The report is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from optimizer.core.base.answers import Page
from optimizer.core.base.errors import DetentError
from optimizer.jobs.request import Header, PageRequest
from optimizer.runtime.use_cases import use_case_of

if TYPE_CHECKING:
    from optimizer.jobs.context import Context
    from optimizer.runtime.api_client import ApiClient

Q = TypeVar("Q")
R = TypeVar("R")
P = TypeVar("P", bound=PageRequest)


class Client(Protocol):
    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        """The report of the use case that this function is. Raises its DetentError."""


def whole(client: Client, function: Callable[[Context, P], Page[R]], request: P) -> Page[R]:
    """All items of a list, however many pages it takes."""
    items: list[R] = []
    while True:
        page = client.ask(function, request)
        items += page.items
        if page.next_cursor is None:
            return replace(page, items=items)
        request = request.model_copy(update={"cursor": page.next_cursor})


class InProcess:
    """Asks as the person at this machine. A server or worker that starts meanwhile sees all of a change, or nothing."""

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        return function(self._context(), request)


class OverHttp:
    """Asks a running server, which applies a change at once."""

    def __init__(self, server: ApiClient) -> None:
        self._server = server

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        use_case = use_case_of(function)
        values: Any = request
        header_members = {
            name
            for name, field in type(values).model_fields.items()
            if any(isinstance(mark, Header) for mark in field.metadata)
        }
        path = use_case.path
        for name, place in use_case.path_members.items():
            segment = quote(getattr(values, name), safe="")
            # A client takes a segment of dots for a step in the path, and would ask for something else.
            path = path.replace(place, segment if segment.strip(".") else segment.replace(".", "%2E"))
        members = values.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude={*use_case.path_members, *header_members}
        )
        options: dict[str, Any] = {
            "headers": {n.replace("_", "-"): v for n in header_members if (v := getattr(values, n))}
        }
        if use_case.method in ("GET", "DELETE"):
            options["params"] = {name: value for name, value in members.items() if value is not None}
        else:
            options["json"] = members
        answer = self._server.content(use_case.method, path, **options)
        try:
            report: R = use_case.answer.validate_json(answer)
        except ValidationError as error:
            raise DetentError(
                f"The server at {self._server.url} answered {use_case.method} {path} with something that this version"
                f" of Detent does not understand: {error.errors()[0]['msg']} at"
                f" /{'/'.join(map(str, error.errors()[0]['loc']))}. Use the version that the server has."
            ) from None
        return report
