"""Builds the routes of the use cases: role, limits, kept answers and what is served anew are the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Body, Header, Path, Query, Request, Response
from pydantic import ValidationError, create_model
from pydantic.fields import FieldInfo
from starlette.routing import BaseRoute

from api import services
from api.hot.events import count_events
from api.idempotency import call_once
from api.routing import caller_of, guarded, router
from optimizer.jobs import request as asked
from optimizer.runtime.apart import answer_apart
from optimizer.runtime.use_cases import UseCase


def _endpoint(use_case: UseCase) -> Callable[..., Response]:
    members = {name: _source(use_case, name, field) for name, field in use_case.request.model_fields.items()}
    inner = {name for name, source in members.items() if source is Body}

    def endpoint(request: Request, **values: Any) -> Response:
        shared, caller = services.of(request), caller_of(request)
        body, figures_only = values.pop("body", None), not caller.access.reaches("read-texts")
        if body is not None:
            values |= {name: getattr(body, name) for name in body.model_fields_set}
        try:
            asking = use_case.request.model_validate(values, by_name=True)
        except ValidationError as error:  # members that stand against one another
            raise asked.invalid(error) from None
        if use_case.counted is not None:
            count_events(request, shared, len(getattr(asking, use_case.counted)))
        if use_case.apart:
            return Response(
                answer_apart(use_case, shared.context(caller), asking, figures_only=figures_only),
                media_type="application/json",
            )
        answered = partial(_answered, use_case, figures_only=figures_only)
        return answered(call_once(use_case, asking, request, shared, caller, answered))

    parameters = [Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)]
    for name, source in members.items():
        field = use_case.request.model_fields[name]
        if source is not Body:
            default = Parameter.empty if field.is_required() else field.default
            marks = [mark for mark in field.metadata if not isinstance(mark, asked.Header)]
            parameters.append(
                Parameter(
                    name,
                    Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=Annotated[(field.annotation, *marks, source(description=field.description))],
                )
            )
    if inner:
        body, is_needed = _body_of(use_case.request, frozenset(inner))
        default, annotation = (Parameter.empty, body) if is_needed else (None, body | None)
        parameters.append(Parameter("body", Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    endpoint.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return endpoint


def _source(use_case: UseCase, name: str, field: FieldInfo) -> Any:
    """Where a member of the request comes from, in FastAPI's terms."""
    if name in use_case.path_members:
        return Path
    if any(isinstance(mark, asked.Header) for mark in field.metadata):
        return Header
    return Query if use_case.method in ("GET", "DELETE") else Body


@cache
def _body_of(request: type[asked.Request], members: frozenset[str]) -> tuple[Any, bool]:
    """A model of the members that come in the body, and whether one of them is required."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in request.model_fields.items() if name in members
    }
    name = request.__name__.removesuffix("Request") + "Body"
    doc, strict = request.__dict__.get("__doc__"), {"strict": True}
    body = create_model(name, __base__=asked.Request, __doc__=doc, __cls_kwargs__=strict, **fields)
    return body, any(field.is_required() for field in body.model_fields.values())


def _answered(use_case: UseCase, report: Any, *, figures_only: bool) -> Response:
    body = use_case.written(report, figures_only=figures_only)
    headers = {}
    if use_case.etag is not None:
        headers["ETag"] = '"{}"'.format(str(getattr(report, use_case.etag)).strip('"'))
    is_dry = use_case.dry is not None and getattr(report, "dry_run", False)
    is_again = use_case.again is not None and not getattr(report, "new", True)
    if use_case.is_private:
        headers["Cache-Control"] = "no-store"
    if use_case.location is not None and not is_dry:
        headers["Location"] = use_case.location.format(report)
    return Response(body, 200 if is_dry or is_again else use_case.status, headers, "application/json")


def routes_of(use_cases: Iterable[UseCase]) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for use_case in use_cases:
        group = router(use_case.group)
        group.add_api_route(
            use_case.path,
            _endpoint(use_case),
            methods=[use_case.method],
            name=use_case.name,
            status_code=use_case.status,
            response_model=use_case.report,
            description=use_case.description,
            **guarded(
                use_case.role,
                use_case.change,
                narrows=use_case.narrows,
                keyed=use_case.keyed,
                long_bodies=use_case.long_bodies,
                also={200: meaning} if (meaning := use_case.dry or use_case.again) is not None else None,
            ),
        )
        routes += group.routes
    return routes
