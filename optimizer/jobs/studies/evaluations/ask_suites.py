"""Asks the family's suites of what a study nominates by itself: its rollout would wait for a person else."""

from __future__ import annotations

import structlog

from optimizer.core.base.errors import BudgetExhausted, DetentError
from optimizer.core.evaluation.suites import suites_of
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.studies.context import StopFlag, StudyRun, variant_of
from optimizer.jobs.studies.evaluate_variant import evaluate_variant

log = structlog.get_logger("detent.study")


def ask_suites(run: StudyRun, winner: str, *, stop: StopFlag) -> None:
    """Evaluates ``winner`` against each suite with what is left of the study's budget.

    What cannot be measured, or paid for, is left to a person: the rollout's gate names the command. StudyStopped passes
    through.
    """
    with run.store.read() as tx:
        family = with_kept_golden(tx, run.store, run.family)
    variant = variant_of(run.store, family.name, winner)

    def open_model(name: str, purpose: str) -> JournaledModel:
        return run.journaled(name, purpose=purpose, stop=stop)

    for name in suites_of(family):
        try:
            found = evaluate_variant(
                family,
                variant,
                suite=name,
                actor=f"study:{run.study.id}",
                store=run.store,
                clock=run.clock,
                models=run.models,
                scorer_for=run.scorer_for,
                classify=run.classify,
                open_model=open_model,
            )
        except (BudgetExhausted, DetentError) as problem:
            log.warning("suite_not_asked", study=run.study.id, suite=name, reason=str(problem))
        else:
            missed = [check["said"] for check in found["checks"] if check["verdict"] != "met"]
            run.tell("call", f"Suite {name}: {'; '.join(missed) or 'all is met'}.")
