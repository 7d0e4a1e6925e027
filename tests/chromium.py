"""The browser of this machine, if it has one, and how tests start it."""

from __future__ import annotations

import os
import shutil

CHROMIUM = os.environ.get("DETENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Of a page, whether its tab is in sight: it is told as by a browser whose tab is changed.
SHOW = """isShown => {
  Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
