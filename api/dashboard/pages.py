"""The pages: each asks what it shows, and its template shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from api.dashboard.acts import ACTS
from api.dashboard.figures import LastDays, difference_chart, traffic_bars
from api.dashboard.visitors import PageVisit
from optimizer.core.search.study import UNFINISHED, ranked
from optimizer.core.serving.rollout import ALERT

FAMILIES_SHOWN, WAITING_SHOWN, LISTED = 24, 50, 50
WINDOWS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24)}
USUAL_WINDOW = "1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """``values``: what the template shows; ``query``: the parameters that the address may carry."""

    path: str
    template: str
    values: Callable[[PageVisit, LastDays], Mapping[str, Any]]
    query: frozenset[str] = frozenset()


def home(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What needs a person, then every family at a glance."""
    status = visit.ask("status")
    begin = visit.request.query.get("from", "")
    names = sorted(family.name for family in status.families if family.name >= begin)
    shown = set(names[:FAMILIES_SHOWN])
    families = [family for family in status.families if family.name in shown]
    days = {family.name: last_days.of(visit, family.name) for family in families if family.champion is not None}
    reviews = _waiting_reviews(visit, None)
    return {
        "status": status,
        "families": families,
        "days": days,
        "bars": {name: traffic_bars(day.hours) for name, day in days.items()},
        "next_name": names[FAMILIES_SHOWN] if len(names) > FAMILIES_SHOWN else None,
        "to_approve": [
            family.rollout
            for family in status.families
            if family.rollout is not None and family.rollout.status in ("pending", "validating")
        ],
        "reviews": reviews,
        "alarms": [alert for alert in status.alerts if alert.kind != ALERT and alert.level != "info"],
        "done": _done(visit),
        "now": visit.shared.clock.now(),
    }


