"""What is fixed when a Rollout starts: its settings with their margin, and the gates on record for its Candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Aim
from optimizer.core.evaluation.gates import GateRecord, quality_margin
from optimizer.core.family.settings import FeedbackWindow, Metric, RolloutSettings
from optimizer.core.family.variant import Variant
from optimizer.core.family.wording import faults_of
from optimizer.core.feedback.events import LabelSummary
from optimizer.core.policy.nearest import needs_server
from optimizer.core.policy.tiers import has_student
from optimizer.core.search.study import Study
from optimizer.core.statistics.quality_gate import ROLL_WEIGHTS

MIN_LABELS_FOR_MEAN = 50
MEAN_WITHOUT_LABELS = 0.5
LABEL_WINDOW_DAYS = 30
MIN_DELAYS = 50
NEWEST = 200  # requests, by which it is known whether applications call the model themselves
BY_CHAT = (
    "Send chats to POST /v1/chat/completions instead, or nominate a point of the study without tiers: detent study"
    " nominate STUDY VARIANT"
)
HOLDOUT_ALLOWANCE = 1.10  # a guardrail allows this many times the ratio that the confirmation showed


def overridden_settings(
    settings: RolloutSettings, *, ladder: Sequence[float] | None, margin: float | None
) -> RolloutSettings:
    """The family's rollout settings, with the ladder and the margin that this start overrides.

    Raises InvalidInput with a fault per wrong value.
    """
    changes: dict[str, Any] = {}
    if ladder is not None:
        changes["ladder"] = [round(share, 6) if isinstance(share, float) else share for share in ladder]
    if margin is not None:
        changes["margin"] = margin
    data = {**settings.model_dump(), **changes}
    try:
        return RolloutSettings.model_validate(data)
    except ValidationError as error:
        faults = faults_of(error, RolloutSettings, data)
        raise InvalidInput(
            "These settings of a rollout cannot be used: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults),
            faults,
        ) from None


def fixed_settings(
    settings: RolloutSettings,
    *,
    champion: str,
    labels: Sequence[LabelSummary],
    delays_hours: Sequence[float] = (),
    limits: Mapping[str, Any] | None = None,
    holdout_ratios: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The settings as plain JSON, complete with metric, margin and feedback window; each names its source.

    Args:
        delays_hours: how long after their interactions the champion's outcomes came, on the rollout clock.
        limits: the family's absolute limits.
        holdout_ratios: what the candidate's confirmation showed, candidate / champion: ``cost``, ``latency``. A
            candidate that was chosen although it is dearer or slower is not rolled back for that.
    """
    metric = settings.metric or most_labelled(labels)
    margin, margin_from = margin_of(settings.margin, champion=champion, metric=metric, labels=labels)
    mean, _ = champion_mean(champion, metric, labels)
    hours, hours_from = window_of(settings.feedback_window, delays_hours)
    ratios, plain = holdout_ratios or {}, settings.model_dump(mode="json")
    guardrails = {
        **plain["guardrails"],
        "cost_ratio": round(max(settings.guardrails.cost_ratio, HOLDOUT_ALLOWANCE * ratios.get("cost", 1.0)), 6),
        "latency_factor": round(
            max(1.0, HOLDOUT_ALLOWANCE * ratios["latency"]) if ratios.get("latency", 1.0) > 1 else 1.0, 6
        ),
    }
    return {
        **plain,
        "metric": metric.model_dump(mode="json"),
        "margin": round(margin, 6),
        "margin_from": margin_from,
        "champion_mean": round(mean, 6),
        "feedback_window": {
            **plain["feedback_window"],
            "hours": round(hours, 6),
            "hours_from": hours_from,
            # How long after the window late labels count; rollouts that are older than this rule lack it.
            "late_hours": round(hours, 6),
        },
        "guardrails": guardrails,
        "limits": dict(limits or {}),
        "max_days_served": True,  # max_days count the time served; older rollouts lack it
        **({"roll_weights": list(ROLL_WEIGHTS)} if settings.whole_days else {}),
    }


