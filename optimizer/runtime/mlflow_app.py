"""MLflow's server behind a door of ours. The local MLflow only shows what Detent keeps, and has no keys of its own.

Out of the box MLflow creates experiments whose files land in any folder, calls any address by its webhooks and its
gateway, and runs an assistant's commands. The door lets requests read, search, and set tags and aliases, and refuses
everything else.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from optimizer.adapters.mlflow.connection import making_tables
from optimizer.core.serving.local_door import SAFE_METHODS, hosts_of, refusal
from optimizer.host.config import Settings, load_settings
from optimizer.runtime.mlflow_server import allowed_hosts

HOST = "127.0.0.1"  # in any case, whatever address the API listens on
_CHANGES = re.compile(
    r"/(?:ajax-)?api/[23]\.0/mlflow/(?:"
    r"(?:experiments|runs|logged-models|datasets|traces|issues)/search|experiments/search-datasets"
    r"|registered-models/get-latest-versions"
    r"|traces/(?:metrics|batchGetInfos|calculate-filter-correlation)"
    r"|runs/(?:set-tag|delete-tag)|experiments/(?:set|delete)-experiment-tag"
    r"|registered-models/(?:alias|set-tag|delete-tag)|model-versions/(?:set-tag|delete-tag))|/graphql"
)
# In the browser, MLflow's pages remember whether they report their use and whether they announce it. Here they do
# neither. Nor do they offer what the door refuses: an assistant, which opens by itself at first, and a demo.
_KEPT_BY_PAGES = {
    "mlflow.settings.telemetry.enabled_v1": "false",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.home.getting-started.collapsed_v1": "true",
}
_NOT_OFFERED = (  # named as in this MLflow's pages; an element that MLflow renames shows again, and is still refused
    "[data-assistant-ui]",
    'a[href^="#/mcp-registry"]',
    *(
        f'[data-testid="{name}-button"]'
        for name in ("create-experiment", "delete-experiments", "create-prompt", "create-model")
    ),
    *(f'[data-testid="{name}-button"]' for name in ("run-rename", "runs-delete", "overflow-rename", "overflow-delete")),
    *(
        f'[data-component-id="mlflow.{name}"]'
        for name in (
            "prompts.details.create",
            "prompts.details.delete_version",
            "prompts.details.actions",
            "prompts.details.preview.optimize",
            "eval-runs.actions.delete",
        )
    ),
    '[data-component-id$="_experimentviewrunscontrolsfilters.tsx_415"]',  # a new run
)
_HEAD = (
    f"<script>try{{for(const [name,value] of Object.entries({json.dumps(_KEPT_BY_PAGES)}))"
    "localStorage.setItem(name,value)}catch{}</script>"
    f"<style>:is(#above-their-own-styles,{','.join(_NOT_OFFERED)}){{display:none!important}}</style>"
)
_MARKS = ("POST", "PATCH", "DELETE")
_REACHES_OUT = re.compile(r"/gateway|/assistant|/mcp")
# The list of runs asks which models a new run may call. The answer is that there are none, as MLflow without a gateway
# says itself; a refusal would show as an error.
_MODELS = ("GET", "/ajax-api/2.0/mlflow/gateway-proxy")
_NO_MODELS = b'{"endpoints": []}'


class MlflowDoor:
    """ASGI middleware that lets programs and pages of this machine read and mark, and refuses the rest."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], page: bytes | None = None) -> None:
        """Args:
        page: the one page of MLflow's interface; None: MLflow sends its own.
        """
        self._app, self._hosts, self._page = app, hosts, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            why, route = self._why_not(scope), (scope["method"], scope["path"])
            if why is not None:
                body = json.dumps({"error_code": "PERMISSION_DENIED", "message": why}).encode()
                await _answer(send, 403, b"application/json", body)
            elif route == _MODELS:
                await _answer(send, 200, b"application/json", _NO_MODELS)
            elif self._page is not None and route == ("GET", "/"):
                await _answer(send, 200, b"text/html; charset=utf-8", self._page)
            else:
                await self._app(scope, receive, send)

    def _why_not(self, scope: Scope) -> str | None:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        why = refusal(scope["method"], headers, self._hosts, http_version=scope["http_version"])
        if why is not None:
            return f"The local MLflow has no keys: {why}."
        path = scope["path"]
        marks = scope["method"] in _MARKS and _CHANGES.fullmatch(path) is not None
        reaches_out = _REACHES_OUT.search(path) is not None and (scope["method"], path) != _MODELS
        if not (scope["method"] in SAFE_METHODS or marks) or reaches_out:
            return (
                f"The local MLflow shows what Detent keeps: it can be searched, and tags and aliases set, but not"
                f" {scope['method']} {path[:200]}. For experiments of your own run an MLflow of your own;"
                " DETENT_MLFLOW_TRACKING_URI sends studies there too."
            )
        return None


async def _answer(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-cache"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def hosts(settings: Settings) -> frozenset[str]:
    """The names that Host may say, each with its port, and those of mlflow/server.yaml."""
    return hosts_of(settings.mlflow_port, (HOST, "localhost")) | allowed_hosts(settings)


def main(fd: int | None = None) -> None:
    """Serves MLflow.

    Args:
        fd: a listening socket to serve on; None: bind the settings' port.
    """
    import uvicorn

    settings = load_settings()
    # Sets what MLflow's application reads when it is imported, as `mlflow server` does. Returns the store's address.
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
    from mlflow.server import app as pages
    from mlflow.server.handlers import initialize_backend_stores

    with making_tables(settings.mlflow_dir() / "mlflow.db"):  # the worker opens the same file to send what it has
        initialize_backend_stores(store, store, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app

    # MLflow's page, told before it runs that it reports nothing of its use and offers nothing that is refused;
    # None where this MLflow brings none of that form.
    file = Path(str(pages.static_folder)) / "index.html"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    door = MlflowDoor(
        app, hosts(settings), text.replace("<head>", f"<head>{_HEAD}", 1).encode() if "<head>" in text else None
    )
    config = uvicorn.Config(
        door,
        host=HOST,
        port=settings.mlflow_port,
        http="h11",  # httptools would take the body of a request with Upgrade for the next request
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )
    bound = [socket.socket(fileno=fd)] if fd is not None else None
    uvicorn.Server(config).run(sockets=bound)


if __name__ == "__main__":
    main(int(sys.argv[2]) if sys.argv[1:2] == ["--fd"] else None)
