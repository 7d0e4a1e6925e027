"""The browser of this machine, if it has one, how tests start it, and what they ask of a page that it shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("DETENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Of a page, whether its tab is in sight: it is told as by a browser whose tab is changed.
SHOW = """isShown => {
  Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# axe-core's axe.min.js; `make axe` and `make pictures` name it.
AXE = os.environ.get("DETENT_AXE")
WORST = ("serious", "critical")
# Cells of tables that end beyond the right edge of the page.
CUT_OFF = """[...document.querySelectorAll("td")].filter((cell) => cell.checkVisibility()
    && cell.getBoundingClientRect().right > innerWidth).map((cell) => cell.outerHTML.slice(0, 200))"""


def worst_findings(page: Any) -> list[tuple[str, str]]:
    """What axe finds serious or critical; nothing where there is no axe."""
    if AXE is None:
        return []
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in violations if one["impact"] in WORST]
