"""Every page of the dashboard by its address, and how long it takes to the first byte."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import numpy as np

from api.dashboard.rendering import BEING_READ_S
from api.dashboard.routes import REPORTS, Dashboard
from bench.speed.client import ClientFailed
from bench.speed.grown import Places
from bench.speed.installation import KEY
from tests.chromium import ARGUMENTS, CHROMIUM, SHOW
from tests.worlds.dashboard_visitor import Fields

# What leads on, what pages load, MLflow's own pages, and an address that there is not.
NO_PAGES = (
    "/",
    "/mlflow",
    "/dashboard/mlflow",
    "/dashboard/mlflow/{rest:path}",
    "/dashboard/changes",
    "/dashboard/files/{name}",
    "/dashboard/{rest:path}",
)
LIVE = ("/dashboard", "/dashboard/families/{family}", "/dashboard/alerts", "/dashboard/runs")  # that people leave open
PREVIEW = "/dashboard/families/{family}/workbench, posted while somebody types"
STATUSES = (200,), (200, 202)  # of pages, and of reports
FEWEST = 20  # answers of a page, of which one in twenty may be slower than the bar
LOOK_S = 0.15
TIMEOUT_S = 60.0


def addresses(places: Places) -> dict[str, str]:
    """Address by name, of every route that answers with a page; of those that take a wider look, this one too.

    Raises KeyError for a route with a part that nothing here fills in.
    """
    own = {
        "/dashboard/studies/{id}": places.study,
        "/dashboard/studies/{id}/report": places.study,
        "/dashboard/rollouts/{id}/report": places.rollout,
        "/dashboard/requests/{family}/{id:path}": places.interaction,
    }
    parts = {"family": places.family, "variant": places.variant, "chapter": "a-provider-is-down"}
    family = f"family={places.family}"
    acts = {act: f"id={places.rollout}" for act in ("hold", "resume", "advance", "promote", "rollback")}
    acts |= {act: f"id={places.waiting}" for act in ("approve", "reject")}
    acts |= {act: family for act in ("freeze", "unfreeze")}
    acts |= {act: f"name=champion_errors&{family}" for act in ("silence", "end-silence")}
    acts |= {act: f"family={places.quiet}&variant={places.first_champion}" for act in ("start", "set-champion")}
    acts |= {
        "take-back": f"family={places.quiet}",
        "evaluate": f"{family}&variant={places.variant}",
        "offer": f"{family}&interactions={places.interaction}",
        "cancel-study": f"id={places.study}",
        "cancel-comparison": f"id={places.comparison}",
        "cancel-evaluation": f"id={places.run}",
        "cancel-judge-run": f"id={places.judge_run}",
    }
    runs = {"evaluate": places.run, "compare": places.comparison, "score": places.judge_run, "check": "jr_001"}
    runs["forget"] = "fo_000"
    wider: Mapping[str, Sequence[str]] = {
        "/dashboard/families/{family}/quality": ["range=30d"],
        "/dashboard/performance": ["range=30d", family, f"{family}&range=30d"],
        "/dashboard/requests": [
            "window=24h",
            f"{family}&window=24h",
            f"{family}&window=24h&outcome=failed",
            f"{family}&window=24h&text=invoice",
        ],
        "/dashboard/conversation": [f"conversation={places.conversation}&range=30d"],
        "/dashboard/pipeline": ["hours=720"],
        "/dashboard/reviews": [family],
        "/dashboard/runs": [family],
        "/dashboard/studies": [family, "order=lift"],
        "/dashboard/studies/compare": [f"first={places.study}&second={places.other_study}"],
    }
    pages = {PREVIEW: f"/dashboard/families/{places.family}/workbench#preview"}
    for route in Dashboard().routes():
        if "GET" not in (route.methods or ()) or route.path in NO_PAGES:
            continue
        if "{act}" in route.path:
            pages |= {route.path.replace("{act}", act): f"/dashboard/acts/{act}?{query}" for act, query in acts.items()}
            continue
        if "{kind}" in route.path:
            pages |= {route.path.replace("{kind}", kind): f"/dashboard/runs/{kind}/{run}" for kind, run in runs.items()}
            continue
        filled = parts if route.path not in own else {**parts, "id": own[route.path]}
        address = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part, filled=filled: filled[part[1]], route.path)  # type: ignore[misc]
        pages[route.path] = address
        for query in wider.get(route.path, ()):
            name = re.sub(rf"\b{family}\b", "family", query)
            pages[f"{route.path}?{name}"] = f"{address}?{query}"
    return pages


def is_report(name: str) -> bool:
    """Whether it is a document that a process of its own makes, whose first answer says so."""
    return name in REPORTS


@dataclass(slots=True, kw_only=True)
class PageWaits:
    """Milliseconds to the first byte of one page and of as many bytes from a bare route."""

    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def signed_in(url: str) -> Mapping[str, str]:
    """What a browser sends with each request of who signed in with the installation's key, and posts with forms."""
    own_page = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    answer = httpx.post(f"{url}/dashboard/sign-in", data={"key": KEY}, headers=own_page, trust_env=False)
    return {
        **own_page,
        "Cookie": answer.headers["set-cookie"].partition(";")[0],
        "Content-Type": "application/x-www-form-urlencoded",
    }


