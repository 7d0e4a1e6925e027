"""The pages of requests and reviews: what is found, what of the sealed holdout is never shown, and how a question about
an answer is put and answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from optimizer.core.dataset.examples import make_example
from optimizer.jobs.feedback.read_events import FindInteractionsRequest, find_interactions
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.dashboard_visitor import OWN_PAGE, context_of, form_of_act, pressed, queries_of, told_at, visitor

N_PLAIN = 120


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Requests of a family, newest last: many that went well, and of those below one each; one question is sealed."""
    with serving(make_home(tmp_path_factory.mktemp("home"), limits={"events_per_minute": 1_000_000})) as world:
        for ids in (range(begin, begin + 30) for begin in range(0, N_PLAIN, 30)):  # received at four times
            world.post("/v1/feedback", [event(f"in_{i}", f"plain {i}", unit=f"u{i % 3}") for i in ids])
        world.post("/v1/feedback", event("in_failed", "a slow question", error="the model took too long"))
        world.post(
            "/v1/feedback",
            event("in_low", "an odd question", output="Technicál", tags={"not_asked": {"largest": 0.0123}}),
        )
        world.post("/v1/feedback", {"interaction": "in_low", "family": "triage", "score": 0.2, "label": "odd"})
        world.post("/v1/feedback", event("in_sealed", "a Sealed  question", conversation="c1", tags={"note": "sealed"}))
        world.post("/v1/feedback", event("in_open", "an open question", conversation="c1"))
        world.post("/v1/feedback", {"interaction": "in_sealed", "family": "triage", "expected": {"topic": "billing"}})
        seal(world, "a sealed question")
        for role in ("read", "read-texts", "operate"):
            world.add_key(role, role, secret=f"secret-{role}")
        world.add_key("boss", "admin", secret="secret-admin")
        world.client.headers["Authorization"] = "Bearer secret-admin"
        yield world


def event(id: str, text: str, **more: Any) -> dict[str, Any]:
    parts = [{"tier": 0, "model": "small", "purpose": "answer", "taken": False, "confidence": 0.4, "input_tokens": 17}]
    parts += [{"tier": 1, "model": "large", "purpose": "answer", "taken": True, "output": text}]
    about = {"id": id, "family": "triage", "unit": "someone", "input": {"text": text}, "output": "billing"}
    return {**about, "latency_ms": 5.0, "parts": parts, **more}


def seal(world: World, text: str) -> None:
    drawn = make_example(
        family="triage",
        input={"text": text},
        expected={"topic": "billing"},
        created_at=world.shared.clock.now(),
        origin="curated",
    )
    world.shared.store.write(lambda tx: world.shared.store.examples.add(tx, [replace(drawn, split="holdout")]))


def listed(page: str) -> list[str]:
    return re.findall(r'dashboard/requests/triage/([^"?]+)">', page)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"outcome": "failed"}, ["in_failed"]),
        ({"score": "0.3"}, ["in_low"]),
        ({"text": "OPEN"}, ["in_open"]),
        ({"text": "took too"}, ["in_failed"]),
        ({"text": "technic"}, ["in_low"]),
        ({"text": "text"}, []),  # the name of the input, which stands in every one
        ({"text": "sealed"}, []),  # else the list would tell what the holdout asks
        ({"text": "on"}, ["in_open", "in_low", "in_failed"]),  # in the sealed question, too, and in Python's None
        ({"variant": "v_none"}, []),
        ({"family": "triage", "outcome": "failed", "text": "open"}, []),
    ],
    ids=str,
)
def test_requests_are_found_by_what_is_known_of_them(world: World, asked: Mapping[str, str], ids: list[str]) -> None:
    client = visitor(world, "secret-read-texts")
    assert listed(client.get("/dashboard/requests", params={"window": "1h", **asked}).text) == ids


def test_the_list_shows_the_lowest_score_of_the_feedback_on_each_with_one_more_query(world: World) -> None:
    """The one that a list of those scored at most so much goes by."""
    for outcome in ({"score": 0.9}, {"score": 0.7, "success": False}, {"success": True}):
        world.post("/v1/feedback", {"interaction": "in_2", "family": "triage", **outcome})
    client = visitor(world, "secret-read")
    for ask, scores in (
        ({"score": "0.3"}, ["0.200"]),
        ({"score": "0.8"}, ["0.200", "0.700"]),
        ({"outcome": "failed"}, ["–"]),
    ):
        page = client.get("/dashboard/requests", params={"window": "1h", **ask}).text
        assert re.findall(r'data-column="Lowest score">([^<]*)<', page) == scores
    found = partial(find_interactions, context_of(world))
    assert queries_of(lambda: found(FindInteractionsRequest(limit=2))) == queries_of(
        lambda: found(FindInteractionsRequest(limit=100))
    )


