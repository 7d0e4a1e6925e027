"""Who answers: a server over HTTP, or the server's own code in this process. Both are asked by the method and path of a
route, and give its JSON.
"""

from __future__ import annotations

import re
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from detent_client.errors import DetentError, Unavailable

TIMEOUT_S = 60.0


class Refused(DetentError):
    """``type``: the server's word for why, such as ``not_found``, where it said one."""

    def __init__(self, detail: str, type: str | None = None) -> None:
        super().__init__(detail)
        self.type = type


class Work(Protocol):
    """A study that runs in this process. ``failure``: what ended it before its end."""

    failure: BaseException | None

    def is_alive(self) -> bool: ...


class Backend(Protocol):
    def ask(self, method: str, path: str, **members: Any) -> Any:
        """The answer of a route. Members of the path stand in braces; the others go into query or body.

        Raises Refused, and Unavailable where no server answers.
        """

    def work(self, study: str) -> Work | None:
        """Runs a study here; None where a server's worker does it."""


class OverHttp:
    def __init__(self, url: str, key: str | None, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key is not None else {},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def ask(self, method: str, path: str, **members: Any) -> Any:
        for name in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{name}}}", quote(str(members.pop(name)), safe=""))
        told: dict[str, Any] = {"params": members} if method == "GET" else {"json": members}
        try:
            answer = self._http.request(method, path, **told)
        except httpx.HTTPError as error:
            raise Unavailable(f"The server does not answer ({type(error).__name__}). Look at its address.") from None
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if answer.is_success:
            return said
        said = said if isinstance(said, dict) else {}
        kind = str(said.get("type", "")).rstrip("/").rsplit("/", 1)[-1]
        raise Refused(str(said.get("detail", f"The server answered {answer.status_code} without why.")), kind or None)

    def work(self, study: str) -> Work | None:
        return None


class InProcess:
    """``project``: an ``OpenProject`` of the server's package (optimizer/cli/study/open_project.py there)."""

    def __init__(self, project: Any) -> None:
        self._project = project

    @classmethod
    def of(cls, kind: Any, home: str) -> InProcess:
        """Raises Refused for a folder that is no project."""
        try:
            return cls(kind(home))
        except kind.Error as error:
            raise _refusal(error) from None

    def ask(self, method: str, path: str, **members: Any) -> Any:
        try:
            return self._project.ask(method, path, **members)
        except self._project.Error as error:
            raise _refusal(error) from None

    def work(self, study: str) -> Work | None:
        work: Work | None = self._project.work(study)
        return work


def _refusal(error: Any) -> Refused:
    return Refused(str(error), getattr(error, "slug", None))