def window_of(window: FeedbackWindow, delays_hours: Sequence[float]) -> tuple[float, str]:
    """The hours within which 99 % of the outcomes came, at least the floor, and a sentence that names their source."""
    if window.hours != "auto":
        return float(window.hours), "given"
    floor = window.floor_hours
    if len(delays_hours) < MIN_DELAYS:
        return floor, f"the floor, since {len(delays_hours)} outcomes with a known delay are too few to learn from"
    sorted_delays = sorted(delays_hours)
    late = sorted_delays[min(len(sorted_delays) - 1, math.ceil(0.99 * len(sorted_delays)) - 1)]
    if late <= floor:
        return (
            floor,
            f"the floor; 99 % of the champion's last {len(sorted_delays)} outcomes came within {late:.3g} hours",
        )
    return late, f"within which 99 % of the champion's last {len(sorted_delays)} outcomes came"


def most_labelled(labels: Iterable[LabelSummary]) -> Metric:
    """The field and source with the most labels over all variants; without labels, success as users report it.

    A judge's labels are many and cheap, so they count only where neither users nor other people have labelled.
    """
    counts: dict[tuple[str, str], int] = {}
    for label in labels:
        counts[label.field, label.source] = counts.get((label.field, label.source), 0) + label.n
    if not counts:
        return Metric()
    field, source = max(counts, key=lambda key: (key[1] != "judge", counts[key], key))
    return Metric.model_validate({"field": field, "source": source})


def champion_mean(champion: str, metric: Metric, labels: Iterable[LabelSummary]) -> tuple[float, int]:
    """The champion's mean by this metric and its number of labels; the mean is .5 where the labels are too few."""
    own_labels = [s for s in labels if s.variant == champion and s.field == metric.field and s.source == metric.source]
    n = sum(s.n for s in own_labels)
    return (sum(s.mean * s.n for s in own_labels) / n if n >= MIN_LABELS_FOR_MEAN else MEAN_WITHOUT_LABELS), n


def assumed_mean(settings: Mapping[str, Any]) -> float:
    """The champion's mean that a rollout with these frozen settings began with; 0 is a mean like any other."""
    mean = settings.get("champion_mean")
    return MEAN_WITHOUT_LABELS if mean is None else float(mean)


def margin_of(
    explicit: float | None, *, champion: str, metric: Metric, labels: Iterable[LabelSummary]
) -> tuple[float, str]:
    """The absolute margin and a sentence on its source.

    Unless it is given, it is max(.01, min(.05, .10 x the champion's mean)).
    """
    if explicit is not None:
        return explicit, "given"
    what = f"{metric.field} by {metric.source}"
    mean, n = champion_mean(champion, metric, labels)
    if n < MIN_LABELS_FOR_MEAN:
        why = (
            f"from a mean of .5, since the champion has {count(n, 'label')} ({what}) in {LABEL_WINDOW_DAYS} days and"
            f" {MIN_LABELS_FOR_MEAN} are needed"
        )
    else:
        why = f"from the champion's mean {mean:.3f} over {n} labels ({what}) in {LABEL_WINDOW_DAYS} days"
    return quality_margin(mean), why


def gates_on_record(study: Study | None, *, variant: str, champion: str, aim: Aim) -> list[GateRecord]:
    """The gates before a rollout as the study's confirmation recorded them.

    Where no confirmation compares this Variant with this Champion for this aim, the list holds one gate,
    ``confirmation``, that says so.
    """
    gap = None
    if study is None:
        gap = f"no study has confirmed {variant} on the sealed holdout"
    elif not study.confirmation or not study.confirmation.get("gates"):
        gap = f"study {study.id} has no confirmation on the sealed holdout"
    elif study.winner != variant:
        gap = f"study {study.id} confirmed {study.winner}, not {variant}"
    elif study.champion != champion:
        gap = f"study {study.id} compared with {study.champion}, but {champion} is the champion now"
    elif study.aim != aim:
        gap = f"study {study.id} was judged for {study.aim}, not for {aim}"
    if gap is None and study is not None and study.confirmation is not None:
        return [*study.confirmation["gates"]]
    return [{"name": "confirmation", "verdict": "inconclusive", "value": None, "required": None, "reason": gap}]


