"""One cause, one message: which of the alerts that are open speaks for another one.

Two alerts are about one thing where they watch the same figure of a family, by whichever detector, or where a rule says
that it ``explains`` the other. The graver one is sent, else the one that was there first; the others are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.rollout.alert_rules import AlertLevel, AlertRule, Metric

BROKEN = "alert_rule"  # the kind of what rules raise; the rule's name is the first word of the subject
LEVELS: tuple[AlertLevel, ...] = ("info", "warning", "critical")
# What detectors of their own watch: kind of the alert, then the last word of its subject.
_OTHERS: Mapping[str, Mapping[str, Metric]] = {
    "champion_out_of_limits": {
        "errors": "errors",
        "latency": "latency_p95",
        "cost": "cost",
        "silence": "feedback",
        "outcomes": "feedback",
    },
    "champion_drift": {"success": "success", "score": "quality"},
}
# Of such kinds, what one subject says of others, by their first words: items that are not bypassed take their time.
_EXPLAINED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pipeline_out_of_range": {"bypass_rate": ("avg_time_savings",)}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCause:
    """What of an open alert says what it is about. ``asked_by``: of an alert of a model the families for which it
    speaks.
    """

    id: str
    kind: str
    subject: str
    family: str | None
    level: AlertLevel
    opened_at: datetime
    asked_by: frozenset[str] | None = None

    @property
    def about(self) -> str:
        return self.subject.split(" ", 1)[0]

    @property
    def rule(self) -> str:
        """The rule that raised it; of a detector of its own the kind."""
        return self.about if self.kind == BROKEN else self.kind


def cause_of(alert: OpenCause, others: Iterable[OpenCause], rules: Sequence[AlertRule]) -> OpenCause | None:
    """The open alert that speaks for this one; None where this one speaks for itself.

    Of a model that fails in several families the one of the model speaks for each family's own.
    """
    by_name = {rule.name: rule for rule in rules}
    for other in sorted(others, key=lambda other: (-LEVELS.index(other.level), other.opened_at)):
        if not _may_speak(other, alert):
            continue
        explains, is_explained = _explains(other, alert, by_name), _explains(alert, other, by_name)
        if not (explains or is_explained or _same_figure(other, alert, by_name)):
            continue
        graver = LEVELS.index(other.level) - LEVELS.index(alert.level)
        theirs, own = (other.opened_at, not explains, other.id), (alert.opened_at, not is_explained, alert.id)
        if graver > 0 or (graver == 0 and theirs < own):
            return other
    return None


def speaks_for(other: OpenCause, alert: OpenCause, rules: Sequence[AlertRule]) -> bool:
    """Whether it told of what the alert would tell: of its figure or of what explains it, at its level or a graver."""
    by_name = {rule.name: rule for rule in rules}
    return (
        _may_speak(other, alert)
        and (_explains(other, alert, by_name) or _same_figure(other, alert, by_name))
        and LEVELS.index(other.level) >= LEVELS.index(alert.level)
    )


def _may_speak(other: OpenCause, alert: OpenCause) -> bool:
    if other.id == alert.id or (other.family is not None and other.family != alert.family):
        return False
    if alert.kind == BROKEN and alert.family is None and other.family is None and other.rule == alert.rule:
        return False  # each is of a model of its own
    return other.asked_by is None or alert.family is None or alert.family in other.asked_by


def _explains(cause: OpenCause, effect: OpenCause, rules: Mapping[str, AlertRule]) -> bool:
    """By the rule of the cause, or by the rule of the figure that a detector of its own watches, or by its kind."""
    if cause.kind == effect.kind and effect.about in _EXPLAINED.get(cause.kind, {}).get(cause.about, ()):
        return True
    figure = metric_of(cause, rules)
    explained = {
        name
        for rule in rules.values()
        if rule.name == cause.rule or (cause.kind != BROKEN and rule.metric == figure)
        for name in rule.explains
    }
    figures = {rules[name].metric for name in explained if name in rules}
    return effect.rule in explained or metric_of(effect, rules) in figures


def _same_figure(one: OpenCause, other: OpenCause, rules: Mapping[str, AlertRule]) -> bool:
    figure = metric_of(one, rules)
    if one.family is None and other.family is not None and one.asked_by is None:
        return False  # as a budget of all families is no one's own
    if figure == "restarts" and one.subject.rpartition(" ")[2] != other.subject.rpartition(" ")[2]:
        return False  # each of a process of its own
    return figure is not None and figure == metric_of(other, rules)


def metric_of(alert: OpenCause, rules: Mapping[str, AlertRule]) -> Metric | None:
    """The figure that an alert is about; None where it is about none."""
    if alert.kind == BROKEN:
        rule = rules.get(alert.rule)
        return rule.metric if rule is not None else None
    if alert.kind == "process_restarted":
        return "restarts"
    return _OTHERS.get(alert.kind, {}).get(alert.subject.rpartition(" ")[2])
