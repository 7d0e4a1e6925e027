"""A home of the family ``topics``, whose models one provider answers: studies run in it as its worker would run them,
and its API and gateway answer from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.app import create_app
from api.gateway.app import create_gateway
from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.search.study import Study
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.context import Context
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.upkeep.forget_person import ForgettingHome, carry_out_forgetting, queue_forgetting
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import Provider, provider
from tests.stores import migrate_store
from tests.worlds.contexts import context_of, study_context
from tests.worlds.study_world import run_here

PERSON = "hmac-of-a-person"
# Without its models, of which each test names its own.
TOPICS_FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 200}}
output: {field: topic, parser: label, labels: [biology, physics, music]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic."}, {role: user, content: "Document: {{document}}"}]}
scorer: {label_match: 1.0}
"""
CLIENT: dict[str, Any] = {"base_url": "http://localhost", "client": ("127.0.0.1", 1)}


@dataclass(frozen=True, kw_only=True)
class TopicsHome:
    home: Settings
    store: Any
    clock: Any
    files: FamilyFiles
    behind: Provider  # who answers all models
    rows: list[Example]

    @property
    def family(self) -> Any:
        return self.files.families["topics"]

    def context(self, **more: Any) -> Context:
        return context_of(self.store, self.clock, "anna", family=lambda name: self.family, **more)

    def api(self) -> TestClient:
        return TestClient(create_app(self.home), **CLIENT)

    def gateway(self) -> TestClient:
        return TestClient(create_gateway(self.home), **CLIENT)

    def run_study(
        self,
        strategy: str,
        definition: dict[str, Any],
        *,
        calls: int = 3000,
        usd: float | None = None,
        **request: Any,
    ) -> Study:
        opened = wiring.open_models(self.home)
        made = create_study(
            study_context(self.store, self.clock, self.family, opened),
            StudyRequest(
                family="topics",
                strategy=strategy,
                budget=BudgetBody(calls=calls, usd=usd),
                definition=definition,
                **request,
            ),
        )
        study = run_here(made.id, self.home, self.store, self.clock, self.files, opened)
        opened.close()
        return study

    def nominated(self, *study: Any, **request: Any) -> tuple[Study, Any]:
        """The study and the record of its winner."""
        ended = self.run_study(*study, **request)
        assert ended.outcome == "nominated", ended.error or ended.spend.remark or ended.confirmation
        return ended, self.record(ended.winner)

    def record(self, variant: str | None) -> Any:
        with self.store.read() as tx:
            record = self.store.variants.get(tx, "topics", variant)
        assert record is not None
        return record

    def serve(self, api: TestClient, unit: str, variant: str | None) -> None:
        """The unit gets this variant."""
        override = {"variant": variant, "until": "2099-01-01T00:00:00Z"}
        put = api.put(f"/v1/families/topics/overrides/{unit}", json=override)
        assert put.status_code == 200, put.text

    def forget_the_person(self) -> None:
        """As a worker does it; what serves goes on."""
        query: Any = {"unit": PERSON, "own_words": False, "dry_run": False}
        run = self.store.write(lambda tx: queue_forgetting(tx, self.store, query, actor="anna", at=self.clock.now()))
        notes = self.home.var() / "notes"
        home = ForgettingHome(store=self.store, clock=self.clock, places=[], own_texts=list, notes=notes, is_alone=True)
        ended = carry_out_forgetting(run.id, home)
        assert ended.status == "finished", ended.error
        with self.api() as api:
            assert api.get("/v1/families/topics/prompt").status_code == 200


@contextmanager
def topics_home(
    folder: Path,
    family: str,
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]],
    models: dict[str, dict[str, Any]],
    rows: Iterable[tuple[str, Any, dict[str, Any]]],
) -> Iterator[TopicsHome]:
    """``models``: what each declares beside the provider. ``rows``: document, topic and what else its example has."""
    (folder / "families" / "topics").mkdir(parents=True)
    (folder / "families" / "topics" / "family.yaml").write_text(family)
    home = load_settings(home=folder)
    with provider() as behind:
        behind.answer = answer
        (home.home / "config").mkdir()
        reached = {"openai_compatible": behind.url}
        served = {
            name: more if "provider" in more else {**reached, "model": name, **more} for name, more in models.items()
        }
        home.models_file.write_text(json.dumps(served))
        migrate_store(home)
        store, clock, files = wiring.open_store(home), wiring.open_clock(home), wiring.load_families(home)
        sync_families(files.families, store, clock)
        given: dict[str, Any] = {"family": "topics", "created_at": clock.now(), "origin": "curated"}
        examples = [
            make_example(**{**given, **more}, input={"document": document}, expected={"topic": topic})
            for document, topic, more in rows
        ]
        store.write(lambda tx: store.examples.add(tx, examples))
        yield TopicsHome(home=home, store=store, clock=clock, files=files, behind=behind, rows=examples)
        store.close()


def price(usd_per_mtok: float) -> dict[str, float]:
    return {"input_usd_per_mtok": usd_per_mtok, "output_usd_per_mtok": usd_per_mtok}
