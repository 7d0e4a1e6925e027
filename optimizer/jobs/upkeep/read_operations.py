"""Lists what waits for the worker, what needs a person, and who did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import ActOffer, Page, members_of, page_of, page_read
from optimizer.core.evaluation.run import ComparisonRun, QueuedRun, RunStatus
from optimizer.core.rollout.alert_causes import LEVELS
from optimizer.core.rollout.alert_chapters import OF_LAST, chapter_of, offers_about, rollout_about
from optimizer.core.search.study import Study, StudyStatus
from optimizer.core.serving.rollout import Champion, Rollout
from optimizer.core.views.evaluation import EvaluationRun
from optimizer.core.views.forgetting import ForgetRun
from optimizer.jobs.context import Context
from optimizer.jobs.outbox.send_alerts import families_of_models, open_cause, open_causes, waits_for
from optimizer.jobs.request import FamilyPageRequest, PageRequest
from optimizer.ports import Alert, AlertSilence, AuditEntry, Transaction


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView(Alert):
    """``rollout``: the id of the one that it is about; ``offers``: what may be done about it while it is open;
    ``silenced_until``: it sends no message before; ``silence``: the one that says so; ``told_by``: the id of the alert
    whose message speaks for it; ``chapter``: the page and heading that say what to do; ``rule``: what raised it, by the
    name that silences it.
    """

    rollout: str | None
    offers: Sequence[ActOffer]
    silenced_until: datetime | None
    silence: AlertSilence | None
    told_by: str | None
    chapter: str
    rule: str

    @property
    def is_told(self) -> bool:
        """Whether it speaks for itself: neither silenced nor told by another one."""
        return self.silenced_until is None and self.told_by is None


class AlertsRequest(FamilyPageRequest):
    open: Annotated[bool, Field(description="Only those still open")] = True
    closed: Annotated[bool, Field(description="Only those that are over, the last closed first")] = False


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
        if context.access.may_see(job.family)
    ]
    return page_of(items, request.cursor, request.limit)


def _kind_and_location(run: QueuedRun) -> tuple[str, str]:
    if isinstance(run, ComparisonRun):
        return "comparison", f"/v1/comparisons/{run.id}"
    if isinstance(run, EvaluationRun):
        return "evaluation", f"/v1/evaluations/{run.id}"
    if isinstance(run, ForgetRun):
        return "forget", f"/v1/forgettings/{run.id}"
    return f"judge_{run.kind}", f"/v1/judge-runs/{run.id}"


def read_alerts(context: Context, request: AlertsRequest) -> Page[AlertView]:
    """What an operator should look at: faults of files, processes, rollouts and the mirror, and what rules raised.

    What is open comes critical first, then the oldest first; with those that are over, the newest come first.
    """
    store = context.store
    families = (
        context.access.families if request.family is None else [*filter(context.access.may_see, (request.family,))]
    )
    with store.read() as tx:
        if request.closed:
            page = page_read(
                lambda start, n: store.alerts.closed(tx, families, start, n), request.cursor, request.limit
            )
        elif request.open:
            page = page_of(open_alerts(tx, context, request.family), request.cursor, request.limit)
        else:

            def shown(start: int, n: int) -> list[Alert]:
                # A key limited to families gets filtered rows, so read without a limit.
                most = start + n if context.access.families is None else None
                alerts = store.alerts.all(tx, open_only=False, family=request.family, most=most)
                return [alert for alert in alerts if context.access.may_see(alert.family)][start : start + n]

            page = page_read(shown, request.cursor, request.limit)
        champions = {champion.family: champion for champion in store.champions.all_current(tx)}
        views = views_of_alerts(tx, context, page.items, store.rollouts.all_latest(tx), champions)
    return Page(items=views, next_cursor=page.next_cursor)


def open_alerts(tx: Transaction, context: Context, family: str | None = None) -> list[Alert]:
    """Those that this reader may see, in the order in which people answer them: critical first, then the oldest."""
    alerts = context.store.alerts.all(tx, open_only=True, family=family)
    seen = [alert for alert in alerts if context.access.may_see(alert.family)]
    return sorted(seen, key=lambda alert: (-LEVELS.index(alert.level), alert.opened_at, alert.id))


def views_of_alerts(
    tx: Transaction,
    context: Context,
    alerts: Sequence[Alert],
    latest: Mapping[str, Rollout],
    champions: Mapping[str, Champion],
) -> list[AlertView]:
    """``latest`` and ``champions``: of every family its newest rollout and its present champion."""
    rules, store, now = context.alert_rules(), context.store, context.clock.now()
    seen = open_alerts(tx, context)  # one that this reader may not see tells them nothing
    causes = open_causes(seen, families_of_models(tx, store, seen, rules, now))
    silences = store.alerts.silences(tx, now)
    views = []
    for alert in alerts:
        cause, is_open, family = open_cause(alert), alert.closed_at is None, alert.family or ""
        last, wait = latest.get(family), None
        if is_open:
            wait = waits_for(alert, silences=silences, causes=causes, rules=rules, now=now)
        elif family and alert.kind in OF_LAST:
            last = store.rollouts.latest(tx, family, before=alert.opened_at)
        views.append(
            AlertView(
                **members_of(alert),
                rollout=rollout_about(cause, last),
                offers=offers_about(cause, last, champions.get(family)) if is_open else (),
                silenced_until=wait.silence.until if wait is not None and wait.silence is not None else None,
                silence=wait.silence if wait is not None else None,
                told_by=wait.cause if wait is not None else None,
                chapter=chapter_of(cause, rules),
                rule=cause.rule,
            )
        )
    return views


def read_audit(context: Context, request: PageRequest) -> Page[AuditEntry]:
    """Every change that a person or a process caused.

    A key for named families sees those of its families, so that a page may hold fewer than `limit`.
    """
    with context.store.read() as tx:
        entries, next_cursor = context.store.audit.page(tx, request.cursor, request.limit)
    return Page(items=[entry for entry in entries if context.access.may_see(entry["family"])], next_cursor=next_cursor)
