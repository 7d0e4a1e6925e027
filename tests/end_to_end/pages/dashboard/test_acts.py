"""What people do on the pages: what a confirmation says, what is done, and who is named for it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape

from api.dashboard.acts import ACTS
from api.dashboard.sessions import SessionKey
from api.dashboard.visitors import LISTED
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun
from tests.command_line import detent
from tests.stores import NOW, rollout
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.dashboard_visitor import (
    OTHER_PAGES,
    OWN_PAGE,
    form_of_act,
    pressed,
    raised,
    told_at,
    visitor,
)


def test_an_act_sent_twice_is_done_once(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        world.add_examples(40)
        address = f"/dashboard/acts/evaluate?family=triage&variant={world.champion()}"
        form = form_of_act(client, address)
        twice = [client.post("/dashboard/acts/evaluate", data=form, headers=OWN_PAGE) for _ in range(2)]
        assert [told_at(one)[0] for one in twice] == [told_at(twice[0])[0]] * 2
        assert told_at(pressed(client, address))[0] != told_at(twice[0])[0], "another form is another act"


def test_an_alert_is_silenced_for_an_hour_from_its_page_and_leaves_the_first_one(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        raised(world, "candidate_silent", "triage", "It says nothing any more.")
        page = client.get("/dashboard").text
        assert ("It says nothing any more." in page, "1 alert open" in page) == (True, True)
        address = "/dashboard/acts/silence?name=candidate_silent&family=triage"
        assert address.replace("&", "&amp;") in client.get("/dashboard/alerts").text
        place, done = told_at(pressed(client, address))
        silent = client.get(f"{place}?done={done}").text
        assert ("Silent for an hour" in silent, "silent until" in silent) == (True, True)
        page = client.get("/dashboard").text
        assert ("It says nothing any more." in page, "; 1 alert silenced" in page) == (False, True)
        ran = detent("status", env={"DETENT_HOME": str(world.settings.home)})
        assert "1 alert silenced or told by another: detent alerts list" in ran.err
        address = "/dashboard/acts/end-silence?name=candidate_silent&family=triage"
        assert address.replace("&", "&amp;") in silent
        pressed(client, address)
        assert "It says nothing any more." in client.get("/dashboard").text
        assert client.get("/dashboard/acts/silence?name=x&family=none").status_code == 404
        for name in ("triage", "candidate_silent"):  # each wider than that of one rule in one family
            world.client.put(f"/v1/alert-silences/{name}", json={"minutes": 60})
            (link,) = re.findall(r'"[./]*(/dashboard/acts/end-silence[^"]*)"', client.get("/dashboard/alerts").text)
            pressed(client, html.unescape(link))
            (alert,) = world.get("/v1/alerts").json()["items"]
            assert alert["silenced_until"] is None, name


def test_an_act_needs_the_page_s_own_form(world: World) -> None:
    """Neither a page of another site nor a form without the token of this session changes anything."""
    client = visitor(world, "secret-operate")
    before = world.get("/v1/audit?limit=1").json()["items"][0]["seq"]
    form = form_of_act(client, "/dashboard/acts/freeze")
    for headers in OTHER_PAGES:
        answer = client.post("/dashboard/acts/freeze", data=form, headers=headers)
        assert (answer.status_code, "page of another site" in answer.text) == (403, True), headers
    for wrong in ({"reason": "x"}, {"token": ""}, {"token": "0" * 64}, {"token": form["token"][::-1]}):
        answer = client.post("/dashboard/acts/freeze", data=wrong, headers=OWN_PAGE)
        assert answer.status_code == 403, wrong
    assert client.post("/dashboard/acts/freeze", json=form, headers=OWN_PAGE).status_code == 415
    assert client.get("/dashboard/acts/freeze", params=form).status_code == 400
    assert world.get("/v1/audit?limit=1").json()["items"][0]["seq"] == before


@pytest.mark.parametrize("headers", OTHER_PAGES, ids=str)
def test_no_form_of_another_site_acts_on_any_page(world: World, headers: dict[str, str]) -> None:
    client, signing = visitor(world, "secret-admin"), SessionKey(world.shared.secrets.unit_key)
    now = world.shared.clock.now()
    token = signing.token(signing.session(f"{signing.cookie}={client.cookies[signing.cookie]}", now), now)
    places = ["/dashboard/reviews/no-such", "/dashboard/families/triage/workbench", "/dashboard/sign-in"]
    places += ["/dashboard/requests", "/dashboard/sign-out"]
    for place in (*(f"/dashboard/acts/{name}" for name in ACTS), *places):
        answer = client.post(place, data={"token": token, "family": "triage", "id": "x", "do": "save"}, headers=headers)
        assert (answer.status_code, "page of another site" in answer.text) == (403, True), place


def test_who_may_act_does_what_the_confirmation_says_and_is_named_in_the_record(world: World) -> None:
    client = visitor(world, "secret-operate")
    assert "champions only" in client.get("/dashboard/audit").text  # seeded: in sight on every page
    place, done = told_at(pressed(client, "/dashboard/acts/unfreeze?family=triage", reason="calm again"))
    assert (place, done.partition(".")[0]) == ("/dashboard/families/triage", "unfreeze")
    past = ACTS["unfreeze"].past.replace("'", "&#39;")
    page = client.get(f"{place}?done={done}").text
    assert past in page
    for spoofed in ("unfreeze", f"promote{done.removeprefix('unfreeze')}", f"{done[:-1]}g"):
        assert 'class="notice"' not in client.get(f"{place}?done={spoofed}").text
    assert 'class="notice"' not in visitor(world, "secret-operate").get(f"{place}?done={done}").text
    assert "champions only" not in page
    for act in ("freeze", "unfreeze"):
        world.post(f"/v1/{act}", {"family": "triage", "reason": "something else"})
    assert past not in client.get(f"{place}?done={done}").text
    rollout = world.get("/v1/families/triage/rollout").json()
    held = client.get(f"/dashboard/acts/advance?id={rollout['id']}")
    assert (held.status_code, "it is held" in held.text) == (409, True), "no confirmation goes past that"
    form = form_of_act(client, f"/dashboard/acts/resume?id={rollout['id']}")
    stale = {**form, "version": str(int(form["version"]) - 1)}
    assert client.post("/dashboard/acts/resume", data=stale, headers=OWN_PAGE).status_code == 412
    assert client.post("/dashboard/acts/resume", data=form, headers=OWN_PAGE).status_code == 303
    advance = f"/dashboard/acts/advance?id={rollout['id']}"
    assert "the gate has not passed" in client.get(advance).text.lower()
    assert pressed(client, advance).status_code == 409
    assert pressed(client, advance, confirm="triage").status_code == 303
    last = world.get(f"/v1/rollouts/{rollout['id']}/decisions").json()["items"][-1]
    assert (last["kind"], last["actor"], last["forced"]) == ("advance", "key-operate", True)


@dataclass(slots=True)
class Actor:
    """Who may act, and what was carried out: with the reason, and the family's name where a gate has not passed."""

    client: TestClient
    acts: set[str] = field(default_factory=set)

    def act(self, name: str, /, **subject: str) -> str:
        """The place that the act leads to, which says that it is done."""
        address = f"/dashboard/acts/{name}?{urlencode(subject)}"
        place, done = told_at(pressed(self.client, address, reason="a try", confirm="triage"))
        assert escape(ACTS[name].past) in self.client.get(f"{place}?done={done}").text, name
        self.acts.add(name)
        return place


