"""The API's own description: /openapi.json, /docs from files of an installed package (no network), and a page per problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from api.problems import explanations
from api.routing import CHANGE, NARROWS, ROLE
from optimizer.core.errors import NotFound

PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Further members depend on the problem; validation lists every fault in `errors` with a JSON pointer.",
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
    from swagger_ui_bundle import swagger_ui_path

    generate = app.openapi

    def openapi() -> dict[str, Any]:
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
                operation["summary"] = first or operation["summary"]  # the page lists these: a sentence says more than a function's name
                operation.get("responses", {}).pop("422", None)  # FastAPI's own error form, which this server never sends
                change = operation.pop(CHANGE, None)
                operation.pop(NARROWS, None)
                role = operation.pop(ROLE, None)
                if role is not None:
                    limit = "; counts as a change (100 a minute)" if change else ""
                    operation["description"] = f"{operation.get('description', '')}\n\nRole: {role}{limit}.".strip()
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    async def docs(request: Request) -> Response:
        return get_swagger_ui_html(
            openapi_url="/docs/openapi.json",
            title="Detent API",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url="/docs/files/favicon-32x32.png",
            oauth2_redirect_url=None,
        )

    async def root(request: Request) -> Response:
        return RedirectResponse("/docs")

    async def docs_document(request: Request) -> Response:
        return JSONResponse(as_openapi_30(app.openapi()))

    async def problem(request: Request) -> Response:
        slug = request.path_params["slug"]
        found = explanations().get(slug)
        if found is None:
            raise NotFound(f"There is no problem {slug!r}. Known: {', '.join(sorted(explanations()))}.")
        return PlainTextResponse(found)

    app.add_route("/", root, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/docs/openapi.json", docs_document, include_in_schema=False)
    app.add_route("/problems/{slug}", problem, include_in_schema=False)
    app.mount("/docs/files", StaticFiles(directory=str(swagger_ui_path)), name="docs-files")


def as_openapi_30(value: Any) -> Any:
    """The document in the older form that the installed Swagger UI reads: nullable, enum and minimum instead of their newer forms."""
    if isinstance(value, list):
        return [as_openapi_30(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: as_openapi_30(item) for key, item in value.items()}
    if isinstance(found.get("openapi"), str):
        found["openapi"] = "3.0.3"
    options = found.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        found.pop("anyOf")
        found.update({**(rest[0] if len(rest) == 1 else {"anyOf": rest}), "nullable": True})
    if "const" in found and isinstance(found.get("type"), str):
        found["enum"] = [found.pop("const")]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(exclusive), int | float) and not isinstance(found.get(exclusive), bool):
            found[bound], found[exclusive] = found[exclusive], True
    if isinstance(found.get("examples"), list) and "type" in found:
        found["example"] = found.pop("examples")[0]
    return found
