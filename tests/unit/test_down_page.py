"""The class that docs/how-to/when-detent-is-down.md shows, run as it stands there against the API in this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api_world import make_home, serving

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "when-detent-is-down.md"


def shown_class() -> Any:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found.group(1), names)
    return names["Prompt"]


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


@pytest.mark.parametrize(
    "answer", [pytest.param(away, id="refused"), pytest.param(lambda request: httpx.Response(503), id="busy")]
)
def test_an_application_serves_the_kept_champion_and_no_candidate_while_detent_is_away(
    tmp_path: Path, answer: Any
) -> None:
    kept = tmp_path / "triage.json"
    with serving(make_home(tmp_path / "home")) as world:
        rollout = world.deploying()
        prompt = shown_class()(world.client, "triage", kept)
        prompt.refresh()
        before = {unit: prompt.get(unit) for unit in map(str, range(20))}
        assert {served["role"] for served in before.values()} == {"champion", "candidate"}
        prompt.http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://detent")
        served = [prompt.get(unit) for unit in before]
        assert {(s["variant"], s["role"], s["rollout"]) for s in served} == {(rollout["champion"], "champion", None)}
        with pytest.raises(httpx.HTTPError):
            prompt.refresh()
        assert prompt.get("1")["variant"] == rollout["champion"], "a refresh that fails leaves what was kept"
        report = {"id": "kept-1", "assignment": served[0]["assignment"], "output": "billing", "latency_ms": 12.0}
        again = [world.post("/v1/feedback", report).json() for _ in range(2)]
        assert [(one["accepted"], one["duplicates"]) for one in again] == [(1, 0), (0, 1)]
