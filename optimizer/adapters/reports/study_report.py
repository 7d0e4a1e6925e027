"""A study as one HTML page that works without a network: what was tried, what won, why, and at what cost.

The page is ``templates/study.html``, its longer sections the other ``study_*.html``; here are the sentences and lists
that need more than a look at a value. Plots are in ``study_plots.py``. Of the sealed holdout the page shows what the
confirmation sums up, and no example.

``grid_page`` shows variants side by side: how each does, its answers, and how the prompts differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from optimizer.adapters.reports import study_plots as plots
from optimizer.adapters.reports.page import clip, page, share, usd
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import when
from optimizer.core.evaluation.gates import improvement_unit, points_text
from optimizer.core.evaluation.label_report import LABELS, NO_LABEL, confusions
from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL, heading, said
from optimizer.core.family.variant import Variant
from optimizer.core.rollout.transitions import is_system
from optimizer.core.search.cascade.learned import TierFinding
from optimizer.core.search.run_off import RUN_OFF, leaders_in_words, rows_in_words
from optimizer.core.search.strategy import without_turn
from optimizer.core.search.study import (
    CONTENT_SCORE,
    ENOUGH,
    UNFINISHED,
    Study,
    Trial,
    budget_options,
    leaks_in_words,
    too_long_in_words,
)
from optimizer.core.views.study_headline import cost_text, headline, lift_text, next_step
from optimizer.core.views.study_story import StudyReport
from optimizer.core.views.variant import variant_diff, variant_text
from optimizer.core.views.variant_grid import VariantGrid, score_spread

TIER_FINDINGS = TypeAdapter(list[TierFinding])
N_CASES = 5  # largest gains that are shown, and as many largest losses
LINE_CHARS = 700  # of one line of a diff
UNCONFIRMED = {
    "not_confirmed": "The sealed holdout was not looked at, as this study was not to; a person may have it looked at.",
    "cancelled": "The study was cancelled before a confirmation.",
    "failed": "The study failed before a confirmation.",
    "budget_exhausted": "The budget ended before the confirmation.",
    "no_improvement": (
        "Nothing beat the champion on the rows that are not sealed, so the sealed holdout was not looked at "
        "and stays fresh for the next study."
    ),
    "no_move": "No variant with the new model answered every example, so the sealed holdout was not looked at.",
}


def study_page(report: StudyReport) -> str:
    """The whole page."""
    study, trials = report.study, [t.trial for t in report.history.trials]
    # Dev examples on which the duel was won or lost by most; one whose text may not be shown goes by a hash
    duel = report.history.duel
    gains = duel.cases[: duel.wins][:N_CASES] if duel else ()
    losses = duel.cases[::-1][: duel.losses][:N_CASES] if duel else ()
    cases = {
        "gains": gains,
        "losses": losses,
        "hides_some": any(case.other.example not in report.texts for case in (*gains, *losses)),
        "hash_of": lambda id: digest(f"{report.study.id}:{id}".encode())[:12],
    }
    is_move = study.outcome == "no_improvement" and study.move_to is not None
    return page(
        "study.html",
        report=report,
        study=study,
        trials=trials,
        plots=plots,
        headline=headline(study, trials, report.versions),
        lift=lift_text(study, report.looks),
        gate_figure=partial(_gate_figure, study),
        cost_text=cost_text(study, report.spent_in_all),
        next_step=next_step(study),
        time=_time(report),
        without_turn=without_turn(study, trials),
        enough=budget_options(enough) if (enough := (study.findings or {}).get(ENOUGH)) else "",
        leaks=leaks_in_words(study.findings),
        rows=rows_in_words(study.findings),
        leaders=leaders_in_words(study.findings),
        n_behind=len((study.dataset or {}).get(RUN_OFF, ())),
        too_long=too_long_in_words(study.dataset),
        is_look=study.mode == "confirm",
        unconfirmed=UNCONFIRMED.get(
            "no_move" if is_move else study.outcome or study.status, "There has been none yet."
        ),
        changed=_changed(report),
        best_first=sorted(
            report.history.trials,
            key=lambda seen: (
                seen.trial.status != "complete" or seen.trial.score is None,
                -(seen.trial.score or 0.0),
                seen.trial.number,
            ),
        ),
        cost_name="Time share" if study.is_replayed else "Dollars a call",
        cost=share if study.is_replayed else usd,  # a replayed item costs no call, so its share of the time
        n_scored=sum(t.score is not None for t in trials),
        cases=cases,
        **(_findings(report) if trials else {}),
    )


def _findings(report: StudyReport) -> dict[str, Any]:
    """What the page says of a search beside its trials, by name; None, {} or [] where there is nothing to say."""
    study, trials = report.study, [t.trial for t in report.history.trials]
    findings = study.findings or {}
    without_model, labels = findings.get(WITHOUT_MODEL), findings.get(LABELS)
    why_not = report.history.cannot_tell
    shares = {} if why_not else importances(trials, report.variants, study.seed)
    return {
        "without_model": without_model,
        "said": said,
        "heading": heading,
        "labels": label_tables(labels, study) if labels else None,
        "confidences": TIER_FINDINGS.validate_python(findings.get("confidence") or []),
        "learned_score": findings.get(CONTENT_SCORE),
        "cannot_tell": why_not or (None if shares else NOTHING_VARIED),  # no setting can be called important
        "importances": shares,
        "n_complete": sum(t.status == "complete" and t.score is not None for t in trials),
        "purposes": sorted(report.spent, key=lambda purpose: (purpose == "confirmation", purpose != "search", purpose)),
    }


def _gate_figure(study: Study, gate: Mapping[str, Any], member: str) -> str:
    """``value`` or ``required`` of a gate; a gain in quality in points, whatever ratio the gate reads."""
    figure, champion = gate.get(member), (study.confirmation or {}).get("champion_mean")
    if gate["name"] == "improvement" and study.aim == "quality" and figure is not None and champion is not None:
        return points_text(figure * improvement_unit(champion))
    return "–" if figure is None else f"{figure:.4g}"


def _time(report: StudyReport) -> str:
    study = report.study
    by_itself = study.trigger is not None or is_system(study.created_by)
    begun = f"{'by itself' if by_itself else f'asked for by {study.created_by}'}, {when(study.created_at)}"
    if study.started_at is None:
        return begun
    until = study.finished_at or report.made_at
    took = timedelta(seconds=round((until - study.started_at).total_seconds()))
    return f"{begun}; took {took}" if study.finished_at else f"{begun}; running for {took}"


def _changed(report: StudyReport) -> dict[str, Any] | None:
    """The winner's or the best candidate's text beside the champion's; None without one."""
    study, duel = report.study, report.history.duel
    shown = study.winner or (duel.trial.variant if duel is not None else None)
    champion, other = report.variants.get(study.champion), report.variants.get(shown or "")
    if champion is None or other is None:
        return None
    best = "The best candidate so far," if study.status in UNFINISHED else "The best candidate, which did not win,"
    what = "The nominated variant" if study.mode == "confirm" else "The winner" if study.winner else best
    # (CSS class, line) as unified, but for its line numbers, which lead nowhere.
    kinds = {"+": "added", "-": "gone", "…": "at"}
    body = variant_diff(champion, other).splitlines()[3:]  # before: the variants' names, where it starts
    lines = ["…" if line.startswith("@@") else line for line in body]
    return {
        "what": what,
        "variant": shown,
        "diff": [(kinds.get(line[:1], "same"), clip(line, LINE_CHARS) or " ") for line in lines],
        "text": variant_text(other),
    }


