"""Two plots of a study as one HTML page that works without a network: quality against cost (Pareto), and what the settings matter.

plotly and optuna are imported inside the functions; plotly's minified script travels inside the page (4.6 MB, once per study).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.values import measured
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import Study, Trial
from optimizer.core.views.study_story import Results, cannot_tell_importance, pareto_front

NOTHING_VARIED = "no setting took more than one value."


def plots_page(study: Study, trials: Sequence[Trial], variants: Mapping[str, Variant], results: Results) -> str:
    """One self-contained page. A plot that cannot be drawn from these trials is replaced by the sentence that says why."""
    from plotly.offline import get_plotlyjs

    parts = [_pareto(study, trials), _importance(study, trials, variants, results)]
    return (
        f"<!doctype html><html><head><meta charset='utf-8'><script>{get_plotlyjs()}</script></head>"
        f"<body style='font-family:system-ui,sans-serif'>{''.join(parts)}</body></html>"
    )


def importances(trials: Sequence[Trial], variants: Mapping[str, Variant], seed: int) -> dict[str, float]:
    """Share of the score's variance that each setting explains (fANOVA of Optuna), the largest first; {} when it cannot be told."""
    import optuna

    points = [(settings_of(t, variants.get(t.variant)), t.score) for t in _measured(trials)]
    values: dict[str, list[Any]] = {}
    for settings, _ in points:
        for key, value in settings.items():
            values.setdefault(key, []).append(value)
    varied = {key: seen for key, seen in values.items() if len(seen) == len(points) and len({repr(v) for v in seen}) > 1}
    if not varied:
        return {}
    distributions = {key: _distribution(seen) for key, seen in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(direction="maximize")
    for settings, score in points:
        params = {key: settings[key] if _is_numeric(varied[key]) else str(settings[key]) for key in varied}
        search.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found: dict[str, float] = optuna.importance.get_param_importances(search, evaluator=evaluator)
    return found


def settings_of(trial: Trial, variant: Variant | None) -> dict[str, Any]:
    """What may vary between trials, by a flat name: number of examples, model settings, policy, instruction (by its hash)."""
    if variant is None:
        return {}
    instruction = digest(canonical_json([dict(message) for message in variant.messages]))[:6]
    settings: dict[str, Any] = {"n_examples": len(variant.examples), "instruction": instruction}
    settings |= {k: v for k, v in variant.model.items() if isinstance(v, int | float | str)}
    settings |= {f"policy.{k}": v for k, v in variant.policy.items() if isinstance(v, int | float | str)}
    return settings


def _pareto(study: Study, trials: Sequence[Trial]) -> str:
    import plotly.graph_objects as go

    measured = _measured(trials)
    by_cost = any(t.cost_usd > 0 for t in measured)  # a free model leaves latency as what a better score may cost
    points = {t.number: (t.cost_usd / max(t.n, 1) if by_cost else t.p95_ms, t.score) for t in measured}
    known = {number: (x, y) for number, (x, y) in points.items() if x is not None and y is not None}
    if not known:
        return "<h2>Quality against cost</h2><p>Not drawn: no trial with a fresh call has been measured yet.</p>"
    figure = go.Figure()
    front = pareto_front(list(known.values()))
    line = {"color": "#0969da", "dash": "dot"}
    figure.add_scatter(x=[p[0] for p in front], y=[p[1] for p in front], mode="lines", name="Pareto front", line=line)
    for name, colour, chosen in (
        ("trial", "#8c959f", [t for t in measured if t.variant not in (study.champion, study.winner)]),
        ("champion", "#bf8700", [t for t in measured if t.variant == study.champion]),
        ("winner", "#1a7f37", [t for t in measured if t.variant == study.winner and t.variant != study.champion]),
    ):
        drawn = [t for t in chosen if t.number in known]
        text = [f"trial {t.number}<br>{t.variant}<br>{t.proposer}" for t in drawn]
        marker = {"color": colour, "size": 11 if name == "trial" else 16, "symbol": "circle" if name == "trial" else "star"}
        x, y = [known[t.number][0] for t in drawn], [known[t.number][1] for t in drawn]
        figure.add_scatter(x=x, y=y, mode="markers", name=name, text=text, marker=marker)
    title, unit = ("Quality against cost", "dollars per call") if by_cost else ("Quality against latency", "p95 of fresh calls, ms")
    if study.is_replayed:
        title, unit = "Quality against time", "share of the time of full processing"
    figure.update_layout(title=title, xaxis_title=unit, yaxis_title="dev score", template="plotly_white", height=440)
    page: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id="pareto", config={"displaylogo": False})
    return page


def _importance(study: Study, trials: Sequence[Trial], variants: Mapping[str, Variant], results: Results) -> str:
    import plotly.graph_objects as go

    why_not = cannot_tell_importance(study, trials, {variant: measured(rows) for variant, rows in results.items()})
    found = {} if why_not else importances(trials, variants, study.seed)
    if not found:
        return f"<h2>Importance of the settings</h2><p>Cannot tell: {html.escape(why_not or NOTHING_VARIED)}</p>"
    names = list(found)[::-1]
    figure = go.Figure(go.Bar(x=[found[n] for n in names], y=names, orientation="h", marker={"color": "#0969da"}))
    figure.update_layout(title="Importance of the settings (fANOVA)", xaxis_title="share of the score's variance", template="plotly_white")
    figure.update_layout(height=max(260, 60 * len(names) + 140))
    page: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id="importance", config={"displaylogo": False})
    return page


def _distribution(values: Sequence[Any]) -> Any:
    import optuna

    if not _is_numeric(values):
        return optuna.distributions.CategoricalDistribution(sorted({str(v) for v in values}))
    if all(isinstance(v, int) for v in values):
        return optuna.distributions.IntDistribution(int(min(values)), int(max(values)))
    return optuna.distributions.FloatDistribution(float(min(values)), float(max(values)))


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _measured(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.status == "complete" and t.score is not None]
