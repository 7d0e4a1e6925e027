"""The pages under /dashboard: who may open them and act, what they show, and that nothing of what people wrote runs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any, get_args
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.access.auth import without_key
from api.dashboard import visitors
from api.dashboard.acts import ACTS
from api.dashboard.pages import PAGES, names_shown
from api.dashboard.rendering import POLICY, SCRIPTS, markdown, with_commands
from api.dashboard.routes import FOLDER, REPORT_POLICY
from api.dashboard.sessions import LASTS, DashboardSession, EndedSessions, SessionKey
from api.dashboard.visitors import LISTED
from api.dashboard.work_pages import KINDS
from api.http.forwarding import NotSent
from api.routing import UNREADABLE
from optimizer.adapters.store.repositories.journal import WITHOUT_JUDGE
from optimizer.core.base.errors import Busy
from optimizer.core.base.minute_sums import HOUR, MinuteSums, floor
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import make_example
from optimizer.core.evaluation.judging.run import RunKind
from optimizer.core.evaluation.run import ComparisonRun
from optimizer.core.rollout.alert_rules import AlertLevel
from optimizer.core.search.study import Trial
from optimizer.core.serving.access import hash_of
from optimizer.core.views.forgetting import ForgetResult
from optimizer.host import run_files
from optimizer.host.run_files import RunningProcess
from optimizer.jobs.champions.read_quality import time_of
from optimizer.jobs.champions.read_stats import FamiliesStatsRequest, read_stats_of_families
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.glance_at_store import Topic
from optimizer.jobs.upkeep.read_runbook import runbook
from optimizer.jobs.upkeep.read_status import StatusRequest, read_status
from optimizer.ports import Alert, DaySums
from optimizer.runtime import apart
from tests.cases import named
from tests.command_line import detent
from tests.stores import NOW, rollout
from tests.worlds.api_world import FAMILY, World, make_home, serving
from tests.worlds.seeded_world import SEALED_WORD, SECRET_WORD, add_runs, seeded

OWN_PAGE = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
OTHER_PAGES = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8322"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {},
]
HOSTILE = [
    "<script>hostile()</script>",
    '"><img src=x onerror=hostile()>',
    "' onmouseover='hostile()",
    "</pre></textarea><svg onload=hostile()>",
    "javascript:hostile()",
    "{{ 7 * 191 }}{% raw %}",
    "&lt;b&gt; \u202e gpj.exe \x1b[31m",
    "W" * 180,  # nowhere to break a line
]
TYPED = f'value="{SECRET_WORD}"'  # what the visitor wrote into the address stands in the form
READERS = {"read", "read-texts", "operate", "admin"}
ACTORS = {"operate", "admin"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"operator_per_minute": 1_000_000, "events_per_minute": 1_000_000}
    with serving(make_home(tmp_path_factory.mktemp("home"), limits=limits)) as world:
        yield seeded(world)


def visitor(world: World, secret: str | None) -> TestClient:
    """A browser without any key of its own, signed in with this one."""
    client = TestClient(world.app, base_url="http://localhost", client=("127.0.0.1", 50000), follow_redirects=False)
    if secret is not None:
        answer = client.post("/dashboard/sign-in", data={"key": secret}, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers.get("location")) == (303, "../dashboard"), answer.text
    return client


def raised(
    world: World, kind: str, subject: str, detail: str, level: AlertLevel = "warning", id: str = "al_1"
) -> Alert:
    """An alert of triage that is open."""
    alert = Alert(id=id, kind=kind, level=level, family="triage", subject=subject, opened_at=NOW, detail=detail)
    world.shared.store.write(lambda tx: world.shared.store.alerts.open(tx, alert))
    return alert


def addresses(world: World) -> list[str]:
    rollout = world.get("/v1/families/triage/rollout").json()["id"]
    named = {"family": "triage", "id": "st_1", "variant": world.champion(), "kind": "evaluate", "run": "ev_1"}
    named["chapter"] = "the-worker-is-dead"
    of_act = {
        "cancel-study": "st_1",
        "cancel-comparison": "cp_1",
        "cancel-evaluation": "ev_1",
        "cancel-judge-run": "jr_1",
    }
    pages = [re.sub(r"\{(\w+)\}", lambda name: named[name[1]], page.path) for page in PAGES if ":path" not in page.path]
    confirmations = [
        f"/dashboard/acts/{name}?id={of_act.get(name, rollout)}" for name, act in ACTS.items() if "id" in act.members
    ]
    asked = [
        "/dashboard/performance?family=triage",
        "/dashboard/performance?family=triage&range=30d",
        f"/dashboard/conversation?conversation={SECRET_WORD}",
        "/dashboard/studies/compare?first=st_1&second=st_1",
        "/dashboard/runs/compare/cp_1",
        "/dashboard/runs/check/jr_1",
    ]
    return [*pages, *asked, "/dashboard/requests/triage/in_1", *confirmations, "/dashboard/acts/freeze?family=triage"]


def told_at(answer: Any) -> tuple[str, str]:
    """Where an act leads, from the server's first page on, and what its address says was done."""
    assert answer.status_code == 303, answer.text
    address = urlsplit(answer.headers["location"].replace("../", "").replace("./", ""))
    return f"/{address.path}", parse_qs(address.query)["done"][0]


def form_of_act(client: TestClient, address: str) -> dict[str, str]:
    page = client.get(address)
    assert page.status_code == 200, page.text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))


def test_the_bare_address_leads_to_the_pages_and_they_to_the_door(world: World) -> None:
    client = visitor(world, None)
    assert client.get("/").headers["location"] == "./dashboard"
    for address in addresses(world):
        answer = client.get(address)
        assert answer.status_code == 303, address
        place = urlsplit(answer.headers["location"])
        assert place.path.endswith("dashboard/sign-in")
        assert set(place.path.partition("dashboard")[0]) <= {".", "/"}  # behind any prefix
        assert parse_qs(place.query).get("next", ["dashboard"]) == [address.lstrip("/")]
    assert client.get("/dashboard/sign-in").status_code == 200


