"""What an application meets: prompts, outcomes, fallbacks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from detent_client import (
    Assignment,
    AsyncClient,
    InvalidAssignment,
    InvalidInput,
    NeedsServer,
    Unavailable,
    UnknownFamily,
)
from detent_client.server_time import time_text


class NoGzip(httpx.SyncByteStream):
    def __iter__(self):
        yield b"no"


TOKEN = "eyJmYW1pbHkiOiJ0cmlhZ2UifQ.c2lnbmF0dXJl"


def test_a_prompt_is_filled_in_timed_and_reported(client, server) -> None:
    with client.prompt("triage", unit="ann", message="slow") as p:
        assert p.messages == [{"role": "user", "content": "Is it slow?"}]
        assert (p.variant, p.role, p.rollout, p.model["name"]) == ("v_champion", "champion", None, "small")
        p.first_token()
        p.record("technical", input_tokens=7, output_tokens=1, model="small-1", cost_usd=0.001)
    assert client.feedback(p, success=True)
    assert client.flush()
    interaction, outcome = server.events
    assert interaction.pop("latency_ms") >= interaction.pop("time_to_first_token_ms") >= 0
    assert interaction.pop("occurred_at").endswith("Z")
    assert interaction == {
        "id": p.id,
        "family": "triage",
        "variant": "v_champion",
        "unit": "ann",
        "input": {"message": "slow"},
        "output": "technical",
        "model": "small-1",
        "input_tokens": 7,
        "output_tokens": 1,
        "cost_usd": 0.001,
    }
    assert (outcome["interaction"], outcome["success"], outcome["unit"]) == (p.id, True, "ann")
    assert server.n_exposed == 1


def test_an_exception_is_reported_and_goes_on(client, server) -> None:
    with pytest.raises(TimeoutError), client.prompt("triage", unit="ann", message="x"):
        raise TimeoutError("after 30 s")
    with pytest.raises(KeyboardInterrupt), client.prompt("triage", unit="ann", message="x"):
        raise KeyboardInterrupt
    client.flush()
    assert [event["error"] for event in server.events] == ["TimeoutError: after 30 s"]


def test_what_is_recorded_after_an_interrupt_within_the_block_is_reported_at_once(client, server) -> None:
    p = client.prompt("triage", unit="ann", message="x")
    with pytest.raises(KeyboardInterrupt), p, p:  # a block in the block hides the interrupt no more than one
        raise KeyboardInterrupt
    p.record("billing")
    client.flush()
    assert [(event["output"], "latency_ms" in event) for event in server.events] == [("billing", False)]


def test_a_block_of_a_prompt_that_was_reported_before_reports_nothing_more(client) -> None:
    p = client.prompt("triage", unit="ann", message="x")
    p.record("billing")
    with p:
        pass
    assert client.flush()
    assert client.status().events_sent == 1


def test_a_stream_that_its_reader_leaves_is_reported_with_what_had_come_and_without_latency(client, server) -> None:
    def pieces() -> Iterator[str]:
        with client.prompt("triage", unit="ann", message="x") as p:
            p.record("bill")
            yield "bill"
            raise AssertionError("nobody reads on")

    answer = pieces()
    assert next(answer) == "bill"
    answer.close()
    with pytest.raises(asyncio.CancelledError), client.prompt("triage", message="x"):
        raise asyncio.CancelledError
    client.flush()
    left, cancelled = server.events
    assert (left["output"], left["error"]) == ("bill", "client_gone: the answer was left before its end")
    assert (cancelled["error"], [one for one in (left, cancelled) if "latency_ms" in one]) == ("CancelledError: ", [])


def test_a_family_that_keeps_no_texts_sends_none(server, served) -> None:
    server.families["triage"]["privacy"] = {"store": "metadata"}
    server.families["former"] = server.families.pop("triage")  # renamed: what is reported has the name of now
    with server.client() as client:
        p = client.prompt("former", unit="ann", message="secret")
        with contextlib.suppress(ValueError), p:
            p.record("secret", tags={"of": "secret"})
            raise ValueError("secret")
        client.feedback(p, success=False, label="secret", expected={"topic": "secret"})
        client.flush()
    assert "secret" not in json.dumps(server.events)
    assert [event.get("error") for event in server.events] == ["ValueError", None]


@pytest.mark.parametrize("error", [500, "secret"])
def test_of_a_family_that_keeps_no_texts_signals_are_sent_and_no_other_tag(server, error) -> None:
    server.families["triage"]["privacy"] = {"store": "metadata"}
    with server.client() as client:
        p = client.prompt("triage", unit="ann", message="x")
        p.record(error=error)
        assert client.feedback(p, tags={"kept": True, "edited": 0.5, "retried": "secret", "shop": "secret"})
        assert client.flush()
    interaction, outcome = server.events
    assert (interaction["error"], outcome["tags"]) == ("error", {"kept": True, "edited": 0.5})
    assert "secret" not in json.dumps(server.events)


def test_texts_of_a_family_that_was_not_asked_for_stay_here_since_nothing_says_what_it_keeps(server) -> None:
    other = Assignment(family="other", variant="v_other", unit="ann", interaction="in_1")
    with server.client(families=["triage", "new"], fallback={"new": "Own"}) as client:
        for family in ("triage", "new"):  # of the new one the server has no prompt yet
            client.prompt(family, message="x").record("an answer")
        client.feedback(other, success=False, expected={"topic": "secret"})
        assert client.flush()
    assert [event.get("output") for event in server.events] == ["an answer", "an answer", None]
    assert "secret" not in json.dumps(server.events)


def test_an_exception_whose_words_cannot_be_had_or_sent_is_the_application_s_own(client, server) -> None:
    with pytest.raises(RudeError), client.prompt("triage", unit="ann", message="x"):
        raise RudeError
    with pytest.raises(OSError, match="name"), client.prompt("triage", unit="ann", message="x"):
        raise OSError("a name \udcff")
    assert client.flush()
    assert [event["error"] for event in server.events] == ["RudeError", "OSError: a name ?"]


def test_texts_stay_here_also_where_they_were_recorded_before_the_server_said_so(server, stopped, until) -> None:
    server.families["triage"]["privacy"] = {"store": "metadata"}
    signed = base64.urlsafe_b64encode(json.dumps({"k": "1", "family": "triage"}).encode()).decode().rstrip("=")
    server.fault = stopped
    with server.client(fallback={"triage": "{{message}}"}) as client:
        client.prompt("triage", message="secret").record("secret", error="ValueError: secret")
        client.feedback(f"{signed}.signature", success=True, label="secret")
        assert not client.flush(1.0)
        server.fault = lambda request: None
        until(client.flush)
    assert [event.get("error") for event in server.events] == ["ValueError", None]
    assert "secret" not in json.dumps(server.events)


def test_what_is_recorded_after_its_prompt_was_reported_is_dropped_and_counted(client, server, caplog) -> None:
    with client.prompt("triage", unit="ann", message="x") as p:
        p.record("billing")
    p.record("too much", cost_usd=0.1)
    client.flush()
    assert [event.get("output") for event in server.events] == ["billing"]
    assert (client.status().events_dropped, "too much" in caplog.text) == (1, False)
    assert "after its prompt had been reported" in caplog.text


def slow_in(server, method) -> threading.Event:
    """Its answers wait until the event is set."""
    go_on = threading.Event()

    def wait(request) -> None:
        if request.method == method:
            go_on.wait(20)

    server.fault = wait
    return go_on


def test_a_server_that_is_slow_with_its_snapshot_delays_no_event(server) -> None:
    with server.client() as client:
        p = client.prompt("triage", unit="ann", message="x")
        slow = slow_in(server, "GET")
        client.feedback(p, success=True)
        assert client.flush(10)
        slow.set()
    assert len(server.events) == 1


def test_a_server_that_is_slow_with_events_delays_no_withdrawal(server, rollout, until) -> None:
    server.families["triage"]["rollout"] = rollout(1.0)
    with server.client() as client:
        p = client.prompt("triage", unit="ann", message="x")
        assert p.role == "candidate"
        slow = slow_in(server, "POST")
        client.feedback(p, success=True)
        client.flush(0.1)
        del server.families["triage"]["rollout"]
        until(lambda: client.decide("triage", "ann").role == "champion")
        slow.set()


def test_a_prompt_without_a_block_is_reported_when_it_is_recorded(client, server) -> None:
    p = client.prompt("triage", message="x")
    p.record("an answer", latency_ms=12.5)
    client.flush()
    (event,) = server.events
    assert (event["latency_ms"], event["unit"]) == (12.5, f"call:{p.id}")


def test_an_assignment_that_was_kept_takes_an_outcome_in_three_days_from_another_process(server, rollout) -> None:
    server.families["triage"]["rollout"] = rollout(1.0)
    with server.client() as client:
        kept = client.prompt("triage", unit="ann", message="x").assignment
    with server.client() as other:
        other.feedback(kept, score=0.5, source="person", id="mine")
        other.feedback(TOKEN, success=True)
        other.flush()
    first, second = server.events
    assignment = Assignment.from_text(kept)
    assert (assignment.variant, assignment.rollout) == ("v_candidate", "ro_1")
    for name in ("family", "variant", "unit", "rollout", "assigned_at", "interaction"):
        assert first[name] == getattr(assignment, name)
    assert (first["id"], first["score"], first["source"]) == ("mine", 0.5, "person")
    assert second["assignment"] == TOKEN
    assert "unit" not in second


def test_what_is_no_assignment_or_no_outcome_is_refused(client) -> None:
    p = client.prompt("triage", message="x")
    for text in ("", "dca_", "dca_!", p.assignment[:-9], "dca_W10", "dca_e30", "dca_eyJhIjoxfQ"):
        with pytest.raises(InvalidAssignment):
            client.feedback(text, success=True)
    with pytest.raises(ValueError, match="at least one"):
        client.feedback(p)


def test_a_prompt_that_leaves_its_arm_takes_its_exposure_back_and_its_outcome_names_no_variant(server, rollout, caplog):
    server.families["triage"]["rollout"] = rollout(1.0)
    with server.client(refresh=60.0) as client:
        client.prompt("triage", unit="ben", message="x").record("stays")
        for _ in range(2):
            p = client.prompt("triage", unit="ann", message="x")
            p.leave_arm("the call has its own temperature")
            p.leave_arm("the call names a model of its own")
            p.record("leaves")
        client.feedback(p, success=True)
        client.flush()
        assert client.status().exposures_taken_back == 2
    stays, leaves, _, outcome = server.events
    assert (stays["variant"], stays["rollout"], server.n_exposed) == ("v_candidate", "ro_1", 1)
    for event in (leaves, outcome):
        assert (event["family"], event["unit"]) == ("triage", "ann")
        assert event.keys().isdisjoint({"variant", "rollout", "assigned_at"})
    assert outcome["interaction"] == p.id
    assert caplog.text.count("count in no arm (the call has its own temperature)") == 1


def test_a_prompt_that_was_not_counted_takes_no_exposure_back(server) -> None:
    server.families = {}
    with server.client(fallback={"triage": "Own"}) as client:
        p = client.prompt("triage", message="x")
        p.leave_arm("no reason")
        client.flush()
        assert client.status().exposures_taken_back == 0


def test_units_stand_in_their_arms_and_exposures_are_counted_by_arm(server, rollout) -> None:
    server.families["triage"]["rollout"] = rollout(0.5)
    with server.client() as client:
        roles = [client.decide("triage", f"u{n}").role for n in range(200)]
        assert roles == [client.decide("triage", f"u{n}", count=False).role for n in range(200)]
        client.flush()
    assert 70 < roles.count("candidate") < 130
    windows = [json.loads(key)[1] for key in server.windows]
    assert {window["stage"] for window in windows} == {0.5}
    exposed = {}
    for key, n in server.windows.items():
        variant = json.loads(key)[1]["variant"]
        exposed[variant] = exposed.get(variant, 0) + n
    assert exposed == {"v_candidate": roles.count("candidate"), "v_champion": roles.count("champion")}


def test_a_change_is_served_within_the_next_refresh_and_unchanged_bodies_are_not_sent_again(
    client, server, served, until
) -> None:
    assert client.decide("triage").variant.id == "v_champion"
    until(lambda: server.n_asked(status=304) > 2)
    assert server.n_asked(status=200) == 1
    server.families = {"triage": {"champion": served("New {{message}}", id="v_new")}}
    until(lambda: client.decide("triage").variant.id == "v_new")


def test_a_candidate_is_served_no_longer_than_its_lease_by_the_server_s_clock(server, rollout, stopped, until) -> None:
    for ahead_s in (3600.0, -3600.0):
        server.clock_ahead_s = ahead_s
        server.fault = lambda request: None
        server.families["triage"]["rollout"] = rollout(1.0, lease_s=4.0, at=time.time() + ahead_s)
        with server.client() as client:
            assert client.decide("triage", "ann").role == "candidate"
            assert 0 < client.status().families["triage"].lease_s <= 2.0
            server.fault = stopped
            until(lambda: client.decide("triage", "ann").role == "champion")
            assert client.status().families["triage"].lease_s == 0.0


def test_a_lease_that_is_renewed_in_a_header_serves_on_though_no_prompt_is_sent_again(server, rollout, until) -> None:
    server.families["triage"]["rollout"] = rollout(1.0, lease_s=3.0)

    def renewing(request):
        answer = server.answer(request)
        answer.headers["x-detent-leases"] = f"ro_1={time_text(time.time() + 30)}, ro_2={time_text(0)}"
        return answer

    with server.client() as client:
        assert client.decide("triage", "ann").role == "candidate"
        server.fault = renewing
        until(lambda: client.status().families["triage"].lease_s > 20)
        assert server.n_asked(status=200) == 1
        server.fault = lambda request: None
        asked = server.n_asked()
        until(lambda: server.n_asked() > asked + 2)
        assert client.status().families["triage"].lease_s > 20


def test_an_override_comes_first_and_is_counted_in_no_arm(server, served, rollout) -> None:
    hashed = hashlib.sha256(b"pepper\x00ann").hexdigest()
    far = {"variant": "v_third", "until": time_text(time.time() + 60)}
    prompts = {"v_third": served("Third {{message}}", id="v_third", role="candidate")}
    server.families["triage"]["overrides"] = {"salt": "pepper", "units": {hashed: far}, "prompts": prompts}
    server.families["triage"]["rollout"] = rollout(1.0)
    with server.client() as client:
        p = client.prompt("triage", unit="ann", message="x")
        assert (p.variant, p.role, p.rollout) == ("v_third", "candidate", None)
        assert client.prompt("triage", unit="bob", message="x").variant == "v_candidate"
        client.flush()
    assert server.n_exposed == 1


def test_a_client_may_ask_for_some_families_only(server) -> None:
    asked = []

    def look(request):
        asked.append(request.url.query)

    server.fault = look
    with server.client(families=["triage", "other"]) as client:
        client.decide("triage")
    assert asked[0] == b"family=triage,other"


@pytest.mark.parametrize("date", ["", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_answer_without_a_date_that_can_be_serves_no_candidate(server, rollout, date: str) -> None:
    server.families["triage"]["rollout"] = rollout(1.0)

    def dateless(request):
        answer = server.answer(request)
        answer.headers["date"] = date
        return answer

    server.fault = dateless
    with server.client() as client:
        assert client.decide("triage", "ann").role == "champion"
        client.prompt("triage", unit="ann", message="x").record("an answer")


def test_a_policy_goes_through_the_server_and_the_client_says_so(server, served) -> None:
    server.families["cascade"] = {"champion": served("{{message}}", family="cascade", policy={"models": ["a", "b"]})}
    server.families["rules"] = {"champion": served("", family="rules", messages=[], policy={"accept": 0.5})}
    with server.client() as client:
        for family in ("cascade", "rules"):
            with pytest.raises(NeedsServer, match="chat/completions"):
                client.prompt(family, unit="ann", message="x")
    with server.client(fallback={"cascade": "Own {{message}}"}) as client:
        assert client.prompt("cascade", message="x").messages[0]["content"] == "Own x"


def test_a_candidate_that_the_server_alone_carries_out_is_served_to_nobody_here(server, served, rollout) -> None:
    of = rollout(1.0)
    of["candidate"] = {**of["candidate"], "policy": {"tiers": ["small", "large"]}}
    server.families["triage"]["rollout"] = of
    with server.client(fallback={"triage": "Own"}) as client:
        p = client.prompt("triage", unit="ann", message="x")
        p.record("an answer")
        assert (p.variant, p.role, p.rollout) == ("v_champion", "champion", None)
        assert client.flush()
    assert ("rollout" in server.events[0], server.events[0]["variant"]) == (False, "v_champion")


def test_what_the_server_refuses_is_told_once_for_each_reason(client, server, caplog) -> None:
    server.rejects = lambda event: "malformed" if "score" in event else None
    p = client.prompt("triage", unit="ann", message="x")
    for _ in range(2):
        client.feedback(p, score=0.5)
        assert client.flush()
    assert client.status().events_rejected == {"malformed": 2}
    assert caplog.text.count("the server refuses events (malformed)") == 1


def test_without_a_fallback_each_fault_has_its_name(server, stopped) -> None:
    with server.client() as client:
        with pytest.raises(UnknownFamily):
            client.prompt("elsewhere", message="x")
        with pytest.raises(InvalidInput) as error:
            client.prompt("triage", mesage="x")
        assert error.value.pointers == ("/variables/message", "/variables/mesage")
        with pytest.raises(InvalidInput):
            client.prompt("triage", unit="", message="x")
    server.fault = stopped
    with server.client() as client, pytest.raises(Unavailable):
        client.prompt("triage", message="x")


@pytest.mark.parametrize("form", ["path", "snapshot", "texts", "messages", "function"])
def test_where_a_fallback_was_given_nothing_raises(form, server, served, stopped, tmp_path, caplog) -> None:
    said = {"families": {"triage": {"champion": served("Own {{message}}", id="v_kept")}}}
    (tmp_path / "snapshot.json").write_text(json.dumps(said))
    fallback = {
        "path": tmp_path / "snapshot.json",
        "snapshot": said,
        "texts": {"triage": "Own {{message}}"},
        "messages": {"triage": [{"role": "user", "content": "Own {{message}}"}]},
        "function": lambda family, unit: "Own {{message}}" if family == "triage" else None,
    }[form]
    server.fault = stopped
    with caplog.at_level(logging.INFO), server.client(fallback=fallback) as client:
        for unit in ("user-77", None, "", 3, "x" * 600):
            with client.prompt("triage", unit=unit, message="private") as p:
                p.record("an answer")
            assert (p.messages[0]["content"], p.role) == ("Own private", "fallback")
        assert client.prompt("triage").messages[0]["content"] == "Own {{message}}"
        for of, tags in (("no assignment", None), (None, None), (3, None), (p, ["kept"])):
            assert client.feedback(of, success=True, tags=tags) is False
        assert client.feedback(p, success=True) is True
        status = client.status()
        assert (status.n_fallbacks, status.age_s, status.failure) == (6, None, "ConnectError")
        assert (status.events_waiting, status.events_dropped) == (6, 4)
        server.fault = lambda request: None
        client.flush()
    assert all(isinstance(event["unit"], str) and 0 < len(event["unit"]) <= 512 for event in server.events)
    assert {event.get("variant") for event in server.events} == {"v_kept" if form in ("path", "snapshot") else None}
    assert "private" not in caplog.text
    assert "user-77" not in caplog.text


@pytest.mark.parametrize("unit", [77, " ", "77\0"])
def test_a_unit_that_is_none_is_told_as_what_is_wrong(server, caplog, unit) -> None:
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.prompt("triage", unit=unit, message="x").role == "fallback"
    assert "A unit is a text of 1 to 512 characters" in caplog.text
    assert "77" not in caplog.text


class RudeError(Exception):
    def __str__(self) -> str:
        raise ValueError("private")


class Rude:
    def __str__(self) -> str:
        raise OSError("private")

    __repr__ = __str__


def test_a_fallback_answers_for_inputs_that_no_request_could_carry(client, server) -> None:
    circle: list[object] = []
    circle.append(circle)
    with server.client(fallback={"triage": "Own {{message}}"}) as safe:
        for value in (circle, Rude(), {(1, 2): 3}, {"a": Rude()}):
            with pytest.raises(InvalidInput):
                client.prompt("triage", message=value)
            p = safe.prompt("triage", message=value)
            p.record("an answer")
            assert p.messages[0]["content"].startswith("Own ")
        assert safe.prompt("triage", message="half \ud83d").messages[0]["content"] == "Own half ?"
        assert safe.feedback(p) is False
        assert safe.feedback(Assignment.from_text(p.assignment), success=True) is True
        safe.flush()
        status = safe.status()
    assert (status.events_sent, status.events_dropped) == (1, 5)  # four events that are no JSON, one that says nothing


def test_a_fallback_file_has_no_prompt_for_a_family_that_the_server_alone_fills_in(server, served, tmp_path) -> None:
    said = {"families": {"rules": {"champion": served("", family="rules", messages=[], policy={"accept": 0.5})}}}
    server.families = said["families"]
    with server.client(fallback=said) as client, pytest.raises(NeedsServer, match="render"):
        client.prompt("rules", message="x")


def test_a_fallback_file_that_was_cut_short_is_read_again_when_it_is_needed(server, served, stopped, tmp_path) -> None:
    file = tmp_path / "snapshot.json"
    said = json.dumps({"families": {"triage": {"champion": served("Own {{message}}")}}})
    file.write_text(said[:60])
    with server.client(fallback=file) as client:
        assert client.prompt("triage", message="x").role == "champion"
    server.fault = stopped
    with server.client(fallback=file) as client:
        with pytest.raises(Unavailable):
            client.prompt("triage", message="x")
        file.write_text(said)
        assert client.prompt("triage", message="x").role == "fallback"


def test_a_fallback_file_that_is_missing_is_told_once(server, stopped, tmp_path, caplog) -> None:
    server.fault = stopped
    with server.client(fallback=tmp_path / "none.json") as client:
        for _ in range(3):
            with pytest.raises(Unavailable):
                client.prompt("triage", message="x")
    assert caplog.text.count("cannot be used (FileNotFoundError)") == 1


def test_a_fallback_is_counted_by_the_server_s_clock_or_not_at_all(server, served, stopped, until) -> None:
    server.clock_ahead_s, server.fault = 3600.0, stopped
    said = {"families": {"triage": {"champion": served("Own", id="v_kept")}}}
    with server.client(fallback=said, max_stale=0.0) as client:
        client.prompt("triage", message="x").leave_arm("no reason")
        status = client.status()
        assert (status.exposures_waiting, status.exposures_taken_back) == (0, 0)
        server.fault = lambda request: None
        until(lambda: client.status().age_s is not None)
        assert client.prompt("triage", message="x").role == "fallback"
        assert client.flush()
    assert server.n_exposed == 1
    assert [json.loads(key)[1]["from"] > time_text(time.time() + 3000) for key in server.windows] == [True]


def test_a_mapping_that_holds_no_prompts_is_a_mistake_that_is_told_at_once(server) -> None:
    for wrong in ({"triage": 3}, {"triage": []}, {"triage": [{"role": "user"}]}, {"families": 3}):
        with pytest.raises(ValueError, match=r".*"):
            server.client(fallback=wrong)


def test_a_snapshot_that_is_too_old_is_served_no_more(server, stopped, until) -> None:
    with server.client(fallback={"triage": "Own"}, max_stale=0.3) as client:
        assert client.decide("triage").role == "champion"
        server.fault = stopped
        until(lambda: client.decide("triage").role == "fallback")
        assert client.status().age_s > 0.3
        server.fault = lambda request: None
        until(lambda: client.decide("triage").role == "champion")


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda r: httpx.Response(500), id="500"),
        pytest.param(lambda r: httpx.Response(401), id="401"),
        pytest.param(lambda r: httpx.Response(302, headers={"location": "/login"}), id="another place"),
        pytest.param(lambda r: httpx.Response(200, text="<html>Sign in"), id="a page"),
        pytest.param(lambda r: httpx.Response(200, json={"families": {"triage": {"champion": 1}}}), id="other JSON"),
        pytest.param(lambda r: httpx.Response(200, json=[{"accepted": True}]), id="a list"),
        pytest.param(lambda r: httpx.Response(200, json={"accepted": "all"}), id="a word"),
        pytest.param(lambda r: httpx.Response(200, json={"accepted": 1, "rejected": 5}), id="a number"),
        pytest.param(lambda r: httpx.Response(200, json={"accepted": 1, "in_no_arm": None}), id="nothing"),
        pytest.param(
            lambda r: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=NoGzip()), id="no gzip"
        ),
        pytest.param(lambda r: httpx.Response(304), id="304 to a stranger"),
    ],
)
def test_a_server_that_lies_changes_nothing_and_loses_no_event(lie, server, until) -> None:
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.prompt("triage", unit="ann", message="x").role == "champion"
        server.fault = lie if lie(None).status_code != 304 else lambda r: httpx.Response(503)
        with client.prompt("triage", unit="ann", message="x") as p:
            p.record("an answer")
        assert not client.flush(0.2)
        assert client.prompt("triage", unit="ann", message="x").role == "champion"
        server.fault = lambda request: None
        until(lambda: client.flush(1))
    assert [event["id"] for event in server.events] == [p.id]
    server.fault = lie
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.prompt("triage", message="x").role == "fallback"


def test_counts_of_a_family_that_the_key_is_not_for_hold_up_no_others(server, served) -> None:
    def out_of_scope(request: httpx.Request) -> httpx.Response | None:
        is_hidden = request.url.path == "/v1/exposures" and b'"hidden"' in request.content
        return httpx.Response(403) if is_hidden else None

    server.fault = out_of_scope
    fallback = {"families": {"hidden": {"champion": served("Own", family="hidden", id="v_kept")}}}
    with server.client(fallback=fallback) as client:
        assert client.prompt("hidden", unit="ann", message="x").variant == "v_kept"
        client.prompt("triage", unit="ann", message="x").record("an answer")
        assert client.flush()
        status = client.status()
    assert (server.n_exposed, status.exposures_dropped, status.exposures_waiting) == (1, 1, 0)
    assert [event["family"] for event in server.events] == ["triage"]


def test_what_cannot_be_sent_is_told_once_and_its_reason_is_in_the_status(server, caplog) -> None:
    server.fault = lambda request: httpx.Response(403) if request.url.path == "/v1/feedback" else None
    with server.client() as client, caplog.at_level(logging.INFO):
        client.prompt("triage", unit="ann", message="x").record("an answer")
        for _ in range(3):
            assert not client.flush()
        status = client.status()
        assert (status.failure, status.events_waiting) == ("status 403", 1)
        server.fault = lambda request: None
        assert client.flush()
        assert client.status().failure is None
    assert caplog.text.count("cannot be sent (status 403)") == 1


def test_what_a_closed_client_is_given_is_counted_as_dropped_in_a_forked_child_too(server) -> None:
    client = server.client()
    client.prompt("triage", unit="ann", message="x")
    client.close()
    for n in (1, 2):
        client.prompt("triage", unit="ann", message="x").record("an answer")
        status = client.status()
        assert (status.exposures_dropped, status.events_dropped) == (1, 1), n
        assert (status.exposures_waiting, status.events_waiting) == (0, 0)
        client._session.background.reset()  # as a fork does


def test_no_call_waits_longer_for_a_slow_server_than_it_was_told(server) -> None:
    goes_on = slow_in(server, "GET")
    client = server.client(fallback={"triage": "Own"}, timeout=0.2)
    with ThreadPoolExecutor(20) as pool:
        roles = {p.role for p in pool.map(lambda n: client.prompt("triage", unit=f"u{n}"), range(100))}
    assert roles == {"fallback"}, "and the server has answered nobody yet"
    goes_on.set()
    client.close(0.0)


def test_an_older_answer_that_comes_later_does_not_replace_a_newer_one(server, served, until) -> None:
    numbers, is_asked, goes_on = itertools.count(1), threading.Event(), threading.Event()

    def fault(request: httpx.Request) -> httpx.Response:
        n = next(numbers)
        if n not in (2, 3):
            return httpx.Response(503)
        answer = server.answer(request)
        if n == 2:
            server.families = {"triage": {"champion": served("New {{message}}", id="v_new")}}
            is_asked.set()
            goes_on.wait(20)
        return answer

    server.fault = fault
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.prompt("triage").role == "fallback"
        assert is_asked.wait(20)
        client.flush(0.5)  # would look at the server itself
        goes_on.set()
        until(lambda: client.status().age_s is not None and client.status().failure)
        assert client.decide("triage", count=False).variant.id == "v_new"


def test_threads_share_one_client_and_lose_no_count(client, server) -> None:
    def one(n: int) -> None:
        with client.prompt("triage", unit=f"u{n}", message="x") as p:
            p.record("y")
        client.feedback(p, success=True)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(1000)))
    assert client.flush(20)
    assert (len(server.events), server.n_exposed) == (2000, 1000)
    status = client.status()
    assert (status.events_sent, status.events_waiting, status.events_dropped) == (2000, 0, 0)


def test_a_thousand_threads_share_one_client_and_no_prompt_asks_the_server(server) -> None:
    with server.client(refresh=3600.0) as client:
        begin = threading.Barrier(1000)

        def user(n: int) -> None:
            begin.wait()
            for _ in range(5):
                (message,) = client.prompt("triage", unit=f"u{n}", message="x").messages
                assert message == {"role": "user", "content": "Is it x?"}

        with ThreadPoolExecutor(1000) as pool:
            list(pool.map(user, range(1000)))
        assert client.flush(20)
    assert (server.n_asked("/v1/snapshot"), server.n_exposed) == (1, 5000)
    assert {path for path, _ in server.requests} == {"/v1/snapshot", "/v1/exposures"}
    assert len(server.requests) < 100  # as many as seconds passed, not as prompts


def test_a_client_on_asyncio_does_the_same(server) -> None:
    async def main() -> None:
        async with server.client(AsyncClient) as client:
            async with client.prompt("triage", unit="ann", message="x") as p:
                p.record("y")
            other = await client.prompt("triage", unit="ann", message="z")
            assert other.messages[0]["content"] == "Is it z?"
            assert (await client.decide("triage")).variant.id == "v_champion"
            with pytest.raises(asyncio.CancelledError):
                async with client.prompt("triage", unit="ann", message="x"):
                    raise asyncio.CancelledError
            client.feedback(p, success=True)
            assert await client.flush()
            assert client.status().events_sent == 3

    asyncio.run(main())
    assert [event.get("error") for event in server.events] == [None, "CancelledError: ", None]
    assert server.n_exposed == 4


def test_a_slow_server_does_not_hold_up_an_event_loop(server) -> None:
    server.fault = lambda request: time.sleep(0.4)

    async def main() -> int:
        n_turns = 0

        async def count() -> None:
            nonlocal n_turns
            while True:
                await asyncio.sleep(0.01)
                n_turns += 1

        counting = asyncio.create_task(count())
        client = server.client(AsyncClient, timeout=0.3, fallback={"triage": "Own"})
        await client.prompt("triage")
        counting.cancel()
        await client.aclose(0.0)
        return n_turns

    assert asyncio.run(main()) > 2


def test_a_first_prompt_on_asyncio_needs_no_thread_of_the_loop_s_own(server) -> None:
    server.fault = lambda request: time.sleep(0.1)

    async def main() -> str:
        loop, is_over = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, is_over.wait, 20)
        try:
            client = server.client(AsyncClient, timeout=20.0)
            return (await asyncio.wait_for(client.decide("triage"), 10)).role
        finally:
            is_over.set()
            await busy
            await client.aclose()

    assert asyncio.run(main()) == "champion"
