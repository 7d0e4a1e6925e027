"""Where an alert leads: to its chapter of the runbook, else to what the page of all alerts says of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimizer.core.rollout.alert_causes import OpenCause, metric_of
from optimizer.core.rollout.alert_rules import AlertRule, Metric

RUNBOOK = "docs/runbook.md"
ALERTS = "docs/how-to/when-a-rollout-stops.md"
OF_METRIC: Mapping[Metric, str] = {
    "success": "answers-got-worse",
    "quality": "answers-got-worse",
    "errors": "a-provider-is-down",
    "latency_p95": "answers-are-slow-or-dear",
    "cost": "answers-are-slow-or-dear",
    "feedback": "requests-or-outcomes-stop",
    "retries": "answers-got-worse",
    "tools_ignored": "answers-got-worse",
    "low_scores": "answers-got-worse",
    "conversation": "answers-got-worse",
    "outcome_age": "requests-or-outcomes-stop",
    "budget": "money-is-gone",
    "failed_jobs": "a-study-or-a-run-failed",
    "disk": "the-store-cannot-be-written",
    "restarts": "a-process-dies-again-and-again",
}
# By the subject where one is named: a process, or a duty of the worker.
OF_KIND: Mapping[str, Mapping[str, str]] = {
    "rollout_ended": {"": "take-one-family-back"},
    "rollout_unwatched": {"": "the-worker-is-dead"},
    "rollout_watch_failed": {"": "the-worker-is-dead"},
    "shared_incident": {"": "a-provider-is-down"},
    "candidate_silent": {"": "requests-or-outcomes-stop"},
    "feedback_rates_differ": {"": "requests-or-outcomes-stop"},
    "champion_worse": {"": "answers-got-worse"},
    "way_back_broken": {"": "a-provider-is-down"},
    "alert_rules_faulty": {"": "alert-storm"},
    "frozen": {"": "freeze-everything"},
    "store_damaged": {"": "the-store-is-damaged"},
    "pipeline_out_of_range": {"": "a-content-pipelines-figure-is-out-of-range"},
    "student_bypassed": {"": "a-student-is-bypassed"},
    "student_shifted": {"": "a-student-is-bypassed"},
    "worker_duty_failed": {"": "a-process-dies-again-and-again", "mirror": "mlflow-is-away"},
    "process_restarted": {"": "a-process-dies-again-and-again", "mlflow": "mlflow-is-away"},
}


def chapter_in_words(chapter: str) -> str:
    """As ``chapter_of`` names it, for who has no files before them: "Money is gone" in the runbook."""
    page, _, anchor = chapter.partition("#")
    if page == RUNBOOK:
        title = anchor.replace("-", " ")
        return f"“{title[:1].upper()}{title[1:]}” in the runbook"
    return f"“{anchor}” in “When a rollout stops”"


def chapter_of(alert: OpenCause, rules: Sequence[AlertRule]) -> str:
    """A page of this project and the heading on it, such as ``docs/runbook.md#money-is-gone``."""
    chapters = OF_KIND.get(alert.kind)
    if chapters is not None:
        return f"{RUNBOOK}#{chapters.get(alert.subject, chapters[''])}"
    metric = metric_of(alert, {rule.name: rule for rule in rules})
    return f"{RUNBOOK}#{OF_METRIC[metric]}" if metric is not None else f"{ALERTS}#{alert.kind}"


def command_of(chapter: str) -> str:
    """The command that shows it, wherever Detent runs."""
    return f"detent runbook {chapter.partition('#')[2]}"