def test_who_signs_in_is_led_to_the_page_that_was_asked_for(world: World) -> None:
    client, asked = visitor(world, None), "/dashboard/studies?order=lift&first=a%26b%20%22"
    form = form_of_act(client, urljoin(asked, client.get(asked).headers["location"]))
    assert form["next"] == "dashboard/studies?order=lift&amp;first=a%26b%20%22"
    given = {"next": form["next"].replace("&amp;", "&")}
    wrong = client.post("/dashboard/sign-in", data={**given, "key": "no such key"}, headers=OWN_PAGE)
    assert form["next"] in wrong.text
    answer = client.post("/dashboard/sign-in", data={**given, "key": "secret-read"}, headers=OWN_PAGE)
    assert urljoin("/dashboard/sign-in", answer.headers["location"]) == asked
    assert client.get(asked).status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/dashboard",
        "//evil.example",
        "/dashboard",
        "\\\\evil.example",
        "dashboard\\..\\..\\x",
        "dashboard//evil.example",
        "dashboard/../../x",
        "dashboard/%2e%2e/%2e%2e/x",
        "dashboard/..",
        "dashboard.evil.example",
        "dashboardx",
        "javascript:hostile()",
        "dashboard/\r\nX-Header: 1",
        "dashboard/%0d%0aX-Header:%201",
        "docs",
        "",
    ],
)
def test_signing_in_leads_nowhere_but_to_a_page(world: World, elsewhere: str) -> None:
    client = visitor(world, None)
    shown = client.get("/dashboard/sign-in", params={"next": elsewhere}).text
    assert 'name="next" value="dashboard"' in shown
    answer = client.post("/dashboard/sign-in", data={"key": "secret-read", "next": elsewhere}, headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard")


def test_a_wrong_key_opens_nothing_and_an_application_s_key_is_told_why(world: World) -> None:
    client = visitor(world, None)
    answer = client.post("/dashboard/sign-in", data={"key": "no such key"}, headers=OWN_PAGE)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    answer = client.post("/dashboard/sign-in", data={"key": "secret-feedback"}, headers=OWN_PAGE)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "needs role read" in answer.text


def test_a_session_is_no_script_s_to_read_and_bound_to_this_home(world: World) -> None:
    answer = visitor(world, None).post("/dashboard/sign-in", data={"key": "secret-read"}, headers=OWN_PAGE)
    cookie = answer.headers["set-cookie"]
    signing = SessionKey(world.shared.secrets.unit_key)
    assert cookie.startswith(f"{signing.cookie}=")
    assert {"HttpOnly", "SameSite=Lax"} <= {flag.strip() for flag in cookie.split(";")}
    assert "path" not in cookie.lower()  # the folder of the address, which a proxy may have put a prefix before
    assert "secret-read" not in cookie
    assert SessionKey(b"of another home" * 3).cookie != signing.cookie


def test_a_session_ends_with_its_time_its_key_and_what_was_changed_of_it(world: World) -> None:
    now, signing = world.shared.clock.now(), SessionKey(world.shared.secrets.unit_key)
    session = signing.begin(hash_of("secret-read"), now)
    named = f"{signing.cookie}={session}"
    assert signing.session(named, now) is not None
    assert signing.session(named, now + LASTS) is None
    assert signing.session(f'a/b=1; g={{"a":1}}; {named}', now) is not None, "whatever other programs of this host set"
    assert signing.session(f"{named}0", now) is None
    assert signing.session(f"{signing.cookie}={session.replace(hash_of('secret-read'), hash_of('other'))}", now) is None
    assert SessionKey(b"of another home" * 3).session(named, now) is None
    world.add_key("for-a-while", "read", secret="secret-while")
    client = visitor(world, "secret-while")
    assert client.get("/dashboard").status_code == 200
    world.post("/v1/keys/for-a-while/revoke", {})
    assert client.get("/dashboard").headers["location"] == "./dashboard/sign-in"


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie_and_no_other(world: World) -> None:
    client, other = visitor(world, "secret-read"), visitor(world, "secret-read")
    copy = dict(client.cookies)
    form = {"token": re.findall(r'name="token" value="(\w+)"', client.get("/dashboard").text)[0]}
    assert client.post("/dashboard/sign-out", data=form, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/dashboard/sign-out", data={"token": "0"}, headers=OWN_PAGE).status_code == 403
    assert client.get("/dashboard").status_code == 200
    assert client.post("/dashboard/sign-out", data=form, headers=OWN_PAGE).status_code == 303
    assert client.get("/dashboard").status_code == 303
    stranger = visitor(world, None)
    stranger.cookies.update(copy)
    assert stranger.get("/dashboard").status_code == 303
    assert stranger.post("/dashboard/acts/freeze", data={}, headers=OWN_PAGE).status_code == 303
    assert other.get("/dashboard").status_code == 200


def test_what_is_kept_of_a_session_that_was_signed_out_goes_when_it_would_have_ended(tmp_path: Path) -> None:
    now, signing = datetime(2026, 11, 20, tzinfo=UTC), SessionKey(b"of a home" * 4)
    ended, of_another_process = EndedSessions(tmp_path / "ended"), EndedSessions(tmp_path / "ended")

    def session(at: datetime) -> DashboardSession:
        begun = signing.session(f"{signing.cookie}={signing.begin(hash_of('secret'), at)}", at)
        assert begun is not None
        return begun

    first, second = session(now), session(now + LASTS)
    assert first not in ended
    ended.add(first, now)
    assert (first in of_another_process, second in of_another_process) == (True, False)
    ended.add(second, now + LASTS)
    assert (first in ended, second in ended) == (False, True)


@pytest.mark.parametrize("role", sorted(READERS))
def test_each_role_reads_its_pages_and_texts_are_for_who_may_read_them(world: World, role: str) -> None:
    client = visitor(world, f"secret-{role}")
    seen = 0
    for address in addresses(world):
        answer = client.get(address)
        assert answer.status_code in (200, 403), (address, answer.text)
        assert answer.headers["content-security-policy"] == POLICY
        assert SEALED_WORD not in answer.text
        seen += SECRET_WORD in answer.text.replace(TYPED, "")
        assert not re.search(r"<script>|style=|javascript:|\son\w+=", answer.text), address
        (live,) = re.findall(r' sse-connect="[^"]*" hx-trigger="([^"]*)"', answer.text)
        assert "sse:freezes " in live, address
        assert set(re.findall(r"sse:(\w+)", live)) <= {"begin", *get_args(Topic)}, address
    assert (seen == 0) == (role == "read")
    reviews = client.get("/dashboard/reviews").status_code
    assert reviews == (403 if role == "read" else 200)


def test_a_key_of_another_family_sees_nothing_of_this_one(world: World) -> None:
    client = visitor(world, "elsewhere-operate")
    for address in addresses(world):
        answer = client.get(address)
        own = answer.text.replace("/dashboard/acts/", "").replace(TYPED, "")
        assert not re.search(r"\bv_", own), address
        assert SECRET_WORD not in own, address
    assert "triage" not in client.get("/dashboard").text


@pytest.mark.parametrize("role", sorted(READERS))
def test_an_act_is_refused_where_its_route_refuses_the_role_and_is_not_offered(world: World, role: str) -> None:
    client, signing = visitor(world, f"secret-{role}"), SessionKey(world.shared.secrets.unit_key)
    now = world.shared.clock.now()
    session = signing.session(f"{signing.cookie}={client.cookies[signing.cookie]}", now)
    form = {"token": signing.token(session, now), "id": "no-such", "family": "no-such", "answer": "release"}
    form |= {"variant": "v_no_such", "reason": "a try"}
    page = client.get("/dashboard/families/triage").text
    assert ("/dashboard/acts/" in page) == (role in ACTORS)
    for path in (*(f"/dashboard/acts/{name}" for name in ACTS), "/dashboard/reviews/no-such"):
        answer = client.post(path, data=form, headers=OWN_PAGE)
        assert answer.status_code == (404 if role in ACTORS else 403), (path, answer.text)


def test_a_key_for_one_family_does_there_what_its_role_may_and_nothing_elsewhere(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        store, begun = world.shared.store, world.start(world.candidate("Of one family:"))
        store.write(lambda tx: store.reviews.open(tx, "rv_1", "triage", "label_interaction", "in_reported", {}, NOW))
        world.add_key("own", "operate", secret="secret-own", families=("triage",))
        world.add_key("other", "operate", secret="secret-other", families=("elsewhere",))
        client, stranger = visitor(world, "secret-own"), visitor(world, "secret-other")
        home, family = client.get("/dashboard").text, client.get("/dashboard/families/triage").text
        assert ("Freeze everything" in home, 'dashboard/reviews">Reviews' in home) == (False, True)
        assert "1 waiting for an answer" in home, "as far as they are of its families"
        offered = set(re.findall(r"dashboard/acts/[\w-]+\?[\w=&;.]+", home + family))
        assert {re.sub(r".*/|\?.*", "", one) for one in offered} >= {"approve", "reject", "freeze"}
        for one in offered:
            address = f"/{html.unescape(one)}"
            assert '<form class="confirm"' in client.get(address).text, address
            assert stranger.get(address).status_code in (403, 404), address
        approve = f"/dashboard/acts/approve?id={begun['id']}"
        form = form_of_act(client, approve)
        assert client.post("/dashboard/acts/freeze", data={"token": form["token"]}, headers=OWN_PAGE).status_code == 403
        assert client.post("/dashboard/acts/approve", data=form, headers=OWN_PAGE).status_code == 303
        answered = {"token": form["token"], "answer": "keep_back"}
        answer = client.post("/dashboard/reviews/rv_1", data=answered, headers=OWN_PAGE)
        assert "Take it back" in client.get(f"/{answer.headers['location'].replace('../', '')}").text


def test_what_was_typed_is_shown_where_the_session_has_ended_or_the_form_is_refused(world: World) -> None:
    client, address = visitor(world, "secret-operate"), "/dashboard/families/triage/workbench"
    form = {"role_0": "system", "content_0": "an <hour> of work", "do": "save", "token": "of another session"}
    answer = client.post(address, data=form, headers=OWN_PAGE)
    assert (answer.status_code, "an &lt;hour&gt; of work</textarea>" in answer.text) == (403, True), answer.text
    client.cookies.clear()
    answer = client.post(address, data=form, headers=OWN_PAGE)
    assert (answer.status_code, "an &lt;hour&gt; of work</textarea>" in answer.text) == (401, True), answer.text
    assert "Sign in" in answer.text
    assert client.post(address, data=form, headers=OTHER_PAGES[0]).status_code == 303, "nothing of another site's"


def test_an_act_sent_twice_is_done_once(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        world.add_examples(40)
        address = f"/dashboard/acts/evaluate?family=triage&variant={world.champion()}"
        form = form_of_act(client, address)
        twice = [client.post("/dashboard/acts/evaluate", data=form, headers=OWN_PAGE) for _ in range(2)]
        assert [told_at(one)[0] for one in twice] == [told_at(twice[0])[0]] * 2
        again = client.post("/dashboard/acts/evaluate", data=form_of_act(client, address), headers=OWN_PAGE)
        assert told_at(again)[0] != told_at(twice[0])[0], "another form is another act"


def test_an_alert_is_silenced_for_an_hour_from_its_page_and_leaves_the_first_one(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        raised(world, "candidate_silent", "triage", "It says nothing any more.")
        page = client.get("/dashboard").text
        assert ("It says nothing any more." in page, "1 alert open" in page) == (True, True)
        address = "/dashboard/acts/silence?name=candidate_silent&family=triage"
        assert address.replace("&", "&amp;") in client.get("/dashboard/alerts").text
        answer = client.post("/dashboard/acts/silence", data=form_of_act(client, address), headers=OWN_PAGE)
        place, done = told_at(answer)
        silent = client.get(f"{place}?done={done}").text
        assert ("Silent for an hour" in silent, "silent until" in silent) == (True, True)
        page = client.get("/dashboard").text
        assert ("It says nothing any more." in page, "; 1 alert silenced" in page) == (False, True)
        ran = detent("status", env={"DETENT_HOME": str(world.settings.home)})
        assert "1 alert silenced or told by another: detent alerts list" in ran.err
        address = "/dashboard/acts/end-silence?name=candidate_silent&family=triage"
        assert address.replace("&", "&amp;") in silent
        client.post("/dashboard/acts/end-silence", data=form_of_act(client, address), headers=OWN_PAGE)
        assert "It says nothing any more." in client.get("/dashboard").text
        assert client.get("/dashboard/acts/silence?name=x&family=none").status_code == 404


def test_an_alert_that_another_one_tells_leads_to_that_one_and_stays_off_the_first_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        raised(world, "champion_out_of_limits", "triage errors", "Every second request fails.", "critical")
        raised(world, "alert_rule", "errors triage", "Requests fail.", id="al_2")
        client = visitor(world, None)
        page = client.get("/dashboard/alerts").text
        assert ('<tr id="al_1">' in page, page.count('href="#al_1"'), "Requests fail." in page) == (True, 1, True)
        page = client.get("/dashboard").text
        assert ("Every second request fails." in page, "Requests fail." in page) == (True, False)


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
    places = ["/dashboard/reviews/no-such", "/dashboard/families/triage/workbench"]
    for place in (*(f"/dashboard/acts/{name}" for name in ACTS), *places):
        answer = client.post(place, data={"token": token, "family": "triage", "id": "x", "do": "save"}, headers=headers)
        assert (answer.status_code, "page of another site" in answer.text) == (403, True), place


def test_who_may_act_does_what_the_confirmation_says_and_is_named_in_the_record(world: World) -> None:
    client = visitor(world, "secret-operate")
    assert "champions only" in client.get("/dashboard/audit").text  # seeded: in sight on every page
    form = form_of_act(client, "/dashboard/acts/unfreeze?family=triage")
    answer = client.post("/dashboard/acts/unfreeze", data={**form, "reason": "calm again"}, headers=OWN_PAGE)
    place, done = told_at(answer)
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
    form = form_of_act(client, f"/dashboard/acts/resume?id={rollout['id']}")
    stale = {**form, "version": str(int(form["version"]) - 1)}
    assert client.post("/dashboard/acts/resume", data=stale, headers=OWN_PAGE).status_code == 412
    assert client.post("/dashboard/acts/resume", data=form, headers=OWN_PAGE).status_code == 303
    advance = form_of_act(client, f"/dashboard/acts/advance?id={rollout['id']}")
    assert "the gate has not passed" in client.get(f"/dashboard/acts/advance?id={rollout['id']}").text.lower()
    assert client.post("/dashboard/acts/advance", data=advance, headers=OWN_PAGE).status_code == 409
    forced = client.post("/dashboard/acts/advance", data={**advance, "confirm": "triage"}, headers=OWN_PAGE)
    assert forced.status_code == 303
    last = world.get(f"/v1/rollouts/{rollout['id']}/decisions").json()["items"][-1]
    assert (last["kind"], last["actor"], last["forced"]) == ("advance", "key-operate", True)


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


def test_a_champion_is_taken_back_as_its_confirmation_says(world: World) -> None:
    client, before = visitor(world, "secret-operate"), world.champion()
    bad = world.candidate("A bad champion:")
    world.post("/v1/families/triage/champion/set", {"variant": bad, "reason": "a try", "confirm": "triage"})
    form = form_of_act(client, "/dashboard/acts/take-back?family=triage")
    assert form["expect"] == bad
    assert f"would be champion again, instead of {bad}" in client.get("/dashboard/acts/take-back?family=triage").text
    answer = client.post("/dashboard/acts/take-back", data={**form, "reason": "it was bad"}, headers=OWN_PAGE)
    assert answer.status_code == 303, answer.text
    assert world.champion() == before
    assert "it was bad" in client.get("/dashboard/families/triage").text


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
        form = form_of_act(client, f"/dashboard/acts/set-champion?family=triage&variant={third}")
        for without, status in ({"confirm": "triage"}, 422), ({"reason": "it was good"}, 409):
            refused = client.post("/dashboard/acts/set-champion", data={**form, **without}, headers=OWN_PAGE)
            assert (refused.status_code, world.champion()) == (status, second)
        said = {**form, "reason": "it was good", "confirm": "triage"}
        assert client.post("/dashboard/acts/set-champion", data=said, headers=OWN_PAGE).status_code == 303
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
        form = form_of_act(client, f"{place}?family=triage")
        refused = client.post(place, data={**form, "reason": "it is <slow>"}, headers=OWN_PAGE)
        assert (refused.status_code, said in refused.text, world.champion()) == (409, True, good)
        answer = client.post(place, data={**form, "confirm": "triage"}, headers=OWN_PAGE)
        assert (answer.status_code, world.champion()) == (303, bad)
        assert "it is champion all the same" in client.get("/dashboard/families/triage").text


def test_what_cannot_start_now_shows_no_button_that_would_start_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        variant = world.candidate("Frozen:")
        world.post("/v1/freeze", {"family": "triage", "reason": "a quiet day"})
        answer = visitor(world, None).get(f"/dashboard/acts/start?family=triage&variant={variant}")
        assert (answer.status_code, "<button" in answer.text.partition("<main")[2]) == (409, False)
        assert "Nothing would start: " in answer.text


def test_a_family_in_a_rollout_stands_on_the_first_page_wherever_its_name_does() -> None:
    names = [f"family_{number:03}" for number in range(200)]
    assert names_shown(names, {"family_150", "family_001"}) == {*names[:24], "family_150"}
    assert names_shown(names, names) == {*names[:24]}


def test_a_name_that_was_mistyped_is_told_above_the_same_form(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        variant, client, place = world.candidate("Mistyped:"), visitor(world, None), "/dashboard/acts/start"
        world.report()
        address = f"{place}?family=triage&variant={variant}"
        page = client.get(address).text
        assert "It waits until somebody presses Approve. Then 50 % of the users get it" in page
        assert page.index("<details") < page.index("5 in 100 are promoted by mistake")
        form = {**form_of_act(client, address), "reason": "the <old> one is slow"}
        for typed, said in {
            "triag": "You typed “triag”, and the family&#39;s name is triage. Nothing has happened.",
            "": "The family&#39;s name, triage, is missing. Nothing has happened.",
        }.items():
            refused = client.post(place, data={**form, "confirm": typed}, headers=OWN_PAGE)
            assert (refused.status_code, said in refused.text) == (409, True), refused.text
            assert f'name="confirm" value="{typed}"' in refused.text
            assert "the &lt;old&gt; one is slow</textarea>" in refused.text
            assert "--confirm" not in refused.text
        answer = client.post(place, data={**form, "confirm": " triage "}, headers=OWN_PAGE)
        assert answer.status_code == 303, answer.text


def test_what_needs_a_person_names_what_is_held_and_leads_to_the_report_behind_an_alarm(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, begun = visitor(world, None), world.deploying()
        family = "/dashboard/families/triage"
        needs = client.get(family).text
        assert "<dt>Until it ends</dt><dd>" in needs
        assert "Is it worse by 5 points (the margin) or more? Not ruled out." in needs
        world.post(f"/v1/rollouts/{begun['id']}/hold", {"reason": "wait"})
        home, held = client.get("/dashboard").text, "it goes no further until somebody presses Resume"
        assert "1 rollout under way, 1 waits for a person" in home
        assert home.index("Needs a person") < home.index('<b class="warn">Held</b>') < home.index('id="families"')
        assert (held in home, held in client.get(family).text, "detent rollout resume" in home) == (True, True, False)
        told = f"Rollout {begun['id']} of triage was rolled back."
        alert = raised(world, "rollout_ended", "triage", told, "critical")
        report = f"dashboard/rollouts/{begun['id']}/report"
        assert report in client.get("/dashboard/alerts").text
        assert report in client.get("/dashboard").text
        assert client.get(family).text.count(told) == 1, "beside the rollout, too"
        store, later = world.shared.store, world.shared.clock.now()
        store.write(lambda tx: store.alerts.close(tx, alert.kind, alert.family, alert.subject, later))
        assert report not in client.get("/dashboard/alerts").text, "it began after this one was raised"
        store.write(lambda tx: store.alerts.open(tx, replace(alert, id="al_2", opened_at=later)))
        store.write(lambda tx: store.alerts.close(tx, alert.kind, alert.family, alert.subject, later))
        assert report in client.get("/dashboard/alerts").text, "also once it is over"
        world.post(f"/v1/rollouts/{begun['id']}/rollback", {"reason": "x"})
        assert "</b> ended here</li>" in client.get(family).text


def test_where_a_sentence_names_a_command_its_button_stands_beside_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, begun = visitor(world, None), world.deploying()
        told = "It is silent. Take it back: detent rollout rollback triage"
        raised(world, "candidate_silent", begun["id"], told)
        other = world.candidate("Beside it:")
        button = f'dashboard/acts/rollback?id={begun["id"]}">Roll back</a>'
        for place in ("/dashboard", "/dashboard/alerts", f"/dashboard/acts/start?family=triage&variant={other}"):
            page = client.get(place).text
            assert ("detent rollout rollback triage" in page, button in page) == (True, True), place
        place = f"/dashboard/acts/promote?id={begun['id']}"
        form = {**form_of_act(client, place), "reason": "wait"}
        world.shared.clock.scale = 60.0
        refused = client.post("/dashboard/acts/promote", data={**form, "confirm": "triage"}, headers=OWN_PAGE)
        assert (refused.status_code, "60 times as fast" in refused.text, button in refused.text) == (409, True, True)
        assert ">wait</textarea>" in refused.text
        world.add_key("reader", "read-texts", secret="secret-reader")
        world.add_key("boss", "admin", secret="secret-boss")
        assert button not in visitor(world, "secret-reader").get("/dashboard/alerts").text


def test_every_rollout_of_a_family_is_reached_from_its_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        first = world.start(world.candidate("The first:"))["id"]
        world.post(f"/v1/rollouts/{first}/reject", {"reason": "x"})
        second = world.start(world.candidate("The second:"))["id"]
        page = visitor(world, None).get("/dashboard/families/triage").text
        assert page.index(f"report of {second}") < page.index(f"report of {first}")
        assert "Every user gets the champion until somebody presses Approve" in page
        assert visitor(world, None).get(f"/dashboard/rollouts/{first}/report").status_code == 200


def test_everything_is_frozen_from_the_menu_of_every_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for role in ("read", "operate", "admin"):
            world.add_key(role, role, secret=f"secret-{role}")
        menu = r"<nav id=\"pages\".*?acts/freeze\".*?</nav>"
        operator, reader = visitor(world, "secret-operate"), visitor(world, "secret-read")
        assert re.search(menu, operator.get("/dashboard/alerts").text, re.DOTALL)
        assert not re.search(menu, reader.get("/dashboard/alerts").text, re.DOTALL)
        form = form_of_act(operator, "/dashboard/acts/freeze")
        assert operator.post("/dashboard/acts/freeze", data=form, headers=OWN_PAGE).status_code == 303
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


def test_an_error_has_a_title_in_words_and_leads_to_the_family_that_was_named(world: World) -> None:
    client = visitor(world, "secret-operate")
    family = 'class="button" href="../../dashboard/families/triage"'
    for address, status, title in (
        ("/dashboard/acts/start?family=triage&variant=v_none", 404, "There is nothing here"),
        ("/dashboard/acts/set-champion?family=triage&variant=v_none", 409, "That does not go now"),
    ):
        answer = client.get(address)
        assert (answer.status_code, f"<h1>{title}</h1>" in answer.text, "`" in answer.text) == (status, True, False)
        assert family in answer.text
    stranger = visitor(world, "elsewhere-operate").get("/dashboard/acts/start?family=triage&variant=v_none")
    assert family not in stranger.text
    assert "`" not in client.post("/dashboard/sign-in", data={"key": "wrong"}, headers=OWN_PAGE).text


def test_a_champion_without_one_before_it_is_not_offered_to_be_taken_back(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        second = world.candidate("The second:")
        world.post("/v1/families/triage/champion/set", {"variant": second, "reason": "x", "confirm": "triage"})
        assert "acts/take-back" in world.get("/dashboard/families/triage").text
        world.post("/v1/families/triage/champion/rollback", {"reason": "x"})
        assert "acts/take-back" not in world.get("/dashboard/families/triage").text


def test_a_page_that_is_not_live_asks_for_what_stands_still_alone(world: World) -> None:
    client, place = visitor(world, "secret-read"), "/dashboard/requests?window=7d"
    assert '<div id="freezes" hx-get=""' in client.get(place).text
    world.post("/v1/freeze", {"reason": "all of it"})
    asked = client.get(place, headers={"HX-Target": "freezes"})
    world.post("/v1/unfreeze", {"reason": "all of it"})
    assert (asked.status_code, "Everything is frozen" in asked.text, "<h1>" in asked.text) == (200, True, False)
    assert "Everything is frozen" not in client.get(place, headers={"HX-Target": "freezes"}).text
    assert visitor(world, None).get(place, headers={"HX-Target": "freezes"}).status_code == 303


def test_a_candidate_s_prompt_stands_beside_the_champion_s(world: World) -> None:
    candidate = world.candidate("Quite another question:")
    place = f"/dashboard/families/triage/variants/{candidate}"
    page = visitor(world, "secret-read-texts").get(place).text
    assert re.search(r'<span class="added">[^<]*Quite another question:', page)
    assert "Quite another question" not in visitor(world, "secret-read").get(place).text


def test_a_report_is_one_file_that_may_run_and_load_nothing(world: World) -> None:
    rollout = world.get("/v1/families/triage/rollout").json()["id"]
    for address, back in (
        (f"/dashboard/rollouts/{rollout}/report", "/dashboard/families/triage"),
        ("/dashboard/studies/st_1/report", "/dashboard/studies/st_1"),
    ):
        answer = visitor(world, "secret-read-texts").get(address)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-security-policy"] == REPORT_POLICY
        seen = Elements(answer.text).seen
        assert {tag for tag, _ in seen} & {"script", "link", "img", "form"} == set()
        assert urljoin(address, next(attributes["href"] for tag, attributes in seen if tag == "a")) == back
        assert visitor(world, None).get(address).status_code == 303
        assert visitor(world, "elsewhere-operate").get(address).status_code == 404


def test_a_page_that_did_not_change_says_so(world: World) -> None:
    client = visitor(world, "secret-read")
    first = client.get("/dashboard/alerts")
    again = client.get("/dashboard/alerts", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_study_with_many_trials_shows_them_fifty_at_a_time_by_rank(world: World) -> None:
    """All of them are ranked, more than the list of the API gives at once."""
    store, champion, n = world.shared.store, world.champion(), 1060
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    store.write(lambda tx: store.studies.add(tx, replace(study, id="st_many")))

    def trial(number: int) -> Trial:
        score = None if number == 7 else number / n
        status: Any = "complete" if score is not None else "stopped"
        about = {"study": "st_many", "number": number, "variant": champion, "params": {}}
        return Trial(proposer=f"proposer-{number}-", status=status, score=score, **about)

    store.write(lambda tx: [store.studies.put_trial(tx, trial(number)) for number in range(n)])
    client = visitor(world, "secret-read")
    first = client.get("/dashboard/studies/st_many").text
    assert "1 to 50 of 1,060" in first
    assert f"proposer-{n - 1}-" in first
    assert "proposer-7-" not in first
    assert 'href="../../dashboard/studies/st_many?from=50"' in first
    rest = client.get("/dashboard/studies/st_many?from=1050").text
    assert "1051 to 1060 of 1,060" in rest
    assert "proposer-7-" in rest, "one without a score comes last"
    assert f"proposer-{n - 1}-" not in rest
    assert "More trials" not in rest
    assert "1 to 50 of 1,060" in client.get("/dashboard/studies/st_many?from=9000").text


def test_studies_are_picked_for_a_comparison_and_ordered_by_their_lift(world: World) -> None:
    store, client = world.shared.store, visitor(world, "secret-read")
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    for id, lift in (("st_little", 0.01), ("st_much", 0.2)):
        seen: Any = {"lift": lift, "lift_low": lift - 0.01, "lift_high": lift + 0.01, "n": 100}
        store.write(lambda tx, id=id, seen=seen: store.studies.add(tx, replace(study, id=id, confirmation=seen)))  # type: ignore[misc]
    page = client.get("/dashboard/studies?family=triage&order=lift").text
    assert re.findall(r"dashboard/studies/(st_\w+)\"", page) == ["st_much", "st_little"]
    assert "+20.0 points" in client.get("/dashboard/families/triage").text
    chosen = client.get("/dashboard/studies?family=triage&first=st_little").text
    assert re.search(r'name="first" value="st_little" [^>]*checked', chosen)
    pair = client.get("/dashboard/studies/compare?first=st_little&second=st_much").text
    assert [text for text in ("+1.0 points", "+20.0 points") if text not in pair] == []


def test_money_names_what_is_spent_and_reserved_and_what_keys_used(world: World) -> None:
    store, day = world.shared.store, world.shared.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    world.add_key("thrifty", "serve", secret="secret-thrifty", limits={"usd_per_day": 2.0})
    store.write(lambda tx: store.key_usage.take(tx, "thrifty", "usd_per_day", day, 0.5, 2.0))
    page = visitor(world, "secret-admin").get("/dashboard/money").text
    row = re.search(r"<td[^>]*>thrifty</td>(.*?)</tr>", page, flags=re.DOTALL)
    assert row is not None
    assert ("0.5" in row[1], "2" in row[1]) == (True, True)
    spending = world.get("/v1/spending").json()
    assert [(one["kind"], one["id"]) for one in spending["unfinished"]] == [("compare", "cp_1"), ("check", "jr_1")]
    assert all(f'{one["id"]}">' in page for one in spending["unfinished"])
    assert "thrifty" not in visitor(world, "secret-read").get("/dashboard/money").text
    assert visitor(world, "elsewhere-operate").get("/dashboard/money").status_code == 200


def hours_of(world: World, back: timedelta, n: int, variant: str = "", **more: Any) -> datetime:
    """Puts the sums of a minute of that hour into the store, and says when the hour began."""
    store, now = world.shared.store, world.shared.clock.now()
    hour = floor(now - back, HOUR)
    minute = MinuteSums(family="triage", minute=hour, variant=variant, model="m")
    for _ in range(n):
        minute.add_interaction(failed=False, cost_usd=0.0, **{"latency_ms": 10.0, **more})

    def keep(tx: Any) -> None:
        store.minute_stats.put(tx, [minute])
        store.minute_stats.set_watermark(tx, MINUTES, now)

    store.write(keep)
    return hour


@pytest.mark.parametrize("range_", ["24h", "7d", "30d"])
def test_the_figures_on_top_and_the_table_below_are_of_the_same_time(tmp_path: Path, range_: str) -> None:
    with serving(make_home(tmp_path)) as world:
        hours_of(world, time_of(range_), 500, world.champion())
        hours_of(world, timedelta(hours=1), 1, world.champion())
        page = visitor(world, None).get(f"/dashboard/performance?family=triage&range={range_}").text
        (on_top,) = re.findall(r"<dt>Requests</dt><dd>([\d,]+)</dd>", page)
        in_table = re.findall(r'<td data-column="Requests">([\d,]+)</td>', page)
        assert (on_top, set(in_table)) == ("501", {"501"})


def test_the_charts_show_a_variant_of_few_requests_to_who_chooses_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for n in range(7):
            hours_of(world, timedelta(hours=1), n + 1, f"v_00000000000{n}" if n else "")
        address = "/dashboard/performance?family=triage"
        usual, chosen = (visitor(world, None).get(address + more).text for more in ("", "&variant=v_000000000001"))
        assert ("<title>v_000000000001 on m" in usual, "<title>v_000000000003 on m" in usual) == (False, True)
        assert "3 others in the table alone" in usual
        assert ("<title>v_000000000001 on m" in chosen, "<title>v_000000000003 on m" in chosen) == (True, False)


def test_the_highest_latency_names_its_hour(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        hour = hours_of(world, timedelta(hours=20), 3)
        for place in ("/dashboard", "/dashboard/families/triage"):
            page, p95 = visitor(world, None).get(place).text, "Highest (<abbr [^>]*>)?p95(</abbr>)?"
            assert re.search(rf"<dt>{p95}, {hour:%H:%M} UTC</dt><dd>\d+ ms</dd>", page), place


def test_money_names_the_last_day_with_any_request_and_what_chats_may_spend(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    file = settings.home / "families" / "triage" / "family.yaml"
    file.write_text(f"{file.read_text()}\nlimits: {{usd_per_hour: 3.5}}\n")
    with serving(settings) as world:
        store, days = world.shared.store, [world.shared.clock.now() - timedelta(days=back) for back in (3, 1)]
        for day, usd in zip((f"{at:%Y-%m-%d}" for at in days), (2.0, 12.5), strict=True):
            sums = DaySums(family="triage", variant="v", model="m", day=day, n_interactions=4, cost_usd=usd)
            store.write(lambda tx, day=day, sums=sums: store.performance.put_day(tx, day, [sums]))  # type: ignore[misc]
        page = visitor(world, None).get("/dashboard/money").text
        (cell,) = re.findall(r'data-column="Dollars, last day with any">(.*?)</td>', page)
        assert ("$12.5" in cell, f"{days[1]:%Y-%m-%d}" in cell) == (True, True), cell
        assert re.findall(r'data-column="Cap of chats, an hour">(.*?)</td>', page) == ["$3.50"]


def test_a_card_shows_the_evidence_of_the_next_step_beside_its_threshold(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        rollout = world.deploying()
        page = visitor(world, None).get("/dashboard").text
        (card,) = re.findall(r'<article class="card">(.*?)</article>', page, flags=re.DOTALL)
        view = world.get(f"/v1/rollouts/{rollout['id']}").json()["evidence"]
        gate = next(gate for gate in view["gates"] if gate["name"] == view["next_step"]["asks"])
        assert f"Evidence {gate['text']} that it is not {gate['claim']}" in card
        assert re.search(r"\d+ of 20$", gate["text"])
        assert 'dashboard/families/triage#rollout">Difference and days still needed' in card


def test_a_family_whose_file_never_was_good_is_told_of_and_its_page_opens(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    (folder := settings.families_dir / "broken").mkdir()
    (folder / "family.yaml").write_text("name: broken\nprompt: [")
    with serving(settings) as world:
        for place in ("/dashboard", "/dashboard/families/broken"):
            answer = visitor(world, None).get(place)
            assert (answer.status_code, "and nothing of it is served yet" in answer.text) == (200, True), place
            assert ("last good version" in answer.text, str(tmp_path) in answer.text) == (False, False), place
        assert "family.yaml: line 2: this is no YAML" in answer.text
        (settings.families_dir / "triage" / "family.yaml").write_text("name: triage\nprompt: [")
        world.shared.serving.refresh()
        for place in ("/dashboard", "/dashboard/families/triage"):
            assert "its last good version serves" in visitor(world, None).get(place).text, place
        world.add_key("figures", "read", secret="secret-figures")
        for place in ("examples", "schedule"):
            page = visitor(world, "secret-figures").get(f"/dashboard/families/broken/{place}")
            told = UNREADABLE.partition("'")[2]
            assert ("this is no YAML" in page.text, told in page.text) == (False, True), place


def test_programs_that_are_refused_for_want_of_a_key_are_listed(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        world.add_key("boss", "admin", secret="secret-admin")
        world.get("/v1/families", headers={"User-Agent": "<b>shop</b>/1.2"})
        world.shared.callers.flush(world.shared.store, world.shared.clock.now())
        page = visitor(world, "secret-admin").get("/dashboard").text
        assert "1 program refused for want of a valid key (below)" in page
        assert re.search(r"&lt;b&gt;shop&lt;/b&gt;/1.2 from 127.0.0.1, no key: 1 request refused", page)


def test_help_is_named_in_words_and_by_no_path_of_a_file(world: World) -> None:
    client = visitor(world, "secret-admin")
    world.post("/v1/freeze", {"reason": "a look"})
    pages = {place: client.get(place).text for place in ("/dashboard/alerts", "/dashboard/settings")}
    assert "frozen: not shown to this key." in visitor(world, "secret-read").get("/dashboard/alerts").text
    world.post("/v1/unfreeze", {"reason": "a look"})
    assert "“Freeze everything” in the runbook" in pages["/dashboard/alerts"]
    assert "under “Settings”" in pages["/dashboard/settings"]
    assert [place for place, page in pages.items() if "docs/r" in page] == []


def test_what_is_over_is_listed_page_by_page_and_what_is_under_way_whole(tmp_path: Path) -> None:
    """However much came after it."""
    with serving(make_home(tmp_path)) as world:
        store, now = world.shared.store, world.shared.clock.now()
        told = {"kind": "test", "detail": "it is hot", "level": "warning", "family": None}

        def keep(tx: Any) -> None:
            for n in range(LISTED + 1):
                alert = Alert(id=f"al_{n:03}", subject=f"over-{n}", opened_at=now - timedelta(hours=3), **told)  # type: ignore[arg-type]
                store.alerts.open(tx, alert)
                store.alerts.close(tx, "test", None, alert.subject, now - timedelta(minutes=n))
                open_alert = replace(alert, id=f"al_open_{n:03}", subject=f"open-{n}", opened_at=now)
                store.alerts.open(tx, open_alert)
                run = ComparisonRun(
                    id=f"cp_{n:03}",
                    family="triage",
                    request={"variants": [], "example_ids": [], "is_priced": True},
                    budget=Budget(calls=1),
                    status="queued",
                    n=1,
                    created_by="ann",
                    created_at=now - timedelta(minutes=n),
                )
                store.runs.add(tx, replace(run, status="failed", finished_at=now))
                store.runs.add(tx, replace(run, id=f"cp_old_{n:03}", created_at=now - timedelta(days=1)))

        store.write(keep)
        client = visitor(world, None)
        firing, _, resolved = client.get("/dashboard/alerts").text.partition("Resolved</h2>")
        assert (firing.count("it is hot"), resolved.count("it is hot")) == (LISTED + 1, LISTED)
        older = re.search(r'href="\.\./(dashboard/alerts\?cursor=[^"]+)"', resolved)
        assert older is not None
        assert client.get(f"/{older[1]}").text.partition("Resolved</h2>")[2].count("it is hot") == 1
        now_shown, _, ended = client.get("/dashboard/runs?family=triage").text.partition("Ended</h2>")
        assert (now_shown.count("acts/cancel-comparison"), ended.count("runs/compare/cp_")) == (LISTED + 1, LISTED)
        older = re.search(r'href="\.\./(dashboard/runs\?family=triage&amp;cursor=[^"]+)"', ended)
        assert older is not None
        rest = client.get(f"/{older[1].replace('&amp;', '&')}").text
        assert re.findall(r"runs/compare/(cp_0\d+)", rest) == [f"cp_{LISTED:03}"]


def test_a_run_is_seen_with_how_far_it_is_and_cancelled_on_its_page(world: World) -> None:
    client = visitor(world, "secret-operate")
    page = client.get("/dashboard/runs").text
    assert re.search(r"<progress[^>]*>0</progress> 0 of 4", page)
    form = form_of_act(client, "/dashboard/acts/cancel-comparison?id=cp_1")
    answer = client.post("/dashboard/acts/cancel-comparison", data=form, headers=OWN_PAGE)
    place, done = told_at(answer)
    assert place == "/dashboard/runs/compare/cp_1"
    assert "Cancelled: it ends before its next call." in client.get(f"{place}?done={done}").text
    assert world.get("/v1/comparisons/cp_1").json()["status"] == "cancelled"
    assert "acts/cancel-comparison" not in client.get("/dashboard/runs/compare/cp_1").text


def test_every_kind_of_run_that_there_is_has_its_row_and_its_page(tmp_path: Path) -> None:
    """Of all families, a forgetting: it can be read by whoever may forget, and nobody cancels it."""
    assert set(KINDS) == {*WITHOUT_JUDGE, *get_args(RunKind)}
    with serving(make_home(tmp_path)) as world:
        world.shared.store.write(lambda tx: add_runs(world, tx))
        for role in ("admin", "operate", "read"):
            world.add_key(role, role, secret=f"secret-{role}")
        world.client.headers["Authorization"] = "Bearer secret-admin"
        forgetting = world.client.delete("/v1/units/us1?confirm=us1").json()["id"]
        with world.shared.store.read() as tx:
            shown = {run.kind for run in world.shared.store.runs.unfinished(tx)}
        assert shown == {"compare", "check", "forget"}
        for secret, reads in (("secret-admin", True), ("secret-operate", False), ("secret-read", False)):
            client = visitor(world, secret)
            for place in ("/dashboard/runs", "/dashboard/money"):
                answer = client.get(place)
                assert answer.status_code == 200, answer.text
                assert f"Forgetting of a person {forgetting}" in answer.text
                assert (f"runs/forget/{forgetting}" in answer.text) == reads
            assert client.get(f"/dashboard/runs/forget/{forgetting}").status_code == (200 if reads else 403)
        found: ForgetResult = {
            "places": [{"place": "interactions", "n": 7}],
            "families": ["triage"],
            "variants": {},
            "champions": {"triage": "v_before"},
            "first": [],
            "not_reached": ["A backup of last week."],
        }
        now, runs = world.shared.clock.now(), world.shared.store.runs
        world.shared.store.write(
            lambda tx: runs.update(tx, forgetting, status="finished", finished_at=now, result=found)
        )
        client = visitor(world, "secret-admin")
        page = client.get(f"/dashboard/runs/forget/{forgetting}").text
        assert [text for text in ("interactions", "v_before", "A backup of last week.") if text not in page] == []
        assert f"Forgetting of a person {forgetting}" in client.get("/dashboard/runs").text


def test_a_fault_that_nobody_foresaw_is_a_page_with_the_menu_and_without_what_is_inside(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*about: Any, **members: Any) -> Any:
        raise RuntimeError("an inner part of it")

    client = visitor(world, "secret-read")
    monkeypatch.setattr(visitors.PageVisit, "ask", fails)
    answer = client.get("/dashboard/alerts")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == POLICY
    assert "an inner part" not in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert 'href="../dashboard/studies"' in answer.text


def test_a_page_that_another_read_keeps_waiting_says_so_and_asks_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "answer_apart", apart.answer_apart)
    monkeypatch.setattr(apart, "TURN_S", 0.01)
    with apart._turn:
        refused = visitor(world, "secret-operate").get("/dashboard/studies/st_1/report")
    assert (refused.status_code, refused.text.count('http-equiv="refresh"')) == (503, 1)
    assert 'id="again"' in refused.text


def test_settings_name_their_source_and_keep_secrets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert visitor(world, "secret-read-texts").get("/dashboard/settings").status_code == 403
    monkeypatch.setenv("DETENT_LIMITS__BATCH", "900")
    monkeypatch.setenv("QUALITY_MIN_OVERALL", "0.7")
    monkeypatch.setenv("DETENT_ALERT_SLACK_WEBHOOK", f"https://hooks.example/{SECRET_WORD}")
    page = visitor(world, "secret-operate").get("/dashboard/settings").text
    rows = dict(re.findall(r"<tr><td[^>]*><code>([\w.]+)</code>(.*?)</tr>", page, flags=re.DOTALL))
    assert "The file of the store" in rows["database_url"]
    assert rows["limits.batch"].endswith(">environment</td>")
    assert "default" in rows["limits.header_seconds"]
    assert "hidden" in rows["api_key"] or "not set" in rows["api_key"]
    assert "<b>0.7</b>" in rows["QUALITY_MIN_OVERALL"]
    assert SECRET_WORD not in page.partition("<main")[2]  # a freeze above it, where there is one, says its reason


def test_what_the_sealed_holdout_asks_is_counted_and_not_shown_among_the_lowest(world: World) -> None:
    now, client = world.shared.clock.now(), visitor(world, "secret-read-texts")
    for id, text in (("in_low", "a plain question"), ("in_sealed", "a sealed question")):
        event = {"id": id, "family": "triage", "unit": id, "input": {"text": text}, "output": "x", "latency_ms": 1.0}
        assert world.post("/v1/feedback", event).status_code == 200
        correction = {"interaction": id, "family": "triage", "score": 0.0, "expected": {"topic": "technical"}}
        assert world.post("/v1/feedback", correction).status_code == 200
    drawn = make_example(
        family="triage",
        input={"text": "a sealed question"},
        expected={"topic": "billing"},
        created_at=now,
        origin="curated",
    )
    world.shared.store.write(lambda tx: world.shared.store.examples.add(tx, [replace(drawn, split="holdout")]))
    page = client.get("/dashboard/families/triage/quality").text
    assert "a plain question" in page
    assert '<td data-column="Expected" class="wide"><span class="role">topic</span> technical' in page
    assert "a sealed question" not in page
    assert "1 answer not shown" in page
    counts = client.get("/dashboard/families/triage/examples").text
    assert "a sealed question" not in counts
    assert "<dt>Sealed, never shown</dt>" in counts


def test_scripts_of_others_are_as_they_were_published_and_are_sent_once(world: World) -> None:
    published = dict(
        re.findall(r"(\S+\.js) sha256 (\w{64})", (FOLDER.parents[2] / "NOTICE").read_text(encoding="utf-8"))
    )
    assert [name for name in SCRIPTS if name not in published] == ["dashboard.js"]
    for name, digest in published.items():
        sent = visitor(world, None).get(place := f"/dashboard/files/{name}")
        assert sha256(sent.content).hexdigest() == digest
        assert (FOLDER / name.replace(".min.js", ".LICENSE")).exists()
        again = visitor(world, None).get(place, headers={"If-None-Match": sent.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


class Elements(HTMLParser):
    """Every element of a page with its attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))


def test_nothing_that_people_wrote_becomes_a_part_of_a_page(world: World) -> None:
    texts = " ".join(HOSTILE)
    for i, text in enumerate(HOSTILE):
        event = {"id": f"in_{text}"[:60], "family": "triage", "unit": text, "input": {"text": text}, "output": text}
        sent = world.post(
            "/v1/feedback", {**event, "error": text, "model": text[:50], "latency_ms": 5.0, "label": text}
        )
        assert sent.status_code == 200, sent.text
        message = {"role": "user", "content": f"{text.replace('{', '(').replace('}', ')')} {{{{text}}}} {i}"}
        made = world.post("/v1/families/triage/variants", {"messages": [message], "note": text})
        assert made.status_code == 201, made.text
    variant = made.json()["variant"]
    world.post("/v1/families/triage/champion/set", {"variant": variant, "reason": texts, "confirm": "triage"})
    world.post("/v1/freeze", {"reason": texts})
    client = visitor(world, "secret-admin")
    links = re.findall(r'href="(?:\.\./)*(?:\./)?(dashboard/requests/[^"?]+)"', client.get("/dashboard/requests").text)
    assert len(links) > len(HOSTILE) - 2
    places = [*addresses(world), *(f"/{link}" for link in links), "/dashboard/families/%3Cscript%3Ehostile()"]
    shown = 0
    for place in places:
        page = client.get(place).text
        shown += "hostile()" in page
        for tag, attributes in Elements(page).seen:
            assert tag not in ("img", "iframe", "object", "base"), (place, tag)
            assert tag != "script" or (attributes.get("src") or "").rpartition("dashboard/files/")[2] in SCRIPTS, place
            assert not any(name.startswith("on") or name == "style" for name in attributes), (place, attributes)
            link = attributes.get("href") or attributes.get("action") or attributes.get("src") or "./"
            assert re.match(r"\.{1,2}/|#", link), (place, link)
    assert shown > len(HOSTILE)
    assert "1337" not in "".join(client.get(place).text for place in places[:4])


def test_the_first_page_asks_the_store_no_more_often_for_more_families(tmp_path: Path) -> None:
    n_queries = []
    for n_families in (1, 4):
        settings = make_home(tmp_path / str(n_families))
        for i in range(1, n_families):
            folder = settings.families_dir / f"triage{i}"
            folder.mkdir()
            (folder / "family.yaml").write_text(FAMILY.replace("name: triage", f"name: triage{i}"))
        with serving(settings) as world:
            for i in range(n_families):
                rollout_of(world, f"triage{i or ''}")
            world.tick()
            context, names = context_of(world), ",".join(f"triage{i or ''}" for i in range(n_families))
            status = partial(read_status, context, StatusRequest())
            last_day = partial(read_stats_of_families, context, FamiliesStatsRequest(families=names))
            n_queries.append([queries_of(ask) for ask in (status, last_day)])
    assert n_queries[0] == n_queries[1]


def rollout_of(world: World, family: str) -> None:
    """Approved, of a candidate that differs from the champion."""
    message = {"role": "user", "content": "Another question: {{text}}"}
    variant = world.post(f"/v1/families/{family}/variants", {"messages": [message]}).json()["variant"]
    served = {
        "id": f"in_{family}",
        "family": family,
        "unit": "u",
        "output": "billing",
        "latency_ms": 1.0,
        "cost_usd": 0.1,
    }
    assert world.post("/v1/interactions", served).status_code == 200
    started = world.post(f"/v1/families/{family}/rollouts", {"variant": variant, "confirm": family, "reason": "a try"})
    assert world.post(f"/v1/rollouts/{started.json()['id']}/approve", {"reason": "go"}).status_code == 200


def context_of(world: World) -> Context:
    return world.shared.context(without_key(world.shared.actor_without_key, "127.0.0.1", "dashboard"))


def queries_of(ask: Callable[[], object]) -> int:
    """Of this thread: others look at the store by themselves."""
    statements, here = list[str](), get_ident()

    def note(*about: Any) -> None:
        if get_ident() == here:
            statements.append(about[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert ask()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(statements)


@pytest.mark.parametrize("fault", [None, NotSent("it is away"), Busy("it broke off")], ids=str)
def test_a_page_is_drawn_by_the_process_for_feedback_and_here_where_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    forwarded = list[str]()

    async def forward(request: Request) -> Response:
        forwarded.append(request.url.path)
        if fault is not None:
            raise fault
        return HTMLResponse("drawn elsewhere")

    client, stranger = visitor(world, "secret-operate"), visitor(world, None)
    monkeypatch.setattr(world.shared, "feedback", SimpleNamespace(forward=forward))
    assert ("drawn elsewhere" in client.get("/dashboard").text) == (fault is None)
    assert forwarded == ["/dashboard"]
    assert stranger.get("/dashboard/money").status_code == 303, "nobody is let in by the other process"
    assert "drawn elsewhere" not in client.get("/dashboard/acts/freeze").text
    assert forwarded == ["/dashboard"]
    assert not world.app.state.in_flight.requests_of, "a page that was drawn here after all counted once"


def test_every_chapter_of_the_runbook_is_set_as_a_page(world: World) -> None:
    client = visitor(world, "secret-read")
    for name in runbook():
        page = client.get(f"/dashboard/runbook/{name}").text
        text = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", page.partition("<main")[2], flags=re.DOTALL)
        assert ("<strong>" in text, "**" in text, "](" in text) == (True, False, False), name
        for link in re.findall(r'<a href="([^"/]+)"', text):
            assert client.get(f"/dashboard/runbook/{link}").status_code == 200, (name, link)
    assert (
        markdown("<b>[x](javascript:y)</b> [z](how-to/z.md)")
        == "<p>&lt;b&gt;[x](javascript:y)&lt;/b&gt; <i>z</i></p>\n"
    )


@named(
    ("text", "shown"),
    {
        "at the end": ("It fell. Look: detent status", "It fell. Look: <code>detent status</code>."),
        "two": (
            "Look: detent a --range 1h. Back: detent b <c>",
            "Look: <code>detent a --range 1h</code>. Back: <code>detent b &lt;c&gt;</code>.",
        ),
        "in a row": (
            "Look: detent a; then detent b, or detent c.",
            "Look: <code>detent a</code>; then <code>detent b</code>, or <code>detent c</code>.",
        ),
        "none": ("The detent of <b>x</b> holds.", "The detent of &lt;b&gt;x&lt;/b&gt; holds."),
    },
)
def test_commands_in_what_an_alert_says_are_set_apart(text: str, shown: str) -> None:
    assert with_commands(text) == shown


def test_a_chapter_that_an_alert_leads_to_names_its_family(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    (settings.families_dir / "triage").rename(settings.families_dir / "faq")
    (settings.families_dir / "faq" / "family.yaml").write_text(FAMILY.replace("triage", "faq"), encoding="utf-8")
    with serving(settings) as world:
        client = visitor(world, None)
        main = client.get("/dashboard/runbook/freeze-everything?family=faq").text.partition("<main")[2]
        assert ("detent freeze faq" in main, "triage" in main) == (True, False)
        assert 'dashboard/families/faq">its page' in main
        assert "detent freeze triage" in client.get("/dashboard/runbook/freeze-everything?family=gone").text


def test_every_link_stays_below_the_prefix_of_a_proxy(world: World) -> None:
    client, front = visitor(world, "secret-admin"), "https://detent.example/below/here"
    for address in addresses(world):
        for _, attributes in Elements(client.get(address).text).seen:
            for name in {"href", "src", "action"} & attributes.keys():
                place = urljoin(front + address, attributes[name])
                assert place.startswith((f"{front}/dashboard", f"{front}/docs")), (address, attributes)


def test_a_request_whose_id_holds_a_slash_and_the_api_s_page_stay_below_a_prefix_too(world: World) -> None:
    front = "https://detent.example/below/here"
    world.report("a/b/../c")
    for client, address in (
        (visitor(world, "secret-admin"), "/dashboard/requests/triage/a%2Fb%2F..%2Fc"),
        (world.client, "/docs"),
    ):
        page = client.get(address)
        assert page.status_code == 200, page.text
        for _, attributes in Elements(page.text).seen:
            for name in {"href", "src", "action"} & attributes.keys():
                assert urljoin(front + address, attributes[name]).startswith(front), (address, attributes)
    assert 'url: "openapi.json"' in world.client.get("/docs/start.js").text


def test_the_audit_says_what_and_why_in_words_and_leads_to_what_it_is_about(world: World) -> None:
    rollout = next(one for one in world.get("/v1/audit?limit=1000").json()["items"] if one["action"] == "rollout.hold")
    page = visitor(world, "secret-operate").get("/dashboard/audit").text
    assert 'rollout start <b class="warn">forced</b>' in page
    row = page[: page.index("held at 50 %: no advance until it is resumed")].rpartition("<tr>")[2]
    assert f'href="../dashboard/rollouts/{rollout["subject"]}/report"' in row
    assert "rollout hold" in row
    rest = page[page.index("held at 50 %") :].partition("</tr>")[0]
    assert f"Why: wait {SECRET_WORD}" in rest
    assert rollout["detail"]["hash"] in rest.partition("<details>")[2]
    assert '{"' not in rest
    assert f"/dashboard/families/triage/variants/{world.champion()}" in page


def test_a_study_leads_to_the_start_of_its_winner_and_says_why_another_trial_scores_higher(world: World) -> None:
    store, champion = world.shared.store, world.champion()
    winner, other = world.candidate("the winner? "), world.candidate("the dear one? ")
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    ended: Any = {"status": "finished", "outcome": "nominated", "winner": winner, "error": None, "aim": "cost"}
    now = world.shared.clock.now()
    worth = {"variant": winner, "best": "TF-IDF and logistic regression", "lead": -0.167, "low": -0.2, "high": -0.1}
    rows = [{"name": "TF-IDF and logistic regression", "score": 0.9, "low": 0.8, "high": 0.95, "why": None}]
    findings: Any = {"trivial_baselines": {"n": 9, "rows": rows, "worth": worth, "why_not": None}}
    store.write(
        lambda tx: store.studies.add(
            tx,
            replace(
                study, id="st_won", created_at=now + timedelta(days=1), finished_at=now, findings=findings, **ended
            ),
        )
    )
    for number, (variant, score) in enumerate(((champion, 0.5), (winner, 0.6), (other, 0.9))):
        about: Any = {"study": "st_won", "number": number, "variant": variant, "params": {}, "status": "complete"}
        store.write(lambda tx, a=about, s=score: store.studies.put_trial(tx, Trial(proposer="p", score=s, **a)))  # type: ignore[misc]
    world.post("/v1/unfreeze", {"family": "triage", "reason": "make room"})
    world.post("/v1/unfreeze", {"reason": "make room"})
    page = visitor(world, "secret-operate").get("/dashboard/studies/st_won").text
    assert f'families/triage/variants/{winner}"><code class="candidate">' in page.partition("Trials, best")[0]
    assert "this is the cheapest" in page
    assert "detent " not in page.partition("<dt>Next")[2].partition("</dl>")[0]
    assert '<abbr title="counts words, rare ones more">TF-IDF</abbr>' in page
    pair = visitor(world, "secret-operate").get("/dashboard/studies/compare?first=st_won&second=st_won").text
    assert pair.count("No model is needed here so far: TF-IDF and logistic regression needs none") == 2
    ranked = visitor(world, "secret-operate").get("/dashboard/studies?order=lift&first=st_1").text  # which has no lift
    assert '<input type="radio" name="first" value="st_1" aria-label="st_1 is the first" checked>' in ranked
    family = "/dashboard/families/triage"
    world.post(f"/v1/rollouts/{world.get('/v1/families/triage/rollout').json()['id']}/rollback", {"reason": "done"})
    told = (
        visitor(world, "secret-operate").get(family).text.partition("no rollout has tried it")[2].partition("</p>")[0]
    )
    assert f"dashboard/acts/start?family=triage&amp;variant={winner}" in told
    start = visitor(world, "secret-operate").get("/dashboard/studies/st_won").text.partition("<dt>Next")[2]
    assert f"dashboard/acts/start?family=triage&amp;variant={winner}" in start


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


def test_a_port_that_was_taken_stands_beside_the_one_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    served = {"mlflow": "http://127.0.0.1:8323", "gateway": None}
    process = partial(RunningProcess, pid=1, since=world.shared.clock.now())
    monkeypatch.setattr(run_files, "find", lambda _, name: process(name=name, url=served.get(name)))
    page = visitor(world, "secret-operate").get("/dashboard/settings").text
    assert re.search(r"<code>mlflow_port</code>.*?<code>8322</code> <b>now 8323</b>", page, re.DOTALL)
    assert page.count("<b>now ") == 1
