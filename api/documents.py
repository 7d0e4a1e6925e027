"""The API's own description: /openapi.json, /docs from an installed package (no network), and a page per problem."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)

from api.http.problems import explanations
from api.routing import GUARD, DetentRoute
from optimizer.core.base.errors import NotFound

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Detent API</title>
<link rel="icon" href="docs/files/favicon-32x32.png">
<link rel="stylesheet" href="docs/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# To the page the description is one of 3.0: as one of 3.1 it would be resolved whole at the start and for each route
# that is opened, seconds each time. It loses the bounds that a number must lie within, and an example.
START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, queryConfigEnabled: false,
  plugins: [() => ({statePlugins: {spec: {wrapActions: {
    updateSpec: (next) => (text) => next(text.replace('"openapi":"3.1.0"', '"openapi":"3.0.3"')),
  }}}})],
  presets: [SwaggerUIBundle.presets.apis],
});
"""
# Swagger UI brings its icons as data: addresses and sets styles by script;
# the page runs and asks nothing but this server's own.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": (
        "RFC 9457. Further members depend on the problem; validation lists every fault in `errors` with a JSON pointer."
    ),
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}}},
        },
    },
}


def install_documents(app: FastAPI) -> None:
    # the package's folder; the package is not imported, since only its files are used
    spec = find_spec("fastapi_swagger")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "resources"
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        for route in app.routes:
            if isinstance(route, DetentRoute):
                route.build_schemas()
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = dict(PROBLEM)
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for operations in document["paths"].values():
            for operation in operations.values():
                first = operation.get("description", "").split("\n")[0].split(". ")[0].rstrip(".")
                # The page lists these: a sentence says more than a function's name.
                operation["summary"] = first or operation["summary"]
                # FastAPI's own error form, which this server never sends.
                operation.get("responses", {}).pop("422", None)
                guard = operation.pop(GUARD, {})
                if (role := guard.get("role")) is not None:
                    limit = "; counts as a change (100 a minute)" if guard.get("change") else ""
                    operation["description"] = f"{operation.get('description', '')}\n\nRole: {role}{limit}.".strip()
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        for name, schema in components["schemas"].items():
            schema["title"] = name.strip("_").replace("_", " of ")  # generators name classes so: a page of each kind
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    body, making = b"", asyncio.Lock()

    async def description(request: Request) -> Response:
        """Made once, beside the event loop: that takes a second or two, and the text of it 15 ms more."""
        nonlocal body
        async with making:
            body = body or await asyncio.to_thread(lambda: bytes(JSONResponse(openapi()).body))
        return Response(body, media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": PAGE_POLICY})

    async def start(request: Request) -> Response:
        return Response(START, media_type="text/javascript")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise NotFound(f"The page has no file {name!r}; it has {', '.join(FILES)}.")
        return FileResponse(folder / name)

    async def problem(request: Request) -> Response:
        slug = request.path_params["slug"]
        explanation = explanations().get(slug)
        if explanation is None:
            raise NotFound(f"There is no problem {slug!r}. Known: {', '.join(sorted(explanations()))}.")
        return PlainTextResponse(explanation)

    for path, answer in (
        ("/openapi.json", description),
        ("/docs", docs),
        ("/docs/start.js", start),
        ("/docs/files/{name}", file),
        ("/problems/{slug}", problem),
    ):
        app.add_route(path, answer, include_in_schema=False)
