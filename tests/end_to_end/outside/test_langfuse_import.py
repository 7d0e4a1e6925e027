"""``detent import langfuse:PROMPT`` from a server that answers in Langfuse's documented formats: pages by cursor,
fields by group, metadata cut short unless its key is named.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.command_line import Ran, detent
from tests.stand_ins.local_server import local_server
from tests.worlds.api_world import World, make_home, serving

KEYS = base64.b64encode(b"pk-lf-1:sk-lf-1").decode()
CUT_CHARS = 200
LONG = "Where is my invoice? " * 20
GROUPS = {
    "core": ("id", "traceId", "startTime", "endTime", "type"),
    "basic": ("name", "level", "statusMessage", "userId", "sessionId"),
    "io": ("input", "output"),
    "metadata": ("metadata",),
    "model": ("providedModelName",),
    "usage": ("usageDetails", "costDetails", "totalCost"),
    "prompt": ("promptId", "promptName", "promptVersion"),
    "metrics": ("latency", "timeToFirstToken"),
}


def generation(n: int, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Sort."}, {"role": "user", "content": f"request {n}"}]
    return {
        "id": f"obs-{n}",
        "traceId": f"trace-{n}",
        "startTime": f"2026-11-20T10:00:{n:02}.000Z",
        "endTime": f"2026-11-20T10:00:{n:02}.500Z",
        "type": "GENERATION",
        "name": "answer",
        "level": "DEFAULT",
        "statusMessage": None,
        "userId": f"user-{n}",
        "sessionId": None,
        "input": json.dumps(messages),
        "output": json.dumps({"role": "assistant", "content": "billing"}),
        "metadata": {},
        "providedModelName": "gpt-4o-mini",
        "usageDetails": {"input": 12, "output": 1, "total": 13},
        "costDetails": {"total": 0.002},
        "totalCost": 0.002,
        "promptId": "p",
        "promptName": "triage",
        "promptVersion": 3,
        "latency": 0.5,
        "timeToFirstToken": 0.1,
        **more,
    }


def score(n: int, kind: str, value: Any, of: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"score-{n}",
        "name": "quality",
        "value": value,
        "dataType": kind,
        "source": "ANNOTATION",
        "timestamp": "2026-11-20T11:00:00.000Z",
        "subject": {"kind": "observation" if of.startswith("obs") else "trace", "id": of},
        **more,
    }


class Langfuse(BaseHTTPRequestHandler):
    observations: ClassVar[list[dict[str, Any]]] = []
    scores: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[str]] = []
    page_rows = 2

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.asked.append(address.path)
        if self.headers["Authorization"] != f"Basic {KEYS}":
            return self._answer(401, {"message": "no"})
        fields = query.get("fields", "core,basic").split(",")
        if address.path == "/api/public/v2/observations":
            named = {name for group in ("core", *fields) for name in GROUPS[group]}
            rows = [self._shown(row, named, query) for row in self.observations if row["type"] == query["type"]]
        elif address.path == "/api/public/v3/scores":
            rows = [row if "subject" in fields else {**row, "subject": None} for row in self.scores]
        else:
            return self._answer(404, {"message": "no such route"})
        at = int(base64.b64decode(query["cursor"])) if "cursor" in query else 0
        end = at + min(self.page_rows, int(query["limit"]))
        meta = {"cursor": base64.b64encode(str(end).encode()).decode()} if end < len(rows) else {}
        return self._answer(200, {"data": rows[at:end], "meta": meta})

    def _shown(self, row: dict[str, Any], named: set[str], query: dict[str, str]) -> dict[str, Any]:
        whole = query.get("expandMetadata", "").split(",")
        cut = {name: value if name in whole else value[:CUT_CHARS] for name, value in row["metadata"].items()}
        return {name: cut if name == "metadata" else value for name, value in row.items() if name in named}

    def _answer(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = make_home(tmp_path)
    monkeypatch.setattr(Langfuse, "observations", [])
    monkeypatch.setattr(Langfuse, "scores", [])
    monkeypatch.setattr(Langfuse, "asked", [])
    with serving(settings) as running, local_server(Langfuse) as address:
        monkeypatch.setenv("LANGFUSE_BASE_URL", address)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
        monkeypatch.setenv("DETENT_HOME", str(settings.home))
        yield running


def imported(source: str = "langfuse:triage") -> Ran:
    return detent("import", source, "--family", "triage", "--json")


def items(world: World, what: str) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in world.get(f"/v1/{what}?family=triage&limit=100").json()["items"]}


def test_generations_and_scores_become_interactions_and_outcomes_over_all_pages(world: World) -> None:
    token = world.get("/v1/families/triage/prompt?unit=ann").json()["assignment"]
    assert len(token) > CUT_CHARS
    Langfuse.observations += [
        generation(1),
        generation(2, promptName="another"),
        generation(3, metadata={"text": LONG[:90], "detent.assignment": token, "other": "x"}),
        generation(4, level="ERROR", statusMessage="timeout", output=None, sessionId="s-4"),
        {**generation(5), "type": "SPAN"},
        generation(6, userId=None),
        generation(0, traceId="trace-6"),
    ]
    Langfuse.scores += [
        score(1, "BOOLEAN", True, "obs-1"),
        score(2, "CORRECTION", "technical", "obs-3"),
        score(3, "NUMERIC", 0.25, "trace-4", source="EVAL"),
        score(4, "NUMERIC", 4, "obs-1"),
        score(5, "CATEGORICAL", "billing", "trace-6", source="API"),  # of its last generation
        score(6, "CORRECTION", "", "obs-1"),
        score(7, "BOOLEAN", False, "obs-2"),
    ]
    ran = imported()
    assert ran.code == 0, ran.err
    assert (ran.json["accepted"], ran.json["duplicates"]) == (9, 0)
    rejected = {one["where"]: one["detail"] for one in ran.json["rejected"]}
    assert set(rejected) == {"observation obs-2", "score score-4", "score score-6", "score score-7"}
    assert "it links another" in rejected["observation obs-2"]
    interactions, outcomes = items(world, "interactions"), items(world, "feedback")
    assert set(interactions) == {"obs-0", "obs-1", "obs-3", "obs-4", "obs-6"}
    first = world.get("/v1/interactions/obs-1").json()
    shown = [first[name] for name in ("input", "output", "model", "latency_ms", "cost_usd", "input_tokens")]
    assert shown == [{"text": "request 1"}, "billing", "gpt-4o-mini", 500.0, 0.002, 12]
    linked = world.get("/v1/interactions/obs-3").json()
    assert (linked["input"], linked["variant"]) == ({"text": LONG[:90]}, world.champion())
    assert world.get("/v1/interactions/obs-4").json()["error"] == "timeout"
    assert set(outcomes) == {"score-1", "score-2", "score-3", "score-5"}
    assert (outcomes["score-1"]["success"], outcomes["score-1"]["source"]) == (True, "person")
    assert outcomes["score-2"]["expected"] == {"topic": "technical"}
    assert (outcomes["score-3"]["score"], outcomes["score-3"]["source"]) == (0.25, "system")
    assert (outcomes["score-5"]["label"], outcomes["score-5"]["source"]) == ("billing", "user")
    assert outcomes["score-5"]["interaction"] == "obs-6"
    assert Langfuse.asked.count("/api/public/v2/observations") == 3
    again = imported()
    assert (again.json["accepted"], again.json["duplicates"]) == (0, 9)


def test_a_wrong_key_and_an_answer_of_another_shape_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-2")
    refused = imported()
    assert (refused.code, "401" in refused.err, "sk-lf" in refused.err) == (2, True, False)
