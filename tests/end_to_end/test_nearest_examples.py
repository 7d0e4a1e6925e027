"""The whole way of nearest examples: released examples > a study freezes a list and finds how many to show > render and
chat send what the study sent > nobody can look them up > a person whose example they show is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from api.app import create_app
from api.gateway.app import create_gateway
from detent_client.snapshot import read_families
from optimizer.adapters.reports.study_report import study_page
from optimizer.adapters.store.tables import ExampleIndexRow
from optimizer.cli.variant.commands import reading
from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import make_example
from optimizer.core.search.study import Study
from optimizer.core.views.variant import Renderings
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.champions.read_variants import ExportRequest, NamedVariantRequest, read_export, read_named_variant
from optimizer.jobs.families.create_variant import VariantRequest, create_variant
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.report_study import report_study
from optimizer.jobs.upkeep.forget_person import ForgettingHome, carry_out_forgetting, queue_forgetting
from optimizer.runtime import wiring
from tests.contexts import context_of, study_context
from tests.scripted_model import chat_answer, provider
from tests.stores import migrate_store
from tests.study_world import TOPICS, run_here

FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 200}}
output: {field: topic, parser: label, labels: [biology, physics, music]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic."}, {role: examples}, {role: history},
      {role: user, content: "Document: {{document}}"}]}
model: {default: small, temperature: 0.0, max_tokens: 8}
scorer: {label_match: 1.0}
space: {}
rollout: {gates: {n: 60, improvement: 0.15}}
"""
SIZES = {"n_train": 300, "n_dev": 40, "n_holdout": 80, "max_examples": 4}
CLIENT: dict[str, Any] = {"base_url": "http://localhost", "client": ("127.0.0.1", 1)}
PERSON = "hmac-of-a-person"
N_THINGS = 30


def document(i: int) -> str:
    """Only who saw another document on the same thing knows its topic."""
    return f"On thing{i % N_THINGS}, note {i}."


def topic(i: int) -> str:
    return TOPICS[i % N_THINGS % 3]


