"""What is fixed when a Rollout starts: its settings with a margin, and the gates on record that speak for its Candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from optimizer.core.errors import InvalidInput
from optimizer.core.family_faults import faults_of
from optimizer.core.family_settings import Metric, RolloutSettings
from optimizer.core.feedback import LabelSummary
from optimizer.core.gates import quality_margin
from optimizer.core.study import Aim, Study

MIN_LABELS_FOR_MEAN = 50
MEAN_WITHOUT_LABELS = 0.5
LABEL_WINDOW_DAYS = 30


def chosen(settings: RolloutSettings, *, ladder: Sequence[float] | None, margin: float | None) -> RolloutSettings:
    """The family's rollout settings with what this start overrides. Raises InvalidInput with a fault per wrong value."""
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
        raise InvalidInput("Cannot start the rollout: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults), faults) from None


def frozen(settings: RolloutSettings, *, champion: str, labels: Sequence[LabelSummary]) -> dict[str, Any]:
    """The settings as plain JSON, with metric and margin filled in, and beside the margin where it comes from."""
    metric = settings.metric or most_labelled(labels)
    margin, margin_from = margin_of(settings.margin, champion=champion, metric=metric, labels=labels)
    return {
        **settings.model_dump(mode="json"),
        "metric": metric.model_dump(mode="json"),
        "margin": round(margin, 6),
        "margin_from": margin_from,
    }


def most_labelled(labels: Iterable[LabelSummary]) -> Metric:
    """The field and source with most labels, all variants together; success by users where there is none."""
    counts: dict[tuple[str, str], int] = {}
    for label in labels:
        counts[label.field, label.source] = counts.get((label.field, label.source), 0) + label.n
    if not counts:
        return Metric()
    field, source = max(counts, key=lambda key: (counts[key], key))
    return Metric.model_validate({"field": field, "source": source})


def margin_of(explicit: float | None, *, champion: str, metric: Metric, labels: Iterable[LabelSummary]) -> tuple[float, str]:
    """The margin (absolute) and a sentence saying where it comes from: max(.01, min(.05, .10 x the champion's mean))."""
    if explicit is not None:
        return explicit, "given"
    own = [s for s in labels if s.variant == champion and s.field == metric.field and s.source == metric.source]
    n = sum(s.n for s in own)
    what = f"{metric.field} by {metric.source}"
    if n < MIN_LABELS_FOR_MEAN:
        mean = MEAN_WITHOUT_LABELS
        why = f"from a mean of .5, since the champion has {n} labels ({what}) in {LABEL_WINDOW_DAYS} days and {MIN_LABELS_FOR_MEAN} are needed"
    else:
        mean = sum(s.mean * s.n for s in own) / n
        why = f"from the champion's mean {mean:.3f} over {n} labels ({what}) in {LABEL_WINDOW_DAYS} days"
    return quality_margin(mean), why


def gates_on_record(study: Study | None, *, variant: str, champion: str, aim: Aim) -> list[Mapping[str, Any]]:
    """The gates before a rollout as the study's confirmation recorded them: name, verdict, value, required, reason.

    Where no confirmation speaks for this Variant against this Champion and aim, the list holds one gate, ``confirmation``, that says so.
    """
    gap = _gap(study, variant=variant, champion=champion, aim=aim)
    if gap is None and study is not None and study.confirmation is not None:
        return [dict(g) for g in study.confirmation["gates"]]
    return [{"name": "confirmation", "verdict": "inconclusive", "value": None, "required": None, "reason": gap}]


def missed(gates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The gates that have not passed; silence is not consent, so callers must not take an empty record for a pass."""
    return [g for g in gates if g["verdict"] != "pass"]


def _gap(study: Study | None, *, variant: str, champion: str, aim: Aim) -> str | None:
    if study is None:
        return f"no study has confirmed {variant} on the sealed holdout"
    if not study.confirmation or not study.confirmation.get("gates"):
        return f"study {study.id} has no confirmation on the sealed holdout"
    if study.winner != variant:
        return f"study {study.id} confirmed {study.winner}, not {variant}"
    if study.champion != champion:
        return f"study {study.id} compared with {study.champion}, but {champion} is the champion now"
    if study.aim != aim:
        return f"study {study.id} was judged for {study.aim}, not for {aim}"
    return None
