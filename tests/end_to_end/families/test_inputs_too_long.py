"""A text longer than its input takes: cut at every door alike and said so everywhere, or refused, as the file says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from optimizer.host.config import Settings
from tests.clock import until
from tests.command_line import detent
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.worlds.gateway_world import family, interactions, make_home, recorded, running

LONG = "x" * 59 + "yz: the matter stands at the end"
REFUSING = "{document: {type: text, max_chars: 60, too_long: refuse}}"


@pytest.fixture
def behind() -> Iterator[Provider]:
    with provider() as one:
        one.answer = lambda body: (200, {}, json.dumps(chat_answer("fine")).encode())
        yield one


def home(folder: Path, behind: Provider) -> Settings:
    families = {"cutting": family("cutting", "m"), "refusing": family("refusing", "m", inputs=REFUSING)}
    return make_home(folder, families, {"m": {"openai_compatible": behind.url, "model": "m"}})


def test_a_cut_is_in_the_answer_on_record_in_the_metrics_and_in_the_status(tmp_path: Path, behind: Provider) -> None:
    settings = home(tmp_path, behind)
    with running(settings) as url:

        def chat(text: str, **more: Any) -> httpx.Response:
            body = {"model": "cutting", "messages": [{"role": "user", "content": text}], **more}
            return httpx.post(f"{url}/v1/chat/completions", json=body)

        cut, whole = chat(LONG).json(), chat("short").json()
        last = chat(LONG, stream=True).text.rsplit("data: ", 2)[-2]
        assert cut["detent"]["truncated"] == ["document"] == json.loads(last)["detent"]["truncated"]
        assert "truncated" not in whole["detent"]
        kept = {row["id"]: (row["tags"], row["input"]) for row in recorded(settings, "cutting", 3)}
        assert kept[cut["id"]] == ({"truncated": "document"}, {"document": LONG[:60]})
        assert kept[whole["id"]] == ({}, {"document": "short"})
        counted = 'llm_inputs_truncated_total{family="cutting",input="document"} 2'
        until(lambda: counted in httpx.get(f"{url}/metrics").text)
    with TestClient(create_app(settings), base_url="http://localhost", client=("127.0.0.1", 1)) as api:
        rendered = api.post("/v1/families/cutting/render", json={"variables": {"document": LONG}})
        assert rendered.json()["truncated"] == ["document"] == [rendered.headers["x-detent-truncated"]]
        short = api.post("/v1/families/cutting/render", json={"variables": {"document": "short"}})
        assert "truncated" not in short.json()
        assert "x-detent-truncated" not in short.headers

        def told() -> Any:
            return {one["name"]: one["truncated"] for one in api.get("/v1/status").json()["families"]}

        until(lambda: [one["n_requests"] for one in told()["cutting"]] == [3])
        assert told()["refusing"] == []
    shown = detent("status", env={"DETENT_HOME": str(tmp_path)})
    assert "cutting: document in 3 requests" in " ".join(shown.out.split())


def test_a_text_that_is_too_long_is_refused_where_the_file_says_so_and_nothing_is_asked_or_counted(
    tmp_path: Path, behind: Provider
) -> None:
    settings = home(tmp_path, behind)
    with running(settings) as url:
        body = {"model": "refusing", "messages": [{"role": "user", "content": LONG}]}
        refused = httpx.post(f"{url}/v1/chat/completions", json=body)
        assert (refused.status_code, behind.bodies) == (422, [])
        assert refused.json()["errors"][0]["pointer"] == "/variables/document"
        assert "91 characters, and the family takes 60" in refused.json()["detail"]
    with TestClient(create_app(settings), base_url="http://localhost", client=("127.0.0.1", 1)) as api:
        rendered = api.post("/v1/families/refusing/render", json={"variables": {"document": LONG}})
        assert (rendered.status_code, rendered.json()["errors"]) == (422, refused.json()["errors"])
        assert api.app.state.services.exposures.n_waiting == 0  # type: ignore[attr-defined]
        assert api.get("/v1/families/refusing/prompt").json()["inputs"]["document"]["too_long"] == "refuse"
        within = api.post("/v1/families/refusing/render", json={"variables": {"document": LONG[:60]}})
        assert within.status_code == 200
    assert interactions(settings, "refusing") == []
