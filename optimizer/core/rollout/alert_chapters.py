"""Where an alert leads: to its chapter of the runbook, else to what the page of all alerts says of its kind; and by
which acts a person answers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimizer.core.base.answers import ActOffer
from optimizer.core.rollout.alert_causes import BROKEN, OpenCause, metric_of
from optimizer.core.rollout.alert_rules import AlertRule, Metric
from optimizer.core.rollout.transitions import answers_on
from optimizer.core.serving.rollout import Champion, Rollout

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
    "family_file_faulty": {"": "a-familys-file-is-wrong"},
    "frozen": {"": "freeze-everything"},
    "store_damaged": {"": "the-store-is-damaged"},
    "pipeline_out_of_range": {"": "a-content-pipelines-figure-is-out-of-range"},
    "student_bypassed": {"": "a-student-is-bypassed"},
    "student_shifted": {"": "a-student-is-bypassed"},
    "worker_duty_failed": {"": "a-process-dies-again-and-again", "mirror": "mlflow-is-away"},
    "mlflow_behind": {"": "mlflow-is-away"},
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


OF_ROLLOUT = frozenset(  # their subject is a rollout
    (
        "approval_wanted",
        "candidate_silent",
        "feedback_rates_differ",
        "rollout_unwatched",
        "rollout_watch_failed",
        "shared_incident",
    )
)
OF_LAST = frozenset(("rollout_ended", "champion_worse"))  # about the family's last rollout when it was raised
OF_CHAMPION = frozenset(("champion_worse", "champion_out_of_limits"))  # where their subject begins with its variant
DRIFT, STUDY_STARTED = "champion_drift", "study_started"


def rollout_about(alert: OpenCause, last: Rollout | None) -> str | None:
    """Its id; None where the alert is about none. ``last``: the family's newest one when it was raised."""
    if alert.kind in OF_ROLLOUT:
        return alert.subject
    if last is None or alert.kind not in OF_LAST or alert.subject not in (last.family, last.candidate):
        return None
    return last.id


def offers_about(alert: OpenCause, last: Rollout | None, champion: Champion | None) -> tuple[ActOffer, ...]:
    """Of an open one, those that would not be refused as the family's newest rollout and its champion are now."""
    if alert.kind == STUDY_STARTED:
        return (ActOffer(act="cancel-study", target=alert.subject),)
    if last is not None and (alert.subject == last.id or (alert.kind == BROKEN and last.held)):
        return answers_on(last)
    if champion is None or champion.previous is None:
        return ()
    is_about_it = alert.kind == DRIFT or (alert.kind in OF_CHAMPION and alert.about == champion.variant)
    return (ActOffer(act="take-back", target=champion.family),) if is_about_it else ()