def test_all_requests_of_a_window_are_listed_once_the_newest_first(world: World) -> None:
    client, place, ids = visitor(world, "secret-read-texts"), "/dashboard/requests", list[str]()
    while place:
        page = client.get(place).text
        ids += listed(page)
        older = re.search(r'href="\.\./(dashboard/requests\?[^"]*cursor=[^"]*)"', page)
        place = f"/{older[1].replace('&amp;', '&')}" if older else ""
    assert ids[:2] == ["in_open", "in_sealed"]
    assert len(ids) == len(set(ids)) == N_PLAIN + 4


def test_who_may_read_no_text_opens_a_request_and_sees_its_figures_alone(world: World) -> None:
    client = visitor(world, "secret-read")
    for place in ("/dashboard/requests?outcome=answered", "/dashboard/conversation?conversation=c1"):
        assert "/requests/triage/in_open" in client.get(place).text, place
    page = client.get("/dashboard/requests/triage/in_low").text
    figures = ("5 ms", "not taken", "0.400", "17 +", "large", "score 0.200", "Its texts are not shown to this key;")
    assert [figure for figure in figures if figure not in page] == []
    texts = ("an odd question", "Technicál", ", odd", "not_asked", "Make an example")
    assert [text for text in texts if text in page] == []
    headers = {"Authorization": "Bearer secret-read"}
    answer = world.get("/v1/interactions/in_low", headers=headers).json()
    assert (answer["input"], answer["output"], answer["tags"], answer["feedback"][0]["label"]) == (None,) * 4
    assert [set(part) & {"output", "error", "tier"} for part in answer["parts"]] == [{"tier"}, {"tier"}]