def family(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What serves, the rollout as it stands, champions, studies."""
    name = visit.request.path_params["family"]
    view = visit.ask("family", family=name)
    rollout = visit.ask("rollout status", family=name)
    evidence = rollout.evidence
    champion = view.champion
    day = last_days.of(visit, name)
    return {
        "family": view,
        "champion": visit.ask("named_variant", family=name, name=champion.variant) if champion is not None else None,
        "rollout": rollout,
        "log": visit.ask("rollout log", family=name).items if rollout.rollout is not None else [],
        "difference": difference_chart(evidence.difference, evidence.margin) if evidence is not None else None,
        "history": list(reversed(visit.ask("history", family=name).items)) if champion is not None else [],
        "studies": visit.ask("studies", family=name, limit=5).items,
        "day": day,
        "bars": traffic_bars(day.hours),
        "reviews": _waiting_reviews(visit, name),
        "now": visit.shared.clock.now(),
        "done": _done(visit),
    }


def variant(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Its prompt, and what differs from the champion for who may read texts."""
    parameters = visit.request.path_params
    of_family = parameters["family"]
    view = visit.ask("named_variant", family=of_family, name=parameters["variant"])
    has_champion = visit.ask("family", family=of_family).champion is not None
    compares = has_champion and visit.visitor.may("diff", of_family)
    return {
        "variant": view,
        "diff": visit.ask("diff", variant=view.variant, family=of_family) if compares else None,
    }


def reviews(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """One question at a time; ``skip`` leaves so many for later."""
    of_family = visit.request.query.get("family") or None
    waiting = visit.ask("reviews", family=of_family, status="open", limit=1000)
    skip = visit.request.query.get("skip", "0")
    place = min(int(skip), 1000) if skip.isascii() and skip.isdigit() and len(skip) < 5 else 0
    items = waiting.items
    return {
        "review": items[place % len(items)] if items else None,
        "n_waiting": len(items),
        "has_more": waiting.next_cursor is not None,
        "following": (place + 1) % len(items) if items else 0,
        "of_family": of_family,
        "answered": visit.request.query.get("done"),
    }


def alerts(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    page = visit.ask("alerts", open=False, limit=1000)
    return {
        "firing": [alert for alert in page.items if alert.closed_at is None],
        "resolved": sorted(
            (alert for alert in page.items if alert.closed_at is not None),
            key=lambda alert: alert.closed_at,
            reverse=True,
        )[:LISTED],
        "now": visit.shared.clock.now(),
    }


def studies(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Best first within a page of the list, which is newest first."""
    query = visit.request.query
    page = visit.ask("studies", family=query.get("family") or None, cursor=query.get("cursor"), limit=LISTED)
    return {"page": page, "of_family": query.get("family")}


def study(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    id = visit.request.path_params["id"]
    view, trials = visit.ask("study", id=id), visit.ask("trials", id=id, limit=1000)
    best = ranked(trials.items)
    return {
        "study": view,
        "trials": [*best, *(trial for trial in trials.items if trial not in best)],
        "mlflow": visit.ask("mlflow", id=id).url,
        "done": _done(visit),
    }


def money(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What serving has cost in a day and thirty, and what studies have spent of what they may."""
    names = visit.family_names()
    days = {name: visit.ask("stats", family=name, by="day") for name in names[:FAMILIES_SHOWN]}
    return {
        "families": [
            {
                "name": name,
                "today_usd": sum(row.cost_usd for row in stats.items if row.start == stats.items[-1].start),
                "month_usd": sum(row.cost_usd for row in stats.items),
                "n": sum(row.n_interactions for row in stats.items),
            }
            for name, stats in days.items()
        ],
        "n_more": len(names) - len(days),
        "studies": [study for status in UNFINISHED for study in visit.ask("studies", status=status).items],
        "settings": visit.shared.settings,
    }


def requests(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """The requests of a window that is bounded, since a list of all of them has no end."""
    query = visit.request.query
    window = query.get("window") if query.get("window") in WINDOWS else USUAL_WINDOW
    of_family, variant = query.get("family") or None, query.get("variant") or None
    page = visit.ask(
        "list interactions",
        family=of_family,
        variant=variant,
        since=visit.shared.clock.now() - WINDOWS[window or USUAL_WINDOW],
        cursor=query.get("cursor"),
        limit=LISTED,
    )
    return {
        "page": page,
        "window": window,
        "windows": tuple(WINDOWS),
        "of_family": of_family,
        "variant": variant,
        "names": visit.family_names(),
    }


def one_request(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    parameters = visit.request.path_params
    return {"interaction": visit.ask("interaction", family=parameters["family"], id=parameters["id"])}


def audit(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    return {"page": visit.ask("audit", cursor=visit.request.query.get("cursor"), limit=LISTED)}


def _waiting_reviews(visit: PageVisit, of_family: str | None) -> str | None:
    """How many wait, as ``12`` or ``50 or more``; None where none does, or the visitor may not read them."""
    if not visit.visitor.may("reviews"):
        return None
    page = visit.ask("reviews", family=of_family, status="open", limit=WAITING_SHOWN)
    if not page.items:
        return None
    return f"{len(page.items)} or more" if page.next_cursor is not None else str(len(page.items))


def _done(visit: PageVisit) -> str | None:
    """What the act has done that led here, in words of this server alone."""
    act = ACTS.get(visit.request.query.get("done", ""))
    return act.past if act is not None else None


DONE = frozenset(("done",))
PAGES = (
    PageRoute(path="/dashboard", template="home.html", values=home, query=frozenset(("from", "done"))),
    PageRoute(path="/dashboard/families/{family}", template="family.html", values=family, query=DONE),
    PageRoute(path="/dashboard/families/{family}/variants/{variant}", template="variant.html", values=variant),
    PageRoute(
        path="/dashboard/reviews",
        template="reviews.html",
        values=reviews,
        query=frozenset(("family", "skip", "done")),
    ),
    PageRoute(path="/dashboard/alerts", template="alerts.html", values=alerts),
    PageRoute(
        path="/dashboard/studies", template="studies.html", values=studies, query=frozenset(("family", "cursor"))
    ),
    PageRoute(path="/dashboard/studies/{id}", template="study.html", values=study, query=DONE),
    PageRoute(path="/dashboard/money", template="money.html", values=money),
    PageRoute(
        path="/dashboard/requests",
        template="requests.html",
        values=requests,
        query=frozenset(("family", "variant", "window", "cursor")),
    ),
    PageRoute(path="/dashboard/requests/{family}/{id:path}", template="request.html", values=one_request),
    PageRoute(path="/dashboard/audit", template="audit.html", values=audit, query=frozenset(("cursor",))),
)