def preview_form(url: str, headers: Mapping[str, str], workbench: str) -> bytes:
    """What the workbench's page posts while somebody types."""
    fields = Fields(httpx.get(url + workbench, headers=headers, trust_env=False).text).fields
    return urlencode({**fields, "do": "typing"}).encode()


class Visits:
    """One connection that is kept open, as a browser's. ``forms``: what is posted, by address."""

    def __init__(self, url: str, headers: Mapping[str, str], forms: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        self._headers, self._forms = dict(headers), forms

    def first_byte(self, address: str, *, statuses: Collection[int] = (200,)) -> tuple[float, int]:
        """Milliseconds until the head of the answer was there, and the bytes of its body.

        Raises ClientFailed for another status.
        """
        began = time.perf_counter()
        try:
            answer = self._ask(address)
        except RemoteDisconnected:  # which a server does with a connection that it heard nothing of for some seconds
            self._connection.close()
            began = time.perf_counter()
            answer = self._ask(address)
        waited = 1000 * (time.perf_counter() - began)
        body = answer.read()
        if answer.status not in statuses:
            raise ClientFailed(f"{address} was answered with {answer.status}: {body[:300]!r}")
        return waited, len(body)

    def _ask(self, address: str) -> HTTPResponse:
        form = self._forms.get(address)
        self._connection.request("GET" if form is None else "POST", address.partition("#")[0], form, self._headers)
        return self._connection.getresponse()

    def seconds_until_made(self, address: str) -> float:
        """Until a report is there, asked for again each second, as its page does it."""
        began = time.monotonic()
        while True:
            with suppress(ClientFailed):
                self.first_byte(address)
                return time.monotonic() - began
            if time.monotonic() > began + TIMEOUT_S:
                raise ClientFailed(f"{address} was not there within {TIMEOUT_S:g} s.")
            time.sleep(BEING_READ_S)

    def close(self) -> None:
        self._connection.close()


def ask_in_turns(
    url: str,
    bare: str,
    pages: Mapping[str, str],
    *,
    headers: Mapping[str, str],
    seconds: float,
    forms: Mapping[str, bytes] = MappingProxyType({}),
) -> dict[str, PageWaits]:
    """Each page by name, in another order each time, beside as many bytes of the bare route, until the time is over.
    Between two of them somebody looks at the page.

    Raises ClientFailed where a page was asked for too rarely to tell the slowest twentieth.
    """
    waits = {name: PageWaits() for name in pages}
    order, draw = list(pages), random.Random(1)
    ours, other = Visits(url, headers, forms), Visits(bare, {})
    try:
        for name in order:  # what is read for the first time since the start is not measured
            ours.first_byte(pages[name], statuses=STATUSES[is_report(name)])
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            draw.shuffle(order)
            for name in order:
                waited, n_bytes = ours.first_byte(pages[name], statuses=STATUSES[is_report(name)])
                waits[name].ours.append(waited)
                waits[name].bare.append(other.first_byte(f"/page?bytes={n_bytes}")[0])
                time.sleep(LOOK_S)
    finally:
        ours.close()
        other.close()
    n = min(len(page.ours) for page in waits.values())
    if n < FEWEST:
        raise ClientFailed(f"Each page was asked for {n} times in {seconds:g} s; {FEWEST} are needed: take longer.")
    return waits


def quantiles(waits: Sequence[float]) -> tuple[float, float]:
    """Median and 95 %."""
    return float(np.quantile(waits, 0.5)), float(np.quantile(waits, 0.95))


@contextmanager
def open_pages(url: str, families: Sequence[str], n: int, headers: Mapping[str, str]) -> Iterator[list[Any]]:
    """n pages in sight in a real browser, each of a visitor of its own, so that each has its own connections and
    updates itself as its script has it.

    Raises ClientFailed where there is no browser, or a page was not answered with 200.
    """
    if CHROMIUM is None:
        raise ClientFailed("There is no chromium on this machine, so open pages cannot be measured.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, ExitStack() as stack:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, "--renderer-process-limit=4"])
        stack.callback(browser.close)
        pages: list[Any] = []
        for number in range(n):
            context = browser.new_context(extra_http_headers={"Authorization": headers["Authorization"]})
            pages.append(context.new_page())
            address = LIVE[number % len(LIVE)].replace("{family}", families[number % len(families)])
            answer = pages[-1].goto(url + address)
            if answer is None or answer.status != 200 or answer.url != url + address:  # else it leads to signing in
                raise ClientFailed(f"{address} did not open in the browser.")
        yield pages


def show(pages: Sequence[Any], is_shown: bool) -> None:
    """As a tab that comes into sight or goes out of it: its script opens or closes the connection for changes."""
    for page in pages:
        page.evaluate(SHOW, is_shown)