def test_a_search_that_finds_nothing_looks_at_some_and_says_how_far(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.adapters.store.repositories.events.MOST_LOOKED_AT", 20)
    found = world.get("/v1/found-interactions?text=nowhere&limit=10").json()
    assert found["items"] == []
    assert found["since"] < found["looked_back_to"] < found["until"]
    further = world.get(f"/v1/found-interactions?text=nowhere&limit=10&cursor={found['next_cursor']}").json()
    assert further["looked_back_to"] < found["looked_back_to"]


def test_a_unit_is_posted_and_only_its_hash_stands_in_the_address(world: World) -> None:
    client = visitor(world, "secret-read-texts")
    form = form_of_act(client, "/dashboard/requests")
    answer = client.post("/dashboard/requests", data={**form, "unit": "u1", "window": "6h"}, headers=OWN_PAGE)
    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked == {"units": [world.shared.hmac_unit("u1")], "window": ["6h"]}
    ids = listed(client.get(answer.headers["location"].removeprefix("..")).text)
    assert sorted(ids) == sorted(f"in_{i}" for i in range(1, N_PLAIN, 3))
    assert client.post("/dashboard/requests", data={**form, "unit": "u1"}).status_code == 403  # of no page


def test_a_text_is_looked_for_only_by_who_may_read_it(world: World) -> None:
    client = visitor(world, "secret-read")
    assert 'name="text"' not in client.get("/dashboard/requests").text
    assert client.get("/dashboard/requests?text=open").status_code == 403


def test_one_request_is_shown_whole(world: World) -> None:
    page = visitor(world, "secret-read-texts").get("/dashboard/requests/triage/in_low").text
    shown = (
        "an odd question",
        "Technicál",
        "not taken",
        "0.400",
        "17 +",
        "large",
        "score 0.200",
        ", odd",
        "largest: would have cost $0.0123",
    )
    assert [text for text in shown if text not in page] == []


def test_what_the_sealed_holdout_asks_is_nowhere_shown_with_its_texts(world: World) -> None:
    client = visitor(world, "secret-admin")
    for place in ("/dashboard/requests/triage/in_sealed", "/dashboard/conversation?conversation=c1"):
        page = client.get(place).text
        assert "its texts are not shown" in page.lower()
        assert "Sealed  question" not in page
        assert "expected" not in page.lower()
        assert "note" not in page
    assert "an open question" in client.get("/dashboard/conversation?conversation=c1").text
    assert "Make an example" not in client.get("/dashboard/requests/triage/in_sealed").text
    offer = "/dashboard/acts/offer?family=triage&interactions=in_sealed"
    assert client.get(offer).status_code == 409
    for path in ("/v1/interactions/in_sealed", "/v1/interactions?family=triage&limit=1000", "/v1/found-interactions"):
        answer = world.get(path).json()
        (one,) = (each for each in answer.get("items", [answer]) if each["id"] == "in_sealed")
        assert (one["sealed"], one["input"], one["output"], one["tags"]) == (True, None, None, {})
    outcomes = world.get("/v1/feedback?family=triage&limit=1000").json()["items"]
    assert [one["expected"] for one in outcomes if one["interaction"] == "in_sealed"] == [None]
    assert [one["label"] for one in outcomes if one["interaction"] == "in_low"] == ["odd"]


def test_a_request_becomes_an_example_by_its_review_and_a_refused_answer_keeps_what_was_typed(world: World) -> None:
    client = visitor(world, "secret-operate")
    for id in ("in_5", "in_open"):
        page = client.get(f"/dashboard/requests/triage/{id}").text
        assert f"/dashboard/acts/offer?family=triage&amp;interactions={id}" in page
        address = f"/dashboard/acts/offer?family=triage&interactions={id}"
        place, notice = told_at(pressed(client, address, reason=f"teaches much: {id}"))
        assert place == f"/dashboard/requests/triage/{id}"
        told = client.get(f"{place}?done={notice}").text
        lead = re.search(
            r'href="[./]*(/dashboard/reviews\?family=triage&amp;skip=\d+)"', told.replace("../dash", "/dash")
        )
        assert lead is not None
        question = client.get(lead[1].replace("&amp;", "&")).text
        assert f"asks for an example of it, since: teaches much: {id}. Say what should have been answered" in question
        assert "detent golden" not in question
    waiting = world.get("/v1/reviews?status=open").json()["items"]
    n = [one["subject"] for one in waiting].index("in_open")
    id, place = waiting[n]["id"], f"/dashboard/reviews?skip={n}"
    page = client.get(place).text
    assert re.search(rf'data-key="j" href="[^"]*skip={(n + 1) % len(waiting)}"', page)
    assert re.search(rf'data-key="k" href="[^"]*skip={(n - 1) % len(waiting)}"', page)
    assert 'value="technical" data-key="2" data-final' in page  # a family with few labels offers them
    form = form_of_act(client, place)
    typed = {**form, "answer": "release", "expected_text": "billig"}
    refused = client.post(f"/dashboard/reviews/{id}", data=typed, headers=OWN_PAGE)
    assert (refused.status_code, "did you mean billing" in refused.text) == (422, True)
    assert f"/dashboard/reviews/{id}" in refused.text
    answered = client.post(f"/dashboard/reviews/{id}", data={**form, "label": "technical"}, headers=OWN_PAGE)
    place, notice = told_at(answered)
    assert place == "/dashboard/reviews"
    assert answered.headers["location"].endswith(f"&skip={n}")
    following = [one["id"] for one in waiting if one["id"] != id][n % (len(waiting) - 1)]
    assert f"/dashboard/reviews/{following}" in client.get(f"{place}?done={notice}&skip={n}").text
    (done,) = world.get("/v1/reviews?status=answered").json()["items"]
    assert (done["id"], done["answer"], done["subject"]) == (id, "release", "in_open")


@pytest.fixture
def questions(tmp_path: Path) -> Iterator[World]:
    """Two questions about answers of a family whose answers are free texts."""
    settings = make_home(tmp_path)
    file = settings.families_dir / "triage" / "family.yaml"
    file.write_text(file.read_text().replace("parser: label, labels: [billing, technical]", "parser: text"))
    with serving(settings) as world:
        reviews, now = world.shared.store.reviews, world.shared.clock.now()
        for n in (1, 2):
            world.post("/v1/feedback", event(f"in_{n}", f"question {n}"))
            about = (f"rv_{n}", "triage", "label_interaction", f"in_{n}", {}, now)
            world.shared.store.write(lambda tx, about=about: reviews.open(tx, *about))  # type: ignore[misc]
        yield world


def test_what_was_typed_to_a_question_that_another_has_answered_stands_in_the_form_of_no_other(
    questions: World,
) -> None:
    client = visitor(questions, None)
    form = {**form_of_act(client, "/dashboard/reviews"), "expected_text": "an <answer> to the first"}
    assert questions.post("/v1/reviews/rv_1/answer", {"answer": "keep_back"}).status_code == 200
    data = {**form, "answer": "release"}
    refused = client.post("/dashboard/reviews/rv_1", data=data, headers=OWN_PAGE)
    assert (refused.status_code, "/dashboard/reviews/rv_2" in refused.text) == (409, True)
    assert '<textarea name="expected_text" rows="2">\n</textarea>' in refused.text
    assert "an &lt;answer&gt; to the first</textarea>" in refused.text


def test_an_answer_that_was_right_and_should_have_been_another_is_refused(questions: World) -> None:
    client = visitor(questions, None)
    typed = {"answer": "release", "as_answered": "1", "expected_text": "another"}
    form = {**form_of_act(client, "/dashboard/reviews"), **typed}
    refused = client.post("/dashboard/reviews/rv_1", data=form, headers=OWN_PAGE)
    assert (refused.status_code, "and not both" in refused.text) == (422, True)
    assert 'name="as_answered" value="1" checked' in refused.text
    assert "another</textarea>" in refused.text
