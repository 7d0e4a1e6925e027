"""Serves one unit: decides from memory, and names the answer by a token."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from api.http.bodies import StrictRequest
from api.prompt import ServedFamily
from api.services import Services
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.serving.assignment import Choice
from optimizer.jobs.request import unit_fault


class ServedChoice(NamedTuple):
    """One answer to "what does this unit get now": the choice with its token."""

    family: ServedFamily
    choice: Choice
    token: str


def decide(
    shared: Services, family: ServedFamily, unit: str | None, now: datetime, *, by_chat: bool = False
) -> ServedChoice:
    """Decides from memory. Count it (``exposures``) once nothing can be refused any more.

    Args:
        by_chat: the variant is executed here, and not by who fetches its prompt.
    """
    hashed = shared.hmac_unit(unit) if unit is not None else None
    choice = family.choose(unit, hashed, now, by_chat=by_chat)
    token = family.token(
        choice, hashed, now=now, rollout_now=shared.clock.rollout_now(), keys=shared.serving.token_keys
    )
    return ServedChoice(family, choice, token)


def unit_of(request: StrictRequest) -> str | None:
    """The unit of X-Detent-Unit or ?unit=, as sent; None without one.

    Raises InvalidInput when the two differ or it cannot be a unit.
    """
    header = request.first.get("x-detent-unit")
    query = request.query.get("unit")
    try:
        from_header = header.encode("latin-1").decode() if header is not None else None
    except UnicodeDecodeError:
        raise _bad_unit("the header X-Detent-Unit is not UTF-8") from None
    if from_header is not None and query is not None and from_header != query:
        raise _bad_unit("the header X-Detent-Unit and ?unit= name different units")
    unit = from_header if from_header is not None else query
    if unit is not None and (fault := unit_fault(unit)) is not None:
        raise _bad_unit(fault)
    return unit


def _bad_unit(why: str) -> InvalidInput:
    return InvalidInput(f"The unit cannot be used: {why}.", [Fault(pointer="/unit", detail=why)])
