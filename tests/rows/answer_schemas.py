"""What OpenAPI says of answers, and whether an answer is that and no more: a member that is not declared is a fault."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI

from api.app import create_app
from optimizer.host.config import load_settings
from tests.made_once import made_once

Schema = Mapping[str, Any]
NAMED = re.compile(r'"#/components/schemas/([^"]+)"')


def declared_answers(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Schema]]:
    """Of each operation's good answers: operation, status, media type and schema."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    if status.startswith("2"):
                        yield f"{method.upper()} {path}", status, media_type, content.get("schema", {})


def _app() -> FastAPI:
    return create_app(load_settings("dev", Path(__file__).parent / "no home"))


@cache
def openapi_document() -> Any:
    """As /openapi.json has it, which takes seconds to make."""
    made = made_once("openapi.json", lambda path: path.write_text(json.dumps(_app().openapi()), encoding="utf-8"))
    return json.loads(made.read_text(encoding="utf-8"))


class AnswerSchemas:
    def __init__(self) -> None:
        self._routes = [route for route in _app().routes if getattr(route, "include_in_schema", False)]
        self.document = openapi_document()
        self._components = {name: _closed(one) for name, one in self.document["components"]["schemas"].items()}
        self._answers = {
            (operation, status, media_type): _closed(schema)
            for operation, status, media_type, schema in declared_answers(self.document)
        }
        self._validators: dict[tuple[str, str, str], Any] = {}

    def faults(self, method: str, path: str, status: int, media_type: str, body: Any) -> list[str]:
        """Of a good answer of a route that OpenAPI has; none of others."""
        found = next((one for one in self._routes if method in one.methods and one.path_regex.match(path)), None)
        if found is None or not 200 <= status < 300:
            return []
        key = f"{method} {found.path_format}", str(status), media_type.partition(";")[0]
        if key not in self._answers:
            return [f"{key} is not declared"]
        if key[2] != "application/json":
            return []
        if key not in self._validators:
            whole = {**self._answers[key], "components": {"schemas": self._named_in(self._answers[key])}}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [
            f"{key[0]} at /{'/'.join(map(str, one.instance_path))}: {one.message[:300]}"
            for one in self._validators[key].iter_errors(body)
        ]

    def _named_in(self, schema: Schema) -> dict[str, Schema]:
        """Those that it names, and what these name: to read all of them takes a validator a twentieth of a second."""
        found, left = dict[str, Schema](), [schema]
        while left:
            names = set(NAMED.findall(json.dumps(left.pop()))) - found.keys()
            found |= {name: self._components[name] for name in names}
            left += [self._components[name] for name in names]
        return found


@cache
def answer_schemas() -> AnswerSchemas:
    return AnswerSchemas()


def as_declared(answer: httpx.Response) -> httpx.Response:
    """The answer; fails the test where it has other members than OpenAPI declares."""
    if answer.is_success and answer.request.method != "HEAD":
        asked, media_type, body = answer.request, answer.headers.get("content-type", ""), None
        if media_type.startswith("application/json"):  # a stream is its reader's
            answer.read()
            body = answer.json()
        faults = answer_schemas().faults(asked.method, asked.url.path, answer.status_code, media_type, body)
        assert not faults, "\n".join(faults)
    return answer


def _closed(schema: Any) -> Any:
    """The same, in which an object that names members has no other."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(one) for name, one in schema.items()}
    return {"additionalProperties": False, **closed} if isinstance(schema.get("properties"), dict) else closed
