"""Pages of the whole service, and what holds for all: hostile texts, links, faults, work that nobody waits for."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from urllib.parse import urljoin

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.dashboard import visitors
from api.dashboard.rendering import POLICY, SCRIPTS, markdown, with_commands
from api.dashboard.routes import FOLDER, REPORT_POLICY
from api.dashboard.visitors import LISTED
from api.dashboard.work_pages import KINDS
from api.http.forwarding import NotSent
from optimizer.adapters.store.repositories.journal import WITHOUT_JUDGE
from optimizer.core.base.errors import Busy
from optimizer.core.base.values import Budget, Spend
from optimizer.core.evaluation.judging.run import RunKind
from optimizer.core.evaluation.run import ComparisonRun
from optimizer.core.views.forgetting import ForgetResult
from optimizer.host import run_files
from optimizer.host.run_files import RunningProcess
from optimizer.jobs.upkeep.read_runbook import runbook
from optimizer.ports import Alert, DaySums
from optimizer.runtime import apart
from tests.cases import named
from tests.stores import study
from tests.worlds.api_world import FAMILY, World, make_home, serving
from tests.worlds.dashboard_visitor import HOSTILE, OWN_PAGE, Elements, addresses, table_of, visitor
from tests.worlds.seeded_world import SECRET_WORD, add_runs


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


def test_a_page_that_is_not_live_asks_for_what_stands_still_alone(world: World) -> None:
    client, place = visitor(world, "secret-read"), "/dashboard/requests?window=7d"
    assert '<div id="freezes" hx-get=""' in client.get(place).text
    world.post("/v1/freeze", {"reason": "all of it"})
    asked = client.get(place, headers={"HX-Target": "freezes"})
    world.post("/v1/unfreeze", {"reason": "all of it"})
    assert (asked.status_code, "Everything is frozen" in asked.text, "<h1>" in asked.text) == (200, True, False)
    assert "Everything is frozen" not in client.get(place, headers={"HX-Target": "freezes"}).text
    assert visitor(world, None).get(place, headers={"HX-Target": "freezes"}).status_code == 303


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
        assert "Everything is frozen" not in answer.text
        world.post("/v1/freeze", {"reason": "all of it"})
        assert "Everything is frozen" in visitor(world, "secret-read-texts").get(address).text
        world.post("/v1/unfreeze", {"reason": "all of it"})
        assert visitor(world, None).get(address).status_code == 303
        assert visitor(world, "elsewhere-operate").get(address).status_code == 404


def test_a_report_says_what_is_hidden_from_the_key_and_not_that_a_record_fits(world: World) -> None:
    rollout = world.get("/v1/families/triage/rollout").json()["id"]
    pages = {
        role: visitor(world, f"secret-{role}").get(f"/dashboard/rollouts/{rollout}/report").text
        for role in ("read", "read-texts")
    }
    fits = "every link of both chains fits"
    assert (fits in pages["read"], fits in pages["read-texts"]) == (False, True)
    assert "whether they fit is not shown to this key" in pages["read"]
    assert ">None<" not in pages["read"]


def test_a_page_that_did_not_change_says_so(world: World) -> None:
    client = visitor(world, "secret-read")
    first = client.get("/dashboard/alerts")
    again = client.get("/dashboard/alerts", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


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


def test_money_names_what_a_family_spent_and_reserved_this_month_and_its_cap(tmp_path: Path) -> None:
    settings = make_home(tmp_path, usd_per_month=100.0)
    file = settings.families_dir / "triage" / "family.yaml"
    file.write_text(f"{file.read_text()}\nbudget: {{usd_per_month: 40}}\n")
    with serving(settings) as world:
        about: Any = {"family": "triage", "champion": world.champion(), "created_at": world.shared.clock.now()}
        one = study("st_9", status="running", budget=Budget(usd=5.0), spend=Spend(usd=1.25), **about)
        world.shared.store.write(lambda tx: world.shared.store.studies.add(tx, one))
        page = visitor(world, None).get("/dashboard/money").text
        figures = ["$1.25", "$3.75", "$40.00"]
        assert table_of(page, "money of studies and runs by family, this month") == [["triage", *figures]]
        assert table_of(page, "money of what runs or waits") == [["Study st_9", "triage", *figures[:2], "$5.00"]]
        assert '<meter min="0" max="100.0" value="5.0" ' in page


def test_a_figure_of_the_pipeline_within_its_target_and_one_outside_have_colours_of_their_own(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, colours = visitor(world, None), r'<td data-column="(?:Status|Reached)" class="(\w+)">(.*?)</td>'
        assert re.findall(colours, client.get("/dashboard/pipeline").text) == [("soft", "no data")] * 6
        light = {"processing_type": "lightweight", "content_type": "news", "time_saved_pct": 0.9}
        full = {"processing_type": "full", "content_type": "talk", "quality_score": 0.72}
        for item in [light] * 7 + [full] * 5:
            assert world.post("/api/performance/record", item).status_code == 200
        page = client.get("/dashboard/pipeline").text
        figures = [("calm", "ok"), ("bad", "critical"), ("warn", "warning"), ("calm", "ok")]
        assert re.findall(colours, page) == [*figures, ("calm", "yes"), ("warn", "no")]
        of_type = [["news", "7", "100.0 %", "–", "90.0 %", "–"], ["talk", "5", "0.0 %", "0.0 %", "0.0 %", "0.720"]]
        assert table_of(page, "content types") == of_type


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


def test_alerts_and_what_is_over_are_listed_page_by_page_and_runs_under_way_whole(tmp_path: Path) -> None:
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
        assert (firing.count("it is hot"), resolved.count("it is hot")) == (LISTED, LISTED)
        older = re.search(r'href="\.\./(dashboard/alerts\?cursor=[^"]+)"', resolved)
        assert older is not None
        assert client.get(f"/{older[1]}").text.partition("Resolved</h2>")[2].count("it is hot") == 1
        now_shown, _, ended = client.get("/dashboard/runs?family=triage").text.partition("Ended</h2>")
        assert (now_shown.count("acts/cancel-comparison"), ended.count("runs/compare/cp_")) == (LISTED + 1, LISTED)
        older = re.search(r'href="\.\./(dashboard/runs\?family=triage&amp;cursor=[^"]+)"', ended)
        assert older is not None
        rest = client.get(f"/{older[1].replace('&amp;', '&')}").text
        assert re.findall(r"runs/compare/(cp_0\d+)", rest) == [f"cp_{LISTED:03}"]


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
    assert "\u202e" not in client.get("/dashboard/help").text, (
        "the reason of a freeze would turn what follows it around"
    )
    assert str(99991 * 99989) not in "".join(client.get(place).text for place in places[:4])


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
    places = ["/dashboard", "/dashboard/acts/freeze", "/dashboard/studies/st_1/report"]
    for place in places:
        assert ("drawn elsewhere" in client.get(place).text) == (fault is None)
    assert forwarded == places
    assert stranger.get("/dashboard/money").status_code == 303, "nobody is let in by the other process"
    assert client.post("/dashboard/acts/freeze", data={"reason": "x"}, headers=OWN_PAGE).status_code == 403
    assert forwarded == places, "what changes something is done here"
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


FOLDED = '<details class="commands"><summary>As commands</summary>'


@named(
    ("text", "shown"),
    {
        "at the end": (
            "It fell. Look: detent status",
            f"It fell. {FOLDED}Look: <code>detent status</code>.</details>",
        ),
        "within a sentence": (
            "It fell; then detent a, or detent b. Take it back: detent c. Look: detent d",
            f"It fell; then <code>detent a</code>, or <code>detent b</code>. {FOLDED}"
            "Take it back: <code>detent c</code>. Look: <code>detent d</code>.</details>",
        ),
        "two": (
            "Look: detent a --range 1h. Back: detent b <c>",
            f"{FOLDED}Look: <code>detent a --range 1h</code>. Back: <code>detent b &lt;c&gt;</code>.</details>",
        ),
        "in a row": (
            "Look: detent a; then detent b, or detent c.",
            f"{FOLDED}Look: <code>detent a</code>; then <code>detent b</code>, or <code>detent c</code>.</details>",
        ),
        "none": ("The detent of <b>x</b> holds.", "The detent of &lt;b&gt;x&lt;/b&gt; holds."),
        "turned around": ("By ann: \u202exe.", "By ann: \ufffdxe."),
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


def test_a_port_that_was_taken_stands_beside_the_one_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    served = {"mlflow": "http://127.0.0.1:8323", "gateway": None}
    process = partial(RunningProcess, pid=1, since=world.shared.clock.now())
    monkeypatch.setattr(run_files, "find", lambda _, name: process(name=name, url=served.get(name)))
    page = visitor(world, "secret-operate").get("/dashboard/settings").text
    assert re.search(r"<code>mlflow_port</code>.*?<code>8322</code> <b>now 8323</b>", page, re.DOTALL)
    assert page.count("<b>now ") == 1
