"""The page of reviews: one question at a time, by buttons and keys, and what a rating is worth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from api.dashboard.figures import LastDays
from api.dashboard.visitors import PageVisit
from optimizer.core.base.answers import cursor_of
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER, RELEASE

KEYS = 9  # of a keyboard, by which a label is given


def reviews(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    query = visit.request.query
    return review_values(visit, query.get("family") or None, query.get("skip", ""), done=visit.noticed() or "")


def review_values(
    visit: PageVisit,
    of_family: str | None,
    skip: str,
    *,
    done: str = "",
    refusal: str | None = None,
    answered: str | None = None,
    typed: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """One of the questions that wait. ``skip``: how many stand before it; ``done``: the review of which the answer was
    given last and may be taken back, else what was done; ``typed``: what a refused answer to ``answered`` held.
    """
    waiting, place = _waiting_at(visit, of_family, place_of(skip))
    n, review = waiting.n_open, next(iter(waiting.items), None)
    family = visit.ask("family", family=review.family).definition if review is not None else None
    labels = (family.output.labels if family is not None else None) or ()
    typed = typed or {}
    is_same = review is not None and review.id == answered  # else what was typed would answer another question
    return {
        "review": review,
        "n_waiting": n,
        "skipped": place,
        "following": (place + 1) % n if n else 0,
        "before": (place - 1) % n if n else 0,
        "of_family": of_family,
        "done": done,
        "refusal": refusal,
        "typed": typed if is_same else {},
        "typed_elsewhere": [text] if (text := typed.get("expected_text", "")).strip() and not is_same else [],
        "task": family.description if family is not None else "",
        "labels": labels if len(labels) < KEYS and review and review.kind == LABEL_INTERACTION else (),
        "judge": judge_of(visit, review.family) if review is not None and review.kind == RATE_ANSWER else None,
    }


def _waiting_at(visit: PageVisit, of_family: str | None, place: int) -> tuple[Any, int]:
    """The question at this place of those that wait, and the place itself; from the first on again behind the last."""
    one_open = partial(visit.ask, "reviews", family=of_family, status="open", limit=1)
    waiting = one_open(cursor=cursor_of(place))
    if waiting.items or not waiting.n_open:
        return waiting, place
    return one_open(cursor=cursor_of(place % waiting.n_open)), place % waiting.n_open


def answer_of(visit: PageVisit, id: str, form: Mapping[str, str]) -> str:
    """Answers a question as its form says; the page with the one that stands in its place then. Raises as the use case
    does.
    """
    members: dict[str, Any] = {"id": id, "answer": form.get("answer", "")}
    if form.get("label"):  # of a button that says what should have been answered
        members |= {"answer": RELEASE, "expected_text": form["label"]}
    elif form.get("expected_text", "").strip():
        members["expected_text"] = form["expected_text"]
    if form.get("as_answered") and not form.get("label"):  # beside a text, too, so that both are refused
        members["as_answered"] = True
    query = {name: form[name] for name in ("family", "skip") if form.get(name)}
    if form.get("withdraw"):
        visit.act("withdraw answer", id=id)
        return f"dashboard/reviews?{urlencode({'done': visit.notice('withdrawn'), **query})}"
    review = visit.act("answer review", **members)
    done = visit.notice("answered" if review.is_final else id)
    return f"dashboard/reviews?{urlencode({'done': done, **query})}"


def place_of(text: str) -> int:
    """How many of a list an address leaves out; 0 where it says nothing that can be used."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


def judge_of(visit: PageVisit, family: str) -> Any:
    """The judge of a family, and what ratings have told of it so far; None where the family has none."""
    try:
        return visit.ask("judge", family=family)
    except InvalidInput:
        return None
