"""Problem documents come back to the command line as the errors they were."""

from __future__ import annotations

import httpx
import pytest

from optimizer.core.base import errors
from optimizer.core.base.errors import DetentError, InvalidInput
from optimizer.runtime.api_client import ApiClient, error_of, problem


@pytest.mark.parametrize(
    ("slug", "kind"),
    [
        ("gate-not-met", errors.GateNotMet),
        ("budget-too-small", errors.BudgetTooSmall),
        ("not-found", errors.NotFound),
        ("conflict", errors.Conflict),
        ("invalid-input", errors.InvalidInput),
        ("model-failed", errors.ModelFailed),
        ("something-new", DetentError),
    ],
)
def test_the_type_of_a_problem_names_the_error(slug: str, kind: type[DetentError]) -> None:
    told = {"title": "T", "status": 409, "detail": "Because.", "gates": [1]}
    document = {"type": f"https://docs.example/problems/{slug}", **told}
    error = problem(httpx.Response(409, json=document))
    assert type(error) is kind
    assert error.detail == "Because."
    assert error.members == {"gates": [1]}


@pytest.mark.parametrize(
    ("slug", "member"), [("busy", "said"), ("busy", "passes"), ("invalid-input", "faults"), ("model-failed", "kind")]
)
def test_an_error_that_came_back_can_be_read_as_any_other_of_its_class(slug: str, member: str) -> None:
    error = error_of({"type": f"/problems/{slug}", "detail": "Because."})
    assert getattr(error, member) == getattr(type(error)("Because."), member)


def test_a_missing_key_says_where_the_command_line_takes_it_from() -> None:
    error = problem(httpx.Response(401, json={"type": "not-authenticated", "detail": "A key is needed."}))
    assert "DETENT_API_KEY" in error.detail


def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same() -> None:
    assert "502" in problem(httpx.Response(502, text="<html>")).detail


@pytest.mark.parametrize(
    "url",
    [
        "detent.example.com",
        "ftp://detent.example.com",
        "http://[::1",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "https://detent..example.com",
        "https://detent\n.example.com",
        "https://\u2100.example.com",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_as_such(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"is no address of a server\."):
        ApiClient.at(url, None)


@pytest.mark.parametrize("url", ["http://[::1]:8000", "http://127.0.0.1:8000/", "https://b\u00fccher.example.com"])
def test_an_address_may_be_a_number_or_have_a_name_of_any_script(url: str) -> None:
    assert ApiClient.at(url, None).url == url.rstrip("/")
