"""Families: what is declared, what serves, how the two differ, and what would start a study now."""

from __future__ import annotations

from optimizer.core.base.answers import Page, members_of
from optimizer.core.evaluation.suite import suites_of
from optimizer.core.family.family import kind_of
from optimizer.core.scheduling.schedule import in_force
from optimizer.core.serving.family_names import is_retired, retired_family
from optimizer.core.views.family import (
    FamilySummary,
    FamilyView,
    RolloutBrief,
    family_file,
    family_problem,
)
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.request import FamilyRequest, Request
from optimizer.jobs.scheduling.look_at_triggers import TriggerReport, look_at_triggers
from optimizer.jobs.scheduling.set_schedule import schedule_view
from optimizer.ports import Transaction


def read_families(context: Context, request: Request) -> Page[FamilySummary]:
    """Every family with what it serves; `degraded` ones serve their last good version
    because their file cannot be used.
    """
    files = context.families()
    with context.store.read() as tx:
        former = context.store.family_names.former(tx)
        families_known = files.families.keys() | files.problems.keys()
        families_known -= {old for old, new in former.items() if new in families_known}
        names = sorted(name for name in families_known if context.access.may_see(name))
        return Page(items=[_summary(tx, context, name) for name in names])


def read_family(context: Context, request: FamilyRequest) -> FamilyView:
    """One family: its definition as the file has it, its champion, its rollout, the schedule in force,
    and what is wrong with the file if anything is.
    """
    name, files, store, clock = request.family, context.families(), context.store, context.clock
    definition = files.families.get(name)
    with store.read() as tx:
        present = store.family_names.former(tx).get(name, name)
        if definition is None and name not in files.problems:
            if present != name and is_retired(present):
                raise retired_family(name)
            context.family(name)
        schedule = in_force(definition, store.schedules.get(tx, name)) if definition is not None else None
        suites = suites_of(with_kept_golden(tx, store, definition)) if definition is not None else {}
        return FamilyView(
            **members_of(_summary(tx, context, name)),
            definition=definition,
            schedule=schedule_view(schedule, clock) if schedule is not None else None,
            suites=[suite.summary for suite in suites.values()],
            former_names=[old for old, new in store.family_names.former(tx).items() if new == present],
            renamed_at=store.family_names.since(tx, present),
        )


def read_triggers(context: Context, request: FamilyRequest) -> TriggerReport:
    """What each trigger of a family says now, and what would keep a study from starting."""
    return look_at_triggers(
        context.family(request.family),
        store=context.store,
        clock=context.clock,
        max_studies=context.settings.max_studies,
    )


def _summary(tx: Transaction, context: Context, name: str) -> FamilySummary:
    files, store = context.families(), context.store
    definition, problem = files.families.get(name), files.problems.get(name)
    champion, rollout = store.champions.current(tx, name), store.rollouts.active(tx, name)
    splits = store.examples.counts(tx, name)
    file = None
    if definition is not None and champion is not None:
        ever_champion = {tenure.variant for tenure in store.champions.history(tx, name)}
        file = family_file(definition, champion.variant, ever_champion)
    runs_pipeline = champion is not None and definition is not None and kind_of(definition).runs_pipeline
    return FamilySummary(
        name=name,
        description=definition.description if definition is not None else "",
        kind=definition.kind if definition is not None else None,
        champion=champion,
        rollout=RolloutBrief(
            id=rollout.id,
            status=rollout.status,
            candidate=rollout.candidate,
            stage=rollout.stage,
            share=rollout.share,
            held=rollout.held,
            lease_expires_at=rollout.lease_expires_at,
        )
        if champion is not None and rollout is not None
        else None,
        overridden=context.environment(champion.variant) if champion is not None and runs_pipeline else None,
        degraded=problem is not None,
        problem=family_problem(problem) if problem is not None else None,
        file=file,
        n_train=splits.get("train", 0),
        n_dev=splits.get("dev", 0),
        n_holdout=splits.get("holdout", 0),
    )
