"""Routes of the contract that come later: they exist, ask for the same keys as they will,
and say that they are not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.routing import guarded, router
from optimizer.core.base.errors import NotYet
from optimizer.core.serving.access import Role

routes: APIRouter = router("Later")


@dataclass(frozen=True, slots=True)
class Later:
    method: str
    path: str
    role: Role
    instead: str


LATER = (Later("DELETE", "/v1/units/{unit}", "admin", "Nothing was deleted."),)


def _add(later: Later) -> None:
    async def answer(request: Request) -> Response:
        raise NotYet(f"{later.method} {later.path} comes with a later version. {later.instead}")

    routes.add_api_route(later.path, answer, methods=[later.method], include_in_schema=False, **guarded(later.role))


for _later in LATER:
    _add(_later)
