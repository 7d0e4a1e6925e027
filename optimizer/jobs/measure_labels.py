"""Measures a study of a label family label by label, on the dev rows that its trials were scored on; no sealed row is read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from optimizer.core.label_report import read_labels
from optimizer.core.study import CONFIRM
from optimizer.jobs.study_run import StudyRun


def measure_labels(run: StudyRun) -> dict[str, Any] | None:
    """A LabelReport of the champion and of the winner as plain values, by variant: sums only, so that they outlast the answers. None where there is nothing to tell."""
    if run.is_replayed or run.study.strategy == CONFIRM or run.family.output.parser != "label":
        return None
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
    expected = {example.id: example.expected for example in run.dev}
    named = dict.fromkeys([run.champion.id, run.study.winner or run.champion.id])
    reports = {variant: read_labels(run.family.output, expected, results.get(variant, ())) for variant in named}
    return {variant: asdict(report) for variant, report in reports.items() if report is not None and report.n} or None
