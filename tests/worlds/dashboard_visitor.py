"""A visitor of the pages, and what every page is asked."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from threading import get_ident
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from api.access.auth import without_key
from api.dashboard.acts import ACTS
from api.dashboard.pages import PAGES
from optimizer.core.rollout.alert_rules import AlertLevel
from optimizer.jobs.context import Context
from optimizer.ports import Alert
from tests.stores import NOW
from tests.worlds.api_world import World
from tests.worlds.seeded_world import SECRET_WORD

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
    "{{ 99991 * 99989 }}{% raw %}",
    "&lt;b&gt; \u202e gpj.exe \x1b[31m",
    "W" * 180,  # nowhere to break a line
]


TYPED = f'value="{SECRET_WORD}"'  # what the visitor wrote into the address stands in the form


READERS = {"read", "read-texts", "operate", "admin"}


ACTORS = {"operate", "admin"}


class Fields(HTMLParser):
    """What a browser would send of a page's form, pressed nowhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._select = self._text = ""
        self._chosen = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[given["name"]] = given.get("value") or ""
        elif tag == "select":
            self._select = given["name"]
        elif tag == "textarea":
            self._text = given["name"]
            self.fields[self._text] = ""
        self._chosen = tag == "option" and "selected" in given

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._text] += data
        elif self._select and self._chosen:
            self.fields[self._select] = data
            self._chosen = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.fields[self._text] = self.fields[self._text].removeprefix("\n")
        self._text = "" if tag == "textarea" else self._text
        self._select = "" if tag == "select" else self._select


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


def table_of(page: str, about: str) -> list[list[str]]:
    """The cells of a table, row by row, as people read them; none where it is not on the page."""
    body = page.partition(f'aria-label="table: {about}"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    rows = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL) for row in body.split("</tr>"))
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in rows if row]


def form_of_act(client: TestClient, address: str) -> dict[str, str]:
    page = client.get(address)
    assert page.status_code == 200, page.text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))


def pressed(client: TestClient, address: str, **typed: str) -> Any:
    """The answer to the form of an act's page, with what was typed into it."""
    form = {**form_of_act(client, address), **typed}
    return client.post(address.partition("?")[0], data=form, headers=OWN_PAGE)


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


class Elements(HTMLParser):
    """Every element of a page with its attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))