def small(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Knows what the examples in its prompt say, and nothing else."""
    *earlier, last = body["messages"]
    thing = str(last["content"]).split()[2]
    texts = [str(message["content"]) for message in earlier]
    known = [answer for question, answer in pairwise(texts) if f" {thing} " in question]
    return 200, {}, json.dumps(chat_answer(known[-1] if known else "biology")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A home in which a study found how many examples to show; the last test forgets a person."""

    home: Settings
    store: Any
    clock: Any
    family: Any
    study: Study
    winner: Any
    asked: list[dict[str, Any]]  # by the study
    sent: list[dict[str, Any]]  # to the model since


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    folder: Path = tmp_path_factory.mktemp("nearest")
    (folder / "families" / "topics").mkdir(parents=True)
    (folder / "families" / "topics" / "family.yaml").write_text(FAMILY)
    home = load_settings(home=folder)
    asked: list[dict[str, Any]] = []

    def answering(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        asked.append(body)
        return small(body)

    with provider() as behind:
        behind.answer = answering
        (home.home / "config").mkdir()
        served = {"openai_compatible": behind.url, "model": "small", "concurrency": 4}
        home.models_file.write_text(json.dumps({"small": served}))
        migrate_store(home)
        store, clock, files = wiring.open_store(home), wiring.open_clock(home), wiring.load_families(home)
        sync_families(files.families, store, clock)
        family = files.families["topics"]
        given: dict[str, Any] = {"family": "topics", "created_at": clock.now(), "origin": "import"}
        rows = [
            make_example(
                id=f"row-{i}",
                input={"document": document(i)},
                expected={"topic": topic(i)},
                released=i % 20 != 7,
                unit_hmac=PERSON if i < 20 else f"h{i}",
                **given,
            )
            for i in range(460)
        ]
        store.write(lambda tx: store.examples.add(tx, rows))
        opened = wiring.open_models(home)
        request = StudyRequest(
            family="topics", strategy="nearest", budget=BudgetBody(calls=3000), definition=SIZES, seed=1
        )
        made = create_study(study_context(store, clock, family, opened), request)
        study = run_here(made.id, home, store, clock, files, opened)
        assert study.outcome == "nominated", study.error or study.spend.remark or study.confirmation
        with store.read() as tx:
            record = store.variants.get(tx, "topics", study.winner)
        of_study = list(asked)
        yield Found(
            home=home,
            store=store,
            clock=clock,
            family=family,
            study=study,
            winner=record.variant,
            asked=of_study,
            sent=asked,
        )
        opened.close()
        store.close()


def test_the_list_holds_released_training_examples_alone(found: Found) -> None:
    with found.store.read() as tx:
        index = found.store.example_indexes.get(tx, "topics", found.winner.policy["examples.index"])
        train = found.store.examples.of_split(tx, "topics", split="train")
    assert {example.shot.id for example in index.examples} == {row.id for row in train if row.released}
    assert any(not row.released for row in train)
    assert index.hash == found.winner.policy["examples.index"]


def test_no_row_is_shown_to_itself_and_no_sealed_row_to_any(found: Found) -> None:
    with found.store.read() as tx:
        train = {row.input["document"] for row in found.store.examples.of_split(tx, "topics", split="train")}
    for body in found.asked:
        *earlier, last = (str(message["content"]).removeprefix("Document: ") for message in body["messages"])
        assert last not in earlier
        assert set(earlier[1::2]) <= train


def test_the_study_took_the_nearest_ones_and_measured_the_fixed_rendering_too(found: Found) -> None:
    assert found.winner.policy["examples"]["nearest"] in (1, 2, 4)
    with found.store.read() as tx:
        trials = found.store.studies.trials(tx, found.study.id)
    by_proposer = {trial.proposer: trial for trial in trials}
    assert by_proposer["nearest"].params["fixed"] == by_proposer["champion"].variant
    assert found.study.confirmation is not None
    assert found.study.confirmation["fixed"]["mean"] == found.study.confirmation["champion_mean"]
    assert "examples.index" in study_page(
        report_study(found.study, family=found.family, store=found.store, clock=found.clock)
    )


def serve(found: Found, api: TestClient, unit: str) -> None:
    until = (found.clock.now() + timedelta(hours=1)).isoformat()
    put = api.put(f"/v1/families/topics/overrides/{unit}", json={"variant": found.winner.id, "until": until})
    assert put.status_code < 300, put.text


def test_render_and_chat_send_what_the_study_sent(found: Found) -> None:
    of_winner = 1 + 2 * found.winner.policy["examples"]["nearest"] + 1
    body = next(body for body in found.asked if len(body["messages"]) == of_winner)
    text = str(body["messages"][-1]["content"]).removeprefix("Document: ")
    with TestClient(create_app(found.home), **CLIENT) as api:
        serve(found, api, "anna")
        filled = api.post("/v1/families/topics/render", json={"unit": "anna", "variables": {"document": text}}).json()
        opened = api.get("/v1/families/topics/prompt?unit=anna").json()
        families = read_families(api.get("/v1/snapshot").text)
    assert filled["messages"] == body["messages"]
    assert filled["render"] == "nearest"
    assert len(filled["example_ids"]) == found.winner.policy["examples"]["nearest"]
    assert opened["render"] == "required"
    assert opened["example_ids"] == [], "the prompt's own"
    for_client = families["topics"].choose("anna", found.clock.now().timestamp(), {}).variant
    assert for_client.id == found.winner.id
    assert not for_client.needs_server, "it has the fixed examples"
    found.sent.clear()
    with TestClient(create_gateway(found.home), **CLIENT) as gateway:
        said = {"variant": found.winner.id, "variables": {"document": text}}
        answered = gateway.post("/v1/chat/completions", json={"model": "topics", "messages": [], "detent": said}).json()
    assert answered["detent"]["render"] == "nearest"
    assert [sent["messages"] for sent in found.sent] == [body["messages"]]


def test_its_page_says_how_often_the_fixed_examples_went_out(found: Found) -> None:
    store = found.store
    with store.read() as tx:
        champion = store.champions.current(tx, "topics")
    on = replace(champion, seq=champion.seq + 1, variant=found.winner.id, previous=champion.seq)
    store.write(lambda tx: store.champions.put(tx, on))
    with TestClient(create_app(found.home), **CLIENT) as api:
        for i in range(3):
            api.post("/v1/families/topics/render", json={"variables": {"document": document(900 + i)}})
        api.post("/v1/families/topics/render", json={"variables": {"document": "like nothing"}})
        api.get("/v1/families/topics/prompt")
    context = context_of(store, found.clock, "anna", family=lambda name: found.family)
    view = read_named_variant(context, NamedVariantRequest(family="topics", name="champion"))
    assert view.renderings == Renderings(n_nearest=3, n_fixed=2)
    assert "fetched 5 times, 2 of them with its fixed examples" in reading(view)
    assert "examples.index" in read_export(context, ExportRequest(family="topics", name="champion", format="yaml")).text
    store.write(lambda tx: store.champions.put(tx, replace(champion, seq=champion.seq + 2)))


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"examples.index": "xi_000000000000"}, "has no list of examples"),
        ({"examples.scope": "customer"}, "is no input of topics"),
    ],
    ids=["unknown", "scope"],
)
def test_a_policy_whose_list_or_scope_is_unknown_is_refused(found: Found, policy: dict[str, Any], says: str) -> None:
    context = context_of(found.store, found.clock, "anna", family=lambda name: found.family)
    with pytest.raises(InvalidInput, match=says):
        create_variant(context, VariantRequest(family="topics", from_=found.winner.id, policy=policy))


