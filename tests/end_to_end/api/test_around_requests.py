"""What stands beside the routes: readiness, pages, ids of requests, and calls that are passed on."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from api.http import edge
from tests.rows.answer_schemas import openapi_document
from tests.worlds.api_world import World


def test_a_request_id_comes_back_and_a_strange_one_is_replaced(world: World) -> None:
    assert world.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    strange = world.get("/health", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert strange != "a b\tc"
    assert len(strange) > 8


def test_a_unit_in_a_path_does_not_reach_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(edge, "log", SimpleNamespace(info=lambda event, **values: lines.append(values)))
    jane, champion = "jane.doe@example.org", world.champion()
    for path in (f"/v1/families/triage/overrides/{jane}", f"/v1/families/triage/overrides/a/{jane}"):
        assert world.client.put(path, json={"variant": champion}).status_code == 200
    world.client.post(f"/v1/families/triage/overrides/{jane}")
    world.client.delete(f"/v1/units/{jane}")
    world.client.delete(f"/v1/unit/{jane}")
    world.client.put(f"/v1/families/triage/overrides/{jane}", content=b"x" * (world.settings.limits.body_bytes + 1))
    override = "/v1/families/triage/overrides/{unit}"
    assert [line["path"] for line in lines] == [override] * 3 + ["/v1/units/{unit}", "/v1/unit/…", "/v1/families/…"]


def test_ready_names_what_the_server_leans_on_with_its_age(world: World) -> None:
    world.tick()
    ready = world.get("/ready").json()
    assert ready["status"] == "ready"
    assert set(ready["dependencies"]) == {"store", "families", "gateway", "worker", "mlflow", "models_file"}
    assert ready["dependencies"]["worker"]["last_tick_age_s"] < 60
    assert ready["dependencies"]["gateway"] == {"ok": False, "age_s": None}


def test_ready_never_says_ok_of_a_tick_that_is_old_or_lies_ahead_of_the_clock(world: World) -> None:
    def worker_after(tick: timedelta) -> dict[str, Any]:
        at = world.shared.clock.now() + tick
        world.shared.store.write(lambda tx: world.shared.store.serving_version.ticked(tx, at))
        world.shared.serving.refresh()
        found: dict[str, Any] = world.get("/ready").json()["dependencies"]["worker"]
        return found

    assert worker_after(timedelta(hours=-1))["ok"] is False
    ahead = worker_after(timedelta(hours=3))
    assert (ahead["ok"], "detent clock reset" in ahead["detail"]) == (False, True)
    answer = world.post("/v1/clock/reset", {"reason": "it ran ahead"}).json()
    assert (answer["changed"], answer["why"]) == (True, "it ran ahead")
    assert world.get("/ready").json()["dependencies"]["worker"]["ok"] is True
    assert world.get("/v1/audit").json()["items"][0]["action"] == "clock.reset"
    assert world.post("/v1/clock/reset").json()["changed"] is False


def test_what_is_served_is_read_again_only_once_something_was_committed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_reads, keys = 0, type(world.shared.store.api_keys)
    read = keys.all

    def counted(*of: Any) -> Any:
        nonlocal n_reads
        n_reads += 1
        return read(*of)

    monkeypatch.setattr(keys, "all", counted)
    serving = world.shared.serving
    serving.refresh()
    n_first, first = n_reads, serving.now_served
    serving.refresh()
    again = serving.now_served
    assert (n_reads, again.families is first.families) == (n_first, True)
    world.post("/v1/freeze", {"reason": "night"})
    assert n_reads > n_first
    assert serving.now_served.freezes


def test_the_bare_address_leads_to_what_there_is(world: World) -> None:
    answer = world.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "./dashboard")
    assert world.get("/").text == world.get("/dashboard").text


@pytest.mark.parametrize("path", ["/v1/families/?limit=2", "/health/"])
def test_a_redirect_repeats_no_host_of_the_request(world: World, path: str) -> None:
    answer = world.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == path.replace("/?", "?").removesuffix("/")


def test_the_documentation_needs_no_network(world: World) -> None:
    page = world.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f'"docs/files/{file}"' in page
        assert world.get(f"/docs/files/{file}").status_code == 200
    assert "<script>" not in page
    assert world.get("/docs/files/main.py").status_code == 404


PAGES = "/ /dashboard /dashboard/families/triage /dashboard/no/such /docs /docs/start.js /docs/files/swagger-ui.css"


def test_every_page_says_that_it_runs_nothing_else_and_stands_in_no_frame(world: World) -> None:
    for path in (*PAGES.split(), "/health", "/openapi.json", "/problems/busy", "/v1/status", "/no/such"):
        headers = world.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["content-security-policy"].startswith("default-src 'none'"), path


def test_the_openapi_document_lists_the_routes_and_no_error_form_of_a_library() -> None:
    document = openapi_document()
    assert "/v1/families/{family}/prompt" in document["paths"]
    assert "HTTPValidationError" not in json.dumps(document)
    prompt = document["paths"]["/v1/families/{family}/prompt"]["get"]
    assert {(one["in"], one["name"]) for one in prompt["parameters"]} == {("path", "family"), ("query", "unit")}
    assert prompt["responses"]["4XX"]["content"].keys() == {"application/problem+json"}
    refused = document["paths"]["/v1/traces"]["post"]["responses"]["4XX"]
    assert refused["content"].keys() == {"application/json", "application/x-protobuf"}


@pytest.mark.parametrize(
    ("method", "path", "described"),
    [
        ("GET", "/v1/families/triage/prompt", "/v1/families/{family}/prompt"),
        ("GET", "/v1/snapshot", "/v1/snapshot"),
        ("POST", "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags"),
    ],
)
def test_that_nothing_has_changed_is_described(world: World, method: str, path: str, described: str) -> None:
    body = {"context": {}} if method == "POST" else None
    tag = world.client.request(method, path, json=body).headers["etag"]
    answer = world.client.request(method, path, json=body, headers={"If-None-Match": tag})
    declared = openapi_document()["paths"][described][method.lower()]["responses"][str(answer.status_code)]
    assert (answer.status_code, answer.content, declared.keys()) == (304, b"", {"description"})
