"""The workbench: a text is edited, looked at, tried, saved and sent on its way; nothing is kept unasked, nothing passes
a gate, and the second of two editors is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from threading import Event
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from api.dashboard import visitors
from api.dashboard.rendering import SCRIPTS
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Busy
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.run import ComparisonRun
from tests.clock import until
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.dashboard_visitor import (
    HOSTILE,
    OTHER_PAGES,
    OWN_PAGE,
    Elements,
    Fields,
    pressed,
    table_of,
    told_at,
    visitor,
)
from tests.worlds.seeded_world import SECRET_WORD, seeded


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"operator_per_minute": 1_000_000, "events_per_minute": 1_000_000}
    with serving(make_home(tmp_path_factory.mktemp("home"), limits=limits)) as world:
        seeded(world).add_examples(60)
        yield world


BENCH = "/dashboard/families/triage/workbench"


def edited(client: TestClient, old: str, new: str, place: str = BENCH) -> dict[str, str]:
    """The fields of a page of the workbench after one was changed."""
    page = client.get(place)
    assert page.status_code == 200, page.text
    fields = Fields(page.text).fields
    assert any(old in value for value in fields.values())
    return {name: value.replace(old, new) if name.startswith("content_") else value for name, value in fields.items()}


def press(client: TestClient, button: str, fields: dict[str, str], **changes: str) -> Any:
    return client.post(BENCH, data={**fields, **changes, "do": button}, headers=OWN_PAGE)


def run_in(answer: Any) -> str:
    """The id of the run that a try has led to."""
    return str(urlsplit(answer.headers["location"]).path.rpartition("/")[2])


def n_variants(world: World) -> int:
    with world.shared.store.read() as tx:
        return len(world.shared.store.variants.of_family(tx, "triage"))


def test_a_text_that_nobody_changed_is_the_variant_it_came_from(world: World) -> None:
    client = visitor(world, "secret-operate")
    page = press(client, "preview", Fields(client.get(BENCH).text).fields).text
    assert "Nothing yet." in page
    assert "It is the champion" in page


def test_a_preview_shows_what_was_typed_and_keeps_nothing(world: World) -> None:
    client, before = visitor(world, "secret-operate"), n_variants(world)
    page = press(client, "preview", edited(client, "Is it billing", "Is it about billing"))
    assert page.status_code == 200
    assert re.search(
        r'class="added">\+ [^\n]*Is it(<mark>about </mark>| <mark>about </mark>|<mark> about</mark> )billing', page.text
    )
    assert re.search(
        r"5 examples, 10 calls of embedded:\s+\$0.00 expected, \$0.00 at most. Hard cap: at most 15 calls", page.text
    )
    assert 'name="do" value="try"' in page.text
    wrong = press(client, "preview", edited(client, "{{text}}", "{{txet}}")).text
    assert "{{txet}}</code> is no input of the family" in wrong
    assert 'name="do" value="try"' not in wrong
    refused = press(client, "save", edited(client, "{{text}}", "{{txet}}"))
    assert (refused.status_code, "{{txet}}</textarea>" in refused.text) == (422, True)
    other = press(client, "redraw", edited(client, "Is it billing", "Is it about billing")).text
    assert Fields(other).fields["seed"] == "1"
    assert "Is it about billing" in Fields(other).fields["content_0"]
    assert n_variants(world) == before


def test_a_saved_text_is_a_variant_with_its_note_and_its_block_for_the_file(world: World) -> None:
    client = visitor(world, "secret-operate")
    fields = edited(client, "Is it billing", "Is it, in one word, billing")
    saved = press(client, "save", fields, note="in one word", temperature="0.25", content_new="Thanks.\r\nBye.")
    assert saved.status_code == 303, saved.text
    page = client.get(urljoin(f"http://localhost{BENCH}", saved.headers["location"])).text
    assert "Saved. Nothing is served by it yet." in page
    assert re.search(r"merge into families/triage/family.yaml[\s\S]*description: in one word", page)
    last = world.get("/v1/families/triage/variants?limit=1000").json()["items"][-1]
    assert (last["created_by"], last["note"], last["source"]) == ("key-operate", "in one word", "person")
    assert last["model"]["temperature"] == 0.25
    assert last["messages"][-1] == {"role": "user", "content": "Thanks.\nBye."}
    assert [one["role"] for one in last["messages"]] == ["system", "examples", "user", "user"]
    assert world.champion() != last["variant"]


def test_the_second_of_two_editors_is_told_keeps_the_text_and_saves_beside_the_first(world: World) -> None:
    ann, ben = visitor(world, "secret-operate"), visitor(world, "secret-admin")
    ours, theirs = edited(ann, "Is it billing", "A: Is it billing"), edited(ben, "Is it billing", "B: Is it billing")
    assert press(ben, "save", theirs, note="by the boss").status_code == 303
    told = press(ann, "preview", ours).text
    assert re.search(
        r"key-admin saved <a [^>]*><code class=\"\">v_[0-9a-f]{12}</code></a> on [^(]*\(by the boss\)", told
    )
    refused = press(ann, "save", ours)
    assert (refused.status_code, "after you had looked" in refused.text) == (412, True)
    again = Fields(refused.text).fields
    assert "A: Is it billing" in again["content_0"]
    assert press(ann, "save", again).status_code == 303


def test_a_text_is_tried_beside_the_champion_and_is_on_no_list(world: World) -> None:
    client = visitor(world, "secret-operate")
    fields = edited(client, "Is it billing", "Is it (a first try) billing")
    chosen = [value for name, value in fields.items() if name.startswith("example_")]
    queued = press(client, "try", fields, usd=".5")  # as a field of numbers may send it
    assert queued.status_code == 303, queued.text
    page = client.get(urljoin(f"http://localhost{BENCH}", queued.headers["location"]))
    assert page.status_code == 200
    assert "the worker begins when what was asked before it has ended; no worker runs now" in page.text
    assert "0 of 10" in page.text
    assert 'http-equiv="refresh"' in page.text
    run = world.get(f"/v1/comparisons/{run_in(queued)}").json()
    assert (run["request"]["example_ids"], run["budget"]) == (chosen, {"usd": 0.5, "calls": None, "minutes": None})
    champion, draft = run["request"]["variants"]
    assert champion == world.champion()
    listed = {one["variant"] for one in world.get("/v1/families/triage/variants?limit=1000").json()["items"]}
    assert draft not in listed
    assert "Is it (a first try) billing" in client.get(f"/dashboard/families/triage/variants/{draft}").text
    done = pressed(client, f"/dashboard/acts/cancel-comparison?id={run['id']}")
    assert told_at(done)[0] == f"/dashboard/runs/compare/{run['id']}"
    assert "cancelled" in client.get(f"/dashboard/runs/compare/{run['id']}").text
    page = client.get(f"/dashboard/runs/compare/{run['id']}").text
    kept = client.post(BENCH, data={**Fields(page).fields, "note": "worth keeping", "do": "save"}, headers=OWN_PAGE)
    place, notice = told_at(kept)
    assert place == f"/dashboard/families/triage/variants/{draft}"
    assert "Saved. Nothing is served by it yet." in client.get(f"{place}?done={notice}").text
    last = world.get("/v1/families/triage/variants?limit=1000").json()["items"][-1]
    assert (last["variant"], last["note"]) == (draft, "worth keeping")


def test_what_was_saved_before_the_page_was_opened_is_no_news_and_who_tries_a_text_is_no_warning(world: World) -> None:
    ann, ben = visitor(world, "secret-operate"), visitor(world, "secret-admin")
    assert press(ben, "save", edited(ben, "Is it billing", "before: Is it billing")).status_code == 303
    opened = ann.get(BENCH).text
    assert "look at it before you save yours" not in opened
    assert press(ben, "try", edited(ben, "Is it billing", "tried: Is it billing")).status_code == 303
    told = press(ann, "preview", Fields(opened).fields).text
    assert re.search(r'<p class="soft">key-admin tried <a [^>]*>', told)
    assert "look at it before you save yours" not in told


def test_a_tried_text_is_saved_from_its_run_as_warily_as_from_the_workbench(world: World) -> None:
    ann, ben = visitor(world, "secret-operate"), visitor(world, "secret-admin")
    queued = press(ann, "try", edited(ann, "Is it billing", "A run: Is it billing"))
    theirs = edited(ben, "Is it billing", "meanwhile: Is it billing")
    assert press(ben, "save", theirs, note="theirs").status_code == 303
    run = f"/dashboard/runs/compare/{run_in(queued)}"
    assert pressed(ann, f"/dashboard/acts/cancel-comparison?id={run_in(queued)}").status_code == 303
    page = ann.get(urljoin(f"http://localhost{BENCH}", queued.headers["location"])).text
    assert re.search(r"key-admin saved [^(]*\(theirs\): look at it before you save yours", page)
    form = Fields(page).fields
    assert Fields(ann.get(run).text).fields["expect"] != form["expect"], "who comes from elsewhere knows what is newest"
    refused = press(ann, "save", form)
    assert (refused.status_code, "after you had looked" in refused.text) == (412, True)
    assert "look at it before you save yours" in refused.text
    assert press(ann, "save", Fields(refused.text).fields).status_code == 303


def test_a_try_that_is_refused_keeps_nothing(world: World) -> None:
    client, before = visitor(world, "secret-operate"), n_variants(world)
    fields = edited(client, "Is it billing", "refused: Is it billing")
    unchosen = {name: value for name, value in fields.items() if not name.startswith("example_")}
    refused = press(client, "try", unchosen)
    assert (refused.status_code, refused.text.count("Choose at least one example.")) == (422, 2), refused.text
    same = press(client, "try", Fields(client.get(BENCH).text).fields)
    assert (same.status_code, "It is the champion" in same.text) == (422, True)
    assert n_variants(world) == before


def test_a_button_that_is_pressed_twice_queues_one_comparison(world: World) -> None:
    client = visitor(world, "secret-operate")
    fields = edited(client, "Is it billing", "twice: Is it billing")
    first, second = press(client, "try", fields), press(client, "try", fields)
    assert first.status_code == 303
    assert second.headers["location"] == first.headers["location"]
    other = press(client, "try", {**fields, "content_0": fields["content_0"].replace("twice", "thrice")})
    later = press(client, "try", edited(client, "Is it billing", "twice: Is it billing"))
    assert len({run_in(one) for one in (first, other, later)}) == 3


def test_the_workbench_offers_no_more_than_a_key_may_do(world: World) -> None:
    """Whoever reads texts may type and look; saving and trying are an operator's."""
    assert visitor(world, "secret-read").get(BENCH).status_code == 403
    assert visitor(world, "elsewhere-operate").get(BENCH).status_code in (403, 404)
    reader, before = visitor(world, "secret-read-texts"), n_variants(world)
    fields = edited(reader, "Is it billing", "read: Is it billing")
    page = press(reader, "preview", fields).text
    assert "read: Is it" in page
    assert [value for value in ("try", "save") if f'value="{value}"' in page] == []
    for button in ("try", "save"):
        assert press(reader, button, fields).status_code == 403
    operator = visitor(world, "secret-operate")
    theirs = edited(operator, "Is it billing", "forged: Is it billing")
    for headers in OTHER_PAGES:
        answer = operator.post(BENCH, data={**theirs, "do": "save"}, headers=headers)
        assert answer.status_code == 403, headers
    assert press(operator, "save", {**theirs, "token": "0" * 64}).status_code == 403
    assert n_variants(world) == before
    assert "workbench" not in reader.get("/dashboard").text


