"""Says whether this process is alive and can serve, and exports everything that is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api.routing import Asking, guarded, health, router, say_not_ready
from api.services import Shared
from optimizer.jobs.request import Request
from optimizer.jobs.upkeep.read_status import Dependencies, dependencies_of
from optimizer.runtime.export_home import EXPORT, archive_apart

routes: APIRouter = router("Operations")
TAR = "application/x-tar"
PIECE_BYTES = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    status: Literal["ready", "not ready"]
    degraded: list[str]
    dependencies: Dependencies


routes.get("/health", **guarded(None))(health)


@routes.get("/ready", **guarded(None))
def ready(shared: Shared, response: Response) -> Readiness:
    """Whether requests can be served and kept: 503 until the store was read once, and while a process of this home
    cannot read it or its last write failed, when prompts and chats go on being answered from memory. What is away is
    named, with its age. A store that another program holds locked is `busy`, which is 200.

    It is 200 again by itself: a failed write is tried again every two seconds, a damaged file checked after five
    seconds, ten, twenty, up to ten minutes. The worker reads every page of the file unasked, a minute for 1 GB, so that
    damage is seen though nobody needs that part. A family whose file cannot be used is in `degraded`, and its last good
    version goes on serving: that is 200.
    """
    health, degraded = shared.serving_health(), sorted(shared.families.problems)
    if health.not_ready is not None:
        say_not_ready(response)
    return Readiness(
        status="ready" if health.not_ready is None else "not ready",
        degraded=degraded,
        # without its detail: in words for anyone
        dependencies=dependencies_of(shared.settings, replace(health, detail=None), shared.clock.now(), degraded),
    )


class ArchiveRequest(Request):
    """``sealed``: the holdout too, in a file of its own, which counts as a look at each of its examples."""

    sealed: bool = False


def _with_archive() -> dict[str, Any]:
    arguments = guarded("admin", "limited", keyed=False)
    arguments["responses"] |= {200: {"description": "The archive.", "content": {TAR: {}}}}
    return arguments


@routes.post(EXPORT, response_class=StreamingResponse, **_with_archive())
def export(shared: Shared, asking: Asking, body: ArchiveRequest | None = None) -> Response:
    """Everything that is kept, as a tar of the files that `detent data export` writes; its manifest comes last.

    No secret is in it. What the sealed holdout is in stays out, or loses its texts, but with `sealed`. It is written
    before the first byte is sent, by a process of its own, and takes as much room on the disk until it is read.
    """
    archive = archive_apart(shared.context(asking), sealed=body is not None and body.sealed)
    headers = {
        "Content-Length": str(os.fstat(archive.fileno()).st_size),
        "Content-Disposition": 'attachment; filename="detent-export.tar"',
        "Cache-Control": "no-store",
    }

    def pieces() -> Iterator[bytes]:
        with archive:
            while piece := archive.read(PIECE_BYTES):
                yield piece

    return StreamingResponse(pieces(), headers=headers, media_type=TAR)
