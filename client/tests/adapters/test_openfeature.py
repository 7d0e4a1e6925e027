"""OpenFeature's SDK and its OFREP provider, sent to a server on this machine that answers as Detent does. Beside the
real server: tests/end_to_end/outside/test_openfeature.py of the server.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("openfeature.contrib.provider.ofrep", reason="it is not installed; `make test-adapters` tests it")

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from detent_client import Client
from detent_client.adapters.openfeature import DetentBulkProvider, DetentProvider, ExposureHook, flag_prompt

DEFAULT = {"messages": [{"role": "user", "content": "Mine: {{message}}"}], "model": {"max_tokens": 8}}
LEASE = "2126-01-01T00:00:00Z"


class FlagServer(BaseHTTPRequestHandler):
    """One family in a rollout; each outcome, exposure and path is kept."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, {"families": {}})

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        self.server.asked.append((self.path, said))
        flag = self.server.flag
        if self.server.failure is not None:
            self._answer(self.server.failure, {"errorCode": "GENERAL", "errorDetails": "busy"})
        elif self.path.endswith("/flags"):
            self._answer(200, {"flags": [flag]})
        elif self.path.endswith("/triage"):
            self._answer(200, flag)
        elif "/ofrep/" in self.path:
            self._answer(404, {"errorCode": "FLAG_NOT_FOUND", "errorDetails": "no such family"})
        else:
            self._answer(200, {"accepted": 1, "duplicates": 0, "rejected": []})

    def _answer(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", len(body)), ("ETag", '"1"')):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def flags(served):
    """The server; its ``flag`` may be changed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FlagServer)
    server.daemon_threads = True
    server.asked, server.failure = [], None
    value = served("Is it {{message}}?", rollout="ro_1", stage=0.5, role="candidate", assignment="payload.signature")
    metadata = {"assignment": "payload.signature", "lease_expires_at": LEASE}
    server.flag = {
        "key": "triage",
        "reason": "SPLIT",
        "variant": value["variant"],
        "metadata": metadata,
        "value": value,
    }
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    api.clear_providers()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def detent(flags):
    with Client(flags.url, "key") as client:
        yield client


@pytest.mark.parametrize("kind", [DetentProvider, DetentBulkProvider])
def test_a_flag_s_prompt_is_filled_in_reported_and_counted_where_the_server_does_not(flags, detent, kind) -> None:
    api.set_provider_and_wait(kind(detent, flags.url, "key"))
    client = api.get_client()
    client.add_hooks([ExposureHook(detent)])
    context = EvaluationContext("ann")
    for _ in range(2):
        flag = client.get_object_details("triage", DEFAULT, context)
    assert (flag.error_code, flag.reason) == (None, Reason.SPLIT)
    with flag_prompt(detent, flag, unit="ann", message="slow") as p:
        p.record("billing")
    assert (p.messages[-1]["content"], p.model["name"]) == ("Is it slow?", "small")
    client.track("solved", context, TrackingEventDetails(0.5, {"assignment": flag.flag_metadata["assignment"]}))
    assert detent.flush()
    paths = [path for path, _ in flags.asked]
    events = [event for path, said in flags.asked if path == "/v1/feedback" for event in said]
    windows = [window for path, said in flags.asked if path == "/v1/exposures" for window in said["windows"]]
    is_bulk = kind is DetentBulkProvider  # its flags' tokens are as old as its answer
    assert [(event.get("variant"), event.get("assignment")) for event in events] == [
        ("v_champion", None) if is_bulk else (None, "payload.signature"),
        (None, "payload.signature"),
    ]
    assert events[1]["score"] == 0.5
    assert paths.count("/ofrep/v1/evaluate/flags") == (1 if is_bulk else 0)
    assert [(window["rollout"], window["exposed"]) for window in windows] == ([("ro_1", 2)] if is_bulk else [])


@pytest.mark.parametrize("kind", [DetentProvider, DetentBulkProvider])
def test_the_default_is_served_for_a_family_that_is_not_there(flags, detent, kind) -> None:
    api.set_provider_and_wait(kind(detent, flags.url, "key"))
    flag = api.get_client().get_object_details("nope", DEFAULT, EvaluationContext("ann"))
    assert flag.error_code is ErrorCode.FLAG_NOT_FOUND
    p = flag_prompt(detent, flag, unit="ann", message="slow")
    assert (p.messages, p.variant) == ([{"role": "user", "content": "Mine: slow"}], None)


@pytest.mark.parametrize(
    ("role", "lease", "served_still"),
    [
        pytest.param("champion", None, True, id="a champion"),
        pytest.param("champion", LEASE, True, id="a rollout's champion, in no arm"),
        pytest.param("candidate", LEASE, False, id="no candidate"),
    ],
)
@pytest.mark.parametrize("failure", [500, 503, 429])
def test_while_the_server_fails_the_last_champion_of_a_bulk_evaluation_is_served(
    flags, detent, failure, role, lease, served_still
) -> None:
    flags.flag["value"]["role"] = role
    flags.flag["metadata"]["lease_expires_at"] = lease
    api.set_provider_and_wait(DetentBulkProvider(detent, flags.url, "key", max_age=0.0))
    client, context = api.get_client(), EvaluationContext("ann")
    assert client.get_object_details("triage", DEFAULT, context).value["role"] == role
    flags.failure = failure
    for _ in range(2):
        flag = client.get_object_details("triage", DEFAULT, context)
        assert flag.value.get("role") == (role if served_still else None)
    if lease is not None and served_still:
        assert (flag.value["rollout"], flag.flag_metadata.get("assignment")) == (None, None)
    flags.failure = None
    assert client.get_object_details("triage", DEFAULT, context).value["rollout"] == "ro_1"


@pytest.mark.parametrize(("max_age", "units", "n_asked"), [(0.0, ["ann", "cand", "bob"], 3), (30.0, ["bob", "eve"], 1)])
def test_while_the_server_fails_each_unit_gets_the_last_champion_and_few_of_them_ask(
    flags, detent, max_age, units, n_asked
) -> None:
    api.set_provider_and_wait(DetentBulkProvider(detent, flags.url, "key", max_age=max_age))
    client, candidate = api.get_client(), flags.flag
    value = {**candidate["value"], "role": "champion", "assignment": "ann's"}
    champion = {**candidate, "value": value}
    candidate["value"] |= {"variant": "v_candidate"}
    candidate["variant"] = "v_candidate"
    for flags.flag, unit in ((champion, "ann"), (candidate, "cand")):
        assert client.get_object_details("triage", DEFAULT, EvaluationContext(unit)).variant == flags.flag["variant"]
    flags.failure, n_before = 503, len(flags.asked)
    for unit in units:
        flag = client.get_object_details("triage", DEFAULT, EvaluationContext(unit))
        assert (flag.variant, flag.reason, flag.value["rollout"]) == ("v_champion", Reason.DEFAULT, None)
        assert "assignment" not in {**flag.value, **flag.flag_metadata}
    assert [path for path, _ in flags.asked[n_before:]].count("/ofrep/v1/evaluate/flags") == n_asked
