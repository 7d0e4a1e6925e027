"""What holds for every request: repeating it changes nothing, and every event is answered for exactly once."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from optimizer.core.base.errors import KeyReused
from optimizer.core.feedback.reported import FIELDS
from tests.examples import n_examples
from tests.rows.ingestion import Installation, temporary_installation, token
from tests.stores import FAMILY
from tests.strategies import json_values, texts

IDS = ("a", "b", "c")
TOKENS = (token("u1"), token("u2"))

sound_events = st.fixed_dictionaries(
    {"id": st.sampled_from(IDS), "assignment": st.sampled_from(TOKENS), "success": st.booleans()},
    optional={
        "output": texts.filter(lambda text: "\x00" not in text),
        "score": st.sampled_from([0, 0.5, 1]),
        "tags": st.just({"plan": "free"}),
    },
)
malformed_events = st.just({"score": 1}) | st.just({"assignment": TOKENS[0], "score": 2}) | st.integers() | st.none()
any_events = st.dictionaries(st.sampled_from(sorted(FIELDS)) | texts, json_values, max_size=6)
requests = st.lists(sound_events | malformed_events, max_size=8)


def state(here: Installation) -> Any:
    with here.store.read() as tx:
        interactions = {id: here.store.events.interaction(tx, id) for id in IDS}
    return here.feedback(), interactions, here.examples(), here.reviews()


@given(requests)
@settings(max_examples=n_examples(8))
def test_ingesting_twice_equals_once(events: list[Any]) -> None:
    with temporary_installation() as here:
        first = here.send(*events)
        before = state(here)
        second = here.send(*events)
        assert state(here) == before
        assert second["accepted"] == 0
        assert second["duplicates"] == first["accepted"] + first["duplicates"]
        assert second["rejected"] == first["rejected"]


@given(requests)
@settings(max_examples=n_examples(8))
def test_every_event_is_accepted_a_duplicate_or_rejected_and_the_first_of_an_id_stays(events: list[Any]) -> None:
    with temporary_installation() as here:
        answer = here.send(*events)
        rejected = {r["index"] for r in answer["rejected"]}
        assert answer["accepted"] + answer["duplicates"] + len(rejected) == len(events)
        assert len(rejected) == len(answer["rejected"])
        firsts: dict[str, dict[str, Any]] = {}
        for index, event in enumerate(events):
            if isinstance(event, dict) and "id" in event:
                first = firsts.setdefault(event["id"], event)
                assert (index in rejected) == (event != first)
        assert {event.id: event.success for event in here.feedback()} == {
            id: first["success"] for id, first in firsts.items()
        }
        assert answer["accepted"] == len(firsts)


@given(requests, requests)
@settings(max_examples=n_examples(6))
def test_a_key_answers_for_one_body_only(events: list[Any], others: list[Any]) -> None:
    with temporary_installation() as here:
        first = here.send(*events, idempotency=("app", "key", json.dumps(events)))
        before = state(here)
        try:
            second = here.send(*others, idempotency=("app", "key", json.dumps(others)))
        except KeyReused:
            assert json.dumps(others) != json.dumps(events)
        else:
            assert json.dumps(others) == json.dumps(events)
            assert second == first
        assert state(here) == before


@given(st.lists(any_events, max_size=4))
@settings(max_examples=n_examples(12))
def test_no_event_whatever_it_holds_breaks_the_others(events: list[Any]) -> None:
    with temporary_installation() as here:
        answer = here.send(*events, {"id": "sound", "family": FAMILY, "unit": "u", "success": True})
        assert len(events) + 1 == answer["accepted"] + answer["duplicates"] + len(answer["rejected"])
        assert "sound" in {event.id for event in here.feedback()} or any(
            r["index"] == len(events) for r in answer["rejected"]
        )
        assert all(r["index"] < len(events) for r in answer["rejected"]) or any(e.get("id") == "sound" for e in events)
