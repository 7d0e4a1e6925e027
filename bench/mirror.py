"""What the mirror of a study in MLflow costs beside the bare calls of MlflowClient for the same parameters and metrics.

    python bench/mirror.py [--trials 1000] [--rounds 6]

Running studies of a thousand trials on forty dev examples stand in the store. `jobs.mirror_outbox.mirror_once` sends
each to one MLflow file, and create_run + log_batch + set_terminated write the same parameters and metrics of the same
trials to another, in turns. Ours reads the store, looks up what MLflow has already, and writes the run of the study
itself with its tables; only the page of a finished one is left out.
The last study grows by tenths and is sent after each.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common import Cell, ratio_interval, write_result

from optimizer.adapters.mlflow import fields
from optimizer.adapters.mlflow.connection import connect
from optimizer.adapters.mlflow.tracking import MlflowTracker
from optimizer.adapters.store import Database
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.search.study import Study, Trial
from optimizer.jobs.outbox.mirror_outbox import mirror_once

FAMILY = "sentiment"
START = datetime(2026, 3, 1, tzinfo=UTC)
N_DEV = 40


class Clock:
    """ports.Clock at the end of the study."""

    scale = 1.0

    def now(self) -> datetime:
        return START + timedelta(days=1)

    def rollout_now(self) -> datetime:
        return self.now()


@dataclass(kw_only=True)
class Told:
    """A study in the store that grows, and what the bare calls are to write of it."""

    store: Database
    study: Study
    dev: list[Example]
    rng: random.Random
    n: int = 0

    def grow(self, by: int) -> list[tuple[Trial, Variant, list[ExampleResult]]]:
        """The next trials, written and queued as a search does."""
        new = [self._trial(number) for number in range(self.n, self.n + by)]
        self.n += by

        def write(tx: Any) -> None:
            for trial, variant, results in new:
                record = VariantRecord(
                    family=FAMILY,
                    variant=variant,
                    source="study",
                    created_at=START,
                    created_by="bench",
                    study=self.study.id,
                )
                self.store.variants.add(tx, record)
                self.store.studies.put_results(tx, self.study.id, "search", variant.id, results)
                self.store.studies.put_trial(tx, trial)
            self.store.outbox.add(tx, "study", self.study.id, {}, START)

        self.store.write(write)
        return new

    def _trial(self, number: int) -> tuple[Trial, Variant, list[ExampleResult]]:
        variant = variant_of(number)
        results = [
            ExampleResult(example=e.id, score=float(self.rng.random() < 0.6), output="positive", latency_ms=300.0)
            for e in self.dev
        ]
        trial = Trial(
            study=self.study.id,
            number=number,
            variant=variant.id,
            proposer="settings" if number else "champion",
            params={"temperature": number / 1000, "n_examples": 4, "top_p": 0.9},
            status="complete",
            n=N_DEV,
            score=sum(r.score or 0.0 for r in results) / N_DEV,
            p95_ms=320.0,
            n_calls=N_DEV,
            started_at=START + timedelta(seconds=20 * number),
            finished_at=START + timedelta(seconds=20 * number + 18),
        )
        return trial, variant, results


def variant_of(number: int) -> Variant:
    messages = ({"role": "system", "content": "Is it positive?"}, {"role": "user", "content": "{{text}}"})
    return Variant(
        messages=messages, examples=(), model={"name": "embedded", "temperature": number / 1000, "max_tokens": 4}
    )


def told(folder: Path, number: int) -> Told:
    store = Database(f"sqlite:///{folder / 'detent.db'}")
    store.migrate()
    shared: dict[str, Any] = {
        "family": FAMILY,
        "expected": {"label": "positive"},
        "origin": "curated",
        "created_at": START,
    }
    rows = (make_example(input={"text": f"Review number {i} of the film."}, **shared) for i in range(100 * N_DEV))
    dev = [row for row in rows if row.split == "dev"][:N_DEV]
    study = Study(
        id=f"st_measured_{number}",
        family=FAMILY,
        strategy="bootstrap+settings",
        aim="quality",
        status="running",
        seed=1,
        budget=Budget(calls=100_000),
        definition={"n_dev": N_DEV},
        champion=variant_of(0).id,
        created_at=START,
        created_by="bench",
        started_at=START,
        dataset={"hash": "measured", "train": [], "dev": [e.id for e in dev], "holdout": []},
        scorer_version="measured",
    )

    def write(tx: Any) -> None:
        store.examples.add(tx, dev)
        store.studies.add(tx, study)

    store.write(write)
    return Told(store=store, study=study, dev=dev, rng=random.Random(number))


def batches(
    study: Study, new: Sequence[tuple[Trial, Variant, list[ExampleResult]]]
) -> list[tuple[list[Any], list[Any]]]:
    """Metrics and parameters of each trial, made before the clock starts."""
    from mlflow.entities import Metric, Param

    return [
        (
            [Metric(*point) for point in fields.trial_metrics(study, trial, results)],
            [Param(key, str(value)) for key, value in fields.trial_params(trial, variant).items()],
        )
        for trial, variant, results in new
    ]


def bare(client: Any, parent: str, experiment: str, of_trials: Sequence[tuple[list[Any], list[Any]]]) -> None:
    """Three calls for each trial."""
    for metrics, params in of_trials:
        run = client.create_run(experiment, start_time=fields.ms(START), tags={"mlflow.parentRunId": parent})
        client.log_batch(run.info.run_id, metrics, params)
        client.set_terminated(run.info.run_id, "FINISHED", fields.ms(START))


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@dataclass(kw_only=True)
class Sides:
    """The two MLflow files."""

    tracker: MlflowTracker
    client: Any
    experiment: str
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def send(self, study: Told, n: int, parent: str) -> tuple[float, float]:
        """Seconds that the next ``n`` trials took on ours and on the other, one after the other in random order."""
        of_trials = batches(study.study, study.grow(n))
        took = {}
        for name in self.rng.sample(("ours", "other"), 2):
            if name == "ours":
                took[name] = timed(lambda: require_sent(mirror_once(study.store, self.tracker, Clock(), [FAMILY])))
            else:
                took[name] = timed(lambda: bare(self.client, parent, self.experiment, of_trials))
        return took["ours"], took["other"]

    def study(self, folder: Path, number: int, n_trials: int, n_sends: int) -> list[tuple[float, float]]:
        place = folder / str(number)
        place.mkdir()
        study, parent = told(place, number), self.client.create_run(self.experiment).info.run_id
        took = [self.send(study, n_trials // n_sends, parent) for _ in range(n_sends)]
        study.store.close()
        require_all(self.tracker, study)
        return took


def measure(folder: Path, n_trials: int, n_rounds: int) -> list[Cell]:
    client = connect(f"sqlite:///{folder / 'bare.db'}")
    experiment = client.create_experiment("bare", artifact_location=(folder / "bare").as_uri())
    sides = Sides(tracker=MlflowTracker(f"sqlite:///{folder / 'ours.db'}"), client=client, experiment=experiment)
    sides.study(folder, 0, 10, 1)  # imports, tables and the experiment, which are made once
    at_once = [took for number in range(1, n_rounds + 1) for took in sides.study(folder, number, n_trials, 1)]
    growing = sides.study(folder, n_rounds + 1, n_trials, 10)
    return [
        cell(f"study of {n_trials} trials, sent at once", at_once, n_trials * n_rounds),
        cell(f"study of {n_trials} trials, sent ten times as it grows", growing, n_trials, is_grown=True),
    ]


def require_sent(n: int) -> None:
    if n != 1:
        raise SystemExit("The study was not sent; nothing was measured.")


def require_all(tracker: MlflowTracker, study: Told) -> None:
    """Nothing was measured where MLflow does not hold every trial with its last status and its last metrics."""
    client = tracker._client
    experiment = client.get_experiment_by_name(f"detent/{FAMILY}").experiment_id
    where = (
        f"tags.`detent.study` = '{study.study.id}' and tags.`detent.kind` = 'trial' and attributes.status = 'FINISHED'"
        f" and metrics.n = {N_DEV}"
    )
    found = client.search_runs([experiment], where, max_results=50_000)
    if len(found) != study.n:
        raise SystemExit(f"MLflow holds {len(found)} of {study.n} trials; nothing was measured.")


def cell(case: str, took: list[tuple[float, float]], n: int, *, is_grown: bool = False) -> Cell:
    """Ratio of sums, with the interval over studies, each with its twin;
    none where the sends are of one study that grew.
    """
    ours, other = zip(*took, strict=True)
    low, high = (None, None) if is_grown else ratio_interval(ours, other)
    return Cell(
        case=case,
        ours=1000 * sum(ours) / n,
        other=1000 * sum(other) / n,
        other_name="MlflowClient",
        ratio=sum(ours) / sum(other),
        low=low,
        high=high,
        unit="ms a trial; bounds of the ratio",
        n=n,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="detent-mirror-") as folder:
        cells = measure(Path(folder), arguments.trials, arguments.rounds)
    write_result("mirror" if arguments.trials >= 1000 else "mirror_part", cells)


if __name__ == "__main__":
    main()
