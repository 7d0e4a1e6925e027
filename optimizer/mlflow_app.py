"""MLflow's server behind a door of ours: the local MLflow shows what Detent keeps, and has no keys of its own.

Out of the box it creates experiments whose files land in any folder, calls any address by its webhooks and its gateway, and runs an
assistant's commands. Here a request may read, search, and set tags and aliases; everything else is refused.
"""

from __future__ import annotations

import json
import os
import re

from starlette.types import ASGIApp, Receive, Scope, Send

from optimizer.adapters.mlflow_connection import making_tables
from optimizer.config import Settings, load_settings
from optimizer.core.local_door import SAFE_METHODS, hosts_of, refusal
from optimizer.mlflow_server import allowed_hosts

HOST = "127.0.0.1"  # whatever the API listens on
_CHANGES = re.compile(
    r"/(?:ajax-)?api/[23]\.0/mlflow/(?:"
    r"(?:experiments|runs|logged-models|datasets|traces|issues)/search|experiments/search-datasets|registered-models/get-latest-versions"
    r"|traces/(?:metrics|batchGetInfos|calculate-filter-correlation)"
    r"|runs/(?:set-tag|delete-tag)|experiments/(?:set|delete)-experiment-tag"
    r"|registered-models/(?:alias|set-tag|delete-tag)|model-versions/(?:set-tag|delete-tag))|/graphql"
)
_MARKS = ("POST", "PATCH", "DELETE")
_REACHES_OUT = re.compile(r"/gateway|/assistant|/mcp")


class Door:
    """ASGI middleware: requests of programs and pages of this machine, to what reads and marks."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            why = self._why_not(scope)
            await (self._app(scope, receive, send) if why is None else _refuse(send, why))

    def _why_not(self, scope: Scope) -> str | None:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        why = refusal(scope["method"], headers, self._hosts, http_version=scope["http_version"])
        if why is not None:
            return f"The local MLflow has no keys: {why}."
        path = scope["path"]
        marks = scope["method"] in _MARKS and _CHANGES.fullmatch(path) is not None
        if not (scope["method"] in SAFE_METHODS or marks) or _REACHES_OUT.search(path):
            return (
                f"The local MLflow shows what Detent keeps: it can be searched, and tags and aliases set, but not {scope['method']} {path[:200]}. "
                "For experiments of your own run an MLflow of your own; DETENT_MLFLOW_TRACKING_URI sends studies there too."
            )
        return None


async def _refuse(send: Send, why: str) -> None:
    body = json.dumps({"error_code": "PERMISSION_DENIED", "message": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def set_environment(settings: Settings) -> str:
    """What MLflow's application reads when it is imported, as `mlflow server` sets it. Returns the store's address."""
    from mlflow.server import constants

    folder = settings.mlflow_dir()
    store = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(folder / "artifacts"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(sorted(hosts(settings))),
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
    }
    return store


def hosts(settings: Settings) -> frozenset[str]:
    """Exact names with their port, and those of mlflow/server.yaml."""
    return hosts_of(settings.mlflow_port, (HOST, "localhost")) | allowed_hosts(settings)


def main() -> None:
    import uvicorn

    settings = load_settings()
    store = set_environment(settings)
    from mlflow.server.handlers import initialize_backend_stores

    with making_tables(settings.mlflow_dir() / "mlflow.db"):  # the worker opens the same file to send what it has
        initialize_backend_stores(store, store, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app

    door = Door(app, hosts(settings))
    uvicorn.run(door, host=HOST, port=settings.mlflow_port, log_level="warning", access_log=False, proxy_headers=False)


if __name__ == "__main__":
    main()