def test_who_may_act_carries_out_every_act(tmp_path: Path) -> None:
    """From the start of a rollout to the champion and back, and all else."""
    with serving(make_home(tmp_path)) as world:
        first, second, third = world.champion(), world.candidate(), world.candidate("Another one:")
        asked = {"id": "in_asked", "family": "triage", "unit": "u", "input": {"text": "My card"}, "output": "billing"}
        assert world.post("/v1/interactions", asked).status_code == 200
        world.report()
        world.add_examples(40)
        world.add_key("key", "operate", secret="secret")
        world.client.headers["Authorization"] = "Bearer secret"
        client = visitor(world, "secret")
        actor = Actor(client)
        act = actor.act

        def rollout() -> dict[str, Any]:
            current: dict[str, Any] = world.get("/v1/families/triage/rollout").json()
            return current

        act("start", family="triage", variant=second)
        id = rollout()["id"]
        act("approve", id=id)
        world.tick()
        for name, is_held in (("hold", True), ("resume", False)):
            act(name, id=id)
            assert rollout()["held"] is is_held
        act("advance", id=id)
        assert rollout()["share"] == 0.75
        act("promote", id=id)
        assert world.champion() == second
        act("take-back", family="triage")
        assert world.champion() == first
        act("set-champion", family="triage", variant=second)
        assert world.champion() == second
        for name in ("reject", "rollback"):
            act("start", family="triage", variant=third)
            id = rollout()["id"]
            if name == "rollback":
                act("approve", id=id)
                world.tick()
            act(name, id=id)
            assert world.get(f"/v1/rollouts/{id}").json()["outcome"] == "cancelled", name
            (undo,) = re.findall(
                r'href="([^"]+)">Start its rollout anew<', client.get("/dashboard/families/triage").text
            )
            assert undo.endswith(f"acts/start?family=triage&amp;variant={third}")
        run = act("evaluate", family="triage", variant=second).rpartition("/")[2]
        act("cancel-evaluation", id=run)
        assert world.get(f"/v1/evaluations/{run}").json()["status"] == "cancelled"
        study = world.post("/v1/families/triage/studies", {"budget": {"calls": 200}}).json()["id"]
        act("cancel-study", id=study)
        assert world.get(f"/v1/studies/{study}").json()["stop_requested"] is True
        pair = {"variants": ["champion", third], "n": 2}
        run = world.post("/v1/families/triage/comparisons", pair).json()["id"]
        act("cancel-comparison", id=run)
        assert world.get(f"/v1/comparisons/{run}").json()["status"] == "cancelled"
        world.shared.store.write(lambda tx: world.shared.store.runs.add(tx, judge_run()))
        act("cancel-judge-run", id="jr_1")
        assert world.get("/v1/judge-runs/jr_1").json()["status"] == "cancelled"
        for subject in {}, {"family": "triage"}:
            for name, is_frozen in (("freeze", True), ("unfreeze", False)):
                act(name, **subject)
                assert bool(world.get("/v1/status").json()["freezes"]) is is_frozen
        raised(world, "candidate_silent", "triage", "It says nothing any more.")
        for name, is_silent in (("silence", True), ("end-silence", False)):
            act(name, name="candidate_silent", family="triage")
            (alert,) = world.get("/v1/alerts").json()["items"]
            assert (alert["silenced_until"] is not None) is is_silent
        act("offer", family="triage", interactions="in_asked")
        (review,) = world.get("/v1/reviews?status=open").json()["items"]
        assert review["subject"] == "in_asked"
        assert actor.acts == set(ACTS)


