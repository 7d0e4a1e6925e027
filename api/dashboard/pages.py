"""The pages: each asks what it shows, and its template shows it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.dashboard.acts import notice_of
from api.dashboard.figure_pages import RANGES, conversation, performance, pipeline, range_of
from api.dashboard.figures import LastDays
from api.dashboard.request_pages import FILTERS, one_request, requests
from api.dashboard.review_pages import judge_of, place_of, reviews
from api.dashboard.study_pages import compare_studies, studies, study
from api.dashboard.visitors import LISTED, PageVisit
from api.dashboard.work_pages import KINDS, run, runs, settings
from api.dashboard.workbench import workbench
from optimizer.core.base.values import grouped
from optimizer.core.evaluation.label_report import LABELS
from optimizer.core.serving.rollout import ALERT
from optimizer.core.views.last_day import serving_cost
from optimizer.core.views.rollout_story import WAITS_FOR_A_PERSON, needs_a_person
from optimizer.jobs.families.tell_faulty_families import FAULTY
from optimizer.jobs.upkeep.read_runbook import read_chapter, read_help
from optimizer.jobs.upkeep.read_status import REFUSED_SHOWN

N_LOWEST, N_GOLDEN, N_RUNS, N_STUDIES = 20, 100, 200, 50  # of runs and studies: looked through


def examples(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Counts by part and label, and golden scenarios for who may read texts."""
    family = visit.request.path_params["family"]
    reads = visit.visitor.may("golden", family)
    return {
        "family": family,
        "counts": visit.ask("examples", family=family),
        "golden": visit.ask("golden", family=family, limit=N_GOLDEN) if reads else None,
    }


