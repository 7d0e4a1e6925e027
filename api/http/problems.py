"""RFC 9457 problem documents: one table from error class to status, and the handlers that turn every error into one.

Errors of the core know nothing of HTTP. Those that only HTTP can cause are declared here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from api.http.request_names import logged_path, new_request_id
from optimizer.core.base import errors
from optimizer.jobs.request import from_validation

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"  # a relative reference: the server answers it with this page's section on the problem

log = structlog.get_logger("api")


class MalformedBody(errors.InvalidInput, slug="malformed-body"):
    """A body that is no JSON, or holds what JSON cannot keep."""


class MalformedRequest(errors.DetentError, slug="malformed-request"):
    """What came over the connection is no request of HTTP/1.1."""


class InvalidContext(errors.InvalidInput, slug="invalid-context", title="Invalid evaluation context"):
    """The context of an OpenFeature evaluation is no object, or its targeting key no text."""


class UnknownParameter(errors.InvalidInput, slug="unknown-parameter", title="Unknown query parameter"):
    """The route has no such query parameter."""


class ModelTimedOut(errors.ModelFailed, slug="model-timeout", title="Model gave no answer in time"):
    """It may have cost money."""


class ModelPaused(errors.ModelFailed, slug="model-paused", title="Model is left alone for now"):
    """It was not asked."""


class MoneySpent(errors.TooMany, slug="money-spent", title="The hour's money is spent"):
    """Of a family, or of chats without one."""


class KeyLimitReached(errors.TooMany, slug="key-limit-reached", title="The key's limit is reached"):
    """Of its day; no model was asked."""


class GatewayUnavailable(errors.Busy, slug="gateway-unavailable"):
    """The process that answers model calls is away."""


class TooSlow(errors.DetentError, slug="too-slow", title="Request did not arrive in time"):
    """Headers or body."""


class HeadersTooLarge(errors.DetentError, slug="headers-too-large"):
    """Of a request, or trailers of its body."""


class MethodNotAllowed(errors.DetentError, slug="method-not-allowed"):
    """The path exists, the method does not."""


class UnsupportedMediaType(errors.DetentError, slug="unsupported-media-type"):
    """A body of a type that the route does not take."""


class PackageMissing(errors.DetentError, slug="package-missing", title="A package is not installed"):
    """What the route needs is an extra of the installation."""


class Internal(errors.DetentError, slug="internal-error"):
    """A fault of the server."""


# Status, and what the problem means and what to do.
# A class without a row answers like its nearest parent, at last with 500.
PROBLEMS: Mapping[type[errors.DetentError], tuple[int, str]] = {
    MalformedBody: (
        400,
        (
            "The body is not the UTF-8 JSON that was announced, or holds values that no JSON reader keeps (NaN, U+0000,"
            " integers beyond 2^53). Correct what `detail` and `errors` name."
        ),
    ),
    MalformedRequest: (
        400,
        (
            "What came is no request of HTTP/1.1, so it was not read, and the connection is closed: an address with"
            " other characters than ASCII, a length that is none or stands beside Transfer-Encoding, a broken line."
            " `detail` says what the reader met."
        ),
    ),
    InvalidContext: (
        400,
        (
            "The context of an OpenFeature evaluation is no object, or its `targetingKey` is no text or too long."
            " `errors` says which."
        ),
    ),
    UnknownParameter: (
        400,
        "The query holds parameters that this route does not have; `detail` lists those it has. Nothing was done.",
    ),
    PackageMissing: (
        501,
        "The route needs a package that is an extra of the installation; `detail` says how to install it.",
    ),
    errors.InvalidInput: (
        422,
        (
            "The request was read, but its content cannot be used. `errors` lists every fault with a JSON pointer;"
            " correct them all and send again. For a single event, `rejected` says what became of it."
        ),
    ),
    errors.InvalidFamily: (
        422,
        (
            "A family.yaml cannot be used. `errors` lists every fault with file, line and what to do. The last good"
            " version goes on serving."
        ),
    ),
    errors.InvalidCondition: (
        422,
        (
            "A condition of a policy cannot be read. `position` is the character, counted from 0, at which `reason`"
            " applies."
        ),
    ),
    errors.KeyReused: (422, "The Idempotency-Key came with another body before. Use a new key for a new request."),
    errors.NotAuthenticated: (
        401,
        (
            "No key, or one that is unknown, revoked or expired. Send `Authorization: Bearer KEY` or `X-API-Key: KEY`;"
            " `detent keys` makes keys."
        ),
    ),
    errors.NotAuthorised: (
        403,
        (
            "The key's role does not reach (`needed` says which does), the key is for other families (`families`), or"
            " the server has no keys and the request did not come from a program of this machine: from another machine,"
            " by another name or port than its own, from a page of a browser, or forwarded by a proxy. `detail` says"
            " which; `detent keys` makes a key."
        ),
    ),
    errors.NotFound: (
        404,
        (
            "What the path or body names does not exist here: a family, variant, study, rollout, interaction, or the"
            " route itself."
        ),
    ),
    MethodNotAllowed: (405, "The path exists, the method does not. The header `Allow` lists what does."),
    TooSlow: (
        408,
        (
            "Headers or body did not arrive in the time that `limits.header_seconds` and `limits.body_seconds` allow,"
            " so the connection was closed. Nothing was kept; send the request again."
        ),
    ),
    errors.Conflict: (
        409,
        (
            "The present state does not allow this: another study or rollout is active, or a rollout is not at the"
            " stage that the act needs. `detail` says what is possible."
        ),
    ),
    errors.Refused: (409, "A limit or rule says no. `detail` says which, and whether a person may go past it."),
    errors.GateNotMet: (
        409,
        (
            "A gate before a rollout, an advance or a promotion has not passed; `gates` names them. Collect the"
            " evidence, or send `confirm` with the family's name: it is then recorded as forced."
        ),
    ),
    errors.BudgetTooSmall: (
        409,
        (
            "The budget cannot pay for the search and its confirmation. Nothing was spent; the members say how much is"
            " needed."
        ),
    ),
    errors.DatasetTooSmall: (
        409,
        "The family has too few examples for this. The members say how many there are and how many are needed.",
    ),
    errors.StaleVersion: (412, "The thing changed since it was read. Read it again, decide anew, send again."),
    errors.PreconditionFailed: (
        412,
        "If-Match or If-None-Match does not fit the present state; `current` or `version` is what it is now.",
    ),
    errors.TooLarge: (
        413,
        "The body, or the number of events in it, is beyond the limit that the members name. Send it in parts.",
    ),
    UnsupportedMediaType: (
        415,
        (
            "A body of JSON must be declared as `Content-Type: application/json`; `text/plain` and the types of forms"
            " are never taken, since any page can make a browser send them. An import takes JSON lines"
            " (`application/x-ndjson`, or no declared type) and JSON columns (`application/json`)."
        ),
    ),
    HeadersTooLarge: (
        431,
        (
            "The headers of a request, or the trailers of its body, are larger than 64 KiB together. Send fewer or"
            " shorter ones."
        ),
    ),
    errors.PreconditionRequired: (
        428,
        (
            "A change that replaces something as a whole says what it replaces: send `If-Match` with the `ETag` that"
            " GET answers, or `*` for whatever holds now."
        ),
    ),
    errors.TooMany: (
        429,
        (
            "More requests or events in a minute than the limit allows, or more requests or bytes at once. Wait as long"
            " as `Retry-After` says."
        ),
    ),
    Internal: (500, "A fault of the server. The log holds it under `request_id`; please report it with that."),
    errors.ModelFailed: (
        502,
        "A model gave no usable answer; `kind` says how: timeout, rate_limit, http, malformed, library, unreachable.",
    ),
    ModelTimedOut: (
        504,
        (
            "A model did not answer within the time that config/models.yaml allows it. The call may have cost money;"
            " send it again, or raise the timeout."
        ),
    ),
    ModelPaused: (
        503,
        (
            "A model has failed so often of late that it is not asked for a while, and no fallback answered."
            " `Retry-After` says when it is tried again; `fallbacks` and `breaker` in config/models.yaml say what"
            " happens meanwhile."
        ),
    ),
    MoneySpent: (
        429,
        (
            "The model calls of the family, or of all chats that name a model and no family, have cost as much in this"
            " hour (UTC) as their limit allows (`limits.usd_per_hour` in family.yaml, setting"
            " `limits.models_usd_per_hour`), those under way counted at their highest price; or the model has no price"
            " to count by. No model was asked. Wait as long as `Retry-After` says, raise the limit, set `limits.above:"
            " cheapest`, or give the model a price."
        ),
    ),
    KeyLimitReached: (
        429,
        (
            "The key has used up the model calls or dollars that it may use in a day (UTC). No model was asked. Wait"
            " for the next day (`Retry-After`), or use another key; `detent keys list` shows the limits."
        ),
    ),
    errors.Busy: (
        503,
        "The store or the server cannot take this now. Nothing was kept; send it again after `Retry-After` seconds.",
    ),
    GatewayUnavailable: (
        503,
        (
            "Model calls are answered by the gateway process, which is not there. `detent serve` starts it again by"
            " itself."
        ),
    ),
}


def explanations() -> dict[str, str]:
    """What each problem means and what to do, by slug.

    /problems/{slug} answers with it, and docs/reference/problems.md has the same text.
    """
    return {cls.slug: f"{cls.title} ({status})\n\n{text}\n" for cls, (status, text) in PROBLEMS.items()}


def status_of(error: errors.DetentError) -> int:
    return next((PROBLEMS[cls][0] for cls in type(error).__mro__ if cls in PROBLEMS), 500)


def document(
    error: errors.DetentError, *, instance: str | None = None, request_id: str | None = None
) -> dict[str, Any]:
    """The problem as JSON values. Members of the error never replace the five members of RFC 9457.

    A fault of a request as a whole is in ``errors`` under the pointer "".
    """
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + error.slug,
        "title": error.title,
        "status": status_of(error),
        "detail": error.detail if error.detail.endswith((".", "!", "?", "\n")) else error.detail + ".",
    }
    if instance is not None:
        body["instance"] = instance
    for name, value in error.members.items():
        body.setdefault(name, errors.shorten(value, errors.MAX_DETAIL_CHARS) if isinstance(value, str) else value)
    if isinstance(error, errors.InvalidInput):
        body.setdefault("errors", [{"pointer": "", "detail": error.detail}])
    if request_id is not None:
        body["request_id"] = request_id
    return body


def response(error: errors.DetentError, scope: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    state = scope.get("state") or {}
    body = document(error, instance=quote(scope.get("path", "")), request_id=state.get("request_id"))
    all_headers = dict(headers or {})
    if isinstance(error, errors.NotAuthenticated):
        all_headers.setdefault("WWW-Authenticate", "Bearer")
    retry_after = error.members.get("retry_after_s")
    if retry_after is not None:
        all_headers.setdefault("Retry-After", str(retry_after))
    elif body["status"] == 503:
        all_headers.setdefault("Retry-After", "1")
    return Response(
        json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace"),
        body["status"],
        all_headers,
        media_type=MEDIA_TYPE,
    )


def raw_response(error: errors.DetentError) -> bytes:
    """The final error of a connection whose request was not fully read, so its id is unknown."""
    request_id, status = new_request_id(), HTTPStatus(status_of(error))
    log.debug("connection refused", request_id=request_id, status=int(status), detail=error.detail)
    retry = "retry-after: 1\r\n" if status in (408, 429, 503) else ""
    body = json.dumps(document(error, request_id=request_id)).encode()
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body


def from_http(error: HTTPException, method: str, path: str) -> errors.DetentError:
    """Errors that Starlette and FastAPI raise themselves, as ours."""
    if error.status_code == 404:
        return errors.NotFound(f"There is nothing at {path}. The routes of this server are listed at /docs.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow") or "another method"
        return MethodNotAllowed(f"{path} does not answer {method}; it answers {allowed}.")
    if error.status_code < 500:
        return MalformedBody(f"The request could not be read: {error.detail}")
    return Internal(f"The request failed: {error.detail}")


async def on_detent_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.DetentError)
    if isinstance(error, errors.Busy) and error.said is not None:
        log.warning("store busy", path=logged_path(request.scope), said=error.said)
    return response(error, request.scope)


def fault_of(request: Request, error: Exception) -> Internal:
    """What is said of a fault that nobody foresaw; the log holds the rest."""
    log.error("request failed", path=logged_path(request.scope), method=request.method, exc_info=error)
    return Internal(
        "The server met a fault of its own while answering. Nothing about the request needs to change; "
        "the log holds the details under this request_id."
    )


async def on_bug(request: Request, error: Exception) -> Response:
    return response(fault_of(request, error), request.scope)


async def on_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # the client has gone


def install(app: FastAPI) -> None:
    """Makes every error of this application a problem document."""

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response(from_validation(error.errors()), request.scope)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if "Allow" in (error.headers or {}):  # Starlette names what the first route of the path answers
            routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
            allowed = {method for route in routes for method in getattr(route, "methods", None) or ()}
            error.headers = {"Allow": ", ".join(sorted(allowed - {request.method}))}
        return response(from_http(error, request.method, request.url.path), request.scope, error.headers)

    for kind, handler in (
        (ClientDisconnect, on_gone),
        (errors.DetentError, on_detent_error),
        (RequestValidationError, on_validation),
        (HTTPException, on_http),
        (Exception, on_bug),
    ):
        app.add_exception_handler(kind, handler)
