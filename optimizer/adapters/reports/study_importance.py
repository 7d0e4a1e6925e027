"""How much of what the trials of a study scored each setting explains. optuna is imported where it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import Trial

NOTHING_VARIED = "no setting took more than one value."


def importances(trials: Sequence[Trial], variants: Mapping[str, Variant], seed: int) -> dict[str, float]:
    """Share of the score's variance that each setting explains (fANOVA of Optuna), the largest first.

    {} where no setting was given more than one value.
    """
    import optuna

    points = [
        (settings_of(t, variants.get(t.variant)), t.score)
        for t in trials
        if t.status == "complete" and t.score is not None
    ]
    values: dict[str, list[Any]] = {}
    for settings, _ in points:
        for key, value in settings.items():
            values.setdefault(key, []).append(value)
    everywhere = {key: seen for key, seen in values.items() if len(seen) == len(points)}
    varied = {key: seen for key, seen in everywhere.items() if len({repr(value) for value in seen}) > 1}
    if not varied:
        return {}
    distributions = {key: _distribution(seen) for key, seen in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(direction="maximize")
    for settings, score in points:
        params = {key: settings[key] if _is_numeric(varied[key]) else str(settings[key]) for key in varied}
        search.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares: dict[str, float] = optuna.importance.get_param_importances(search, evaluator=evaluator)
    return shares


def settings_of(trial: Trial, variant: Variant | None) -> dict[str, Any]:
    """What may vary between trials, by a flat name: n_examples, instruction (its hash),
    settings of model and policy.
    """
    if variant is None:
        return {}
    instruction = digest(canonical_json([dict(message) for message in variant.messages]))[:6]
    settings: dict[str, Any] = {"n_examples": len(variant.examples), "instruction": instruction}
    settings |= {k: v for k, v in variant.model.items() if isinstance(v, int | float | str)}
    settings |= {f"policy.{k}": v for k, v in variant.policy.items() if isinstance(v, int | float | str)}
    return settings


def _distribution(values: Sequence[Any]) -> Any:
    import optuna

    if not _is_numeric(values):
        return optuna.distributions.CategoricalDistribution(sorted({str(v) for v in values}))
    if all(isinstance(v, int) for v in values):
        return optuna.distributions.IntDistribution(int(min(values)), int(max(values)))
    return optuna.distributions.FloatDistribution(float(min(values)), float(max(values)))


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
