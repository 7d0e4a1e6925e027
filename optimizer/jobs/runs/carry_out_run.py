"""Carries out a run queued outside studies, and keeps its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, cast

import structlog

from optimizer.core.base.errors import Busy, Conflict, DetentError, NotFound, StudyStopped
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.judging.run import JudgeResult, JudgeRun
from optimizer.core.evaluation.run import ComparisonRun, QueuedRun, RunStatus
from optimizer.core.evaluation.trivial_baselines import Classify
from optimizer.core.views.evaluation import EvaluationRun
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.run_calls import BackgroundRun, RunCalls
from optimizer.jobs.context import JobContext
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.judge_traffic import judge_answers
from optimizer.jobs.runs.check_judge import check_judge
from optimizer.jobs.runs.compare_variants import compare_variants
from optimizer.jobs.runs.evaluate_suites import evaluate_suites
from optimizer.jobs.studies.context import StopFlag
from optimizer.ports import Store

log = structlog.get_logger(__name__)


def carry_out_run(
    id: str,
    context: JobContext,
    *,
    intake_of: Callable[[str], Intake],
    classify: Classify,
    watched: Callable[[QueuedRun], None] = lambda run: None,
) -> QueuedRun:
    """Runs it, or goes on with one that a killed process left: nothing that was answered is asked again.

    Returns the run at its end. What its job refuses is kept with it and never raised; a fault of ours is kept and
    raised.

    Raises Busy where the store could not take something: the run stays running, and the next call goes on with it.

    Args:
        intake_of: takes in the feedback of an actor.
        classify: learns labels, for a baseline that asks no model.
        watched: told as the run goes on.
    """
    store, clock = context.store, context.clock
    with store.read() as tx:
        stored = store.runs.get(tx, id)
    if stored is None or stored.has_ended:
        if stored is None:
            raise NotFound(f"There is no run {id!r}.", run=id)
        return stored
    now = clock.now()
    store.write(lambda tx: store.journal.mark_lost(tx, id, now))  # in flight when the process before ended
    run = _keep(store, id, status="running", started_at=stored.started_at or now)

    def progress(n_done: int) -> None:
        with suppress(Busy):  # it only shows how far the run is, and the next report repeats it
            watched(_keep(store, id, n_done=n_done))

    stop = StopFlag(store, clock, lambda tx: store.runs.get(tx, id), f"Run {id}")
    background = BackgroundRun(id=id, stop=stop, progress=progress)
    try:
        ended = _do(run, background, context, intake_of, classify)
    except Busy:
        log.warning("run waits for the store", run=id, family=run.family, kind=run.kind)
        raise
    except DetentError as error:
        ended = {"status": "failed", "error": error.detail, "error_type": error.slug}
    except Exception as fault:
        _keep(store, id, status="failed", error=str(fault), error_type=DetentError.slug, finished_at=clock.now())
        raise
    ended_run = _keep(store, id, **ended, finished_at=clock.now())
    log.info("run ended", run=id, family=run.family, kind=run.kind, status=ended_run.status)
    return ended_run


def _do(
    run: QueuedRun,
    background: BackgroundRun,
    context: JobContext,
    intake_of: Callable[[str], Intake],
    classify: Classify,
) -> dict[str, Any]:
    """Carries the run out; returns the result to store."""
    family = context.families.families.get(run.family)
    if family is None:
        raise NotFound(f"There is no family {run.family!r} any more.", family=run.family)
    calls = RunCalls(
        store=context.store,
        clock=context.clock,
        models=context.models,
        budget=run.budget,
        run=background,
        users_wait=context.users_wait,
    )
    if isinstance(run, ComparisonRun):
        compared = compare_variants(run, family, calls, scorer_for=context.scorer_for)
        return {"status": _status(compared["stopped"], background), "result": compared}
    if isinstance(run, EvaluationRun):
        try:
            report = evaluate_suites(context, family, run, calls, classify=classify)
        except StudyStopped:
            return {"status": "cancelled"}
        return {"status": "finished", "result": report}
    assert isinstance(run, JudgeRun)
    if judge_identity(family) != run.judge:
        raise Conflict(f"The judge of {run.family} was changed after this run was asked for. Ask for it again.")
    if run.kind == "check":
        check = check_judge(
            family, calls, n=run.request["n"], beside=run.request["beside"], scorer_for=context.scorer_for
        )
        return {
            "status": _status(check.stopped, background),
            "result": {
                **cast(JudgeResult, {**asdict(check), "is_biased": check.is_biased}),
                "usd": _usd(run, check.usd),
            },
        }
    judged = judge_answers(family, run.request["interactions"], calls, intake=intake_of(run.created_by), purpose=JUDGE)
    result = {**asdict(judged), "reviews": [*judged.reviews], "usd": _usd(run, judged.usd)}
    return {"status": _status(judged.stopped, background), "result": result}


def _status(stopped: str | None, background: BackgroundRun) -> RunStatus:
    """A run whose budget ended has finished; ``stopped`` in its result says why."""
    return "cancelled" if stopped is not None and background.stop() is not None else "finished"


def _usd(run: JudgeRun, spent: float) -> float | None:
    """The dollars spent; None where a model has no known price."""
    return spent if run.request["is_priced"] else None


def _keep(store: Store, id: str, **changes: Any) -> QueuedRun:
    return store.write(lambda tx: store.runs.update(tx, id, **changes))