def test_a_review_is_answered_on_its_page_and_the_next_one_is_asked(world: World) -> None:
    client = visitor(world, "secret-operate")
    before = world.get("/v1/reviews?status=open").json()["items"]
    page = client.get("/dashboard/reviews").text
    assert f"/dashboard/reviews/{before[0]['id']}" in page
    assert '<span class="role">text</span><pre>' in page  # the input by its names
    assert "The task: zanzibar topic of a support request." in page
    form = {**form_of_act(client, "/dashboard/reviews"), "answer": "keep_back"}
    answer = client.post(f"/dashboard/reviews/{before[0]['id']}", data=form, headers=OWN_PAGE)
    place, done = told_at(answer)
    assert (place, done.partition(".")[0]) == ("/dashboard/reviews", before[0]["id"])
    for spoofed in ("zzz", before[0]["id"]):
        assert "Answered" not in client.get(f"/dashboard/reviews?done={spoofed}").text
    after = client.get(f"/dashboard/reviews?done={done}").text
    assert "Answered." in after
    assert after.count(f"/dashboard/reviews/{before[0]['id']}") == 1, "only to take it back"
    assert 'name="skip"' in after.partition("Take it back")[0].rpartition("<form")[2], "to the place it was left at"
    back = client.post(f"/dashboard/reviews/{before[0]['id']}", data={**form, "withdraw": "1"}, headers=OWN_PAGE)
    _, done = told_at(back)
    assert "the question waits again" in client.get(f"/dashboard/reviews?done={done}").text
    assert world.get("/v1/reviews?status=open").json()["items"] == before
    assert "Take it back" not in client.get(f"/dashboard/reviews?done={done}").text
    client.post(f"/dashboard/reviews/{before[0]['id']}", data=form, headers=OWN_PAGE)
    answered = world.get("/v1/reviews?status=answered").json()["items"]
    assert [(one["id"], one["answer"], one["answered_by"]) for one in answered] == [
        (before[0]["id"], "keep_back", "key-operate")
    ]