def test_an_evaluation_and_a_start_say_first_what_they_take_and_pass_no_gate(world: World) -> None:
    client, variant = visitor(world, "secret-operate"), world.candidate("Is it billing or technical, once more:")
    address = f"family=triage&variant={variant}"
    page = client.get(f"/dashboard/acts/evaluate?{address}").text
    assert re.search(r"are scored: \$0.00 expected, and at most \d+ calls", page)
    queued = pressed(client, f"/dashboard/acts/evaluate?{address}")
    assert queued.status_code == 303, queued.text
    place = urljoin("http://localhost/dashboard/acts/evaluate", queued.headers["location"])
    assert "the worker begins when" in client.get(place).text
    rollout = world.get("/v1/families/triage/rollout").json()
    if rollout["status"] in ("pending", "validating", "approved", "deploying"):
        world.post(f"/v1/rollouts/{rollout['id']}/rollback", {"reason": "make room"})
    own, other = (f"/dashboard/families/triage/variants/{one}" for one in (variant, world.candidate("Another one:")))
    world.post("/v1/freeze", {"reason": "look first"})
    frozen = client.get(own).text
    assert ("No rollout starts while it is frozen" in frozen, "acts/start" in frozen) == (True, False)
    for scope in ({}, {"family": "triage"}):
        world.post("/v1/unfreeze", {**scope, "reason": "make room"})
    assert f"acts/start?family=triage&amp;variant={variant}" in client.get(own).text
    start = client.get(f"/dashboard/acts/start?{address}").text
    assert "The gate has not passed" in start
    form = Fields(start).fields
    refused = client.post("/dashboard/acts/start", data={**form, "confirm": ""}, headers=OWN_PAGE)
    assert (refused.status_code, "The gate has not passed" in refused.text) == (409, True)
    started = client.post("/dashboard/acts/start", data={**form, "confirm": "triage"}, headers=OWN_PAGE)
    assert told_at(started)[0] == "/dashboard/families/triage"
    assert world.get("/v1/families/triage/rollout").json()["candidate"] == variant
    again = client.get(f"/dashboard/acts/start?{address}")
    assert (again.status_code, "has rollout" in again.text) == (409, True)
    id = world.get("/v1/families/triage/rollout").json()["id"]
    for page, says in ((own, "It is the candidate of"), (other, "No other starts before the end of")):
        shown = client.get(page).text
        assert f'{says} <a href="../../../../dashboard/families/triage#rollout">rollout {id}</a>' in shown
        assert "acts/start" not in shown


