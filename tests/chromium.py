"""The browser of this machine, if it has one, how tests start it, and what they ask of a page that it shows."""

from __future__ import annotations

import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("DETENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Of a page, whether its tab is in sight: it is told as by a browser whose tab is changed.
SHOW = """isShown => {
  Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# axe-core's axe.min.js; `make axe` and `make pictures` name it.
AXE = os.environ.get("DETENT_AXE")
WORST = ("serious", "critical")
# Day and night differ in colours alone, which axe-core looks at.
SIZES = list(product((390, 820, 1440), ("light", "dark"))) if AXE else [(390, "dark"), (1440, "light")]
# Cells of tables that end beyond the right edge of the page.
CUT_OFF = """[...document.querySelectorAll("td")].filter((cell) => cell.checkVisibility()
    && cell.getBoundingClientRect().right > innerWidth).map((cell) => cell.outerHTML.slice(0, 200))"""


def faults_of(page: Any, name: str) -> list[str]:
    """What is wrong with what it shows, at each width and by day and night, as sentences. Where DETENT_TEST_PICTURES
    names a folder, it keeps a picture of each; a report's tables may be wider than a phone.
    """
    faults = []
    page.wait_for_load_state()  # without its style sheet a page is as wide as its longest line
    page.evaluate(SHOW, False)  # one that asks again by itself waits till its tab is in sight
    # From the size that it has: a page is laid out anew for each.
    for width, scheme in sorted(SIZES, key=lambda size: size[0] != page.viewport_size["width"]):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        picture(page, f"{name}-{width}-{scheme}")
        if page.evaluate("document.documentElement.scrollWidth") != width:
            faults.append(f"{name} scrolls sideways at {width}")
        if width == 390 and not name.endswith("report") and page.evaluate(CUT_OFF):
            faults.append(f"{name} has cells that a phone does not show")
        faults += [f"{name}, {width}, {scheme}: {finding}" for finding in worst_findings(page)]
    page.evaluate(SHOW, True)
    return faults


def picture(page: Any, name: str) -> None:
    """Of the whole page, in the folder that DETENT_TEST_PICTURES names; none without it."""
    if folder := os.environ.get("DETENT_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def worst_findings(page: Any) -> list[tuple[str, str]]:
    """What axe finds serious or critical; nothing where there is no axe."""
    if AXE is None:
        return []
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in violations if one["impact"] in WORST]
