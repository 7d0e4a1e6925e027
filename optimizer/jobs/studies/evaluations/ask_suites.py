"""Asks the family's suites of what a study nominates by itself: its rollout would wait for a person else."""

from __future__ import annotations

import structlog

from optimizer.core.base.errors import BudgetExhausted, DetentError, StudyStopped
from optimizer.core.base.values import Spend
from optimizer.core.evaluation.suite import suite_id, suites_of
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.studies.context import StopFlag, StudyRun, variant_of
from optimizer.jobs.studies.evaluate_variant import CallSource, evaluate_variant
from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationScope

log = structlog.get_logger("detent.study")


def ask_suites(run: StudyRun, winner: str, *, stop: StopFlag) -> None:
    """Evaluates ``winner`` against each suite with what is left of the study's budget; after a kill, against those that
    are left.

    What cannot be measured, or paid for, is left to a person: the rollout's gate names the command. So is the rest once
    the study is cancelled, since its look at the holdout has been taken.
    """
    study, actor = run.study, f"study:{run.study.id}"
    with run.store.read() as tx:
        family = with_kept_golden(tx, run.store, run.family)
        champion = run.store.champions.current(tx, family.name)
        batches = run.store.performance.batches(tx, family.name)
    suites_asked = {batch.suite for batch in batches if (batch.variant, batch.created_by) == (winner, actor)}
    variant = variant_of(run.store, family.name, winner)

    def open_model(name: str, purpose: str) -> JournaledModel:
        return run.journaled(name, purpose=purpose, stop=stop)

    def spend() -> Spend:
        with run.store.read() as tx:
            return run.spend(tx)

    for name, suite in suites_of(family).items():
        if suite_id(family, champion.variant if champion is not None else None, suite) in suites_asked:
            continue
        try:
            report = evaluate_variant(
                run.job,
                family,
                variant,
                EvaluationScope(suite=name),
                classify=run.classify,
                calls=CallSource(open_model=open_model, own=run.own, id=f"{study.id}:{name}", actor=actor, spend=spend),
            )
        except (BudgetExhausted, DetentError) as problem:
            log.warning("suite_not_asked", study=study.id, suite=name, reason=str(problem))
        except StudyStopped as stopped:
            log.info("suites_left_to_a_person", study=study.id, suite=name, reason=str(stopped))
            return
        else:
            missed_checks = [check.said for check in report.checks or () if check.verdict != "met"]
            run.tell("call", f"Suite {name}: {'; '.join(missed_checks) or 'all is met'}.")
