"""A small world to run studies in: a real database, a family of three topics,
and a model that is better with examples.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.engine import sqlite_path
from optimizer.core.base.errors import ModelFailed
from optimizer.core.base.values import Aim, Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.search.strategy import SearchSetting
from optimizer.core.search.study import Study
from optimizer.core.serving.champion import first
from optimizer.host.config import Settings
from optimizer.jobs.context import Context, JobContext
from optimizer.jobs.runs.carry_out_run import carry_out_run
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.nominate import NominateRequest, nominate
from optimizer.jobs.studies.run_study import run_study
from optimizer.jobs.studies.start_study import confirm_variant
from optimizer.jobs.studies.transitions import request_stop, resume_study
from optimizer.ports import Store
from optimizer.runtime import wiring
from optimizer.runtime.wiring import strategy_for
from tests.clock import Clock
from tests.made_once import made_once
from tests.stores import new_database, temporary_database
from tests.worlds.contexts import context_of, study_context

TOPICS = ("biology", "physics", "music")
START = datetime(2026, 11, 20, tzinfo=UTC)


def classify(texts: Sequence[str], labels: Sequence[str], asked: Sequence[str]) -> list[str]:
    """As a running worker has it: the same answer for the same rows, which most studies here ask about."""
    return list(_classified(tuple(texts), tuple(labels), tuple(asked)))


@lru_cache(maxsize=64)
def _classified(texts: tuple[str, ...], labels: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(wiring.classify(texts, labels, asked))


class TopicModel:
    """Knows the topic when the request shows at least ``needs`` examples; else it rambles.

    Temperature above .5 spoils it.
    """

    name = "fake"
    revision = "1"
    retries = 0
    max_output_tokens: int | None = 16

    def __init__(
        self,
        *,
        needs: int = 2,
        concurrency: int = 1,
        price: ModelPrice | None = None,
        before: Callable[[int], None] | None = None,
    ) -> None:
        self.needs = needs
        self.concurrency = concurrency
        self.price = price or ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)
        self.before = before
        self.requests: list[ModelRequest] = []
        self.lock = threading.Lock()

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        if self.before is None:
            return self._answer(request)
        return await asyncio.to_thread(self._answer, request)  # what comes before it may block

    def _answer(self, request: ModelRequest) -> ModelAnswer:
        with self.lock:
            self.requests.append(request)
            n = len(self.requests)
        if self.before is not None:
            self.before(n)
        return ModelAnswer(text=self._text(request), input_tokens=8, output_tokens=2, cost_usd=0.00001, latency_ms=10.0)

    def _text(self, request: ModelRequest) -> str:
        shown = sum(m["role"] == "assistant" for m in request.messages)
        text = str(request.messages[-1]["content"])
        topic = next(t for t in TOPICS if t in text)
        luck = hashlib.sha256(text.encode()).digest()[0] / 256
        knows = shown >= self.needs and luck < 0.9 and float(request.params.get("temperature") or 0) <= 0.5
        return topic if knows else "I would rather not say."


TOPIC_FAMILY: dict[str, Any] = {
    "name": "topics",
    "inputs": {"document": {"type": "text", "max_chars": 200}},
    "output": {"field": "topic", "parser": "label", "labels": list(TOPICS)},
    "prompt": {
        "current": "1",
        "versions": {
            "1": {
                "content": [
                    {"role": "system", "content": "Name the topic."},
                    {"role": "examples"},
                    {"role": "user", "content": "Document: {{document}}\nTopic:"},
                ]
            }
        },
    },
    "model": {"default": "fake", "tiers": ["fake"], "max_tokens": 8},
    "scorer": {"label_match": 1.0},
    "space": {"examples": {"max": 4}, "temperature": {"float": [0.0, 1.0]}},
    "sample": {"balance": "topic"},
    "rollout": {"gates": {"n": 20}},
}


def topic_family(**changes: Any) -> Family:
    """Text in, one of three topics out."""
    return parse_family({**TOPIC_FAMILY, **changes})


def topic_examples(n: int, split: str, *, released: bool = True, family: str = "topics") -> list[Example]:
    return [
        Example(
            id=f"{split}-{i:03d}",
            family=family,
            input={"document": f"Notes on {TOPICS[i % 3]}, number {i} of {split}."},
            expected={"topic": TOPICS[i % 3]},
            group=f"{split}-{i}",
            split=split,  # type: ignore[arg-type]
            origin="curated",
            released=released,
            created_at=START,
        )
        for i in range(n)
    ]


class World:
    """Everything that a study needs, over one database file;
    make a second World on the same path for a second process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: TopicModel | None = None,
        family: Family | None = None,
        clock: Clock | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        self.family = family or topic_family()
        self.model = model or TopicModel()
        self.clock = clock or Clock(START, step_s=0.001)
        self.folder = folder
        self._file = folder / "detent.db"
        self._is_new = not self._file.exists()
        self.store = new_database(folder)
        self.families = SimpleNamespace(problems={}, families={self.family.name: self.family})
        metrics = list(METRICS.built_in.values())
        self.scorer = scorer or Scorer(self.family.output, self.family.metrics, metrics)

    def fill(
        self, *, n_train: int = 30, n_dev: int = 12, n_holdout: int = 24, examples: Sequence[Example] | None = None
    ) -> World:
        rows = examples or [
            *topic_examples(n_train, "train"),
            *topic_examples(n_dev, "dev"),
            *topic_examples(n_holdout, "holdout"),
        ]
        self.add(rows)
        self.crown(self.family.variant())
        return self

    def add(self, rows: Sequence[Example]) -> None:
        """To a store that nobody has opened by a copy of one that has taken them: the same few sets of rows stand in
        hundreds of worlds, and what a row is compared by takes half a millisecond.
        """
        if self._is_new and not self._file.with_name("detent.db-wal").exists():
            name = hashlib.sha256(repr(rows).encode()).hexdigest()[:20]
            shutil.copy(made_once(f"examples-{name}.db", partial(_store_with, rows)), self._file)
        else:
            self.store.write(lambda tx: self.store.examples.add(tx, rows))

    def crown(self, variant: Variant) -> None:
        record = VariantRecord(
            family=self.family.name, variant=variant, source="file", created_at=START, created_by="test"
        )

        def write(tx: Any) -> None:
            self.store.variants.add(tx, record)
            self.store.champions.put(
                tx, first(family=self.family.name, variant=variant.id, at=START, by="test", why="first")
            )

        self.store.write(write)

    def get(self, name: str) -> TopicModel:
        """As a source of models."""
        return self.model

    def describe(self, name: str) -> Any:
        return SimpleNamespace(
            embedded=False,
            student=False,
            concurrency=1,
            processes="auto",
            max_output_tokens=self.model.max_output_tokens,
        )

    def price(self, name: str) -> ModelPrice | None:
        return self.model.price

    def create(self, **options: Any) -> Any:
        definition: Mapping[str, Any] = {
            "n_train": 9,
            "n_dev": 6,
            "n_holdout": 20,
            "n_candidates": 1,
            "n_settings": 2,
            "n_run_off": 0,  # test_run_off.py has what is about it
            **options.pop("definition", {}),
        }
        context, trigger = self._context(options), options.pop("trigger", None)
        caps = {name: cap for name, cap in asdict(options.pop("budget", Budget(calls=500))).items() if cap is not None}
        asked = {"family": self.family.name, "budget": BudgetBody(**caps), "definition": definition, **options}
        return create_study(context, StudyRequest(**asked), trigger=trigger)

    def _context(self, options: dict[str, Any]) -> Context:
        """Takes its own out of ``options``."""
        own = {name: options.pop(name) for name in ("actor", "usd_per_month") if name in options}
        return study_context(
            self.store, self.clock, self.family, options.pop("models", self), scorer=self.scorer, **own
        )

    def run(self, study: Study, **options: Any) -> Study:
        """``options``: of the job's context, or of the job."""
        own = {name: options.pop(name) for name in ("holdout", "strategies", "classify") if name in options}
        context = self.job_context(**options)
        own = {"holdout": wiring.sealed_holdout(), "strategies": strategy_for, "classify": classify, **own}
        return run_study(study.id, context, **own)

    def carry_out(self, run: Any, **options: Any) -> Any:
        """``options``: as for ``run``."""
        own = {name: options.pop(name) for name in ("intake_of", "watched") if name in options}
        context = self.job_context(**options)
        return carry_out_run(run.id, context, **{"intake_of": lambda actor: None, "classify": classify, **own})

    def job_context(self, **options: Any) -> JobContext:
        given: Any = {"families": self.families, "models": self, "scorer_for": lambda family: self.scorer, **options}
        return JobContext(**{"store": self.store, "clock": self.clock, **given})

    def run_context(self, is_worker_running: Callable[[], bool], usd_per_month: float | None = None) -> Context:
        """Of what a run is asked for with."""
        return context_of(
            self.store,
            self.clock,
            family=lambda name: self.family,
            models=lambda: self,
            families=lambda: SimpleNamespace(problems={}),
            is_worker_running=is_worker_running,
            scorer_for=lambda family: self.scorer,
            settings=SimpleNamespace(usd_per_month=usd_per_month),
        )

    def nominate(self, study: str, variant: str | None, aim: Aim = "quality", **options: Any) -> Any:
        context = self._context(options)
        return nominate(context, NominateRequest(id=study, variant=variant or "none", aim=aim, **options))

    def confirm(self, variant: str, aim: Aim = "quality", **options: Any) -> Any:
        context = self._context(options)
        asked = {"family": self.family.name, "strategy": "confirm", "variant": variant, "aim": aim, **options}
        return confirm_variant(context, StudyRequest(**asked))

    def stop(self, study: Study) -> Study:
        return request_stop(study.id, actor="person", store=self.store, clock=self.clock)

    def resume(self, study: Study, **options: Any) -> Study:
        return resume_study(study.id, actor="person", store=self.store, clock=self.clock, **options)

    def change(self, study: Study, **changes: Any) -> Study:
        return self.store.write(lambda tx: self.store.studies.update(tx, study.id, **changes))

    def stored(self, study: Study) -> Any:
        with self.store.read() as tx:
            return self.store.studies.get(tx, study.id)

    def n_looked_at(self, study: Study | None = None) -> int:
        """Of the sealed rows."""
        with self.store.read() as tx:
            return len(self.store.examples.looked_at(tx, self.family.name, study.id if study else None))

    def n_looks(self) -> int:
        """At the sealed row that was looked at most often."""
        with self.store.read() as tx:
            ids = [id for id, _ in self.store.examples.holdout_ids(tx, self.family.name)]
            return self.store.examples.looks(tx, self.family.name, ids)

    def only_study(self) -> Study:
        with self.store.read() as tx:
            (study,) = self.store.studies.page(tx)[0]
        return study

    def calls(self, study: Study) -> list[Any]:
        with self.store.read() as tx:
            return self.store.journal.calls(tx, study.id)

    def assert_asked_nothing_twice(self, study: Study) -> None:
        settled = [call.key for call in self.calls(study) if call.status == "settled"]
        assert len(settled) == len(set(settled))

    def trials(self, study: Study) -> list[Any]:
        with self.store.read() as tx:
            return self.store.studies.trials(tx, study.id)

    def variant(self, id: str | None) -> Variant:
        with self.store.read() as tx:
            found = self.store.variants.get(tx, self.family.name, id or "")
        return found.variant

    def winner(self, study: Study) -> Variant:
        return self.variant(study.winner)

    def tried(self, study: Study) -> list[Variant]:
        """The variant of each trial."""
        return [self.variant(trial.variant) for trial in self.trials(study)]


