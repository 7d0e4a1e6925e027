"""The browser in which the pages of a file are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chromium import ARGUMENTS, CHROMIUM
from tests.clock import PROCESSES_S
from tests.worlds.api_world import in_one_process


class PatientBrowser:
    """Whose pages wait as long as processes may take to start: a page of a comparison is read in one of its own."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._windows: dict[bool, Any] = {}  # by whether scripts run

    def new_context(self, **options: Any) -> Any:
        context = self._browser.new_context(**options)
        context.set_default_timeout(1000 * PROCESSES_S)
        return context

    def new_page(self, *, viewport: dict[str, int] | None = None, scripts: bool = True) -> Any:
        """In one window with the others: a context of its own costs as much as three pages."""
        if scripts not in self._windows:
            self._windows[scripts] = self.new_context(java_script_enabled=scripts)
        page = self._windows[scripts].new_page()
        if viewport is not None:
            page.set_viewport_size(viewport)
        return page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._browser, name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        started = p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield PatientBrowser(started)
        started.close()


@pytest.fixture(scope="module", autouse=True)
def one_process() -> Iterator[None]:
    """No page has a process started for what it reads: tests/end_to_end/processes/test_reads_apart.py has."""
    with in_one_process():
        yield
