"""Every error answer has one shape, and every problem is explained."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from api.http import problems
from optimizer.core.base import errors
from tests.worlds.api_world import World, make_home, serving


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The form of every error answer: RFC 9457 with a type of ours, a sentence,
    and the id under which the log has it.
    """
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"/problems/{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"].endswith((".", "?")) or "\n" in document["detail"]
    assert document["instance"].startswith("/")
    assert document["request_id"] == answer.headers["x-request-id"]
    assert status not in (400, 422) or document["errors"], "validation names every fault with a JSON pointer"
    for fault in document.get("errors", ()):
        assert fault["pointer"] == "" or fault["pointer"].startswith("/")
        assert fault["detail"]
    return document


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(make_home(tmp_path_factory.mktemp("home")), raise_faults=False) as running:
        yield running


JSON = {"content-type": "application/json"}
OF_FAMILY, FEEDBACK = "/v1/families/triage", "/v1/feedback"
BAD_BODY, INVALID = (400, "malformed-body"), (422, "invalid-input")
FOREIGN_INPUT = {"messages": [{"role": "user", "content": "{{other}}"}]}


def raw(content: bytes) -> dict[str, Any]:
    return {"content": content, "headers": JSON}


def body(**members: Any) -> dict[str, Any]:
    return {"json": members}


CASES = [
    ("unknown-route", "GET", "/v1/nothing", {}, 404, "not-found"),
    ("line-feed-behind-a-route", "GET", "/v1/snapshot%0A", {}, 404, "not-found"),
    ("wrong-method", "DELETE", "/v1/families", {}, 405, "method-not-allowed"),
    ("unknown-family", "GET", "/v1/families/nope/prompt", {}, 404, "not-found"),
    ("unknown-variant", "GET", "/v1/variants/v_0", {}, 404, "not-found"),
    ("unknown-study", "POST", "/v1/studies/st_0/cancel", {}, 404, "not-found"),
    ("unknown-rollout", "POST", "/v1/rollouts/ro_0/advance", body(reason="x"), 404, "not-found"),
    ("unknown-interaction", "GET", "/v1/interactions/in_0", {}, 404, "not-found"),
    ("unknown-query-parameter", "GET", "/v1/families?colour=red", {}, 400, "unknown-parameter"),
    ("unknown-parameter-on-the-hot-route", "GET", f"{OF_FAMILY}/prompt?colour=red", {}, 400, "unknown-parameter"),
    ("two-units", "GET", f"{OF_FAMILY}/prompt?unit=a", {"headers": {"X-Detent-Unit": "b"}}, *INVALID),
    ("empty-unit", "GET", f"{OF_FAMILY}/prompt?unit=", {}, *INVALID),
    ("limit-out-of-range", "GET", f"{FEEDBACK}?limit=0", {}, *INVALID),
    ("time-without-zone", "GET", f"{FEEDBACK}?since=2026-11-20T00:00:00", {}, *INVALID),
    ("no-json", "POST", FEEDBACK, raw(b"{"), *BAD_BODY),
    ("not-utf8", "POST", FEEDBACK, raw(b'"\xff"'), *BAD_BODY),
    ("not-a-number", "POST", FEEDBACK, raw(b'{"score": NaN}'), *BAD_BODY),
    ("deep", "POST", FEEDBACK, raw(b"[" * 40_000), *BAD_BODY),
    ("nul-in-a-name", "POST", f"{OF_FAMILY}/rollouts", raw(b'{"variant": "a\\u0000b"}'), *BAD_BODY),
    ("undeclared-body", "POST", FEEDBACK, {"content": b"{}"}, 415, "unsupported-media-type"),
    ("form-body", "POST", f"{OF_FAMILY}/rollouts", {"data": {"variant": "v"}}, 415, "unsupported-media-type"),
    ("empty-list", "POST", FEEDBACK, {"json": []}, *INVALID),
    ("too-many-events", "POST", FEEDBACK, {"json": [{}] * 1001}, 413, "too-large"),
    ("misspelt-event", "POST", FEEDBACK, body(family="triage", unit="u", sucess=True), *INVALID),
    ("forged-token", "POST", FEEDBACK, body(assignment="e30.AAAA", success=True), *INVALID),
    ("missing-variable", "POST", f"{OF_FAMILY}/render", body(variables={}), *INVALID),
    ("unknown-variable", "POST", f"{OF_FAMILY}/render", body(variables={"text": "a", "x": 1}), *INVALID),
    ("no-body", "POST", f"{OF_FAMILY}/render", {}, *INVALID),
    ("variant-of-nothing", "POST", f"{OF_FAMILY}/variants", body(note="x"), *INVALID),
    ("variant-with-a-foreign-input", "POST", f"{OF_FAMILY}/variants", body(**FOREIGN_INPUT), *INVALID),
    ("override-of-nothing", "PUT", f"{OF_FAMILY}/overrides/u", body(variant="v_0"), 404, "not-found"),
    ("budget-zero", "POST", f"{OF_FAMILY}/studies", body(budget={"calls": 0}), None, None),
    ("aim-of-no-race", "POST", f"{OF_FAMILY}/studies", body(aim="cost", strategy="race"), *INVALID),
    ("proposer-of-nothing", "POST", f"{OF_FAMILY}/studies", body(proposer="big"), *INVALID),
    ("gateway-away", "POST", "/v1/chat/completions", body(model="triage", messages=[]), 503, "gateway-unavailable"),
    ("freeze-of-nothing", "POST", "/v1/freeze", body(family="nobody"), 404, "not-found"),
    ("unit-not-confirmed", "DELETE", "/v1/units/somebody", {}, 409, "refused"),
]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ofrep/v1/evaluate/flags"),
        ("POST", "/ofrep/v1/evaluate/flags/triage"),
        ("GET", "/v1/snapshot"),
        ("POST", "/v1/exposures"),
        ("POST", "/v1/traces"),
        ("POST", "/v1/logs"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/interactions/import"),
        ("GET", "/v1/families/triage/variants/champion/export"),
    ],
)
def test_what_an_application_comes_and_leaves_by_is_there(world: World, method: str, path: str) -> None:
    assert world.client.request(method, path).status_code not in (404, 405, 501)


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "slug"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input_is_answered_with_a_problem_document(world, method, path, options, status, slug):
    answer = world.client.request(method, path, **options)
    if slug is None:
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert status is not None
        assert_problem(answer, status, slug)


