"""What waits for the worker, what needs a person, and who did what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page, page_of
from optimizer.core.evaluation.run import ComparisonRun, QueuedRun, RunStatus
from optimizer.core.search.study import Study, StudyStatus
from optimizer.core.views.evaluation import EvaluationRun
from optimizer.jobs.context import Context
from optimizer.jobs.request import PageRequest
from optimizer.ports import Alert, AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """A study, a judge run or a comparison that the worker runs, or will."""

    id: str
    kind: str
    family: str
    status: StudyStatus | RunStatus
    created_at: datetime
    started_at: datetime | None
    created_by: str
    stop_requested: bool
    location: str


class AlertsRequest(PageRequest):
    open: Annotated[bool, Field(description="Only those still open")] = True


def read_jobs(context: Context, request: PageRequest) -> Page[QueuedJob]:
    """Work that runs or waits in the worker, oldest first: studies, comparisons, and what judges were asked to do."""
    store = context.store
    with store.read() as tx:
        studies, runs = store.studies.unfinished(tx), store.runs.unfinished(tx)
    jobs: list[tuple[Study | QueuedRun, str, str]] = [
        *((study, "study", f"/v1/studies/{study.id}") for study in studies),
        *((run, *_kind_and_location(run)) for run in runs),
    ]
    items = [
        QueuedJob(
            id=job.id,
            kind=kind,
            family=job.family,
            status=job.status,
            created_at=job.created_at,
            started_at=job.started_at,
            created_by=job.created_by,
            stop_requested=job.stop_requested,
            location=location,
        )
        for job, kind, location in sorted(jobs, key=lambda row: (row[0].created_at, row[0].id))
        if context.sees(job.family)
    ]
    return page_of(items, request.cursor, request.limit)


def _kind_and_location(run: QueuedRun) -> tuple[str, str]:
    if isinstance(run, ComparisonRun):
        return "comparison", f"/v1/comparisons/{run.id}"
    if isinstance(run, EvaluationRun):
        return "evaluation", f"/v1/evaluations/{run.id}"
    return f"judge_{run.kind}", f"/v1/judge-runs/{run.id}"


def read_alerts(context: Context, request: AlertsRequest) -> Page[Alert]:
    """What an operator should look at: faults of files, processes, rollouts and the mirror."""
    with context.store.read() as tx:
        alerts = context.store.alerts.all(tx, open_only=request.open)
    return page_of([alert for alert in alerts if context.sees(alert.family)], request.cursor, request.limit)


def read_audit(context: Context, request: PageRequest) -> Page[AuditEntry]:
    """Every change that a person or a process caused.

    A key for named families sees those of its families, so that a page may hold fewer than `limit`.
    """
    with context.store.read() as tx:
        entries, next_cursor = context.store.audit.page(tx, request.cursor, request.limit)
    return Page(items=[entry for entry in entries if context.sees(entry["family"])], next_cursor=next_cursor)
