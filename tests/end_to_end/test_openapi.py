"""Whatever the OpenAPI document allows, and much that it does not, gets an answer that the document describes; never a fault of the server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from api.app import create_app
from tests.api_world import make_home
from tests.clock import until
from tests.examples import n_examples

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SAID_PLAINLY = ("/problems/not-yet", "/problems/gateway-unavailable")  # answers above 499 that are no faults


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    limits = {"operator_per_minute": 1_000_000, "events_per_minute": 100_000_000}
    app = create_app(make_home(tmp_path_factory.mktemp("home"), limits=limits))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), "the server to start")
    assert server.started, "the server ended while starting"
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json")
    server.should_exit = True
    thread.join(timeout=20)


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=["allowed", "forbidden"])
def test_every_operation_answers_as_described(document: Any, subtests: pytest.Subtests, mode: GenerationMode) -> None:
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(max_examples=n_examples(15), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def answers_as_described(case: Any, known: bool) -> None:
            if known and "family" in (case.path_parameters or {}):
                case.path_parameters["family"] = "triage"  # what lies behind an existing family is worth more than 404
            _check(case)

        with subtests.test(operation.label):
            try:
                answers_as_described()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong


def _check(case: Any) -> None:
    response = case.call()
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        problem = response.json()
        assert problem["status"] == response.status_code
        assert response.status_code < 500 or problem["type"] in SAID_PLAINLY, problem
        if response.status_code >= 500:
            return
    case.validate_response(response, checks=CHECKS)
