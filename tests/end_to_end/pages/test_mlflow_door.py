"""The MLflow that `detent serve` runs: loopback, exact names, and nothing that writes files, reaches out or deletes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from optimizer.host import run_files
from optimizer.host.config import load_settings
from optimizer.host.ports_in_use import is_free
from optimizer.runtime import supervise
from optimizer.runtime.mlflow_server import prepare_store
from tests.clock import PROCESSES_S, until
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stand_ins.running_mlflow import running_mlflow

API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Running:
    client: httpx.Client
    port: int
    home: Path


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory, new_mlflow: NewMlflow) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    new_mlflow(home / "mlflow" / "mlflow.db")
    prepare_store(load_settings(home=home))
    with running_mlflow(home, DETENT_HOST="0.0.0.0") as (client, port):
        yield Running(client, port, home)


def test_a_body_that_comes_with_upgrade_is_no_request_of_its_own(mlflow: Running) -> None:
    hidden = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{mlflow.port}\r\n\r\n"
    head = f"POST /health HTTP/1.1\r\nHost: 127.0.0.1:{mlflow.port}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    with socket.create_connection(("127.0.0.1", mlflow.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(hidden)}\r\n\r\n{hidden}".encode())
        connection.shutdown(socket.SHUT_WR)
        came = b""
        while piece := connection.recv(65536):
            came += piece
    assert came.count(b"HTTP/1.1 ") == 1, came


def others() -> list[str]:
    """IPv4 addresses of this machine that other machines reach."""
    found = [one.address for each in psutil.net_if_addrs().values() for one in each if one.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]


def test_it_listens_on_loopback_whatever_host_says(mlflow: Running) -> None:
    listening = [
        c.laddr.ip
        for c in psutil.net_connections("inet")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == mlflow.port
    ]
    assert listening == ["127.0.0.1"]
    for address in others():
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((address, mlflow.port), timeout=5)


def test_the_supervisor_keeps_its_port_on_loopback_whatever_host_says(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, host="0.0.0.0", port=0, mlflow_port=0)
    supervisor = supervise.Supervisor(settings, report=lambda line: None, alarm=lambda name, text: None)
    listening = [child.listening for child in supervisor._children if child.listening is not None]
    try:
        assert [one.host for one in listening] == ["0.0.0.0", "127.0.0.1", "127.0.0.1", "127.0.0.1"]
        assert not any(is_free(one.host, one.port) for one in listening), (
            "no other program can be taken for a child that still starts"
        )
    finally:
        for one in listening:
            one.socket.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1"},
        {"Host": "mlflow:{port}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
def test_pages_other_names_and_proxies_are_refused(mlflow: Running, headers: dict[str, str]) -> None:
    sent = {name: value.format(port=mlflow.port) for name, value in headers.items()}
    assert mlflow.client.post(f"{API}/runs/search", json={"experiment_ids": ["0"]}, headers=sent).status_code == 403
    assert mlflow.client.get("/", headers=sent).status_code == 403


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api", "//api", "/api/../api", "/API"])
def test_no_experiment_is_made_with_files_elsewhere(mlflow: Running, prefix: str, tmp_path: Path) -> None:
    body = {"name": f"stray {prefix}", "artifact_location": f"file://{tmp_path}"}
    assert mlflow.client.post(f"{prefix}/2.0/mlflow/experiments/create", json=body).status_code == 403
    named = [
        one["name"]
        for one in mlflow.client.post(f"{API}/experiments/search", json={"max_results": 100})
        .json()
        .get("experiments", ())
    ]
    assert not any(name.startswith("stray") for name in named)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/experiments/delete"),
        ("POST", f"{API}/experiments/update"),
        ("POST", f"{API}/runs/create"),
        ("POST", f"{API}/runs/delete"),
        ("POST", f"{API}/model-versions/create"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=y"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x"),
        ("POST", f"{API}/webhooks"),
        ("POST", "/ajax-api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "/gateway/x/mlflow/invocations"),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("GET", "/api/2.0/mlflow/gateway-proxy"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy/x"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("POST", "/ajax-api/3.0/mlflow/jobs/"),
        ("POST", "/ajax-api/3.0/mlflow/scorer/invoke"),
        ("POST", "/v1/traces"),
        ("OPTIONS", f"{API}/runs/search"),
    ],
)
def test_nothing_is_deleted_uploaded_called_or_run(mlflow: Running, method: str, path: str) -> None:
    answer = mlflow.client.request(method, path, json={"experiment_id": "0", "url": "http://127.0.0.1:9"})
    assert answer.status_code == 403, answer.text
    assert "DETENT_MLFLOW_TRACKING_URI" in answer.json()["message"]


def test_a_page_that_asks_for_models_to_call_is_told_that_there_are_none(mlflow: Running) -> None:
    """Whatever it names is called by nobody; refused, the list of runs would open with an error."""
    asked = {"gateway_path": "http://127.0.0.1:9/api/2.0/endpoints/"}
    answer = mlflow.client.get("/ajax-api/2.0/mlflow/gateway-proxy", params=asked)
    assert (answer.status_code, answer.json()) == (200, {"endpoints": []})
    info = mlflow.client.get("/ajax-api/3.0/mlflow/server-info").json()
    assert info["features_enabled"]["gateway"] is False


def test_a_reviewer_searches_reads_and_marks(mlflow: Running) -> None:
    assert '<div id="root"' in mlflow.client.get("/").text
    of_its_page = {"Origin": f"http://127.0.0.1:{mlflow.port}", "Sec-Fetch-Site": "same-origin"}
    found = mlflow.client.post("/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 10}, headers=of_its_page)
    assert [one["artifact_location"] for one in found.json()["experiments"]] == ["mlflow-artifacts:/0"]
    note = {"experiment_id": "0", "key": "mlflow.note.content", "value": "looked at"}
    assert (
        mlflow.client.post(
            "/ajax-api/2.0/mlflow/experiments/set-experiment-tag", json=note, headers=of_its_page
        ).status_code
        == 200
    )
    as_a_form = {**of_its_page, "Content-Type": "text/plain"}
    assert (
        mlflow.client.post(
            "/ajax-api/2.0/mlflow/experiments/set-experiment-tag", content="{}", headers=as_a_form
        ).status_code
        == 403
    )


def test_a_server_that_ends_when_it_is_told_to_is_not_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from optimizer.host.config import load_settings; from optimizer.runtime import mlflow_server\n"
        "mlflow_server.command = lambda fd: [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "mlflow_server._answers = lambda url: True\n"
        "mlflow_server.run(load_settings())"
    )
    home = {**os.environ, "DETENT_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=home, start_new_session=True)
    settings = load_settings(home=tmp_path)
    until(lambda: run_files.note(settings, "mlflow", "url"), "the announcement", patience_s=PROCESSES_S)
    process.terminate()
    assert process.wait(PROCESSES_S) == 0
