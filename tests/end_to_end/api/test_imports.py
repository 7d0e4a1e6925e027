"""Many events at once, as lines and as columns."""

from __future__ import annotations

import itertools
import json
from time import monotonic
from typing import Any

import pytest

from optimizer.core.base.errors import Busy
from tests.worlds.api_world import World


def test_lines_are_imported_and_the_bad_ones_named_by_their_number(world: World) -> None:
    lines = [json.dumps({"id": f"in_{i}", "family": "triage", "unit": "u", "output": "billing"}) for i in range(1500)]
    lines[3] = "{broken"
    lines[1400] = json.dumps({"family": "triage", "unit": "u", "outputt": "x"})
    lines.append(json.dumps({"dialog_id": "d", "prompts": [{"text": "x"}]}))
    answer = world.client.post(
        "/v1/interactions/import", content="\n".join(lines), headers={"content-type": "application/x-ndjson"}
    ).json()
    assert answer["accepted"] == 1498
    assert [(one["index"], one["type"]) for one in answer["rejected"]] == [
        (3, "malformed"),
        (1400, "malformed"),
        (1500, "malformed"),
    ]


def test_an_import_in_another_format_is_refused_before_its_lines_are_read(world: World) -> None:
    body = "family,unit,success\ntriage,u1,true\n"
    for type in ("text/csv", "application/xml", "text/csv; charset=utf-8"):
        refused = world.client.post("/v1/interactions/import", content=body, headers={"content-type": type})
        assert (refused.status_code, refused.json()["type"]) == (415, "/problems/unsupported-media-type")
        assert refused.json()["detail"] == (
            f"The body is {type.partition(';')[0]}, and events are read from JSON alone. Send one JSON object per line"
            " as `Content-Type: application/x-ndjson`, or all events as columns as `Content-Type: application/json`."
        )


def test_lines_are_imported_by_each_of_their_types_and_where_none_is_declared(world: World) -> None:
    body = json.dumps({"family": "triage", "unit": "u1", "success": True})
    for type in ("application/json", "application/jsonl", "application/octet-stream", None):
        headers = {} if type is None else {"content-type": type}
        taken = world.client.post("/v1/interactions/import", content=body, headers=headers)
        assert (taken.status_code, taken.json()["accepted"]) == (200, 1), type


def test_a_key_covers_the_family_whose_dialogs_an_import_brings(world: World) -> None:
    body = json.dumps({"id": "in_1", "family": "triage", "unit": "u", "output": "billing"})
    headers = {"content-type": "application/x-ndjson", "idempotency-key": "k1"}
    first, again, other = (
        world.client.post(f"/v1/interactions/import{query}", content=body, headers=headers)
        for query in ("?family=triage", "?family=triage", "")
    )
    assert (first.status_code, first.json()["accepted"], again.json()) == (200, 1, first.json())
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")


