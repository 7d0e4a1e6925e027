"""Names, parameters, metrics and tags of the runs in MLflow, as plain values of studies and trials; it
sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from math import log
from typing import Any

from optimizer.adapters.mlflow import pages
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import ExampleResult, scores_by_example
from optimizer.core.evaluation.trivial_baselines import BARE, WITHOUT_MODEL
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import ENDED, Study, Trial
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.core.statistics.interval import mean_score_interval
from optimizer.core.views.rollout_evidence import evidence_text

Point = tuple[str, float, int, int]  # metric, value, ms since 1970, step


def study_name(study: Study) -> str:
    """What came out stands first: lists show the first 20 characters."""
    stand = (study.outcome or study.status).replace("_", " ")
    return f"{stand} {study.winner or ''} {study.strategy} {study.created_at:%Y-%m-%d %H:%M}".replace("  ", " ")


def trial_params(trial: Trial, variant: Variant | None) -> dict[str, Any]:
    params: dict[str, Any] = {"variant": trial.variant, "proposer": trial.proposer}
    if variant is not None:
        params |= {
            **{f"model.{k}": v for k, v in variant.model.items()},
            **{f"policy.{k}": v for k, v in shown_policy(variant.policy).items()},
            "n_examples": len(variant.examples),
            "example_ids": ", ".join(e.id for e in variant.examples),
        }
    params |= {f"params.{k}": v for k, v in trial.params.items() if isinstance(v, int | float | str | bool)}
    return params


def trial_metrics(study: Study, trial: Trial, results: Sequence[ExampleResult]) -> list[Point]:
    at = ms(trial.finished_at or trial.started_at or study.created_at)
    interval = mean_score_interval(scores_by_example(results).values())
    values: dict[str, float | None] = {
        "score": trial.score,
        **pages.cost_of(study, trial),
        "p95_ms": trial.p95_ms,
        "calls": float(trial.n_calls),
        "n": float(trial.n),
        "errors": float(trial.n_errors),
        **({"score_low": interval.lower, "score_high": interval.upper} if interval else {}),
    }
    metrics = [(name, float(value), at, 0) for name, value in values.items() if value is not None]
    total, n = 0.0, 0
    # Of a running one the steps still change.
    for step, result in enumerate(results if trial.status != "running" else (), start=1):
        if result.score is not None:
            total, n = total + result.score, n + 1
            metrics.append(("mean_score_by_example", total / n, at, step))
    return metrics


def study_params(study: Study) -> dict[str, Any]:
    budget = {f"budget.{k}": v for k in ("usd", "calls", "minutes") if (v := getattr(study.budget, k)) is not None}
    definition = {f"definition.{k}": v for k, v in study.definition.items() if isinstance(v, int | float | str | bool)}
    sizes = {
        f"n_{s}": len(study.dataset[s])
        for s in ("train", "dev", "holdout")
        if study.dataset and study.dataset.get(s) is not None
    }
    return {
        "strategy": study.strategy,
        "aim": study.aim,
        "seed": study.seed,
        "champion": study.champion,
        **budget,
        **definition,
        **sizes,
    }


def study_tags(study: Study) -> dict[str, str]:
    tags = {
        "mlflow.runName": study_name(study),
        "detent.status": study.status,
        "detent.outcome": study.outcome or "",
        "detent.strategy": study.strategy,
        "detent.champion": study.champion,
        "detent.winner": study.winner or "",
        "detent.scorer_version": study.scorer_version or "",
        "detent.simulated_clock": str(study.simulated_clock).lower(),
    }
    if study.trigger is not None:
        tags |= {"detent.trigger": study.trigger.kind, "detent.trigger.reason": study.trigger.reason}
    return tags | ({"detent.error": study.error} if study.error else {})


def study_metrics(study: Study, trials: Sequence[Trial]) -> list[Point]:
    at = ms(study.finished_at or study.started_at or study.created_at)
    values: dict[str, float] = {
        "calls": study.spend.n_calls,
        "calls_from_journal": study.spend.n_from_journal,
        "calls_lost": study.spend.n_lost,
        "cost_usd": study.spend.usd,
        "n_trials": len(trials),
    }
    for mark, variant in (("champion", study.champion), ("winner", study.winner)):
        score = next((t.score for t in trials if t.variant == variant and t.score is not None), None)
        if score is not None:
            values[f"{mark}_score"] = score
    values |= {f"confirmation.{key}": value for key, value in pages.confirmation_figures(study).items()}
    values |= {
        f"{mark}_macro_f1": report["macro_f1"]
        for mark, _, report in pages.label_reports(study)
        if report["macro_f1"] is not None
    }
    for row in ((study.findings or {}).get(WITHOUT_MODEL) or {}).get("rows", ()):
        if row["score"] is not None:
            name = row["name"].replace(" ", "_")
            values[f"{name}_score" if row["name"] == BARE else f"without_model.{name}"] = row["score"]
    metrics = [(name, float(value), at, 0) for name, value in values.items()]
    if study.status in ENDED and (score := values.get("winner_score", values.get("champion_score"))) is not None:
        # What lists of runs show: of what came out, and not of the last trial.
        metrics.append(("score", score, at, len(trials)))
    best: float | None = None
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.status == "complete" and trial.score is not None:
            best = trial.score if best is None else max(best, trial.score)
            when = ms(trial.finished_at or study.created_at)
            metrics += [("trial_score", trial.score, when, trial.number), ("best_score", best, when, trial.number)]
    return metrics


def evidence_note(rollout: Rollout, decision: Decision) -> str:
    """`` (evidence ship3 41.2 of 20, 37 blocks)`` behind a decision's sentence; empty where nothing was weighed."""
    text, evidence = evidence_text(rollout, decision), decision.content["inputs"].get("evidence") or {}
    return f" (evidence {text}, {count(evidence['blocks'], 'block')})" if text else ""


def evidence_metrics(decision: Decision) -> list[Point]:
    """What a decision rested on, a step per decision: every e-value as its power of ten, and the labelled outcomes."""
    evidence = decision.content["inputs"].get("evidence")
    if evidence is None:
        return []
    at, step = ms(decision.at), decision.seq
    powers = [
        (f"rollout.log10_e.{name}", float(value) / log(10), at, step) for name, value in evidence["log_e"].items()
    ]
    return [*powers, ("rollout.labelled", float(evidence["labelled"]), at, step)]


def missing(known: Collection[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """MLflow's parameters cannot change: only those that the run does not have yet are sent."""
    return {k: v for k, v in params.items() if k not in known}


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
