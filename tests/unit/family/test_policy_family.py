"""Families of kind policy: knobs in place of messages, from the file to what is served of it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from ruamel.yaml import YAML

from api.gateway.app import create_gateway
from optimizer.adapters.files.family_files import parse_family_text
from optimizer.adapters.mlflow.prompts import PromptRegistry
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.records.fields import FIELDS
from optimizer.core.base.errors import InvalidFamily, InvalidInput, NotFound
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.rendering import render, render_open
from optimizer.core.family.variant import FewShot, Variant, VariantRecord
from optimizer.core.views.variant import variant_text
from optimizer.jobs.families.export_variant import export_variant
from tests.cases import named
from tests.rows.evaluations import evaluated
from tests.worlds.api_world import World, make_home, serving

ROOT = Path(__file__).parents[3]
FILE = ROOT / "families" / "content_pipeline" / "family.yaml"
TEXT = FILE.read_text(encoding="utf-8")
LINE = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}
LENGTH = {"format": "detent-predictor-1", "answers": "score", "features": ["text.log_words"], "parts": [LINE]}
SMALL: dict[str, Any] = {
    "name": "pipeline",
    "kind": "policy",
    "inputs": {"word_count": {"type": "number"}, "content_type": {}},
    "prompt": {"current": "a", "versions": {"a": {"policy": {"filter.min_words": 100, "filter.checks_needed": 4}}}},
}


def faults(data: Any) -> dict[str, str]:
    with pytest.raises(InvalidFamily) as error:
        parse_family(data)
    return {f.pointer: f.detail for f in error.value.faults}


def changed(policy: Any = None, space: Any = None, **version: Any) -> dict[str, Any]:
    data = copy.deepcopy(SMALL)
    if policy is not None:
        data["prompt"]["versions"]["a"]["policy"] = policy
    data["prompt"]["versions"]["a"].update(version)
    return data | ({"space": space} if space is not None else {})


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_content_pipeline_s_versions_are_the_presets_and_its_inputs_the_fields() -> None:
    family = parse_family_text(TEXT, file="family.yaml", folder="content_pipeline")
    assert {name: dict(family.variant(name).policy) for name in family.prompt.versions} == {
        n: p.policy for n, p in PRESETS.items()
    }
    assert family.prompt.current == "balanced"
    assert {name: field.type for name, field in family.inputs.items()} == {
        f.name: "text" if f.kind == "text" else "number" for f in FIELDS
    }


def test_a_version_has_a_policy_and_no_messages() -> None:
    variant = parse_family(SMALL).variant()
    assert (variant.messages, dict(variant.model), dict(variant.policy)) == (
        (),
        {},
        {"filter.min_words": 100, "filter.checks_needed": 4},
    )
    assert Variant.from_content(variant.content()) == variant
    assert parse_family(SMALL).space == {}


def test_the_model_of_such_a_family_does_not_change_what_its_variant_is() -> None:
    assert parse_family(SMALL | {"model": {"default": "large"}}).variant().id == parse_family(SMALL).variant().id


def test_without_versions_it_still_needs_no_prompt() -> None:
    data = {key: value for key, value in SMALL.items() if key != "prompt"}
    with pytest.raises(NotFound, match="kind policy needs no prompt"):
        parse_family(data | {"space": {"policy.accept": {"float": [0.5, 0.99]}}}).variant()


VERSION, POLICY = "/prompt/versions/a", "/prompt/versions/a/policy"


@named(
    ("data", "pointer", "says"),
    {
        "an unknown knob": (changed({"filter.min_word": 5}), f"{POLICY}/filter.min_word", "mean 'filter.min_words'"),
        "percent for a share": (changed({"filter.min_overall": 65}), f"{POLICY}/filter.min_overall", "from 0 to 1"),
        "no mode": (changed({"route.news": "quick"}), f"{POLICY}/route.news", "full, lightweight, quality_check"),
        "half a condition": (
            changed({"exit.post_download.conditions": ["duration_seconds < 60 and"]}),
            *(f"{POLICY}/exit.post_download.conditions/0", "character 25"),
        ),
        "an empty policy": (changed({}), VERSION, "there is no policy"),
        "a list of knobs": (changed(["a"]), POLICY, ""),
        "a message": (changed(content=[{"role": "user", "content": "x"}]), f"{VERSION}/content", "calls no model"),
        "a tool": (changed(tools=[{"name": "t"}]), f"{VERSION}/tools", "calls no model"),
        "an unknown knob to vary": (
            changed(space={"policy.filter.min_word": {"int": [1, 2]}}),
            *("/space/policy.filter.min_word", "did you mean"),
        ),
        "a range beyond the knob's": (
            changed(space={"policy.filter.min_overall": {"float": [0, 2]}}),
            *("/space/policy.filter.min_overall", "from 0 to 1"),
        ),
        "a choice that is no mode": (
            changed(space={"policy.route.news": {"choices": ["full", "quick"]}}),
            *("/space/policy.route.news", "not 'quick'"),
        ),
        "a condition too early": (
            changed(space={"policy.exit.post_download.conditions": {"choices": [["word_count < 5"]]}}),
            *("/space/policy.exit.post_download.conditions", "known from post_transcription on"),
        ),
        "a prompt's slot": (
            changed(space={"temperature": {"float": [0, 1]}}),
            *("/space/temperature", "belongs to a prompt"),
        ),
        "a prompt without messages": (
            {**changed({"deadline_s": 5}), "kind": "prompt"},
            *("/prompt/versions/a/content", "is missing"),
        ),
    },
)
def test_a_fault_is_named_with_its_place_and_what_to_do(data: Any, pointer: str, says: str) -> None:
    found = faults(data)
    assert set(found) == {pointer}
    assert says in found[pointer]


def test_faults_of_knobs_have_the_line_they_stand_in() -> None:
    broken = TEXT.replace("filter.min_coherence: 0.6", "filter.min_coherance: 0.6", 1)
    broken = broken.replace("duration_seconds < 60", "duration_seconds << 60", 1)
    with pytest.raises(InvalidFamily) as error:
        parse_family_text(broken, file="family.yaml")
    assert len(error.value.faults) == 4  # the condition stands in three versions, by an alias
    for fault in error.value.faults:
        line = broken.splitlines()[fault.line - 1]
        assert any(part in line for part in ("min_coherance", "post_download", "<<"))


# --- variants without messages ----------------------------------------------------------------------------------------


def test_a_variant_without_messages_needs_a_policy_and_has_no_examples() -> None:
    with pytest.raises(InvalidInput, match="at least one user message"):
        Variant(messages=())
    with pytest.raises(InvalidInput, match="at least one user message"):
        Variant(messages=(), policy={"a": 1}, examples=(FewShot(id="1", input={}, output="x"),))


def test_it_renders_to_no_messages_and_reads_as_its_knobs() -> None:
    variant = parse_family(SMALL).variant()
    assert render_open(variant) == render(variant, {"word_count": 3}, declared=["word_count"]) == []
    assert variant_text(variant) == "policy.filter.checks_needed: 4\npolicy.filter.min_words: 100\n"


# --- serving ----------------------------------------------------------------------------------------------------------


HERE = "/v1/families/content_pipeline"


def home_of(folder: Path, **more: Any) -> Path:
    """With the family as shipped; ``more``: members of its file."""
    (folder / "families" / "content_pipeline").mkdir(parents=True)
    with (folder / "families" / "content_pipeline" / "family.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({**YAML(typ="safe").load(FILE), **more}, file) if more else file.write(TEXT)
    return folder


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(home_of(tmp_path))) as running:
        yield running


def test_the_policy_is_served_beside_the_prompts(world: World) -> None:
    prompt, balanced = world.get(f"{HERE}/prompt").json(), PRESETS["balanced"].policy
    assert (prompt["messages"], prompt["policy"]) == ([], balanced)
    assert world.get("/v1/families/triage/prompt").json()["messages"]
    assert world.get("/v1/snapshot").json()["families"]["content_pipeline"]["champion"]["policy"] == balanced
    assert world.get("/ready").status_code == 200
    assert world.get(HERE).json()["file"]["state"] == "served"


def test_render_decides_about_a_record(world: World) -> None:
    record = {"content_type": "news", "duration_seconds": 12}
    answer = world.post(f"{HERE}/render", {"variables": record}).json()
    assert answer["messages"] == []
    assert answer["decision"] == {
        **{"processing_type": "early_exit", "checkpoint": "post_download", "confidence": 0.95, "time_share": 0.02},
        "reason": "too short to analyse (confidence 0.95, 0.8 is needed)",
        "checks": dict.fromkeys(("words", "sentences", "coherence", "overall")),
        "overall_quality": None,
    }
    assert answer["assignment"]
    assert "decision" not in world.post("/v1/families/triage/render", {"variables": {"text": "x"}}).json()


def test_a_score_reads_texts_masked_as_an_import_keeps_them(tmp_path: Path) -> None:
    score = {"kind": "learned", "types": {"news": {"predictor": LENGTH, "full_from": 1.5}}}
    prompt = YAML(typ="safe").load(FILE)["prompt"]
    prompt["versions"]["balanced"]["policy"] |= {"score": score}
    with serving(make_home(home_of(tmp_path, prompt=prompt, privacy={"mask": ["email"]}))) as running:
        asked = [{"content_type": "news", "text": text} for text in ("a b c me@example.org", "a b c [email]")]
        scores = [running.post(f"{HERE}/render", {"variables": one}).json()["decision"]["score"] for one in asked]
    assert scores[0] == scores[1] == pytest.approx(log(5))


def test_render_decides_by_a_learned_score_and_does_not_send_its_data(world: World) -> None:
    score = {"kind": "learned", "types": {"news": {"predictor": LENGTH, "full_from": 1.5}}}
    made = made_of_the_champion(world, score=score)
    put = world.client.put(f"{HERE}/overrides/item", json={"variant": made.json()["variant"]})
    assert put.status_code < 300, put.text

    def decided(text: str, content_type: str = "news") -> Any:
        asked = {"unit": "item", "variables": {"content_type": content_type, "text": text}}
        return world.post(f"{HERE}/render", asked).json()

    assert decided("a b c d")["decision"]["score"] == pytest.approx(1.609438)
    assert [decided(text)["decision"]["processing_type"] for text in ("a b c d", "a b")] == ["full", "lightweight"]
    other = decided("a b c d", "poem")["decision"]
    assert (other.get("score"), other["reason"][:38]) == (None, "the score was not trained on poem, so ")
    assert "parts" not in json.dumps(decided("a")["policy"]["score"])


def test_a_record_that_cannot_be_judged_is_refused_with_all_its_faults(world: World) -> None:
    answer = world.post(f"{HERE}/render", {"variables": {"word_count": "many", "overall_quality": 3}})
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert (answer.status_code, pointers) == (422, ["/variables/word_count", "/variables/overall_quality"])
    unknown = world.post(f"{HERE}/render", {"variables": {"words": 3}})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/variables/words")


def test_a_misspelt_input_of_a_record_is_told_the_input_that_is_near(world: World) -> None:
    def refused(**variables: Any) -> str:
        return str(world.post(f"{HERE}/render", {"variables": variables}).json()["detail"])

    told = "This record cannot be judged: the family has no input "
    assert refused(word_cuont=3) == f"{told}'word_cuont'; did you mean 'word_count'?"
    assert refused(zzz=3).startswith(f"{told}'zzz'; its inputs are content_type, duration_seconds")
    many = refused(**{f"word_coun{i}": 1 for i in range(20)})
    assert many.count("did you mean") == 10, "so that a record of many unknown names is answered at once"


def test_the_reports_that_the_how_to_shows_let_a_rollout_start(world: World) -> None:
    page = ROOT / "docs" / "how-to" / "search-a-content-pipeline.md"
    text = page.read_text(encoding="utf-8").replace("'$token'", "TOKEN")
    asked, *reported = re.findall(r"\$DETENT(/v1/\S+) .*?-d '(.*?)'", text, re.DOTALL)
    assert [path for path, _ in reported] == ["/v1/interactions", "/v1/feedback"]
    strict = made_of_the_champion(world, **{"filter.min_overall": 0.8})
    start = {"variant": strict.json()["variant"], "confirm": "content_pipeline"}
    refused = world.post(f"{HERE}/rollouts", start)
    assert refused.status_code == 409, refused.text
    assert "no interaction of content_pipeline was reported" in refused.json()["detail"]
    served = world.post(asked[0], json.loads(asked[1])).json()
    for path, body in reported:
        answer = world.post(path, json.loads(body.replace("TOKEN", served["assignment"])))
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
    started = world.post(f"{HERE}/rollouts", start)
    assert started.status_code == 201, started.text
    with world.shared.store.read() as tx:
        n_examples = sum(world.shared.store.examples.counts(tx, "content_pipeline").values())
    assert n_examples == 1, "what was measured and what it was worth"


def test_a_person_makes_a_variant_by_changing_knobs(world: World) -> None:
    made = made_of_the_champion(world, **{"filter.min_overall": 0.6})
    assert made.status_code == 201, made.text
    wrong = made_of_the_champion(world, **{"filter.min_overal": 0.6})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/policy/filter.min_overal")
    message = world.post(f"{HERE}/variants", {"messages": [{"role": "user", "content": "{{content_type}}"}]})
    assert (message.status_code, message.json()["errors"][0]["pointer"]) == (422, "/messages")


def made_of_the_champion(world: World, **policy: Any) -> Any:
    champion = world.get(HERE).json()["champion"]["variant"]
    return world.post(f"{HERE}/variants", {"from": champion, "policy": policy, "note": "changed"})


def test_a_policy_is_no_model_to_talk_to(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    models = "embedded: {openai_compatible: 'http://127.0.0.1:9', model: m}\n"
    (tmp_path / "config" / "models.yaml").write_text(models, encoding="utf-8")
    gateway = create_gateway(make_home(home_of(tmp_path)))
    chat = {"model": "content_pipeline", "messages": [{"role": "user", "content": "x"}]}
    with TestClient(gateway, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["triage"]
        asked = client.post("/v1/chat/completions", json=chat)
    assert asked.status_code == 422
    assert "calls no model" in asked.text


def test_its_registered_prompt_shows_the_knobs() -> None:
    registered: list[dict[str, Any]] = []
    client = SimpleNamespace(
        get_prompt=lambda name: None,
        register_prompt=lambda **given: registered.append(given) or SimpleNamespace(version=1),
        delete_prompt_tag=lambda *given: None,
    )
    PromptRegistry(client).mirror("pipeline", parse_family(SMALL).variant(), [], {}, experiment="1")
    assert registered[0]["template"] == "policy.filter.checks_needed: 4\npolicy.filter.min_words: 100\n"


def test_an_exported_variant_is_a_version_that_the_family_s_file_takes() -> None:
    family, at = parse_family(SMALL), datetime(2026, 11, 21, tzinfo=UTC)
    record = VariantRecord(
        family="pipeline", variant=family.variant(), source="person", created_at=at, created_by="a", note="as it is"
    )
    block = YAML(typ="safe", pure=True).load(export_variant(family, record, "yaml"))
    assert parse_family({**SMALL, **block}).variant() == family.variant()


def test_no_model_is_asked_to_answer_a_policy() -> None:
    family, nothing = parse_family(SMALL), dict.fromkeys(("store", "clock", "models", "scorer_for", "classify"))
    with pytest.raises(InvalidInput, match="scored by replay"):
        evaluated(family, family.variant(), actor="a", **nothing)
