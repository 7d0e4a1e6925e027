"""Studies as DBOS workflows. The workflow's id is the study's, so that a study runs once, also after a kill -9."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from optimizer.core.base.errors import Busy
from optimizer.core.search.study import Study
from optimizer.core.serving.rollout import may_run
from optimizer.core.views.forgetting import holds_up
from optimizer.host.config import Settings
from optimizer.host.tracing import TRACING
from optimizer.jobs.studies import run_study as job, transitions
from optimizer.ports import Clock, FamilySource, Store
from optimizer.runtime import wiring

log = structlog.get_logger(__name__)

EXECUTOR = "detent-worker"  # fixed, so that the next worker continues what this one left
VERSION = "1"  # fixed, so that a new release continues the studies of the one before
KEEP_FINISHED = timedelta(days=1)
MOST_RECOVERIES = 50  # a study that killed its worker so often is ended, or it would go on doing so
RECOVERY_WAIT_S = 60.0  # how long DBOS may call a workflow pending that does not run here


class StudyWorkflows:
    """Begins queued studies, at most ``max_studies`` at once, and continues those that a dead worker left.

    Raises what DBOS raises where its file is broken or cannot be written; another one can be made then.
    """

    def __init__(self, settings: Settings, store: Store, clock: Clock, families: FamilySource) -> None:
        from dbos import DBOS

        self._settings, self._store, self._clock, self._families = settings, store, clock, families
        self._running: set[str] = set()
        self._pending_since: dict[str, float] = {}  # workflow id > monotonic seconds
        self._lock = threading.Lock()
        self._open_models = wiring.CurrentModels(settings)
        database = settings.var() / "dbos.sqlite"
        DBOS(
            config={
                "name": "detent",
                "system_database_url": f"sqlite:///{database}",
                "application_version": VERSION,
                "executor_id": EXECUTOR,
                "log_level": "WARNING",
                "enable_otlp": False,
            }
        )

        @DBOS.workflow(name="run_study", max_recovery_attempts=MOST_RECOVERIES)  # type: ignore[untyped-decorator]
        def run_study(study_id: str) -> str:
            return self._run(study_id)

        self._workflow = run_study
        try:
            DBOS.launch()
        except Exception:
            DBOS.destroy(destroy_registry=True)  # else the next one would be this one, which has not begun
            raise
        for handler in list(logging.getLogger("dbos").handlers):
            logging.getLogger("dbos").removeHandler(handler)  # our handlers write its warnings already
        self._dbos = DBOS

    def take_up(self, unfinished: Sequence[Study]) -> None:
        """Starts workflows for studies that no process runs, oldest first. During a freeze, and until a person
        is forgotten, queued ones wait.
        """
        with self._store.read() as tx:
            freezes, runs = self._store.freezes.all(tx), self._store.runs.unfinished(tx)
        for study in unfinished:
            if holds_up(runs, study) or not may_run(study, freezes):
                continue
            with self._lock:
                if study.id in self._running:
                    continue
                if len(self._running) >= self._settings.max_studies:
                    return
            self._start(study)

    def purge(self) -> None:
        """Deletes finished workflows at DBOS. People read the table of studies."""
        workflows = self._dbos.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_before=(datetime.now(UTC) - KEEP_FINISHED).isoformat(),
            load_input=False,
        )
        if workflows:
            self._dbos.delete_workflows([workflow.workflow_id for workflow in workflows])
            log.info("workflows purged", n=len(workflows))

    def _start(self, study: Study) -> None:
        from dbos import SetWorkflowID

        workflow_id = self._free_id(study)
        if workflow_id is None:
            return
        with self._lock:
            self._running.add(study.id)
        try:
            with SetWorkflowID(workflow_id):
                self._dbos.start_workflow(self._workflow, study.id)
        except BaseException:
            with self._lock:
                self._running.discard(study.id)
            raise

    def _free_id(self, study: Study) -> str | None:
        """The workflow's id: the study's, or with ``.2``, ``.3`` … where an earlier workflow of it ended and the study
        goes on.

        None while DBOS calls one pending, which it continues at launch, and for a study that is ended here because it
        killed its worker too often.
        """
        attempt = 1
        while True:
            candidate = study.id if attempt == 1 else f"{study.id}.{attempt}"
            status = self._dbos.get_workflow_status(candidate)
            if status is None:
                return candidate
            if status.status in ("PENDING", "ENQUEUED") and not self._is_stuck(candidate):
                return None
            attempt += 1
            is_last = self._dbos.get_workflow_status(f"{study.id}.{attempt}") is None
            if is_last and status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED" and study.status != "queued":
                transitions.fail_study(
                    self._store,
                    self._clock,
                    study.id,
                    f"The worker died {MOST_RECOVERIES} times while it ran this study; var/logs/worker.log shows how. "
                    f"When the cause is gone: detent study resume {study.id}",
                )
                return None

    def _is_stuck(self, workflow_id: str) -> bool:
        """Whether DBOS has long called a workflow pending that no process here runs. Then a new one replaces it."""
        since = self._pending_since.setdefault(workflow_id, time.monotonic())
        if time.monotonic() - since < RECOVERY_WAIT_S:
            return False
        log.warning("workflow stuck", workflow=workflow_id)
        self._dbos.cancel_workflow(workflow_id)
        return True

    def _run(self, study_id: str) -> str:
        """Runs the whole study; returns how it ended."""
        with self._lock:
            self._running.add(study_id)
        log.info("study runs", study=study_id)
        try:
            with self._store.read() as tx:  # at launch, DBOS continues what a dead worker began, frozen or not
                before = self._store.studies.get(tx, study_id)
                if before is not None and (
                    not may_run(before, self._store.freezes.all(tx))
                    or holds_up(self._store.runs.unfinished(tx), before)
                ):
                    return "waiting"
            context = wiring.job_context(
                self._settings, self._store, self._clock, self._families, self._open_models(), yields=True
            )
            with TRACING.span("study", study=study_id) as span:
                study = job.run_study(
                    study_id,
                    context,
                    holdout=wiring.sealed_holdout(),
                    strategies=wiring.strategy_for,
                    classify=wiring.classify,
                )
                if span is not None:
                    span.set_attribute("detent.family", study.family)
                    span.set_attribute("detent.status", study.status)
            log.info("study ended", study=study_id, status=study.status, outcome=study.outcome)
            return study.status
        except Busy as busy:
            log.warning("study waits for the store", study=study_id, detail=busy.detail)
            return "waiting"  # the worker's next look continues it
        except Exception as error:
            log.exception("study failed", study=study_id)
            # It may not have begun, as where the models file cannot be read.
            transitions.fail_study(self._store, self._clock, study_id, str(error))
            return "failed"
        finally:
            with self._lock:
                self._running.discard(study_id)