def _store_with(rows: Sequence[Example], path: Path) -> None:
    with temporary_database() as database:
        database.write(lambda tx: database.examples.add(tx, rows))
        copy_store(database, path)


def copy_store(database: Database, path: Path) -> None:
    """As it is now, for a world that goes on from there."""
    with closing(sqlite3.connect(sqlite_path(database.url))) as full, closing(sqlite3.connect(path)) as copy:
        full.backup(copy)


def search_setting(**changes: Any) -> SearchSetting:
    """What a strategy is given, on the topics; ``answer`` and ``definition`` are to be named."""
    family = topic_family()
    given: dict[str, Any] = {
        "family": family,
        "start": family.variant(),
        "train": topic_examples(12, "train"),
        "dev": topic_examples(6, "dev"),
        "scorer": Scorer(family.output, family.metrics, list(METRICS.built_in.values())),
        "seed": 1,
        "propose": lambda prompt, draw: "",
        "fits": lambda variant: True,
        "tier_rows": lambda variant, examples: [],
        "remark": lambda text: None,
    }
    return SearchSetting(**{**given, **changes})


class Broken(TopicModel):
    """Answers nothing."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        raise ModelFailed("The model is not reachable at its address.", kind="malformed", sent=False)


class Killed(BaseException):
    """As if the process had been killed."""


def killed_at(n: int) -> Callable[[int], None]:
    """A model's ``before`` that kills the study at its n-th request."""

    def kill(asked: int) -> None:
        if asked == n:
            raise Killed

    return kill