def test_validation_lists_every_fault_with_its_pointer(world: World) -> None:
    body = {"variant": 7, "ladder": [0.5, 1.5], "margin": "wide", "colour": "red"}
    document = assert_problem(world.post("/v1/families/triage/rollouts", body), 422, "invalid-input")
    assert {fault["pointer"] for fault in document["errors"]} == {"/variant", "/ladder/1", "/margin", "/colour"}


def test_an_oversized_body_is_refused_before_it_is_read(world: World) -> None:
    declared = {**JSON, "content-length": str(9 * 2**20)}
    assert_problem(world.client.post(FEEDBACK, content=b"{}", headers=declared), 413, "too-large")


def test_a_body_that_hides_its_size_is_refused_once_it_is_too_large(world: World) -> None:
    chunks = (b" " * 2**20 for _ in range(9))
    assert_problem(world.client.post(FEEDBACK, content=chunks, headers=JSON), 413, "too-large")


def test_a_fault_of_the_server_says_nothing_of_its_insides(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(world.shared.store, "read", broken)
    document = assert_problem(world.get("/v1/audit"), 500, "internal-error")
    assert "secret" not in str(document)


def test_a_busy_store_is_503_with_a_time_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise errors.Busy("The store takes no more now. Send again.", retry_after_s=3)

    monkeypatch.setattr(world.shared.store, "read", busy)
    answer = world.get("/v1/audit")
    assert_problem(answer, 503, "busy")
    assert answer.headers["retry-after"] == "3"


def test_a_subclass_without_a_row_answers_like_its_parent() -> None:
    class Odd(errors.Conflict, slug="odd"):
        """Not in the table."""

    assert problems.status_of(Odd("It is odd.")) == 409


def test_members_of_an_error_never_replace_those_of_the_rfc() -> None:
    document = problems.document(errors.Conflict("It is so.", status="queued", study="st_1"))
    assert document["status"] == 409
    assert document["study"] == "st_1"


def _declared() -> set[type[errors.DetentError]]:
    found = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DetentError)}
    found |= {kind for _, kind in inspect.getmembers(problems, inspect.isclass) if issubclass(kind, errors.DetentError)}
    return found - {errors.DetentError}


def test_every_error_class_has_a_status_and_an_explanation() -> None:
    assert _declared() - set(problems.PROBLEMS) == set()


def test_the_type_of_a_problem_can_be_opened(world: World) -> None:
    kind = world.get("/v1/nothing").json()["type"]
    page = world.get(kind)
    assert page.status_code == 200
    assert "does not exist" in page.text


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("POST", "/v1/families/triage/studies", {"strategy": "guess"}, "/strategy"),
        ("POST", "/v1/families/triage/studies", {"strategy": "settings+settings"}, "/strategy"),
        ("GET", "/v1/feedback?cursor=abc", None, "/cursor"),
        ("GET", "/v1/families/triage/variants?cursor=abc", None, "/cursor"),
        ("POST", "/v1/families/triage/rollouts", {"variant": "v_0", "ladder": [0.5, 0.1]}, "/ladder"),
    ],
)
def test_a_fault_is_named_where_it_lies(world: World, method: str, path: str, body: Any, pointer: str) -> None:
    document = assert_problem(world.client.request(method, path, json=body), 422, "invalid-input")
    assert [fault["pointer"] for fault in document["errors"]] == [pointer]


def test_a_long_name_does_not_come_back_whole() -> None:
    error = errors.NotFound("There is no such family.", family="x" * 1_000_000)
    assert len(problems.document(error)["family"]) <= 20_000


def test_a_wrong_method_is_told_all_that_the_path_answers(world: World) -> None:
    answer = world.client.request("PATCH", "/v1/families/triage/schedule")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PUT")
    assert "it answers DELETE, GET, PUT" in answer.json()["detail"]
