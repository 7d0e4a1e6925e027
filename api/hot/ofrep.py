"""OpenFeature's remote evaluation protocol, OFREP 0.3: a family is a flag, and its value is a unit's prompt.

It is a hot route because the decision, the count and the prepared bytes of GET …/prompt are one call each here. As a
use case it would need a request, a report and a reader of the store besides.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.access.auth import require_family
from api.hot.application import HotResponse, HotRoute
from api.hot.serving import cacheable_response
from api.http.bodies import StrictRequest
from api.http.problems import InvalidContext, MalformedBody, UnsupportedMediaType, on_detent_error
from api.prompt import time_text, to_json
from api.routing import caller_of
from api.served import ServedChoice, decide
from api.services import Services
from api.snapshot import visible_families
from optimizer.core.base.answers import etag_of
from optimizer.core.base.errors import DetentError, Fault, NotFound
from optimizer.jobs.request import unit_fault

EVALUATION, EVALUATIONS = "/ofrep/v1/evaluate/flags/{key:path}", "/ofrep/v1/evaluate/flags"
ERROR_CODES = (
    (NotFound, "FLAG_NOT_FOUND"),
    (InvalidContext, "INVALID_CONTEXT"),
    ((MalformedBody, UnsupportedMediaType), "PARSE_ERROR"),
    (DetentError, "GENERAL"),
)


async def evaluation(request: StrictRequest, shared: Services) -> Response:
    """One family's prompt, counted like a fetch of it."""
    key = request.scope["path_params"]["key"]
    unit = await _unit(request)
    require_family(caller_of(request), key)
    served = decide(shared, shared.serving.now_served.family(key), unit, shared.clock.now())
    shared.exposures.count(served.family.name, served.choice)
    request.state.quiet = True
    return HotResponse.of_json(_evaluated(key, served, unit), (b"cache-control", b"no-store"))


async def evaluations(request: StrictRequest, shared: Services) -> Response:
    """The prompts of all families that the key may see. They are not counted, since nobody knows which will be used.

    No header carries the fresh tokens here, so the tag covers the unit that they are for, and the day, since tokens
    end.
    """
    unit, now = await _unit(request), shared.clock.now()
    families = visible_families(shared.serving.now_served.families, caller_of(request).access)
    served = {key: decide(shared, family, unit, now) for key, family in families.items()}
    shown = [(key, _reason(one, unit), one.family.prebuilt(one.choice).etag) for key, one in served.items()]
    body = b'{"flags":[%b]}' % b",".join(_evaluated(key, one, unit) for key, one in served.items())
    request.state.quiet = True
    return cacheable_response(request, etag_of(to_json([unit, now.date().isoformat(), shown])), body)


async def _unit(request: StrictRequest) -> str | None:
    """The context's targeting key; None without one. Some providers send an empty key where they have none.

    Raises MalformedBody or InvalidContext.
    """
    body = await request.declared_json() if await request.body() else {}
    if not isinstance(body, dict):
        raise MalformedBody('The body is no JSON object. Send {"context": {"targetingKey": "..."}}.')
    context = body.get("context")
    if context is not None and not isinstance(context, dict):
        raise _bad_context("/context", "the context is no JSON object")
    unit = (context or {}).get("targetingKey")
    if unit is None or unit == "":
        return None
    if not isinstance(unit, str):
        raise _bad_context("/context/targetingKey", "the targeting key is no text")
    if (fault := unit_fault(unit)) is not None:
        raise _bad_context("/context/targetingKey", fault)
    return unit


def _bad_context(pointer: str, why: str) -> InvalidContext:
    return InvalidContext(f"The context cannot be used: {why}.", [Fault(pointer=pointer, detail=why)])


def _evaluated(key: str, served: ServedChoice, unit: str | None) -> bytes:
    """One flag as JSON. Without a unit it has no assignment, since nothing would keep it the same."""
    prebuilt, lease = served.family.prebuilt(served.choice), time_text(served.family.lease_of(served.choice))
    metadata = {} if unit is None else {"assignment": served.token}
    if lease is not None:  # the protocol allows no null here
        metadata["lease_expires_at"] = lease
    about = {"key": key, "reason": _reason(served, unit), "variant": served.choice.variant, "metadata": metadata}
    value = prebuilt.without_token() if unit is None else prebuilt.with_token(served.token.encode())
    return b'%b,"value":%b}' % (to_json(about)[:-1], value)


def _reason(served: ServedChoice, unit: str | None) -> str:
    """Why the unit gets this variant, in OpenFeature's words."""
    family, choice = served.family, served.choice
    if unit is None or family.environment is not None:
        return "STATIC"
    if family.freeze is not None:
        return "DISABLED"
    if not choice.counted:
        return "TARGETING_MATCH"  # an override
    if choice.unwatched:
        return "DEFAULT"  # nobody renewed the lease
    return "SPLIT" if choice.rollout is not None else "STATIC"


async def _refusal(request: Request, error: Exception) -> Response:
    """The problem document, with the members that the protocol gives a failure."""
    assert isinstance(error, DetentError)
    code = next(code for of, code in ERROR_CODES if isinstance(error, of))
    error.members = {**error.members, **request.path_params, "errorCode": code, "errorDetails": error.detail}
    return await on_detent_error(request, error)


HOT = [
    HotRoute(path=EVALUATION, role="serve", handler=evaluation, refusal=_refusal),
    HotRoute(path=EVALUATIONS, role="serve", handler=evaluations, refusal=_refusal),
]