N_LABELS = 30  # of the table, those that do worst
N_CROSSED = 12  # labels of the matrix, those of most mistakes
LABEL_CHARS = 24
Confusion = Mapping[str, Mapping[str, int]]


def label_tables(label_reports: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """What ``templates/study_labels.html`` shows; ``label_reports``: variant > its LabelReport as plain values."""
    variants = (("champion", study.champion), ("winner", study.winner or ""))
    arms = [(name, label_reports[id]) for name, id in variants if id in label_reports]
    if not arms:
        return {"arms": []}
    # By label, those that were expected or given at least once
    by_label = [
        {row["label"]: row for row in report["figures"] if row["n_expected"] or row["n_given"]} for _, report in arms
    ]
    last = by_label[-1]
    labels = sorted(
        {label for row in by_label for label in row}, key=lambda it: (last.get(it, {}).get("f1") or 0.0, it)
    )
    confusion: Confusion = arms[-1][1]["confusion"]

    def mistakes(label: str) -> int:
        missed = sum(n for answer, n in confusion.get(label, {}).items() if answer != label)
        return missed + sum(row.get(label, 0) for expected, row in confusion.items() if expected != label)

    crossed = sorted(sorted(_met(confusion), key=lambda label: (-mistakes(label), label))[:N_CROSSED])
    answers = [*crossed, *([NO_LABEL] if any(NO_LABEL in confusion.get(label, {}) for label in crossed) else [])]
    rows: list[dict[str, Any]] = []
    for label in labels[:N_LABELS]:
        known = [row.get(label, {}) for row in by_label]
        figures = [of_arm.get(measure) for measure in ("precision", "recall", "f1") for of_arm in known]
        rows.append(
            {"label": label, "n_expected": max(of_arm.get("n_expected", 0) for of_arm in known), "figures": figures}
        )
    return {
        "arms": arms,
        "chars": LABEL_CHARS,
        "columns": [f"{figure}, {name}" for figure in ("Precision", "Recall", "F1") for name, _ in arms],
        "rows": rows,
        "n_left_out": max(0, len(labels) - N_LABELS),
        "confused": confusions(confusion),
        "confusion": confusion,
        "crossed": crossed,
        "n_met": len(_met(confusion)),
        "given": answers,
        "given_columns": [clip(answer, LABEL_CHARS) for answer in answers],
    }


def _met(confusion: Confusion) -> list[str]:
    """Labels that were expected or given at least once."""
    answers = {label for row in confusion.values() for label in row}
    return sorted(({label for label, row in confusion.items() if row} | answers) - {NO_LABEL})


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
    """Flat name -> what may vary between trials: n_examples, instruction (its hash), settings of model and policy."""
    if variant is None:
        return {}
    instruction = digest(canonical_json([dict(message) for message in variant.messages]))[:6]
    return {
        "n_examples": len(variant.examples),
        "instruction": instruction,
        **{k: v for k, v in variant.model.items() if isinstance(v, int | float | str)},
        **{f"policy.{k}": v for k, v in variant.policy.items() if isinstance(v, int | float | str)},
    }


def _distribution(values: Sequence[Any]) -> Any:
    import optuna

    if not _is_numeric(values):
        return optuna.distributions.CategoricalDistribution(sorted({str(v) for v in values}))
    if all(isinstance(v, int) for v in values):
        return optuna.distributions.IntDistribution(int(min(values)), int(max(values)))
    return optuna.distributions.FloatDistribution(float(min(values)), float(max(values)))


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def grid_page(grid: VariantGrid, variants: Sequence[Variant]) -> str:
    """The whole page, which is ``templates/variant_grid.html``; ``variants`` in the order of the grid."""
    first, *others = variants
    diffs = [variant_diff(first, other) for other in others]
    return page(
        "variant_grid.html",
        grid=grid,
        headings=["Input", "Expected", *(f"{column['letter']}: {column['variant']}" for column in grid["variants"])],
        spread=score_spread,
        text=variant_text(first),
        differences=[diff or "the same text and settings" for diff in diffs],
        not_shown="from production and not released",
    )
