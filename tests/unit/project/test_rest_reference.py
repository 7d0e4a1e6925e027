"""Each route says what it does, on its page and in docs/reference/rest.md."""

from __future__ import annotations

from tests.rows.answer_schemas import openapi_document


def test_the_page_of_the_routes_says_in_a_sentence_what_each_does() -> None:
    paths = openapi_document()["paths"]
    told = {
        f"{method} {path}": operation["summary"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert told["get /v1/families/{family}/prompt"].startswith("The prompt that this unit gets now")
    assert {route for route, summary in told.items() if len(summary.split()) < 3} == set()
    assert not any(summary.endswith(".") for summary in told.values())