def test_who_has_no_list_shows_the_fixed_examples_and_says_so(found: Found) -> None:
    store, index = found.store, found.winner.policy["examples.index"]
    with store.read() as tx:
        kept = store.example_indexes.get(tx, "topics", index)
    store.write(lambda tx: tx.execute(delete(ExampleIndexRow.__table__)))
    with TestClient(create_app(found.home), **CLIENT) as api:
        serve(found, api, "berta")
        asked = {"unit": "berta", "variables": {"document": document(901)}}
        filled = api.post("/v1/families/topics/render", json=asked).json()
    assert filled["render"] == "fixed"
    assert [message["role"] for message in filled["messages"]] == ["system", "user"]
    with TestClient(create_gateway(found.home), **CLIENT) as gateway:
        said = {"variant": found.winner.id, "variables": {"document": document(901)}}
        answered = gateway.post("/v1/chat/completions", json={"model": "topics", "messages": [], "detent": said}).json()
    assert answered["detent"]["render"] == "fixed"
    with store.read() as tx:
        recorded = store.events.interaction(tx, answered["id"], "topics")
    assert recorded.tags["render"] == "fixed"
    store.write(lambda tx: store.example_indexes.add(tx, "topics", kept, study="s", at=found.clock.now()))


def test_whose_example_is_in_the_list_is_forgotten_with_it_and_the_variants_that_name_it(found: Found) -> None:
    store, clock = found.store, found.clock
    query: Any = {"unit": PERSON, "own_words": False, "dry_run": False}
    run = store.write(lambda tx: queue_forgetting(tx, store, query, actor="anna", at=clock.now()))
    world = ForgettingHome(
        store=store, clock=clock, places=[], own_texts=list, notes=found.home.var() / "notes", is_alone=True
    )
    ended = carry_out_forgetting(run.id, world)
    assert ended.status == "finished", ended.error
    with store.read() as tx:
        assert store.example_indexes.ids(tx, "topics") == set()
        assert store.variants.get(tx, "topics", found.study.winner) is None
    with TestClient(create_app(found.home), **CLIENT) as api:
        assert api.get("/v1/families/topics/prompt").status_code == 200
