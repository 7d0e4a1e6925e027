"""Serving: the prompt of a unit, filled in or open, and the snapshot from which clients decide in process.

No route here writes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query, Request
from starlette.responses import Response
from starlette.routing import Route

from api import services
from api.http.etags import is_listed
from api.prompt import to_json
from api.quick import CACHING, signs_of
from api.routing import Asking, admit, check_query, guarded, router
from api.schemas import RenderBody
from api.served import MAX_UNIT_CHARS, count, decide, unit_of
from api.services import Shared
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.rendering import limit_inputs, render

PATH = "/v1/families/{family}/prompt"
PROMPT_QUERY = frozenset({"unit"})

routes: APIRouter = router("Serving")


async def prompt(request: Request) -> Response:
    """The prompt that this unit gets now, with its examples in place and its variables open.

    The token in `assignment` goes back with feedback. Send the ETag of the last answer as `If-None-Match`: 304 says
    that nothing but the token has changed; a fresh token is in the header `X-Detent-Assignment` either way.
    """
    shared = services.of(request)
    await shared.request_limits.count(admit(request, "serve"))
    check_query(request, PROMPT_QUERY)
    family = shared.serving.now_served.family(request.path_params["family"])
    served = decide(shared, family, unit_of(request), shared.clock.now())
    count(shared, served)
    prebuilt = served.family.prebuilt(served.choice)
    headers = {"ETag": prebuilt.etag, "X-Detent-Assignment": served.token, **CACHING}
    if is_listed(prebuilt.etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(prebuilt.with_token(served.token.encode()), headers=headers, media_type="application/json")


@routes.post("/v1/families/{family}/render", **guarded("serve"))
async def render_prompt(family: str, body: RenderBody, shared: Shared) -> Response:
    """The prompt of a unit with its variables and history filled in: the messages to send to the model, byte for byte.

    A family of kind policy has no messages: the variables are a record,
    and `decision` says what its policy does with it.
    """
    served = decide(shared, shared.serving.now_served.family(family), body.unit, shared.clock.now())
    variant, definition = served.family.variants[served.choice.variant], served.family.definition
    variables, truncated = limit_inputs(definition, body.variables)
    messages = render(
        variant,
        variables,
        body.history,
        declared=definition.inputs if definition is not None else None,
    )
    answer = {**served.family.shape(served.choice), "messages": messages, "assignment": served.token}
    if not variant.messages:
        answer["policy"] = shown_policy(variant.policy)  # it has decided; the data of a learned score are in /prompt
        by_policy = partial(served.family.decide, served.choice, variables, "/variables")
        has_score = served.family.pipeline(served.choice).score is not None
        decision = await asyncio.to_thread(by_policy) if has_score else by_policy()
        answer["decision"] = decision.as_data()
    if signs := signs_of(variables, body.history):
        answer["injection"] = list(signs)
    headers = {"Cache-Control": "no-store"}
    if truncated:
        answer["truncated"] = list(truncated)
        headers["X-Detent-Truncated"] = ", ".join(truncated)
    content = to_json(answer)
    count(shared, served, truncated)
    return Response(content, media_type="application/json", headers=headers)


@routes.get("/v1/snapshot", **guarded("serve", narrows=True))
async def snapshot(shared: Shared, caller: Asking, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Champions, candidates, salts, shares, leases and holdbacks of all families, for clients that decide in process.

    Such a client finds bucket and candidate by the same formula as the server, and counts a lease, and the end of a
    holdback, from the answer's Date header.
    """
    found = shared.snapshots.of(shared.serving.now_served.families, caller.access, shared.clock.now())
    headers = {"ETag": found.etag, **CACHING}
    if is_listed(found.etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """What ``quick.py`` leaves to be answered comes to a plain Starlette route, ahead of all others."""
    app.router.routes.insert(0, Route(PATH, prompt, methods=["GET"], include_in_schema=False))


async def documented_prompt(
    request: Request, family: str, unit: Annotated[str | None, Query(min_length=1, max_length=MAX_UNIT_CHARS)] = None
) -> Response:
    return await prompt(request)


documented_prompt.__doc__ = prompt.__doc__
routes.get(PATH, **guarded("serve"))(documented_prompt)
