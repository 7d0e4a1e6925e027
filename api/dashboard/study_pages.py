"""The pages of studies: all of them, one with its trials, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from api.dashboard.acts import notice_of
from api.dashboard.figures import LastDays
from api.dashboard.review_pages import place_of
from api.dashboard.visitors import LISTED, PageVisit
from optimizer.core.base.answers import cursor_of
from optimizer.core.base.errors import NotFound
from optimizer.core.evaluation.label_report import LABELS
from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL, said

MOST_RANKED = 1000


def studies(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """The newest first, page by page; or those with the most lift on the holdout, of the newest ``MOST_RANKED``."""
    query = visit.request.query
    of_family, by_lift = query.get("family") or None, query.get("order") == "lift"
    if by_lift:
        newest = visit.ask("studies", family=of_family, limit=MOST_RANKED)
        items = sorted(newest.items, key=lambda study: _lift(study) or 0.0, reverse=True)
        items = [study for study in items if _lift(study) is not None][:LISTED]
    else:
        newest = visit.ask("studies", family=of_family, cursor=query.get("cursor"), limit=LISTED)
        items = newest.items
    chosen = query.get("first", "")
    if chosen and all(study.id != chosen for study in items):
        with suppress(NotFound):  # it stands on another page of the list
            items = [visit.ask("study", id=chosen), *items]
    first = next((study for study in items if study.id == chosen), next(iter(items), None))
    others = [study for study in items if first is not None and study.id != first.id]
    second = next((study for study in others if first and study.family == first.family), next(iter(others), None))
    return {
        "studies": items,
        "next_cursor": newest.next_cursor,
        "by_lift": by_lift,
        "of_family": of_family,
        "first": chosen,
        "chosen": (first, second),
        "most_ranked": MOST_RANKED,
        "listed": LISTED,
        "opens_mlflow": _opens_mlflow(visit),
    }


def _lift(study: Any) -> float | None:
    lift: float | None = (study.confirmation or {}).get("lift")
    return lift


def study(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Some of its trials, the best first, and the front of all."""
    id = visit.request.path_params["id"]
    view, front = visit.ask("study", id=id), visit.ask("study front", id=id)
    findings = view.findings or {}
    start = place if (place := place_of(visit.request.query.get("from", ""))) < front.n_trials else 0
    page = visit.ask("trials", id=id, order="score", cursor=cursor_of(start), limit=LISTED)
    return {
        "study": view,
        "trials": page.items,
        "start": start,
        "n_trials": front.n_trials,
        "following": start + LISTED if page.next_cursor is not None else None,
        "on_front": {point.trial for point in front.points if point.on_front},
        "anatomy": front,
        "without_model": findings.get(WITHOUT_MODEL),
        "said": said,
        "labels_by_variant": findings.get(LABELS) or {},
        "serves": visit.champion(view.family),
        "mlflow": _mlflow_place(visit, id),
        "done": notice_of(visit),
    }


def _opens_mlflow(visit: PageVisit) -> bool:
    """Whether the MLflow that runs here may be read: it shows the texts of every family."""
    visitor = visit.visitor
    runs_here = visit.shared.settings.mlflow_tracking_uri is None
    return runs_here and visitor.reads_texts and visitor.caller.access.may_see(None)


def _mlflow_place(visit: PageVisit, study: str) -> str | None:
    """Where MLflow shows it: from the server's first page on for the MLflow that runs here, which only this machine
    reaches, or the whole address of another one. None without any, and for who may not read its texts.
    """
    if not visit.visitor.reads_texts:
        return None
    url: str | None = visit.ask("mlflow", id=study).url
    if url is None or visit.shared.settings.mlflow_tracking_uri is not None:
        return url
    return f"dashboard/mlflow/#{url.partition('#')[2]}" if _opens_mlflow(visit) else None


def compare_studies(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Two studies side by side, by their ids."""
    ids = [visit.request.query.get(name, "")[:200].strip() for name in ("first", "second")]
    pair = [visit.ask("study", id=id) for id in ids] if all(ids) else []
    drawn = {(study.dataset or {}).get("hash") for study in pair}
    return {
        "pair": pair,
        "drew_others": len(drawn) > 1,
        "said": said,
        "without_model": [(one.findings or {}).get(WITHOUT_MODEL) for one in pair],
    }
