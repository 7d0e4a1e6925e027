"""The prompt of a unit, open or filled in, and the snapshot for clients that decide in process.

All come from memory, and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.responses import Response

from api.hot.application import Header, HotResponse, HotRoute
from api.http.bodies import QUICK_BYTES, StrictRequest
from api.prompt import to_json
from api.routing import caller_of
from api.schemas import RenderBody, read_body
from api.served import ServedChoice, decide, unit_of
from api.services import Services
from optimizer.core.base.answers import is_listed
from optimizer.core.base.canonical import texts_in
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.rendering import fill, limit_inputs, render as render_messages
from optimizer.core.family.variant import Message
from optimizer.core.models.injection import injection_signs
from optimizer.core.policy.nearest import ShownExamples, nearest_of

PROMPT, RENDER, SNAPSHOT = "/v1/families/{family}/prompt", "/v1/families/{family}/render", "/v1/snapshot"
Variables = Mapping[str, Any]
History = Sequence[Message]
CACHING = ((b"cache-control", b"private, no-cache"), (b"vary", b"X-Detent-Unit, Authorization, X-API-Key"))


async def prompt(request: StrictRequest, shared: Services) -> Response:
    family = shared.serving.now_served.family(request.scope["path_params"]["family"])
    served = decide(shared, family, unit_of(request), shared.clock.now())
    shared.exposures.count(family.name, served.choice)
    prebuilt = family.prebuilt(served.choice)
    token = served.token.encode()
    return cacheable_response(request, prebuilt.etag, prebuilt.with_token(token), (b"x-detent-assignment", token))


async def snapshot(request: StrictRequest, shared: Services) -> Response:
    families, names = shared.serving.now_served.families, request.query.get("family")
    wanted = frozenset(name for name in names.split(",") if name in families) if names is not None else None
    snapshot_body = shared.snapshots.of(families, caller_of(request).access, shared.clock.now(), wanted)
    leases = ((b"x-detent-leases", snapshot_body.leases),) if snapshot_body.leases else ()
    return cacheable_response(request, snapshot_body.etag, snapshot_body.body, *leases)


async def render(request: StrictRequest, shared: Services) -> Response:
    value = await request.declared_json()
    body = read_body(RenderBody, value, is_missing=value is None and not await request.body())
    family = shared.serving.now_served.family(request.scope["path_params"]["family"])
    served = decide(shared, family, body.unit, shared.clock.now())
    variables, truncated = limit_inputs(family.definition, body.variables)
    texts = [turn.get("content") for turn in body.history if turn.get("role") in ("user", "tool")]
    signs = injection_signs(texts_in([*variables.values(), *texts]))
    extra_members = {**({"injection": signs} if signs else {}), **({"truncated": truncated} if truncated else {})}
    variant, is_nearest = family.variants[served.choice.variant], False
    if nearest_of(variant.policy) is not None:
        # The store is read once, and a look-up computes.
        shown = await asyncio.to_thread(shared.examples.served, family.name, variant, variables)
        is_nearest = shown.is_nearest
        content = to_json({**_shown(served, shown, variables, body.history), **extra_members})
    elif variant.messages:
        content = await _filled(request, served, variables, body.history, extra_members)
    else:
        content = to_json({**await _decided(served, variables, body.history), **extra_members})
    truncated_header = [(b"x-detent-truncated", ", ".join(truncated).encode())] if truncated else []
    shared.exposures.count(family.name, served.choice, truncated, is_nearest=is_nearest)
    request.state.quiet = True
    return HotResponse.of_json(content, (b"cache-control", b"no-store"), *truncated_header)


def _shown(served: ServedChoice, shown: ShownExamples, variables: Variables, history: History) -> dict[str, Any]:
    """The filled prompt with the examples for this request."""
    family, definition = served.family, served.family.definition
    declared = definition.inputs if definition is not None else None
    return {
        **family.shape(served.choice),
        "messages": render_messages(shown.variant, variables, history, declared=declared),
        "example_ids": [example.id for example in shown.variant.examples],
        "render": shown.kind,
        "assignment": served.token,
    }


async def _filled(
    request: StrictRequest, served: ServedChoice, variables: Variables, history: History, more: Mapping[str, Any]
) -> bytes:
    """The filled prompt: between prepared bytes where that is possible, else by ``fill``. Both give the same."""
    unfilled, definition = served.family.unfilled(served.choice), served.family.definition
    if not history and len(await request.body()) <= QUICK_BYTES:
        content = unfilled.filled_with(variables, served.token.encode(), more)
        if content is not None:
            return content
    declared = definition.inputs if definition is not None else None
    messages = fill(unfilled.messages, variables, history, declared=declared)
    return unfilled.filled(messages, served.token.encode(), more)


async def _decided(served: ServedChoice, variables: Variables, history: History) -> dict[str, Any]:
    """What the policy of a family without messages does with the variables, as a record."""
    family, choice = served.family, served.choice
    variant, definition = family.variants[choice.variant], family.definition
    messages = fill([], variables, history, declared=definition.inputs if definition is not None else None)
    by_policy = partial(family.decide, choice, variables, "/variables")
    has_score = family.pipeline(choice).score is not None
    decision = await asyncio.to_thread(by_policy) if has_score else by_policy()
    return {
        **family.shape(choice),
        "messages": messages,
        "policy": shown_policy(variant.policy),  # without the data of a learned score, which the open prompt has
        "assignment": served.token,
        "decision": decision.as_data(),
    }


def cacheable_response(request: StrictRequest, etag: str, body: bytes, *own: Header) -> Response:
    """The body, or 304 where the client has it already."""
    headers = [(b"etag", etag.encode()), *own, *CACHING]
    if is_listed(etag, request.first.get("if-none-match")):
        return HotResponse(b"", headers, status=304)
    return HotResponse.of_json(body, *headers)


HOT = [
    HotRoute(path=PROMPT, role="serve", handler=prompt, methods=("GET", "HEAD"), query=frozenset({"unit"})),
    HotRoute(path=RENDER, role="serve", handler=render),
    HotRoute(path=SNAPSHOT, role="serve", handler=snapshot, methods=("GET",), query=frozenset({"family"})),
]
