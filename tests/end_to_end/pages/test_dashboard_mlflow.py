"""MLflow below /dashboard/mlflow/: who reads there, what is passed on, and that its files run nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.dashboard.mlflow_pages import FILE_POLICY
from optimizer.host import run_files
from tests.stand_ins.local_server import local_server
from tests.worlds.api_world import World, make_home
from tests.worlds.gateway_world import serving

PLACE = "/dashboard/mlflow/"
INDEX = "<html><head><script>kept()</script></head><body><div id=root></div></body></html>"
READ = [
    "static-files/static/js/main.js",
    "version",
    "ajax-api/2.0/mlflow/experiments/search?max_results=5",
    "ajax-api/2.0/mlflow/runs/get?run_id=r",
    "ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids=r",
    "ajax-api/2.0/mlflow/artifacts/list?run_id=r",
    "get-artifact?run_uuid=r&path=report.html",
]
SEARCHED = ["ajax-api/2.0/mlflow/runs/search", "ajax-api/3.0/mlflow/traces/search", "graphql"]
CHANGES = [
    "ajax-api/2.0/mlflow/runs/set-tag",
    "ajax-api/2.0/mlflow/runs/delete",
    "ajax-api/2.0/mlflow/experiments/create",
    "ajax-api/2.0/mlflow/registered-models/alias",
    "ajax-api/3.0/mlflow/traces/delete-traces",
    "ajax-api/2.0/mlflow/runs/search/../delete",
]
NOT_READ = [
    "ajax-api/2.0/mlflow/gateway-proxy/secrets",
    "ajax-api/3.0/mlflow/gateway/secrets/list",
    "ajax-api/2.0/mlflow/webhooks",
    "ajax-api/3.0/mlflow/assistant/config",
    "static-files/..%2f..%2fget-artifact",
    "api/2.0/mlflow/runs/delete",
]
OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def heard() -> list[tuple[str, str, dict[str, str]]]:
    return []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, heard: list[Any]) -> Iterator[World]:
    class Mlflow(BaseHTTPRequestHandler):
        """Says yes to everything, and tries what a page there could."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self.rfile.read(length)
            heard.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            body = INDEX.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if "path=a.mjs" in self.path else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Set-Cookie", "session=of-mlflow")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *about: Any) -> None:
            pass

    home: Path = tmp_path_factory.mktemp("home")
    settings = make_home(home)
    app = create_app(settings)
    with (
        local_server(Mlflow) as mlflow,
        serving(app, settings) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        run_files.announce(settings, "mlflow", mlflow)
        world = World(client=cast(TestClient, client), settings=settings, app=app)
        for role in ("read", "read-texts", "operate"):
            world.add_key(f"key-{role}", role, secret=f"secret-{role}")
        world.add_key("narrow", "operate", secret="secret-narrow", families=["triage"])
        yield world


@contextmanager
def reader(world: World, secret: str | None = "secret-read-texts") -> Iterator[httpx.Client]:
    """A browser of its own, signed in with this key."""
    with httpx.Client(base_url=world.client.base_url, trust_env=False, timeout=60) as client:
        if secret is not None:
            answer = client.post("/dashboard/sign-in", data={"key": secret}, headers={"Sec-Fetch-Site": "same-origin"})
            assert answer.status_code == 303, answer.text
        yield client


@pytest.mark.parametrize("secret", [None, "secret-read", "secret-narrow"])
def test_who_may_not_read_all_texts_gets_nothing_of_it(world: World, heard: list[Any], secret: str | None) -> None:
    n_before = len(heard)
    with reader(world, secret) as client:
        for path in ("", *READ):
            assert client.get(PLACE + path).status_code == (303 if secret is None else 403), path
        for path in SEARCHED:
            assert client.post(PLACE + path, content=b"{}", headers=OWN_PAGE).status_code in (303, 403), path
    assert len(heard) == n_before


@pytest.mark.parametrize("secret", ["secret-read-texts", "secret-operate"])
def test_what_reads_is_passed_on_without_the_visitors_session(world: World, heard: list[Any], secret: str) -> None:
    with reader(world, secret) as client:
        for path in READ:
            answer = client.get(PLACE + path)
            assert (answer.status_code, heard[-1][:2]) == (200, ("GET", f"/{path}"))
            assert {"set-cookie", "access-control-allow-origin"} & set(answer.headers) == set()
        for path in SEARCHED:
            assert client.post(PLACE + path, content=b'{"a": 1}', headers=OWN_PAGE).status_code == 200
            assert heard[-1][:2] == ("POST", f"/{path}")
            assert {"cookie", "authorization", "origin"} & set(heard[-1][2]) == set()


def test_nothing_is_changed_there_and_what_is_on_no_list_is_not_asked(world: World, heard: list[Any]) -> None:
    n_before = len(heard)
    with reader(world) as client:
        for path in CHANGES:
            assert client.post(PLACE + path, content=b"{}", headers=OWN_PAGE).status_code == 403, path
        for path in NOT_READ:
            assert client.get(PLACE + path).status_code in (403, 404), path
        for path in READ:
            assert client.delete(PLACE + path).status_code == 405, path
            head = client.head(PLACE + path)
            assert (head.status_code, head.headers.get("allow")) == (405, "GET, POST"), path
        for path in SEARCHED:
            elsewhere = {**OWN_PAGE, "Sec-Fetch-Site": "cross-site"}
            assert client.post(PLACE + path, content=b"{}", headers=elsewhere).status_code == 403, path
    assert [request[:2] for request in heard[n_before:]] == []


def test_its_page_runs_its_own_scripts_alone_and_leads_back_and_a_file_runs_nothing(world: World) -> None:
    with reader(world) as client:
        for address in ("/mlflow", "/dashboard/mlflow"):
            assert client.get(address).headers["location"].endswith("dashboard/mlflow/")
        page = client.get(PLACE)
        scripts = page.headers["content-security-policy"].partition("script-src ")[2].partition(";")[0]
        assert scripts == "'self' 'sha256-/4E1Lb6rdDabql+IbVmlMOqdo8q8Hvk2EwcX73SpIXY='"
        assert '<a href="../studies"' in page.text
        file = client.get(f"{PLACE}get-artifact?run_uuid=r&path=report.html")
        assert file.headers["content-security-policy"] == FILE_POLICY
        assert FILE_POLICY.startswith("sandbox;")
        assert file.headers["x-content-type-options"] == "nosniff"
        script = client.get(f"{PLACE}get-artifact?run_uuid=r&path=a.mjs")
        assert script.headers["content-type"] == "text/plain; charset=utf-8", "for who does not say what it is to be"
        for runs in ("script", "worker"):
            as_script = {"Sec-Fetch-Dest": runs, "Sec-Fetch-Site": "same-origin"}
            assert client.get(f"{PLACE}get-artifact?run_uuid=r&path=a.mjs", headers=as_script).status_code == 403
            assert client.get(f"{PLACE}static-files/static/js/main.js", headers=as_script).status_code == 200


def test_its_page_says_what_stands_still(world: World) -> None:
    as_operator = {"headers": {"Authorization": "Bearer secret-operate"}}
    with reader(world) as client:
        assert "is frozen" not in client.get(PLACE).text
        assert world.post("/v1/freeze", {"family": "triage", "reason": "odd answers"}, **as_operator).status_code == 200
        assert "triage is frozen: champions only." in client.get(PLACE).text
        assert world.post("/v1/unfreeze", {"family": "triage", "reason": "fine"}, **as_operator).status_code == 200
        assert "is frozen" not in client.get(PLACE).text
