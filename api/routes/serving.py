"""Documents the serving routes for OpenAPI; ``api/hot/serving.py`` answers them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from api.answers import Evaluation, Evaluations, FilledPrompt, OpenPrompt, Snapshot
from api.hot.ofrep import EVALUATION, EVALUATIONS
from api.hot.serving import PROMPT, RENDER, SNAPSHOT
from api.routing import answered_in_front, guarded, router
from api.schemas import EvaluationBody, RenderBody
from optimizer.core.feedback.event_kinds import MAX_NAME_CHARS

routes: APIRouter = router("Serving")
SAME = {304: "Nothing has changed since the answer with the ETag in If-None-Match"}
# For another method FastAPI lists the methods that there are, but for a plain route it leaves out HEAD.
routes.add_route(PROMPT, lambda request: answered_in_front(), methods=["GET"], include_in_schema=False)


@routes.post(RENDER, response_model=FilledPrompt, **guarded("serve"))
async def render_prompt(family: str, body: RenderBody) -> Response:
    """The prompt of a unit with its variables and history filled in: the messages to send to the model, byte for byte.

    A family of kind policy has no messages: the variables are a record,
    and `decision` says what its policy does with it. Inputs that were cut are in the header `X-Detent-Truncated`, too.
    """
    return answered_in_front()


@routes.get(SNAPSHOT, response_model=Snapshot, **guarded("serve", narrows=True, also=SAME))
async def snapshot(
    family: Annotated[str | None, Query(description="Only these, with commas between them")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Champions, candidates, salts, shares, leases, holdbacks and overrides of all families, for clients that decide in
    process.

    The ETag covers all but the leases. The header `X-Detent-Leases` has those, of a 304 too: `ID=TIME` of each rollout,
    with commas between them.

    Such a client finds bucket and candidate by the same formula as the server, and counts a lease, and the end of a
    holdback, from the answer's Date header. Until then a unit with bucket >= floor(.95 x 2^32) gets the `prompt` of the
    `holdback`, every other one the `champion`, with the holdback's `rollout` and no `stage`.
    """
    return answered_in_front()


@routes.get(PROMPT, response_model=OpenPrompt, **guarded("serve", also=SAME))
async def documented_prompt(
    family: str, unit: Annotated[str | None, Query(min_length=1, max_length=MAX_NAME_CHARS)] = None
) -> Response:
    """The prompt that this unit gets now, with its examples in place and its variables open.

    The unit (user, session or conversation) comes as `unit` or in the header `X-Detent-Unit`; without one the champion
    is served, outside a rollout's arms. Examples stand in `messages`; `{{variables}}` and `{"role": "history"}` are
    open, and `inputs` says how long each may be. Within a rollout the answer may be used until `lease_expires_at`,
    counted from its Date header.

    The token in `assignment` goes back with feedback. Send the ETag of the last answer as `If-None-Match`: 304 says
    that nothing but the token has changed; a fresh token is in the header `X-Detent-Assignment` either way.
    """
    return answered_in_front()


@routes.post(EVALUATION, response_model=Evaluation, **guarded("serve", narrows=True))
async def evaluate_flag(key: str, body: EvaluationBody | None = None) -> Response:
    """OpenFeature's single evaluation (OFREP 0.3): the flag is a family, its value the prompt of `GET …/prompt`.

    The unit is the context's `targetingKey`; without one the champion is the value, with no `assignment`. Counts as a
    fetch of the prompt. A refusal is a problem document with `key`, `errorCode` and `errorDetails`: `FLAG_NOT_FOUND`
    (404), `PARSE_ERROR` and `INVALID_CONTEXT` (400), else `GENERAL` with this interface's usual status.
    """
    return answered_in_front()


@routes.post(EVALUATIONS, response_model=Evaluations, **guarded("serve", narrows=True, also=SAME))
async def evaluate_flags(
    body: EvaluationBody | None = None, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """OpenFeature's bulk evaluation (OFREP 0.3): every family that the key may see, counted as no fetch.

    Report those that were used with `POST /v1/exposures`. With `If-None-Match`, 304 says that for this unit nothing
    has changed; the tag changes once a day for fresh tokens.
    """
    return answered_in_front()