def test_columns_that_do_not_fit_are_a_problem_and_more_than_a_minute_may_bring_are_too(world: World) -> None:
    refused = world.client.post("/v1/interactions/import", json={"columns": {"score": [1, 0], "unit": ["u"]}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/columns/unit")
    world.app.state.services.event_windows.limit = 10
    many = world.client.post("/v1/interactions/import", json={"columns": {"score": [1] * 11}})
    assert many.status_code == 413
    assert "more than 10 events, the most that one sender may send in a minute" in many.json()["detail"]


def test_of_an_import_the_first_thousand_rejected_lines_are_named(world: World) -> None:
    lines = "x\n" * 2500 + json.dumps({"id": "in_1", "family": "triage", "unit": "u", "output": "billing"})
    answer = world.client.post(
        "/v1/interactions/import", content=lines, headers={"content-type": "application/x-ndjson"}
    ).json()
    assert (answer["accepted"], len(answer["rejected"]), answer["rejected_more"]) == (1, 1000, 1500)


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "monday"}], ids=["without a key", "with a key"])
def test_an_import_that_breaks_off_says_what_is_stored_and_how_nothing_counts_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    lines = [json.dumps({"family": "triage", "unit": "u", "output": f"{i}"}) for i in range(1500)]
    lines[3] = "{broken"
    store, shared_error = world.app.state.services.store, Busy("Too much waits; nothing was written.", retry_after_s=1)
    awrite, n_writes = store.awrite, itertools.count()

    async def full_after_one(fn: Any, *, rows: int = 1) -> Any:
        if next(n_writes) == 1:
            raise shared_error
        return await awrite(fn, rows=rows)

    def sent(lines: list[str]) -> Any:
        return world.client.post("/v1/interactions/import", content="\n".join(lines), headers=headers)

    monkeypatch.setattr(type(store), "awrite", lambda _, fn, *, rows=1: full_after_one(fn, rows=rows))
    refused = sent(lines)
    told = refused.json()
    assert (refused.status_code, told["type"], refused.headers["retry-after"]) == (503, "/problems/busy", "1")
    assert (told["accepted"], [one["index"] for one in told["rejected"]], told["next_index"]) == (999, [3], 1000)
    assert "first 1,000 lines or rows, 999 events are stored" in told["detail"]
    assert ("same Idempotency-Key" if headers else "from index 1000 on") in told["detail"]
    assert shared_error.detail == "Too much waits; nothing was written."
    assert sent(lines if headers else lines[told["next_index"] :]).status_code == 200
    with store.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM interactions").scalar() == 1499


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "monday"}], ids=["without a key", "with a key"])
def test_an_import_whose_later_dialogs_no_minute_takes_says_what_is_stored_and_to_send_the_rest(
    world: World, headers: dict[str, str]
) -> None:
    prompt = {"text": "How do I vote?", "response_time_ms": 900}
    lines = [json.dumps({"dialog_id": f"d{n}", "user_id": "u", "prompts": [prompt]}) for n in range(1000)]
    lines.append(json.dumps({"dialog_id": "long", "user_id": "u", "prompts": [prompt] * 3}))
    world.app.state.services.event_windows.limit = 1002

    def sent(lines: list[str], **headers: str) -> Any:
        path = "/v1/interactions/import?family=triage"
        return world.client.post(path, content="\n".join(lines), headers=headers)

    refused = sent(lines, **headers)
    assert (refused.status_code, refused.json()["accepted"], refused.json()["next_index"]) == (413, 1000, 1000)
    assert refused.json()["detail"].endswith("Send the lines or rows from index 1000 on, which are another import.")
    world.app.state.services.event_windows._now = lambda: monotonic() + 61
    rest = sent(lines[1000:], **{name: "of the rest" for name in headers})
    assert (rest.status_code, rest.json()["accepted"]) == (200, 3)


def test_dialogs_are_taken_by_the_route_of_imports(world: World) -> None:
    prompts = [{"text": "How do I vote?", "response_time_ms": n} for n in (3200, 900)]
    lines = [json.dumps({"dialog_id": f"d{n}", "user_id": "tg:1", "prompts": prompts}) for n in range(3)]
    body = "\n".join([*lines, json.dumps({"dialog_id": "x", "prompts": [{"text": "y"}]})])
    sent = {"content": body, "headers": {"content-type": "application/x-ndjson"}}
    taken = world.client.post("/v1/interactions/import?family=triage", **sent).json()
    assert taken["accepted"] == 6
    assert [(one["index"], one["type"]) for one in taken["rejected"]] == [(3, "malformed")]
    assert world.client.post("/v1/interactions/import?family=nope", **sent).status_code == 404
    unnamed = world.client.post("/v1/interactions/import", **sent).json()
    assert "?family=" in unnamed["rejected"][0]["detail"]
    world.add_key("app", "feedback", secret="app", families=["triage"])
    sent["headers"] |= {"X-API-Key": "app"}
    asked = [world.client.post(f"/v1/interactions/import?family={name}", **sent) for name in ("triage", "nope")]
    assert [answer.status_code for answer in asked] == [200, 403], "a key learns of no family but its own"


def test_a_key_that_came_with_another_import_is_named_as_it_was_sent(world: World) -> None:
    headers = {"content-type": "application/x-ndjson", "Idempotency-Key": "monday"}
    first, other = (json.dumps({"family": "triage", "unit": "u", "score": score}) for score in (0.5, 0.7))
    assert world.client.post("/v1/interactions/import", content=first, headers=headers).json()["accepted"] == 1
    refused = world.client.post("/v1/interactions/import", content=other, headers=headers)
    assert (refused.status_code, refused.json()["key"]) == (422, "monday")
    assert "from event" not in refused.text


def test_what_an_event_was_refused_for_is_kept_under_its_key(world: World) -> None:
    headers, wrong = {"Idempotency-Key": "k"}, {"family": "triage", "unit": "u", "score": 7}
    assert world.post("/v1/feedback", wrong, headers=headers).status_code == 422
    assert world.post("/v1/feedback", {**wrong, "score": 0.7}, headers=headers).json()["type"].endswith("key-reused")