def test_the_way_back_from_taking_back_a_champion_is_the_button_that_its_confirmation_names(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for role in ("admin", "operate", "read-texts"):
            world.add_key(role, role, secret=f"secret-{role}")
        world.client.headers["Authorization"] = "Bearer secret-admin"
        place, client, first = "/dashboard/families/triage", visitor(world, "secret-operate"), world.champion()
        second, third = world.candidate("The second:"), world.candidate("The third:")
        assert "acts/take-back" not in client.get(place).text
        for variant in (second, third):
            world.post("/v1/families/triage/champion/set", {"variant": variant, "reason": "x", "confirm": "triage"})
        confirmation = client.get("/dashboard/acts/take-back?family=triage").text
        assert f"“{ACTS['set-champion'].title}” beside {third}" in confirmation
        form = form_of_act(client, "/dashboard/acts/take-back?family=triage")
        for _ in range(2):  # who sends it twice is told the same, and it happens once
            assert client.post("/dashboard/acts/take-back", data=form, headers=OWN_PAGE).status_code == 303
            assert world.champion() == second
        again = client.get("/dashboard/acts/take-back?family=triage")
        assert (again.status_code, f"is champion instead of {third} already" in again.text) == (409, True)
        page = client.get(place).text
        assert set(re.findall(r"acts/set-champion\?family=triage&amp;variant=(\w+)", page)) == {first, third}
        assert "acts/set-champion" not in visitor(world, "secret-read-texts").get(place).text
        anew = f"/dashboard/acts/set-champion?family=triage&variant={third}"
        for without, status in ({"confirm": "triage"}, 422), ({"reason": "it was good"}, 409):
            assert (pressed(client, anew, **without).status_code, world.champion()) == (status, second)
        assert pressed(client, anew, reason="it was good", confirm="triage").status_code == 303
        assert (world.champion(), "served now: it was good (forced)" in client.get(place).text) == (third, True)
        never = world.candidate("Never a champion:")
        for variant in (third, never):
            refused = client.get(f"/dashboard/acts/set-champion?family=triage&variant={variant}")
            assert refused.status_code == 409, refused.text


def test_taking_back_to_what_lost_a_rollout_says_so_and_asks_for_the_family_s_name(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        bad, good = world.candidate("A bad one:"), world.candidate("A good one:")
        begun = world.start(bad)
        world.post(f"/v1/rollouts/{begun['id']}/reject", {"reason": "x"})
        lost = rollout(
            settings=begun["settings"],
            family="triage",
            candidate=bad,
            champion=world.champion(),
            status="rolled_back",
            outcome="worse",
            ended_at=NOW,
        )
        world.shared.store.write(lambda tx: world.shared.store.rollouts.add(tx, lost))
        for variant in (bad, good):
            world.post("/v1/families/triage/champion/set", {"variant": variant, "reason": "x", "confirm": "triage"})
        client, place = visitor(world, None), "/dashboard/acts/take-back"
        env = {"DETENT_HOME": str(world.settings.home), "NO_COLOR": "1"}
        said = f"{bad} lost a rollout on {when(NOW)} against {lost.champion}: users found it worse ({lost.id})."
        assert said in client.get(f"{place}?family=triage").text
        assert said in client.get(f"/dashboard/acts/set-champion?family=triage&variant={bad}").text
        for words in (("rollback", "triage", "--dry-run"), ("set", "triage", bad, "--reason", "x")):
            assert said in " ".join(detent("champion", *words, env=env).err.split())
        of_family, serves = "/dashboard/families/triage", f"It lost a rollout on {when(NOW)} against {lost.champion}."
        assert serves not in client.get(of_family).text
        refused = pressed(client, f"{place}?family=triage", reason="it is <slow>")
        assert (refused.status_code, said in refused.text, world.champion()) == (409, True, good)
        answer = pressed(client, f"{place}?family=triage", confirm="triage")
        assert (answer.status_code, world.champion()) == (303, bad)
        page = client.get(of_family).text
        assert ("it is champion all the same" in page, serves in page) == (True, True)


def test_what_cannot_start_now_shows_no_button_that_would_start_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        variant = world.candidate("Frozen:")
        world.post("/v1/freeze", {"family": "triage", "reason": "a quiet day"})
        answer = visitor(world, None).get(f"/dashboard/acts/start?family=triage&variant={variant}")
        assert (answer.status_code, "<button" in answer.text.partition("<main")[2]) == (409, False)
        assert "Nothing would start: " in answer.text


def test_a_name_that_was_mistyped_is_told_above_the_same_form(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, address = (
            visitor(world, None),
            f"/dashboard/acts/start?family=triage&variant={world.candidate('Mistyped:')}",
        )
        world.report()
        page = client.get(address).text
        assert "It waits until somebody presses Approve. Then 50 % of the users get it" in page
        assert page.index("<details") < page.index("5 in 100 are promoted by mistake")
        for typed, said in {
            "triag": "You typed “triag”, and the family&#39;s name is triage. Nothing has happened.",
            "": "The family&#39;s name, triage, is missing. Nothing has happened.",
        }.items():
            refused = pressed(client, address, reason="the <old> one is slow", confirm=typed)
            assert (refused.status_code, said in refused.text) == (409, True), refused.text
            assert f'name="confirm" value="{typed}"' in refused.text
            assert "the &lt;old&gt; one is slow</textarea>" in refused.text
            assert "--confirm" not in refused.text
        assert pressed(client, address, confirm=" triage ").status_code == 303


def test_everything_is_frozen_from_the_menu_of_every_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for role in ("read", "operate", "admin"):
            world.add_key(role, role, secret=f"secret-{role}")
        menu = r"<nav id=\"pages\".*?acts/freeze\".*?</nav>"
        operator, reader = visitor(world, "secret-operate"), visitor(world, "secret-read")
        assert re.search(menu, operator.get("/dashboard/alerts").text, re.DOTALL)
        assert not re.search(menu, reader.get("/dashboard/alerts").text, re.DOTALL)
        assert pressed(operator, "/dashboard/acts/freeze").status_code == 303
        assert not re.search(menu, operator.get("/dashboard/alerts").text, re.DOTALL)


def test_who_approves_sees_what_differs_and_why_it_was_forced(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for role in ("read", "operate", "admin"):
            world.add_key(role, role, secret=f"secret-{role}")
        world.client.headers["Authorization"] = "Bearer secret-admin"
        begun = world.start(world.candidate("A new question:"))
        address = f"/dashboard/acts/approve?id={begun['id']}"
        page = visitor(world, "secret-operate").get(address).text
        for said in ("forced past a gate", "confirmation: no study has confirmed", "A new question:", 'class="added"'):
            assert said in page, said
        assert "A new question" not in visitor(world, "secret-read").get(address).text


def test_what_is_done_at_a_terminal_alone_is_said_in_words_with_its_command_once(tmp_path: Path) -> None:
    commands = {
        "/dashboard/families/triage": "detent study run triage --dry-run",
        "/dashboard/families/triage/examples": "detent import FILE --family triage",
        "/dashboard/families/triage/quality": "detent family evaluate triage --dry-run",
        "/dashboard/families/triage/schedule": "detent family schedule triage --on",
        "/dashboard/studies": "detent study run FAMILY --dry-run",
        "/dashboard/reviews": "detent review collect FAMILY",
        "/dashboard/money": "detent keys create NAME --usd-per-day X",
    }
    with serving(make_home(tmp_path)) as world:
        for place, command in commands.items():
            page = visitor(world, None).get(place).text
            asked = f"<summary>Ask whoever runs Detent to [^<]+</summary><code>{command}</code>"
            assert re.search(asked, page), place
            assert page.count(command) == (2 if place == "/dashboard/families/triage" else 1), place


def test_where_very_many_alerts_fire_the_gravest_are_shown_first_and_the_others_are_led_to(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        for number in range(LISTED + 1):
            raised(world, "champion_silent", f"subject-{number}", f"The {number}. says nothing.", id=f"al_{number}")
        raised(world, "store_damaged", "store", "A page is damaged.", "critical", "al_grave")
        home, first = client.get("/dashboard").text, client.get("/dashboard/alerts").text
        assert (home.count("says nothing."), f"{LISTED + 2 - 20} more alerts</a>" in home) == (19, True)
        (place,) = re.findall(r'href="([^"]+)">More that fire<', first)
        rest = client.get(urljoin("/dashboard/alerts", place)).text
        assert [page.count("says nothing.") for page in (first, rest)] == [LISTED - 1, 2]
        assert first.index("A page is damaged.") < first.index("says nothing.")
        assert f"{LISTED + 1} to {LISTED + 2} of {LISTED + 2}" in rest
        assert "More that fire" not in rest


def judge_run() -> JudgeRun:
    """That waits for the worker."""
    asked: Any = {"kind": "check", "judge": "j", "request": {"n": 2, "beside": None}, "budget": Budget(calls=9), "n": 4}
    return JudgeRun(id="jr_1", family="triage", status="queued", created_by="anna", created_at=NOW, **asked)