def earlier_rollback_gate(fall: str | None) -> list[GateRecord]:
    """A gate that fails where this Candidate has already fallen against this Champion; ``fall`` says when and how.

    Each new start would be another chance to promote it by mistake.
    """
    if fall is None:
        return []
    return [{"name": "earlier_rollout", "verdict": "fail", "value": None, "required": None, "reason": fall}]


def in_process_gate(candidate: Variant, champion: Variant, *, n_decided: int, n_reported: int) -> list[GateRecord]:
    """A gate that fails where applications call the model themselves, which they cannot do as one of the two says: they
    stand in no arm, and once it is promoted their users get the candidate's prompt without its policy.

    Args:
        n_decided: prompts of the champion that clients reported, which decide in process.
        n_reported: of the newest requests those that applications reported. What they fetch over HTTP they may execute
            themselves, but for a student.
    """
    n_decided = n_decided if needs_server(candidate) and not needs_server(champion) else 0
    n_reported = n_reported if has_student(candidate.policy) or has_student(champion.policy) else 0
    if not n_decided and not n_reported:
        return []
    who = (
        f"{count(n_decided, 'prompt')} of {champion.id} were filled in by applications (detent-client), which cannot"
        f" carry out what {candidate.id} says ({', '.join(candidate.policy) or 'no messages'})"
        if n_decided
        else f"{n_reported} of the newest requests came from applications that call the model themselves, and a student"
        " answers in chats alone"
    )
    reason = f"{who}. {BY_CHAT}"
    return [
        {"name": "in_process", "verdict": "fail", "value": n_decided or n_reported, "required": 0, "reason": reason}
    ]


def start_hindrance(family: str, candidate: Variant, *, n: int, n_reported: int) -> str | None:
    """Why no confirmation starts a rollout: nobody would watch it, or get its candidate. None where nothing hinders.

    Args:
        n: the newest requests of the last ``LABEL_WINDOW_DAYS`` days, ``NEWEST`` at most.
        n_reported: those of them that applications reported, which had called the model themselves.
    """
    if not n and has_student(candidate.policy):
        return (
            f"no chat of {family} came in {LABEL_WINDOW_DAYS} days, and its student answers in chats alone. Send them"
            " to POST /v1/chat/completions; docs/reference/models.md shows how"
        )
    if not n:
        return (
            f"no interaction of {family} was reported in {LABEL_WINDOW_DAYS} days, so its guardrails would be blind."
            " Report every request with the assignment token it was served with: POST /v1/interactions"
            ' {"assignment", "latency_ms", "cost_usd", "error"}; docs/how-to/report-interactions.md shows how'
        )
    if has_student(candidate.policy) and n_reported == n:
        return (
            f"hardly anybody would get it. Its student answers in POST /v1/chat/completions alone, and the newest"
            f" {count(n, 'request')} came from applications that call the model themselves. {BY_CHAT}"
        )
    return None


def holdout_ratios(study: Study | None, *, variant: str, champion: str) -> dict[str, float]:
    """Candidate / champion of cost and latency on the sealed holdout, where a confirmation of these two measured them.

    A start by force may name a study of others, whose ratios say nothing of this candidate.
    """
    if study is None or (study.winner, study.champion) != (variant, champion):
        return {}
    confirmation: Mapping[str, Any] = study.confirmation or {}
    pairs = {"cost": ("winner_cost_usd", "champion_cost_usd"), "latency": ("winner_p95_ms", "champion_p95_ms")}
    return {
        name: float(confirmation[winner]) / float(confirmation[champion])
        for name, (winner, champion) in pairs.items()
        if confirmation.get(winner) and confirmation.get(champion)
    }