def quality(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Scores by band, students week by week, the lowest answers first, the judge, and the last evaluation label by
    label.
    """
    family, range_ = visit.request.path_params["family"], range_of(visit)
    reads = visit.visitor.may("lowest answers", family)
    evaluation = _last_evaluation(visit, family)
    return {
        "family": family,
        "quality": visit.ask("quality analytics", family=family, range=range_),
        "students": visit.ask("students", family=family).students,
        "lowest": visit.ask("lowest answers", family=family, range=range_, limit=N_LOWEST) if reads else None,
        "judge": judge_of(visit, family),
        "evaluation": evaluation,
        "suites": [suite for suite in evaluation.result.suites if suite.labels] if evaluation is not None else [],
        "of_study": _last_labelled(visit, family),
        "range": range_,
        "ranges": tuple(RANGES),
    }


def _last_evaluation(visit: PageVisit, family: str) -> Any:
    """The newest one that came to its end; None without any."""
    runs = visit.ask("runs", family=family, kind="evaluate", ended=True, limit=N_RUNS).items
    last = next((run for run in runs if run.status == "finished"), None)
    evaluation = visit.ask("evaluation", id=last.id) if last is not None else None
    return evaluation if evaluation is not None and evaluation.result is not None else None


def _last_labelled(visit: PageVisit, family: str) -> Any:
    """The newest study that says how its champion does label by label; None for who may not read what studies found."""
    studies = visit.ask("studies", family=family, limit=N_STUDIES).items
    return next((study for study in studies if study.champion in (study.findings or {}).get(LABELS, {})), None)


def schedule(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Whether and when studies start by themselves, and what each trigger says now."""
    family = visit.request.path_params["family"]
    return {
        "family": family,
        "schedule": visit.ask("schedule", family=family),
        "triggers": visit.ask("triggers", family=family),
    }


FAMILIES_SHOWN, ROLLOUTS_SHOWN, STUDIES_SHOWN, CHAMPIONS_SHOWN, SAVED_SHOWN, MOST_ALERTS = 24, 20, 5, 50, 10, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """``values``: what the template shows; ``query``: the parameters that the address may carry."""

    path: str
    template: str
    values: Callable[[PageVisit, LastDays], Mapping[str, Any]]
    query: frozenset[str] = frozenset()


def home(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What needs a person, then every family at a glance."""
    status, query = visit.ask("status"), visit.request.query
    begin, find = query.get("from", ""), query.get("find", "").strip().lower()
    names = sorted(family.name for family in status.families if family.name >= begin and find in family.name)
    shown = names_shown(names, {family.name for family in status.families if family.rollout is not None})
    families = [family for family in status.families if family.name in shown]
    days = last_days.of(visit, [family.name for family in families if family.champion is not None])
    used = {name for name, day in days.items() if day.n_interactions}
    now = visit.shared.clock.now()
    families.sort(key=lambda family: (family.rollout is None, family.name not in used))
    return {
        "status": status,
        "families": families,
        "days": days,
        "next_name": names[FAMILIES_SHOWN] if len(names) > FAMILIES_SHOWN else None,
        "find": find,
        "n_families": len(status.families),
        "to_approve": [
            family.rollout
            for family in status.families
            if family.rollout is not None and family.rollout.status in WAITS_FOR_A_PERSON
        ],
        "held": [
            family
            for family in status.families
            if family.rollout is not None and family.rollout.held and needs_a_person(family.rollout)
        ],
        "n_reviews": _n_waiting(visit, None),
        "faulty": [family for family in status.families if family.problem is not None],
        "refused": [caller for caller in status.refused_callers if now - caller.last_at < REFUSED_SHOWN],
        "alarms": [
            alert
            for alert in status.alerts
            if alert.kind not in (ALERT, FAULTY) and alert.level != "info" and alert.is_told
        ],
        "done": notice_of(visit),
        "now": now,
    }


def names_shown(names: Sequence[str], in_rollout: Collection[str]) -> set[str]:
    """The first of them, and the first ones in a rollout wherever their names stand: 24 of either."""
    return {*names[:FAMILIES_SHOWN], *[name for name in names if name in in_rollout][:FAMILIES_SHOWN]}


def family(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What serves, the rollout as it stands, champions, studies; of a file that never was good only what is wrong."""
    name = visit.request.path_params["family"]
    view = visit.ask("family", family=name)
    if view.kind is None:
        return {"family": view, "rollout": None, "done": notice_of(visit)}
    rollout = visit.ask("rollout status", family=name)
    champion = view.champion
    history = list(visit.ask("history", family=name).items) if champion is not None else []
    day = last_days.of(visit, [name])[name]
    rollouts = visit.ask("rollouts", family=name, limit=ROLLOUTS_SHOWN)
    studies = visit.ask("studies", family=name, limit=STUDIES_SHOWN).items
    former = {tenure.variant for tenure in history}
    tried = former | {one.candidate for one in rollouts.items}
    last = studies[0] if studies and visit.active_rollout(name) is None else None
    return {
        "family": view,
        "untried": last if last and last.outcome == "nominated" and last.winner not in tried else None,
        "champion": visit.ask("named_variant", family=name, name=champion.variant) if champion is not None else None,
        "rollout": rollout,
        "alerts": visit.ask("alerts", family=name, limit=MOST_ALERTS).items,
        "rollouts": rollouts,
        "log": visit.ask("rollout log", family=name).items if rollout.rollout is not None else [],
        "former": former,
        "history": history[::-1][:CHAMPIONS_SHOWN],
        "n_earlier": max(0, len(history) - CHAMPIONS_SHOWN),
        "saved": visit.ask("variants", family=name, source="person", order="newest", limit=SAVED_SHOWN).items,
        "studies": studies,
        "day": day,
        "n_reviews": _n_waiting(visit, name),
        "now": visit.shared.clock.now(),
        "done": notice_of(visit),
    }


def variants(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """All that the family has, the newest first, page by page."""
    name = visit.request.path_params["family"]
    served = visit.ask("family", family=name).champion is not None
    page = visit.ask("variants", family=name, order="newest", cursor=visit.request.query.get("cursor"), limit=LISTED)
    return {
        "family": name,
        "variants": page.items,
        "next_cursor": page.next_cursor,
        "former": {tenure.variant for tenure in visit.ask("history", family=name).items} if served else set(),
    }


def variant(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Its prompt, and for who may read texts what differs from the champion and its block for the family's file."""
    parameters = visit.request.path_params
    of_family = parameters["family"]
    view = visit.ask("named_variant", family=of_family, name=parameters["variant"])
    has_champion = visit.ask("family", family=of_family).champion is not None
    reads = visit.visitor.may("diff", of_family)
    return {
        "variant": view,
        "diff": visit.ask("diff", variant=view.variant, family=of_family) if reads and has_champion else None,
        "export": visit.ask("export", family=of_family, name=view.variant, format="yaml") if reads else None,
        "done": notice_of(visit),
    }


def alerts(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    resolved = visit.ask("alerts", closed=True, cursor=visit.request.query.get("cursor"), limit=LISTED)
    start = place_of(visit.request.query.get("from", ""))
    firing = visit.ask("alerts", limit=MOST_ALERTS).items
    return {
        "done": notice_of(visit),
        "firing": firing[start : start + LISTED],
        "n_firing": len(firing),
        "start": start,
        "following": start + LISTED if start + LISTED < len(firing) else None,
        "resolved": resolved.items,
        "next_cursor": resolved.next_cursor,
    }


def chapter(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """``family``: the one that its commands name in the place of ``triage``, where an alert of that one led here."""
    about, family = read_chapter(visit.request.path_params["chapter"]), visit.request.query.get("family", "")
    if family not in visit.family_names():  # that of an old alert may be gone, and the chapter is of use all the same
        return {"chapter": about, "family": None}
    return {"chapter": replace(about, text=about.text.replace("triage", family)), "family": family}


def help_(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    return {"help": read_help()}


def money(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """What studies and runs spent of what they may, what serving has cost in a day and thirty, and what keys used."""
    begin = visit.request.query.get("from", "")
    names = [name for name in visit.family_names() if name >= begin]
    shown = names[:FAMILIES_SHOWN]
    items = visit.ask("stats of families", families=",".join(shown), by="day").items if shown else ()
    days = grouped((row.family, row) for row in items)
    return {
        "spending": visit.ask("spending"),
        "kinds": KINDS,
        "costs": {name: serving_cost(days[name]) for name in shown if name in days},
        "next_name": names[FAMILIES_SHOWN] if len(names) > FAMILIES_SHOWN else None,
        "keys": [key for key in visit.ask("keys").items if key.used_today] if visit.visitor.may("keys") else None,
        "sees_all": visit.visitor.caller.access.may_see(None),
        "models_usd_per_hour": visit.shared.settings.limits.models_usd_per_hour,
    }


def audit(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    return {"page": visit.ask("audit", cursor=visit.request.query.get("cursor"), limit=LISTED), "kinds": KINDS}


def _n_waiting(visit: PageVisit, of_family: str | None) -> int:
    """How many reviews wait; 0 for who may not read them."""
    return visit.ask("reviews", family=of_family, limit=1).n_open if visit.visitor.may_list("reviews") else 0


DONE = frozenset(("done",))
PAGES = (
    PageRoute(path="/dashboard", template="home.html", values=home, query=frozenset(("from", "find", "done"))),
    PageRoute(path="/dashboard/families/{family}", template="family.html", values=family, query=DONE),
    PageRoute(path="/dashboard/families/{family}/examples", template="family_examples.html", values=examples),
    PageRoute(
        path="/dashboard/families/{family}/quality",
        template="family_quality.html",
        values=quality,
        query=frozenset(("range",)),
    ),
    PageRoute(path="/dashboard/families/{family}/schedule", template="family_schedule.html", values=schedule),
    PageRoute(
        path="/dashboard/families/{family}/variants",
        template="family_variants.html",
        values=variants,
        query=frozenset(("cursor",)),
    ),
    PageRoute(
        path="/dashboard/families/{family}/variants/{variant}", template="variant.html", values=variant, query=DONE
    ),
    PageRoute(
        path="/dashboard/families/{family}/workbench",
        template="workbench.html",
        values=workbench,
        query=frozenset(("from",)),
    ),
    PageRoute(
        path="/dashboard/reviews",
        template="reviews.html",
        values=reviews,
        query=frozenset(("family", "skip", "done")),
    ),
    PageRoute(path="/dashboard/alerts", template="alerts.html", values=alerts, query=DONE | {"cursor", "from"}),
    PageRoute(
        path="/dashboard/runbook/{chapter}", template="chapter.html", values=chapter, query=frozenset(("family",))
    ),
    PageRoute(path="/dashboard/help", template="help.html", values=help_),
    PageRoute(
        path="/dashboard/studies",
        template="studies.html",
        values=studies,
        query=frozenset(("family", "cursor", "order", "first")),
    ),
    PageRoute(
        path="/dashboard/studies/compare",  # before the next one, which would take it for an id
        template="compare_studies.html",
        values=compare_studies,
        query=frozenset(("first", "second")),
    ),
    PageRoute(path="/dashboard/studies/{id}", template="study.html", values=study, query=DONE | {"from"}),
    PageRoute(path="/dashboard/money", template="money.html", values=money, query=frozenset(("from",))),
    PageRoute(
        path="/dashboard/requests",
        template="requests.html",
        values=requests,
        query=frozenset((*FILTERS, "cursor")),
    ),
    PageRoute(path="/dashboard/requests/{family}/{id:path}", template="request.html", values=one_request, query=DONE),
    PageRoute(
        path="/dashboard/performance",
        template="performance.html",
        values=performance,
        query=frozenset(("family", "range", "variant")),
    ),
    PageRoute(
        path="/dashboard/conversation",
        template="conversation.html",
        values=conversation,
        query=frozenset(("conversation", "family", "range")),
    ),
    PageRoute(path="/dashboard/pipeline", template="pipeline.html", values=pipeline, query=frozenset(("hours",))),
    PageRoute(path="/dashboard/runs", template="runs.html", values=runs, query=frozenset(("family", "cursor"))),
    PageRoute(path="/dashboard/runs/{kind}/{run}", template="run.html", values=run, query=DONE | {"expect"}),
    PageRoute(path="/dashboard/settings", template="settings.html", values=settings),
    PageRoute(path="/dashboard/audit", template="audit.html", values=audit, query=frozenset(("cursor",))),
)
