"""The pages behind a family's own: what it learns from, how good its answers are, when studies start by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.dashboard.figure_pages import RANGES, range_of
from api.dashboard.figures import LastDays
from api.dashboard.review_pages import judge_of
from api.dashboard.visitors import PageVisit
from optimizer.core.evaluation.label_report import LABELS

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
