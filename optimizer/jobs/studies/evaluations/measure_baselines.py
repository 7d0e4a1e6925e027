"""Measures the trivial baselines of a study, on the dev rows that its trials were scored on; no sealed row is read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from optimizer.core.base.values import scores_by_example
from optimizer.core.evaluation.label_report import read_labels
from optimizer.core.evaluation.trivial_baselines import (
    BY_STUDENT,
    STUDENT_SEARCHED,
    bare_prompt,
    measure_trivial,
    trivial_scores,
)
from optimizer.core.search.strategy import proposers_of, searched_tiers
from optimizer.jobs.calls.student_shelf import is_student
from optimizer.jobs.dataset.build_dataset import teaching_examples
from optimizer.jobs.studies.context import StudyRun
from optimizer.jobs.studies.teach_student import FINDING

MOST_TAUGHT = 1000  # the nearest of these is found for each dev row in four seconds, that of 5,000 in twenty


def measure_baselines(run: StudyRun, winner: str | None) -> dict[str, Any] | None:
    """The baselines as plain values, beside the winner, else the champion; BY_STUDENT of its answers on dev are
    a student's. They learn from what taught the study's student, where it has one; of that from 1,000 rows at most.

    None where no model answers (policies), or nothing was searched.
    """
    if run.is_replayed or run.study.mode == "confirm" or not run.dev:
        return None
    variant = winner or run.champion.id
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
        is_taught = bool((run.study.findings or {}).get(FINDING, {}).get("students"))
        train = teaching_examples(run.family, run.store, tx, MOST_TAUGHT) if is_taught else run.train
    answers = [result.answered_by for result in results.get(variant, ()) if result.output is not None]
    n_own = sum(tier is not None and is_student(run.models, tier) for tier in answers)
    by_variant = {id: dict(scores_by_example(baselines)) for id, baselines in results.items()}
    # The champion's prompt without examples, as far as the search met every dev row with it.
    bare_id = bare_prompt(run.champion).id
    met = by_variant.get(bare_id, {})
    whole = {e.id: met[e.id] for e in run.dev if e.id in met}
    baselines = measure_trivial(
        train,
        run.dev,
        trivial_scores(run.family, train, run.dev, run.scorer, classify=run.classify),
        variant=variant,
        scores=by_variant.get(variant, {}),
        bare=(
            whole
            if len(whole) == len(run.dev)
            else f"{bare_id}, the champion's prompt without examples, did not meet every dev row in this search"
        ),
    )
    tiers = searched_tiers(proposers_of(run.study.strategy), run.family)
    return {
        **asdict(baselines),
        BY_STUDENT: n_own / len(answers) if answers else 0.0,
        STUDENT_SEARCHED: any(is_student(run.models, tier) for tier in tiers),
    }


def measure_labels(run: StudyRun, winner: str | None) -> dict[str, Any] | None:
    """A LabelReport of the champion and of the winner as plain values; sums only, so that they outlast the answers.

    None where there is nothing to report.
    """
    if run.is_replayed or run.study.mode == "confirm" or run.family.output.parser != "label":
        return None
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
    expected = {example.id: example.expected for example in run.dev}
    ids = dict.fromkeys([run.champion.id, winner or run.champion.id])
    reports = {variant: read_labels(run.family.output, expected, results.get(variant, ())) for variant in ids}
    return {variant: asdict(report) for variant, report in reports.items() if report is not None and report.n} or None
