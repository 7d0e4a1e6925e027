"""The real LightRAG, with Detent's families behind its model functions, and between them an api and its gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lightrag import QueryParam

from api.app import create_app
from examples.detent_families import DetentFamilies
from examples.lightrag_families import __main__ as example
from examples.lightrag_families.families import LightRAGFamilies
from optimizer.host.config import Settings, load_settings
from optimizer.host.run_files import announce
from tests.clock import until
from tests.command_line import detent
from tests.stand_ins.graph_rag_model import script
from tests.stand_ins.running_server import make_home
from tests.stand_ins.scripted_model import Provider, provider
from tests.worlds.gateway_world import interactions, running, serving

ROOT = Path(__file__).parents[3]
FAMILIES = ("entity_extraction", "relationship_extraction", "summarization", "query_processing", "answer_generation")


@pytest.fixture(scope="module")
def model() -> Iterator[Provider]:
    with provider() as made:
        yield script(made)


@dataclass(frozen=True)
class Service:
    """Of this process, behind real sockets."""

    url: str
    settings: Settings

    def labelled(self, family: str) -> list[tuple[int, int]]:
        """How many answers of each arm users have judged, and how many of those were good."""
        told = detent("feedback", "stats", family, "--json", env={"DETENT_HOME": str(self.settings.home)}).json
        return [(arm["n_labelled"], arm["n_success"]) for arm in told["items"]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Provider) -> Iterator[Service]:
    home = make_home(tmp_path_factory.mktemp("lightrag") / "home", model.url)
    entry = json.loads((home / "config" / "models.yaml").read_text())
    entry["embedded"] |= {"max_output_tokens": 256, "concurrency": 4}
    (home / "config" / "models.yaml").write_text(json.dumps(entry))
    for name in FAMILIES:
        shutil.copytree(ROOT / "families" / name, home / "families" / name)
    settings = load_settings(home=home)
    with running(settings) as gateway:
        announce(settings, "gateway", gateway)
        with serving(create_app(settings), settings) as url:
            yield Service(url, settings)


def recorded(server: Service, family: str) -> list[dict[str, Any]]:
    return interactions(server.settings, family)


def test_lightrag_is_answered_by_families_and_what_users_say_comes_back(
    server: Service, model: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(["--url", server.url])
    said = capsys.readouterr().out
    assert "9 entities, 9 relations" in said
    assert "Who founded the Ferry Museum?\nMarta Keel" in said
    until(lambda: len(recorded(server, "answer_generation")) == 1, "the answer to be on record")
    (answered,) = recorded(server, "answer_generation")
    assert "Marta Keel founded the Ferry Museum" in answered["input"]["context"], "what LightRAG found in its graph"
    assert {name: len(recorded(server, name)) for name in FAMILIES} == {
        "entity_extraction": 9,
        "relationship_extraction": 9,
        "summarization": 0,
        "query_processing": 1,
        "answer_generation": 1,
    }
    for name in ("answer_generation", "query_processing"):
        (asked,) = recorded(server, name)
        assert asked["unit_hmac"], "the user's own arm"
        assert server.labelled(name) == [(1, 1)]


def test_descriptions_of_one_thing_are_summarized_by_a_family(server: Service, tmp_path: Path) -> None:
    async def build() -> None:
        families = DetentFamilies(server.url)
        model = LightRAGFamilies(families=families, types=example.TYPES, relations=example.RELATIONS)
        rag = example.open_rag(model, tmp_path, force_llm_summary_on_merge=2)
        await rag.initialize_storages()
        try:
            await rag.ainsert("Otto Keel was born in Port Ellis. The Ferry Museum stands in Port Ellis.")
            node = await rag.chunk_entity_relation_graph.get_node("Port Ellis")
            assert node is not None
            assert node["description"] == "One sentence about it."
        finally:
            await rag.finalize_storages()
            await families.close()

    asyncio.run(build())
    until(lambda: recorded(server, "summarization"), "the summary to be on record")
    documents = [one["input"]["document"] for one in recorded(server, "summarization")]
    assert "The Ferry Museum stands in Port Ellis. Otto Keel was born in Port Ellis." in documents


def test_an_answer_that_cannot_be_read_is_reported_and_leaves_the_graph_without_it(
    server: Service, model: Provider, tmp_path: Path
) -> None:
    before, usual = len(recorded(server, "entity_extraction")), model.answer
    model.answer = lambda body: (200, {}, json.dumps(_prose()).encode())

    async def read() -> Any:
        families = DetentFamilies(server.url)
        try:
            return await families.extract("Ada lives in Ulm.", types="person", relations="lives_in")
        finally:
            await families.close()

    try:
        (found,) = asyncio.run(read())
    finally:
        model.answer = usual
    assert (found.entities, found.relations, found.unreadable) == ((), (), 1)
    until(lambda: len(recorded(server, "entity_extraction")) == before + 1, "the answer to be on record")
    assert server.labelled("entity_extraction") == [(1, 0)]


def test_a_prompt_of_lightrags_own_is_refused_in_words(server: Service) -> None:
    model = LightRAGFamilies(families=DetentFamilies(server.url), types="", relations="")
    with pytest.raises(ValueError, match="its templates were not replaced"):
        asyncio.run(model.extract("---Task---\nExtract entities"))


def _prose() -> dict[str, Any]:
    from tests.stand_ins.scripted_model import chat_answer

    return chat_answer("I cannot say.")


def test_the_templates_are_those_that_lightrag_fills() -> None:
    """A new version that renames one would ask with a prompt of its own."""
    from lightrag.prompt import PROMPTS

    from examples.lightrag_families.families import TEMPLATES

    assert set(TEMPLATES) <= set(PROMPTS)
    assert QueryParam(mode="mix").mode == "mix"
