"""Who is let into the pages under /dashboard, and what each role reads there."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from api.access.wrong_keys import FREE
from api.dashboard.acts import ACTS
from api.dashboard.rendering import POLICY
from api.dashboard.sessions import LASTS, DashboardSession, EndedSessions, SessionKey
from api.dashboard.visitors import FORM_TYPE
from optimizer.core.serving.access import hash_of
from optimizer.jobs.upkeep.glance_at_store import Topic
from tests.stores import NOW
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.dashboard_visitor import (
    ACTORS,
    OTHER_PAGES,
    OWN_PAGE,
    READERS,
    TYPED,
    addresses,
    form_of_act,
    pressed,
    visitor,
)
from tests.worlds.seeded_world import SEALED_WORD, SECRET_WORD


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


def test_signing_in_where_there_is_no_key_is_no_wrong_key(tmp_path: Path) -> None:
    """Else who tries a few times would be kept waiting."""
    with serving(make_home(tmp_path)) as world:
        client = visitor(world, None)
        for _ in range(FREE + 2):
            answer = client.post("/dashboard/sign-in", data={"key": "any"}, headers=OWN_PAGE)
            assert (answer.status_code, "nothing to sign in with: open /dashboard" in answer.text) == (401, True)


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


def test_a_form_whose_key_ended_while_it_came_does_nothing(world: World) -> None:
    world.add_key("leaves", "operate", secret="secret-leaves")
    client, scope = visitor(world, "secret-leaves"), "?family=triage"
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    headers = {"content_type": FORM_TYPE, "cookie": cookie, "origin": "http://localhost"}
    forms = {act: form_of_act(client, f"/dashboard/acts/{act}{scope}") for act in ("freeze", "unfreeze")}
    frozen = []
    for act, meanwhile in (
        ("freeze", lambda: None),
        ("unfreeze", lambda: world.post("/v1/keys/leaves/revoke", {})),
    ):
        assert world.post_late(f"/dashboard/acts/{act}", urlencode(forms[act]).encode(), meanwhile, **headers) == 303
        frozen.append([freeze["scope"] for freeze in world.get("/v1/status").json()["freezes"]])
    assert frozen == [["triage"], ["triage"]]
    assert pressed(visitor(world, "secret-operate"), f"/dashboard/acts/unfreeze{scope}").status_code == 303


def test_who_signs_in_is_counted_by_the_address_before_the_form_comes(world: World) -> None:
    under_way = list[dict[str, int]]()
    headers = {"content_type": FORM_TYPE, "origin": "http://localhost"}
    seen = world.app.state.in_flight.requests_of
    assert world.post_late("/dashboard/sign-in", b"key=", lambda: under_way.append(dict(seen)), **headers) == 401
    assert under_way == [{"address:127.0.0.1": 1}]


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


@pytest.mark.parametrize("role", sorted(READERS - {"operate"}))  # who reads what an admin reads
def test_each_role_reads_its_pages_and_texts_are_for_who_may_read_them(world: World, role: str) -> None:
    client = visitor(world, f"secret-{role}")
    seen = 0
    for address in addresses(world):
        answer = client.get(address)
        assert answer.status_code in (200, 403, 409), (address, answer.text)
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


@pytest.mark.parametrize("role", ["read-texts", "operate"])  # the highest that may not act, and the lowest that may
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