def test_hostile_text_that_is_typed_stays_text(world: World) -> None:
    client = visitor(world, "secret-operate")
    for i, text in enumerate(HOSTILE):
        fields = Fields(client.get(BENCH).text).fields
        typed = {"content_0": f"{i} {text}", "content_new": f"\n{text}", "note": text, "temperature": text}
        answer = press(client, "preview", fields, **typed)
        assert answer.status_code == 200, answer.text
        shown = Fields(answer.text).fields
        assert (shown["content_0"], shown["note"]) == (f"{i} {text}", text)
        for tag, attributes in Elements(answer.text).seen:
            assert tag not in ("img", "iframe", "object", "base", "svg"), text
            assert tag != "script" or (attributes.get("src") or "").rpartition("dashboard/files/")[2] in SCRIPTS, text
            assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        assert str(99991 * 99989) not in answer.text


def compared(world: World, id: str, tried: str, **changes: Any) -> None:
    """A comparison of the champion with a variant that has ended."""
    now = world.shared.clock.now()
    ended: dict[str, Any] = {
        "result": {"n_calls": 1, "usd": 0.0, "revisions": {}, "stopped": None},
        "status": "finished",
        "finished_at": now,
    }
    run = ComparisonRun(
        id=id,
        family="triage",
        request={"variants": [world.champion(), tried], "example_ids": ["ex_1"], "is_priced": True},
        budget=Budget(calls=1),
        n=1,
        created_by="ann",
        created_at=now,
        **(ended | changes),
    )
    world.shared.store.write(lambda tx: world.shared.store.runs.add(tx, run))


