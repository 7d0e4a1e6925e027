"""The whole way of nearest examples: released examples > a study freezes a list and finds how many to show > render and
chat send what the study sent > nobody can look them up > a person whose example they show is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from detent_client.snapshot import read_families
from optimizer.adapters.reports.study_report import study_page
from optimizer.adapters.store.tables.examples import EXAMPLE_INDEXES
from optimizer.cli.variant.commands import reading
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.settings import InputField
from optimizer.core.search.study import Study
from optimizer.core.views.variant import Renderings
from optimizer.jobs.champions.read_variants import ExportRequest, NamedVariantRequest, read_export, read_named_variant
from optimizer.jobs.families.create_variant import VariantRequest, create_variant
from optimizer.jobs.studies.report_study import report_study
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.study_world import TOPICS
from tests.worlds.topics_home import PERSON, TopicsHome, topics_home

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
SIZES = {"n_train": 200, "n_dev": 30, "n_holdout": 60, "max_examples": 4}
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


@dataclass(frozen=True, kw_only=True)
class Found(TopicsHome):
    """A home in which a study found how many examples to show; the last test forgets a person."""

    study: Study
    winner: Any
    asked: list[dict[str, Any]]  # by the study


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    rows = (
        (document(i), topic(i), {"id": f"row-{i}", "released": i % 20 != 7, "unit_hmac": PERSON if i < 20 else f"h{i}"})
        for i in range(360)
    )
    folder: Path = tmp_path_factory.mktemp("nearest")
    with topics_home(folder, FAMILY, small, {"small": {"concurrency": 4}}, rows) as place:
        study, record = place.nominated("nearest", SIZES, seed=1)
        yield Found(**vars(place), study=study, winner=record.variant, asked=list(place.behind.bodies))


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


def test_render_and_chat_send_what_the_study_sent(found: Found) -> None:
    of_winner = 1 + 2 * found.winner.policy["examples"]["nearest"] + 1
    body = next(body for body in found.asked if len(body["messages"]) == of_winner)
    text = str(body["messages"][-1]["content"]).removeprefix("Document: ")
    with found.api() as api:
        found.serve(api, "anna", found.winner.id)
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
    found.behind.bodies.clear()
    with found.gateway() as gateway:
        said = {"variant": found.winner.id, "variables": {"document": text}}
        answered = gateway.post("/v1/chat/completions", json={"model": "topics", "messages": [], "detent": said}).json()
    assert answered["detent"]["render"] == "nearest"
    assert [sent["messages"] for sent in found.behind.bodies] == [body["messages"]]


def test_its_page_says_how_often_the_fixed_examples_went_out(found: Found) -> None:
    store = found.store
    with store.read() as tx:
        champion = store.champions.current(tx, "topics")
    on = replace(champion, seq=champion.seq + 1, variant=found.winner.id, previous=champion.seq)
    store.write(lambda tx: store.champions.put(tx, on))
    with found.api() as api:
        for i in range(3):
            api.post("/v1/families/topics/render", json={"variables": {"document": document(900 + i)}})
        api.post("/v1/families/topics/render", json={"variables": {"document": "like nothing"}})
        api.get("/v1/families/topics/prompt")
    context = found.context()
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
    context = found.context()
    with pytest.raises(InvalidInput, match=says):
        create_variant(context, VariantRequest(family="topics", from_=found.winner.id, policy=policy))


def test_in_a_scope_no_fixed_example_that_has_a_value_of_it_is_shown_to_all(found: Found) -> None:
    family = found.family.model_copy(update={"inputs": {**found.family.inputs, "customer": InputField()}})
    context = replace(found.context(), family=lambda name: family)
    fixed: list[Any] = [
        {"id": f"of {customer}", "input": {"document": f"On {customer}.", "customer": customer}, "output": "music"}
        for customer in ("", "anna")
    ]
    scoped: dict[str, Any] = {"family": "topics", "from_": found.winner.id, "policy": {"examples.scope": "customer"}}
    with pytest.raises(InvalidInput, match="is shown to all") as refused:
        create_variant(context, VariantRequest(**scoped, examples=fixed))
    assert [fault.pointer for fault in refused.value.faults] == ["/examples/1"]
    assert create_variant(context, VariantRequest(**scoped, examples=fixed[:1])).policy["examples.scope"] == "customer"


def test_who_has_no_list_shows_the_fixed_examples_and_says_so(found: Found) -> None:
    store, index = found.store, found.winner.policy["examples.index"]
    with store.read() as tx:
        kept = store.example_indexes.get(tx, "topics", index)
    store.write(lambda tx: tx.execute(delete(EXAMPLE_INDEXES)))
    with found.api() as api:
        found.serve(api, "berta", found.winner.id)
        asked = {"unit": "berta", "variables": {"document": document(901)}}
        filled = api.post("/v1/families/topics/render", json=asked).json()
    assert filled["render"] == "fixed"
    assert [message["role"] for message in filled["messages"]] == ["system", "user"]
    with found.gateway() as gateway:
        said = {"variant": found.winner.id, "variables": {"document": document(901)}}
        answered = gateway.post("/v1/chat/completions", json={"model": "topics", "messages": [], "detent": said}).json()
    assert answered["detent"]["render"] == "fixed"
    with store.read() as tx:
        recorded = store.events.interaction(tx, answered["id"], "topics")
    assert recorded.tags["render"] == "fixed"
    store.write(lambda tx: store.example_indexes.add(tx, "topics", kept, study="s", at=found.clock.now()))


def test_whose_example_is_in_the_list_is_forgotten_with_it_and_the_variants_that_name_it(found: Found) -> None:
    found.forget_the_person()
    store = found.store
    with store.read() as tx:
        assert store.example_indexes.ids(tx, "topics") == set()
        assert store.variants.get(tx, "topics", found.study.winner) is None
