"""A running server without keys, and what reaches its port: programs, pages, proxies.

With a key the door is the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.worlds.api_world import World, make_home, serving as in_process
from tests.worlds.gateway_world import behind_the_api, running

FREEZE = "/v1/freeze"
PAGES: list[dict[str, str]] = [
    {"Host": "127.0.0.1.evil.example:{port}"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Via": "1.1 proxy"},
]
FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An api with its gateway behind it, in this process and behind real sockets."""
    settings = make_home(tmp_path_factory.mktemp("home"))
    with behind_the_api(settings) as (api, _):
        yield api


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        *(("POST", FREEZE, headers) for headers in PAGES),
        ("GET", "/v1/families", PAGES[0]),
        ("DELETE", "/v1/families/triage/schedule", PAGES[-1]),
    ],
    ids=str,
)
def test_pages_other_names_and_proxies_are_refused(url: str, method: str, path: str, headers: dict[str, str]) -> None:
    sent = {name: value.format(port=url.rpartition(":")[2]) for name, value in headers.items()}
    answer = httpx.request(method, url + path, json={}, headers=sent, trust_env=False)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-authorised")
    assert "detent keys" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_curl_and_clients_go_on_working(url: str, name: str) -> None:
    at = url.replace("127.0.0.1", name)
    assert httpx.get(f"{at}/v1/families", trust_env=False).status_code == 200
    assert httpx.post(f"{at}{FREEZE}", json={"reason": "a try"}, trust_env=False).status_code == 200
    assert httpx.post(f"{at}/v1/unfreeze", json={}, trust_env=False).status_code == 200


def test_the_servers_own_page_goes_on_working(url: str) -> None:
    own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(f"{url}/v1/families", headers=own, trust_env=False).status_code == 200
    assert httpx.post(f"{url}/v1/unfreeze", json={}, headers=own, trust_env=False).status_code == 200
    assert httpx.post(f"{url}/v1/unfreeze", headers=own, trust_env=False).status_code == 403


def test_a_chat_of_the_servers_own_page_reaches_the_gateway(url: str) -> None:
    own = {"Origin": url, "Sec-Fetch-Site": "same-origin", "Referer": f"{url}/docs"}
    assert httpx.get(f"{url}/v1/models", headers=own, trust_env=False).json()["data"][0]["id"] == "triage"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "path", [FREEZE, "/v1/feedback", "/v1/families/triage/render", "/v1/studies/x/cancel", "/v1/chat/completions"]
)
def test_a_body_that_any_page_can_send_is_never_taken(url: str, form: str, path: str) -> None:
    answer = httpx.post(url + path, content='{"reason": "x"}', headers={"Content-Type": form}, trust_env=False)
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported-media-type")


def test_the_gateways_own_port_has_the_same_door(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with running(settings) as gateway:
        assert httpx.get(f"{gateway}/v1/models", trust_env=False).status_code == 200
        assert (
            httpx.get(f"{gateway}/v1/models", headers={"Origin": "http://localhost:3000"}, trust_env=False).status_code
            == 403
        )
        assert httpx.get(f"{gateway}/v1/models", headers={"Host": "localhost"}, trust_env=False).status_code == 403


@pytest.fixture
def with_key(tmp_path: Path) -> Iterator[World]:
    with in_process(make_home(tmp_path), host="192.0.2.1") as world:
        world.add_key("alice", "operate", secret="s3cret")
        yield world


def test_with_a_key_proxies_and_other_names_are_answered_and_forms_still_are_not(with_key: World) -> None:
    proxied: dict[str, Any] = {
        "headers": {
            "Authorization": "Bearer s3cret",
            "Host": "detent.example.org",
            "X-Forwarded-For": "192.0.2.9",
            "Via": "1.1 x",
        }
    }
    assert with_key.get("/v1/families", **proxied).status_code == 200
    proxied["headers"]["Content-Type"] = "text/plain"
    assert with_key.client.post(FREEZE, content="{}", **proxied).status_code == 415


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OPENED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_without_keys_a_page_of_another_site_may_lead_to_the_dashboard_and_do_nothing_there(url: str) -> None:
    port, freeze = url.rpartition(":")[2], f"{url}/dashboard/acts/freeze"
    with httpx.Client(trust_env=False) as browser:
        for site in ("none", "same-origin", "same-site", "cross-site"):
            answer = browser.get(f"{url}/dashboard", headers={"Sec-Fetch-Site": site, **OPENED})
            assert answer.status_code == 200, site
        framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        assert browser.get(f"{url}/dashboard", headers=framed).status_code == 403
        rebound = {"Host": f"evil.example:{port}", **OPENED}
        assert browser.get(f"{url}/dashboard", headers=rebound).status_code == 403
        token = re.search(r'name="token" value="(\w+)"', browser.get(freeze).text)
        assert token is not None
        form = f"token={token[1]}&reason=x"
        for headers in (
            {"Sec-Fetch-Site": "cross-site", **OPENED},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
            {},
        ):
            assert browser.post(freeze, content=form, headers={**FORM, **headers}).status_code == 403, headers
        own = {**FORM, "Origin": url, "Sec-Fetch-Site": "same-origin"}
        assert browser.post(freeze, content="token=&reason=x", headers=own).status_code == 403
        assert browser.get(f"{url}/v1/status").json()["freezes"] == []
        assert browser.post(freeze, content=form, headers=own).status_code == 303
        assert browser.get(f"{url}/v1/status").json()["freezes"][0]["by"].startswith("local:")
        assert browser.post(f"{url}/dashboard/acts/unfreeze", content=form, headers=own).status_code == 303