def grid_of(*columns: dict[str, Any], with_texts: bool = True, spent_usd: float | None = 0.0) -> bytes:
    """As the process that reads one writes it."""
    unscored = {"n_scored": 0, "n_errors": 1, "score": None, "usd_per_answer": 0.0, "p95_ms": None}
    texts = {"input": {"text": "My card"}, "expected": {"topic": "billing"}}
    row = {"example": "ex_1", "answers": [], **(texts if with_texts else dict.fromkeys(texts))}
    counts = {"n": 1, "n_gone": 0, "n_different": 0, "n_calls": 1, "spent_usd": spent_usd}
    variants = [{**unscored, "letter": letter, **column} for letter, column in zip("AB", columns, strict=False)]
    return canonical_json({"family": "triage", "split": "dev", **counts, "variants": variants, "rows": [row]})


def test_a_comparison_whose_price_is_not_known_shows_none_of_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpriced = grid_of({"variant": world.champion()}, spent_usd=None)
    monkeypatch.setattr(visitors, "answer_apart", lambda *_, **by: unpriced)
    compared(world, "cp_unpriced", world.champion())
    page = visitor(world, "secret-operate").get("/dashboard/runs/compare/cp_unpriced").text
    assert ([row[6] for row in table_of(page, "scores")], "price not known" in page) == (["–"], True)


def test_why_a_comparison_failed_stands_in_no_refusal_for_a_key_that_may_read_no_texts(world: World) -> None:
    compared(world, "cp_failed", world.champion(), status="failed", error=f"the model said {SECRET_WORD}", result=None)
    for key, sees in (("secret-read-texts", True), ("secret-read", False)):
        run = world.get("/v1/comparisons/cp_failed", headers={"Authorization": f"Bearer {key}"})
        assert (SECRET_WORD in run.text) is sees
        grid = world.get("/v1/comparisons/cp_failed/grid", headers={"Authorization": f"Bearer {key}"})
        assert (grid.status_code, SECRET_WORD in grid.text) == (409, False)


