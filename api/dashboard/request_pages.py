"""The pages of requests: found within a bounded time by what is known of them, and one of them whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from api.dashboard.acts import notice_of
from api.dashboard.figures import LastDays
from api.dashboard.visitors import LISTED, PageVisit
from optimizer.core.base.errors import InvalidInput

MOST_WAITING = 1000
WINDOWS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
USUAL_WINDOW = "1h"
OUTCOMES = {"": "any", "failed": "ended in an error", "answered": "answered"}
# What the address of a list may say; a unit stands there as its hash alone.
FILTERS = ("family", "variant", "units", "outcome", "score", "text", "window")


def requests(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """The newest first, within a window that is bounded, since a list of all requests has no end."""
    query = visit.request.query
    filters = {name: query.get(name, "").strip() for name in FILTERS}
    if filters["window"] not in WINDOWS:
        filters["window"] = USUAL_WINDOW
    return {
        "found": visit.ask(
            "find interactions",
            family=filters["family"] or None,
            variant=filters["variant"] or None,
            since=visit.shared.clock.now() - WINDOWS[filters["window"]],
            unit_hmacs=filters["units"] or None,
            failed={"failed": True, "answered": False}.get(filters["outcome"]),
            score_at_most=_score(filters["score"]),
            text=filters["text"] or None,
            cursor=query.get("cursor"),
            limit=LISTED,
        ),
        "filters": filters,
        "windows": tuple(WINDOWS),
        "outcomes": OUTCOMES,
        "names": visit.family_names(),
        "following": _address(filters),
        "of_any_unit": _address({**filters, "units": ""}),
    }


def list_asked(visit: PageVisit, form: Mapping[str, str]) -> str:
    """The address of the list that a form asks for. Units are posted, so that none of them stands in an address."""
    filters = {name: form.get(name, "").strip() for name in FILTERS}
    if unit := form.get("unit", "").strip():
        context = visit.shared.context(visit.visitor.caller)
        filters["units"] = ",".join((context.hmac_unit(unit), *context.older_hmacs(unit)))
    return _address(filters)


def one_request(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    parameters = visit.request.path_params
    interaction = visit.ask("interaction", family=parameters["family"], id=parameters["id"])
    parts = [("", part) for part in interaction.parts or ()]
    parts += [("after the answer", part) for part in interaction.later_parts or ()]
    done, place = notice_of(visit), None
    if done and visit.visitor.may("reviews", interaction.family):
        waiting = visit.ask("reviews", family=interaction.family, status="open", limit=MOST_WAITING).items
        place = next((i for i, one in enumerate(waiting) if one.subject == interaction.id), None)
    return {"interaction": interaction, "parts": parts, "done": done, "place_of_review": place}


def _score(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidInput(f"A score is a number from 0 to 1, not {text[:40]!r}.") from None


def _address(filters: Mapping[str, str]) -> str:
    named = {name: value for name, value in filters.items() if value}
    return f"dashboard/requests?{urlencode(named, quote_via=quote)}"