def assert_resumes(here: World, undisturbed: World, **study: Any) -> None:
    """A study that ``here``'s model kills goes on, asks nothing twice,
    and takes the way that the undisturbed one takes.
    """
    made = here.create(**study)
    with pytest.raises(Killed):
        here.run(made)
    ended = here.run(made)
    here.assert_asked_nothing_twice(ended)
    other = undisturbed.run(undisturbed.create(**study))
    assert [t.variant for t in here.trials(ended)] == [t.variant for t in undisturbed.trials(other)]


def half_released() -> tuple[list[Example], list[Example]]:
    """(every example of the three splits, those that no proposer may see: train that nobody released, dev, holdout)."""
    hidden = [e for e in topic_examples(30, "train", released=False) if int(e.id[-3:]) % 2]
    shown = [e for e in topic_examples(30, "train") if not int(e.id[-3:]) % 2]
    sealed = [*hidden, *topic_examples(12, "dev"), *topic_examples(24, "holdout")]
    return [*shown, *sealed], sealed


def run_here(study: str, home: Settings, store: Store, clock: Any, families: Any, models: Any) -> Study:
    """A study of a home, with all that its worker would run it with."""
    context = JobContext(
        store=store,
        clock=clock,
        families=families,
        models=models,
        scorer_for=lambda family: wiring.open_scorer(family, home),
        learn_student=wiring.learn_student,
    )
    return run_study(
        study,
        context,
        holdout=wiring.sealed_holdout(),
        strategies=wiring.strategy_for,
        classify=wiring.classify,
    )