def test_a_comparison_of_a_retired_family_opens_without_its_answers(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        compared(world, "cp_1", world.candidate())
        assert world.client.delete("/v1/families/triage?confirm=triage").status_code == 200
        client = visitor(world, None)
        page = client.get("/dashboard/runs/compare/cp_1")
        assert (page.status_code, "There is no family" in page.text) == (200, True)
        assert "triage" in client.get("/dashboard/audit").text
        for address in ("/dashboard/runs/compare/cp_1", "/dashboard/audit"):
            assert 'families/triage"' not in client.get(address).text, "its page is gone"


@pytest.mark.parametrize("is_running", [False, True], ids=["ended", "waiting for its next answer"])
def test_a_comparison_s_page_says_that_its_answers_are_being_read_and_shows_them_once_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    may_end, tried = Event(), world.candidate("Being read:")
    columns = [{"variant": world.champion()}, {"variant": tried}]  # of which no example was scored
    monkeypatch.setattr(visitors, "answer_apart", lambda *_, **by: may_end.wait(60) and grid_of(*columns))
    monkeypatch.setattr(world.shared.kept_reads, "wait_s", 0.0)
    id = f"cp_{'runs' if is_running else 'slow'}"
    state = {"status": "running", "n_done": 1, "result": None, "finished_at": None} if is_running else {}
    compared(world, id, tried, **state)
    client = visitor(world, "secret-operate")

    def page() -> str:
        answer = client.get(f"/dashboard/runs/compare/{id}")
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    for _ in range(2):
        waits = page()
        assert "The answers are being read" in waits
        assert (waits.count('id="again"'), waits.count('content="1"'), "My card" in waits) == (1, 1, False)
        assert f"variants/{tried}" in waits
    may_end.set()
    until(lambda: "My card" in page(), "the answers")
    assert ('id="again"' in page(), 'http-equiv="refresh"' in page()) == (False, is_running)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "cancelled", "result": None}, "cancelled"),
        ({"status": "failed", "result": None, "error": "No model answered."}, "No model answered."),
        ({"result": {"n_calls": 1, "usd": 0.0, "revisions": {}, "stopped": "The calls are used up."}}, "are used up"),
    ],
    ids=["cancelled", "failed", "stopped"],
)
def test_a_comparison_without_its_answers_says_why_and_is_not_asked_for_again(
    world: World, changes: dict[str, Any], said: str
) -> None:
    id, tried = f"cp_{said.split()[0].lower().strip('.')}", world.candidate("Not answered:")
    compared(world, id, tried, **changes)
    page = visitor(world, "secret-operate").get(f"/dashboard/runs/compare/{id}")
    assert (page.status_code, said in page.text, 'id="again"' in page.text) == (200, True, False)
    assert f"variants/{tried}" in page.text


@pytest.mark.parametrize(
    ("error", "asks"), [(Busy("Other reads are under way."), True), (Busy("It ended badly.", passes=False), False)]
)
def test_a_page_asks_again_for_what_had_no_turn_and_not_for_what_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Busy, asks: bool
) -> None:
    def read_apart(*_: Any, **by: Any) -> bytes:
        raise error

    monkeypatch.setattr(visitors, "answer_apart", read_apart)
    compared(world, id := f"cp_busy_{asks}".lower(), world.champion())
    for place, status in ((f"/dashboard/runs/compare/{id}", 200), ("/dashboard/studies/st_1/report", 503)):
        page = visitor(world, "secret-operate").get(place)
        assert (page.status_code, error.detail in page.text, 'id="again"' in page.text) == (status, True, asks), place


def test_no_button_leads_to_a_text_that_is_not_there_and_a_family_without_examples_is_told_how_they_come(
    tmp_path: Path,
) -> None:
    settings = make_home(tmp_path)
    copytree(Path(__file__).parents[3] / "families" / "content_pipeline", settings.families_dir / "content_pipeline")
    with serving(settings) as world:
        client = visitor(world, None)
        home = client.get("/dashboard").text
        assert [name for name in ("triage", "content_pipeline") if f"families/{name}/workbench" in home] == ["triage"]
        page = client.get("/dashboard/families/content_pipeline")
        assert (page.status_code, "/workbench" in page.text, "It has no prompt" in page.text) == (200, False, True)
        refused = client.get("/dashboard/families/content_pipeline/workbench")
        assert (refused.status_code, "ask whoever runs Detent" in refused.text) == (409, True)
        for place in (BENCH, "/dashboard/families/triage/examples"):
            assert "Examples come in three ways" in client.get(place).text, place
