"""``make pictures``: walks through the pages of a running ``detent demo --keep`` as the tutorial says, takes pictures
on the way, and tells the clicks and seconds of each walk. While the rollout waits for approval, while it serves and
once it has ended, it opens one page of each kind that links lead to, at three widths, by day and night, and says what
is wrong with any. ``DETENT_TEST_PICTURES=FOLDER`` keeps a picture of each.

It changes that home: a text is tried, rolled out, promoted on no evidence, and taken back.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from docs.generate.markdown import ROOT

FOLDER = ROOT / "docs" / "tutorial" / "pictures"
WIDTH, HEIGHT = 1100, 760
COLOURS = 64  # of a picture, so that it stays small
FAMILY = "parameter_type"
ADDED = " Answer with the type alone."
WAIT_MS = 600_000  # the embedded model answers in seconds, on a busy machine in minutes
MOST_CLICKS = 4  # of a walk, from the first page on


class Walk:
    """One page of a browser; counts what a person clicks."""

    def __init__(self, page: Any, address: str) -> None:
        self._page, self._address, self.n_clicks = page, address, 0

    def home(self) -> None:
        self.n_clicks = 0
        self._page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        self._page.emulate_media(color_scheme="light")
        self._page.goto(f"{self._address}/dashboard")

    def press(self, title: str) -> None:
        """The button of that title, and the one of the same title on the page that asks once more."""
        self.click(f"a.button:text-is('{title}')")
        for field, text in (("confirm", FAMILY), ("reason", "to see what follows")):
            if self._page.locator(f"[name={field}]").count():
                self._page.fill(f"[name={field}]", text)
        self.click(f"button:text-is('{title}')")
        self._page.wait_for_selector(".notice[role=status]")

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
    if walk.n_clicks > MOST_CLICKS:
        sys.exit(f"{name} takes more than {MOST_CLICKS} clicks from the first page")


def kind_of(place: str) -> tuple[str, ...]:
    """Of a page: its address without ids, and the names of its query; acts and kinds of runs are pages of their own."""
    parts = urlsplit(place)
    path = re.sub(
        r"/(families|studies|requests|variants|rollouts|runbook|evaluate|compare|score|check)/[^/]+",
        r"/\1/ID",
        parts.path,
    )
    return re.sub(r"(/requests/ID)/.*", r"\1", path), *sorted(name for name, _ in parse_qsl(parts.query))


class EveryPage:
    """Pages that links lead to from the first one, one of each kind; ``faults``: what is wrong with any, in sentences.

    ``address``: of the server.
    """

    def __init__(self, page: Any, address: str) -> None:
        self._page, self._address = page, address
        self.kinds, self.faults = set[tuple[str, ...]](), list[str]()
        page.on("console", lambda line: self._note(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda fault: self._note(str(fault)))

    def look(self, *anew: str) -> None:
        """At those of a kind that was not looked at before, and at ``anew``, which have changed."""
        left = [f"{self._address}{place}" for place in anew]
        self.kinds -= set(map(kind_of, left))
        while left:
            place = left.pop(0)
            if kind_of(place) not in self.kinds:
                self.kinds.add(kind_of(place))
                links = self._look_at(place)
                left += [
                    one for one in links if re.match(rf"{re.escape(self._address)}/dashboard(?!/mlflow|/files)", one)
                ]

    def _look_at(self, place: str) -> list[str]:
        from tests.chromium import faults_of

        self._page.goto(place)
        self._page.wait_for_selector("#again", state="detached")  # it is being read
        links: list[str] = self._page.eval_on_selector_all(
            "a[href]", "links => links.map((link) => link.href.split('#')[0])"
        )
        if place.endswith("/report"):  # as served it runs no script, axe-core's neither
            content = self._page.content()
            self._page.goto("about:blank")
            self._page.set_content(content)
        self.faults += faults_of(self._page, "-".join(kind_of(place)).strip("/").replace("/", "-"))
        return links

    def _note(self, message: str) -> None:
        self.faults.append(f"{self._page.url}: {message}")


def main(address: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.chromium import ARGUMENTS, AXE, CHROMIUM

    if AXE is None:
        sys.exit("DETENT_AXE names no axe.min.js")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
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
        with timed(walk, "find why a rollout waits for somebody"):
            page.wait_for_selector(f".needs >> text={FAMILY}")
            walk.picture("home")
            walk.click(f".needs >> a:text-is('{FAMILY}')")
            page.wait_for_selector("a.button:text-is('Approve')")
            walk.picture("waits", "#rollout")
        every_page, place = EveryPage(page, address), f"/dashboard/families/{FAMILY}"
        every_page.look("/dashboard")
        with timed(walk, "approve it"):
            walk.press("Approve")
        page.goto(f"{address}{place}")
        page.wait_for_selector("a.button:text-is('Promote')")  # with the worker's next tick
        with timed(walk, "find why it waits for evidence, and for how long"):
            walk.click(f"article >> a:text-is('{FAMILY}')")
            page.wait_for_selector("dt:text-is('Until it ends')")
            walk.picture("evidence", "#rollout")
        every_page.look("/dashboard", place)
        page.goto(f"{address}{place}")
        walk.press("Promote")
        every_page.look("/dashboard", place)
        with timed(walk, "take back a bad champion"):
            walk.click(f"article >> a:text-is('{FAMILY}')")
            walk.click("a.button:text-is('Take back the champion')")
            page.fill("[name=reason]", "people complain")
            walk.picture("take-back")
            walk.click("button:text-is('Take back the champion')")
            page.wait_for_selector("[role=status]:has-text('Taken back')")
        browser.close()
    for picture in sorted(FOLDER.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1024} kB")
    n_kinds, faults = len(every_page.kinds), every_page.faults
    print(f"{n_kinds} kinds of pages at three widths, light and dark; {len(faults)} faults")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8321")
