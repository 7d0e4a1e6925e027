"""``make pictures``: walks through the pages of a running ``detent demo --keep`` as the tutorial says, takes pictures
on the way, and tells the clicks and seconds of each walk. Then it opens one page of each kind that links lead to, at
three widths, by day and night, and says what is wrong with any.

It changes that home: a text is tried, its rollout started and rejected, and a champion taken back.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from docs.generate.markdown import ROOT

FOLDER = ROOT / "docs" / "tutorial" / "pictures"
WIDTH, HEIGHT = 1100, 760
COLOURS = 64  # of a picture, so that it stays small
FAMILY = "parameter_type"
ADDED = " Answer with the type alone."
WAIT_MS = 600_000  # the embedded model answers in seconds, on a busy machine in minutes


class Walk:
    """One page of a browser; counts what a person clicks."""

    def __init__(self, page: Any, address: str) -> None:
        self._page, self._address, self.n_clicks = page, address, 0

    def home(self) -> None:
        self.n_clicks = 0
        self._page.goto(f"{self._address}/dashboard")

    def click(self, selector: str) -> None:
        self.n_clicks += 1
        self._page.click(selector)

    def picture(self, name: str, begin: str = "header") -> None:
        """What a window shows from the element ``begin`` on."""
        from PIL import Image

        self._page.wait_for_load_state()
        self._page.locator(begin).first.evaluate("element => window.scrollTo(0, element.offsetTop - 12)")
        whole = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        whole.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


@contextmanager
def timed(walk: Walk, name: str) -> Iterator[None]:
    begin = time.monotonic()
    walk.home()
    yield
    print(f"{name}: {walk.n_clicks} clicks, {time.monotonic() - begin:.1f} s")


def kind_of(place: str) -> tuple[str, ...]:
    """Of a page: its address without ids, and the names of its query; acts and kinds of runs are pages of their own."""
    parts = urlsplit(place)
    path = re.sub(
        r"/(families|studies|requests|variants|rollouts|runbook|evaluate|compare|score|check)/[^/]+",
        r"/\1/ID",
        parts.path,
    )
    return re.sub(r"(/requests/ID)/.*", r"\1", path), *sorted(name for name, _ in parse_qsl(parts.query))


def look_at_every_page(page: Any, address: str) -> list[str]:
    """What is wrong with the pages that links lead to from the first one, one of each kind, in sentences."""
    from tests.chromium import AXE, CUT_OFF, worst_findings

    faults = [] if AXE else ["DETENT_AXE names no axe.min.js, so axe-core looked at nothing"]
    page.on(
        "console",
        lambda message: faults.append(f"{page.url}: {message.text}") if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda fault: faults.append(f"{page.url}: {fault}"))
    left, seen = [f"{address}/dashboard"], set[tuple[str, ...]]()
    while left:
        place = left.pop(0)
        if kind_of(place) in seen:
            continue
        seen.add(kind_of(place))
        for width, scheme in product((390, 820, 1440), ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.goto(place)
            page.wait_for_selector("#again", state="detached")  # it is being read
            if page.evaluate("document.documentElement.scrollWidth") > width:
                faults.append(f"{place} scrolls sideways at {width}")
            if place.endswith("/report"):  # which runs no script, axe-core's neither, and whose tables scroll
                continue
            if width == 390 and page.evaluate(CUT_OFF):
                faults.append(f"{place} has cells that a phone does not show")
            faults += [f"{place}, {width}, {scheme}: {finding}" for finding in worst_findings(page)]
        links = page.eval_on_selector_all("a[href]", "links => links.map((link) => link.href.split('#')[0])")
        left += [link for link in links if re.match(rf"{re.escape(address)}/dashboard(?!/mlflow|/files)", link)]
    print(f"{len(seen)} kinds of pages at three widths, light and dark; {len(faults)} faults")
    return faults


def main(address: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.chromium import ARGUMENTS, CHROMIUM

    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light").new_page()
        page.set_default_timeout(WAIT_MS)
        walk = Walk(page, address)
        with timed(walk, "edit a prompt, try it, start its rollout"):
            walk.click(f"article:has(h3 a:text-is('{FAMILY}')) >> a:text-is('Edit and try')")
            text = page.locator("textarea[name^=content_]").first
            text.fill(f"{text.input_value()}{ADDED}")
            page.wait_for_selector(".diff .added")
            walk.picture("edit")
            walk.click("button:text-is('Try it')")
            page.wait_for_selector("h2:text-is('Answers, the most different first')")
            walk.picture("compare")
            walk.click("a.button:text-is('Start its rollout')")
            page.fill("[name=confirm]", FAMILY)
            page.fill("[name=reason]", "shorter answers")
            walk.picture("start")
            walk.click("button:text-is('Start the rollout')")
            page.wait_for_selector("[role=status]:has-text('Started')")
        with timed(walk, "find why a rollout waits"):
            page.wait_for_selector(f".needs >> text={FAMILY}")
            walk.picture("home")
            walk.click(f".needs >> a:text-is('{FAMILY}')")
            page.wait_for_selector("a.button:text-is('Approve')")
            walk.picture("waits", "#rollout")
        with timed(walk, "reject it"):
            walk.click(".needs >> a:text-is('Reject')")
            walk.click("button:text-is('Reject')")
            page.wait_for_selector("[role=status]:has-text('Rejected')")
        with timed(walk, "take back a champion"):
            walk.click(f"article >> a:text-is('{FAMILY}')")
            walk.click("a.button:text-is('Take back the champion')")
            page.fill("[name=confirm]", FAMILY)  # the champion before has lost a rollout
            page.fill("[name=reason]", "people complain")
            walk.picture("take-back")
            walk.click("button:text-is('Take back the champion')")
            page.wait_for_selector("[role=status]:has-text('Taken back')")
        faults = look_at_every_page(page, address)
        browser.close()
    for picture in sorted(FOLDER.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1024} kB")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8321")
