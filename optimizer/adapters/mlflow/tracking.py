"""The mirror of studies, prompts and rollouts in MLflow, where people review them.

The store is the truth; this can be lost and sent again.

Start reading at ``MlflowTracker.mirror_study``. Runs are found by tag before they are made and carry the digest of
their content, which counts once their status is sent, so that every method may be repeated, also after a crash in the
middle. Only ``MlflowClient`` with ``log_batch`` is used: the fluent interface keeps state per thread, and the
asynchronous one is many times slower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from optimizer.adapters.mlflow import fields, pages
from optimizer.adapters.mlflow.connection import connect, file_of
from optimizer.adapters.mlflow.prompts import PromptRegistry
from optimizer.core.base.canonical import digest
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import Study, Trial, shown_variants
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.core.views.study_front import mark_of
from optimizer.core.views.variant import variant_diff, variant_text
from optimizer.ports import MovedAlias, StudyEvidence

BATCH = 900  # log_batch takes at most 1,000 metrics and 100 parameters
TAG_CHARS = 4900
FAMILY_TAG = "detent.family"
SEAL = "detent.digest"  # of what a run shows
_RUN_STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "complete": "FINISHED",
    "dropped": "KILLED",
    "stopped": "KILLED",
}


@dataclass(slots=True, kw_only=True)
class _MirroredTrial:
    run_id: str
    seal: str | None  # None: not known to be there completely
    params: set[str]  # which MLflow never changes


@dataclass(slots=True, kw_only=True)
class _MirroredStudy:
    """What MLflow has of a running study."""

    parent: str  # id of its run
    trials: dict[str, _MirroredTrial]
    points: set[fields.Point] = field(default_factory=set)  # of the parent, sent by this process


class MlflowTracker:
    """Sends to an MLflow store (``sqlite:///…``), whose artifacts lie beside its file, or server (``http://…``).

    Args:
        tracking_uri: where MLflow keeps its runs.
        studies_at: address of the pages of studies, as a reader of MLflow reaches them; None: unknown.
    """

    def __init__(self, tracking_uri: str, studies_at: str | None = None) -> None:
        self._studies_at = studies_at
        self._client = connect(tracking_uri)
        self._file = file_of(tracking_uri)
        self._prompts = PromptRegistry(self._client)
        self._mirrored: dict[str, _MirroredStudy] = {}

    def mirror_study(self, study: Study, trials: Sequence[Trial], extras: StudyEvidence) -> str:
        """A parent run for the study, a nested run per trial; whatever is unchanged since the last time is left alone.

        Returns the parent run's id.
        """
        study = replace(study, mlflow_run_id=None)  # no page shows it, and it is unknown before the first send
        experiment = self._experiment(study.family, extras.description)
        run = self._find(experiment, "study", study.id)
        if run is not None:
            parent = run
        else:
            tags = {
                "detent.kind": "study",
                "detent.study": study.id,
                "detent.family": study.family,
                "mlflow.user": study.created_by,
                "mlflow.source.name": f"detent study {study.id}",
            }
            parent = self._client.create_run(
                experiment, start_time=fields.ms(study.created_at), run_name=fields.study_name(study), tags=tags
            )
        # Remembered while the study runs and every send succeeds; its last send looks at what is really there.
        mirrored = self._mirrored.pop(study.id, None)
        if mirrored is None or mirrored.parent != parent.info.run_id or study.status in _RUN_STATUS:
            mirrored = self._look_up(experiment, parent.info.run_id, study, trials)
        for trial in trials:
            self._mirror_trial(experiment, study, trial, extras, mirrored)
        self._mirror_parent(parent, study, trials, extras, mirrored)
        if study.status not in _RUN_STATUS:
            self._mirrored[study.id] = mirrored
        return str(parent.info.run_id)

    def mirror_prompt(self, family: str, variant: Variant, aliases: Sequence[str], tags: Mapping[str, str]) -> None:
        self._prompts.mirror(family, variant, aliases, tags, experiment=self._experiment(family))

    def restore_aliases(self, family: str, wanted: Mapping[str, str]) -> list[MovedAlias] | None:
        return self._prompts.restore(family, wanted)

    def rename_family(self, was: str, family: str, *, is_shown: bool) -> None:
        self._prompts.remove(was)
        name = own_name = f"detent/{family}"
        experiment = self._client.get_experiment_by_name(f"detent/{was}") if was != family else None
        if experiment is not None and experiment.tags.get(FAMILY_TAG) == was:  # not one of a new family of this name
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            if self._client.get_experiment_by_name(name) is not None:  # names are unique, those of deleted ones too
                own_name = f"{name} ({experiment.experiment_id})"
            self._client.rename_experiment(experiment.experiment_id, own_name)
            self._client.set_experiment_tag(experiment.experiment_id, FAMILY_TAG, family)
        for hidden in () if is_shown else {name, own_name}:
            experiment = self._client.get_experiment_by_name(hidden)
            if experiment is not None and experiment.lifecycle_stage != "deleted":
                self._client.delete_experiment(experiment.experiment_id)

    def attach_page(self, run: str, name: str, page: str) -> None:
        self._client.log_text(run, page, name)

    def mirror_rollout(self, rollout: Rollout, decisions: Sequence[Decision]) -> str:
        """Tags and metrics on the run of the study that nominated the candidate, else on a run of the rollout's own."""
        experiment = self._experiment(rollout.family)
        run = self._find(experiment, "study", rollout.study) if rollout.study else None
        if run is None:
            run = self._find(experiment, "rollout", rollout.id) or self._client.create_run(
                experiment,
                start_time=fields.ms(rollout.created_at),
                run_name=f"rollout of {rollout.candidate}",
                tags={"detent.kind": "rollout", "detent.rollout": rollout.id, "detent.family": rollout.family},
            )
        run_id = run.info.run_id
        prefix = f"rollout.{rollout.id}"
        head = decisions[-1].hash if decisions else ""
        tags = {
            "detent.rollout": rollout.id,
            "detent.rollout.status": rollout.status + (" (held)" if rollout.held else ""),
            "detent.rollout.outcome": rollout.outcome or "",
            "detent.rollout.head_hash": head,
            "detent.rollout.forced": str(rollout.forced).lower(),
            f"{prefix}.head_hash": head,
        }
        for d in decisions:
            forced = " [forced]" if d.forced else ""
            tags[f"{prefix}.decision.{d.seq:03d}"] = (
                f"{d.at.isoformat(timespec='seconds')} {d.kind}{forced} by {d.actor}:"
                f" {d.reason}{fields.evidence_note(rollout, d)}"
            )
        metrics = [
            ("rollout.share", float(s["share"]), fields.ms(datetime.fromisoformat(str(s["from"]))), n)
            for n, s in enumerate(rollout.stage_history)
            if s.get("share") is not None
        ]
        metrics.append(
            (
                "rollout.n_decisions",
                float(len(decisions)),
                fields.ms(rollout.ended_at or rollout.created_at),
                rollout.version,
            )
        )
        metrics += [point for d in decisions for point in fields.evidence_metrics(d)]
        self._log(run_id, metrics=metrics, tags=tags)
        if run.data.tags.get("detent.kind") == "rollout" and not rollout.is_active:
            self._client.set_terminated(run_id, "FINISHED", fields.ms(rollout.ended_at or rollout.created_at))
        return str(run_id)

    # --- one study ----------------------------------------------------------------------------------------------------

    def _look_up(self, experiment: str, parent: str, study: Study, trials: Sequence[Trial]) -> _MirroredStudy:
        """A seal counts where the run has its trial's status, which is sent last: a new run has its seal before its
        content.
        """
        status = {str(t.number): _RUN_STATUS.get(t.status) for t in trials}
        mirrored = {}
        for run in self._runs(experiment, f"tags.`detent.study` = '{study.id}' and tags.`detent.kind` = 'trial'"):
            number = run.data.tags["detent.trial"]
            is_whole = run.info.status == status.get(number)
            mirrored[number] = _MirroredTrial(
                run_id=run.info.run_id, seal=run.data.tags.get(SEAL) if is_whole else None, params=set(run.data.params)
            )
        return _MirroredStudy(parent=parent, trials=mirrored)

    def _mirror_trial(
        self, experiment: str, study: Study, trial: Trial, extras: StudyEvidence, mirrored: _MirroredStudy
    ) -> None:
        results, number = extras.results.get(trial.variant, ()), str(trial.number)
        mark = mark_of(study, trial)
        seal = digest(repr((trial, mark, [(r.example, r.score) for r in results])).encode())[:12]
        before = mirrored.trials.get(number)
        if before is not None and before.seal == seal:
            return
        score = "not measured" if trial.score is None else f"{trial.score:.3f}"
        mark_text = f" ({mark})" if mark and mark != trial.proposer else ""
        tags = {
            "mlflow.runName": f"{trial.number:02d} {trial.proposer} {score}{mark_text}",
            "detent.variant": trial.variant,
            "detent.proposer": trial.proposer,
            "detent.mark": mark,
            "detent.family": study.family,
        }
        if before is None:  # a run that is made with its tags costs less than one that gets them
            run_tags = {
                "mlflow.parentRunId": mirrored.parent,
                "detent.kind": "trial",
                "detent.study": study.id,
                "detent.trial": number,
                SEAL: seal,
                **{key: value for key, value in tags.items() if value},
            }
            run = self._client.create_run(
                experiment, start_time=fields.ms(trial.started_at or study.created_at), tags=run_tags
            )
            before, tags = _MirroredTrial(run_id=run.info.run_id, seal=None, params=set()), {}
        params = fields.trial_params(trial, extras.variants.get(trial.variant))
        self._log(
            before.run_id,
            metrics=fields.trial_metrics(study, trial, results),
            params=fields.missing(before.params, params),
            tags=tags | {SEAL: seal} if tags else {},
        )
        if trial.status in _RUN_STATUS:
            self._client.set_terminated(
                before.run_id, _RUN_STATUS[trial.status], fields.ms(trial.finished_at or study.created_at)
            )
        mirrored.trials[number] = _MirroredTrial(run_id=before.run_id, seal=seal, params=before.params | set(params))

    def _mirror_parent(
        self, run: Any, study: Study, trials: Sequence[Trial], extras: StudyEvidence, mirrored: _MirroredStudy
    ) -> None:
        run_id = run.info.run_id
        rows = [(v, [(r.example, r.score) for r in results]) for v, results in sorted(extras.results.items())]
        seal = digest(repr((study, trials, rows, sorted(extras.examples))).encode())[:12]
        if run.data.tags.get(SEAL) == seal:
            return
        points = fields.study_metrics(study, trials)
        self._log(
            run_id,
            metrics=[point for point in points if point not in mirrored.points],
            params=fields.missing(run.data.params, fields.study_params(study)),
            tags=fields.study_tags(study),
        )
        mirrored.points.update(points)
        self._client.set_tag(run_id, "mlflow.note.content", pages.note(study, trials, extras, self._studies_at))
        # Train and dev as dataset inputs; no source is named, since MLflow knows none for a database of ours, and never
        # the holdout.
        import mlflow
        import pandas
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        splits: Mapping[str, Any] = study.dataset or {}
        for split in ("train", "dev"):
            chosen = [extras.examples[i] for i in splits.get(split, ()) if i in extras.examples]
            if chosen:
                frame = pandas.DataFrame(
                    [{**e.input, **{f"expected.{k}": v for k, v in e.expected.items()}} for e in chosen]
                )
                data = mlflow.data.from_pandas(frame, name=f"{study.family}-{split}")
                context = InputTag("mlflow.data.context", split)
                inputs.append(DatasetInput(dataset=Dataset.from_dictionary(data.to_dict()), tags=[context]))
        if inputs:
            self._client.log_inputs(run_id, datasets=inputs)
        tables = {
            "trials.json": pages.trials_table(study, trials, extras),
            "confirmation.json": pages.confirmation_table(study, extras),
            **pages.label_tables(study),
        }
        champion = extras.variants.get(study.champion)
        for variant_id, label in shown_variants(study, trials).items():
            variant = extras.variants.get(variant_id)
            if variant is None:
                continue
            name = f"{label}-{variant_id}"
            tables[f"examples/{name}.json"] = pages.examples_table(variant_id, study, extras)
            self._client.log_text(run_id, variant_text(variant), f"prompts/{name}.txt")
            if champion is not None and variant_id != study.champion:
                self._client.log_text(run_id, variant_diff(champion, variant) + "\n", f"prompts/{name}.diff.txt")
        written = {path: table for path, table in tables.items() if table is not None}
        for path, table in written.items():
            self._client.log_text(run_id, json.dumps(table, ensure_ascii=False), path)
        # This tag is how MLflow's pages know a JSON file as a table; log_table itself would append on every send.
        listed = json.dumps([{"path": path, "type": "table"} for path in written])
        self._client.set_tag(run_id, "mlflow.loggedArtifacts", listed)
        if study.status in _RUN_STATUS:
            self._client.set_terminated(
                run_id, _RUN_STATUS[study.status], fields.ms(study.finished_at or study.created_at)
            )
        self._client.set_tag(run_id, SEAL, seal)

    # --- MLflow -------------------------------------------------------------------------------------------------------

    def _experiment(self, family: str, description: str = "") -> str:
        name = f"detent/{family}"
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = (self._file.parent / "artifacts" / family).as_uri() if self._file is not None else None
            tags = {"mlflow.note.content": description or f"Studies of the family {family}.", FAMILY_TAG: family}
            tags["mlflow.experimentKind"] = (
                "custom_model_development"  # with it, MLflow opens on the runs and not on traces
            )
            return str(self._client.create_experiment(name, artifact_location=location, tags=tags))
        if experiment.lifecycle_stage == "deleted":  # perhaps by hand, since the last send
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _find(self, experiment: str, kind: str, subject: str) -> Any | None:
        runs = self._runs(experiment, f"tags.`detent.{kind}` = '{subject}' and tags.`detent.kind` = '{kind}'", limit=1)
        return runs[0] if runs else None

    def _runs(self, experiment: str, where: str, limit: int | None = None) -> list[Any]:
        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [experiment], where, max_results=limit or 1000, page_token=token, order_by=["attributes.start_time ASC"]
            )
            runs += page
            token = page.token
            if not token or limit:
                return runs

    def _log(
        self,
        run_id: str,
        *,
        metrics: Sequence[fields.Point] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(name, value, at, step) for name, value, at, step in metrics]
        settings = [Param(key, str(value)[:TAG_CHARS]) for key, value in (params or {}).items()]
        marks = [RunTag(key, value[:TAG_CHARS]) for key, value in (tags or {}).items() if value]
        for start in range(BATCH, len(points), BATCH):
            self._client.log_batch(run_id, points[start : start + BATCH])
        for start in range(99, len(marks), 99):
            self._client.log_batch(run_id, tags=marks[start : start + 99])
        # The first tags come last, since a digest among them says that everything is there.
        self._client.log_batch(run_id, points[:BATCH], settings[:99], marks[:99])
