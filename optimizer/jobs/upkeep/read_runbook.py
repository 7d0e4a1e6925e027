"""Reads what the dashboard shows of the documentation: the chapters that alerts lead to, of the runbook and of the page
of all alerts, and its own how-to. All come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from optimizer.core.base.errors import NotFound
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.rollout.alert_chapters import ALERTS, RUNBOOK
from optimizer.jobs.families.shipped_files import SHIPPED_HOME

HELP = "docs/how-to/look-and-act-in-the-browser.md"
_HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """``name``: of its heading, as a link to it ends; ``text``: what stands below, in Markdown."""

    name: str
    title: str
    text: str


def read_help() -> Chapter:
    """The page of the documentation that tells what the dashboard's pages are for."""
    title, _, text = (SHIPPED_HOME / HELP).read_text(encoding="utf-8").partition("\n")
    return Chapter(name="help", title=title.removeprefix("# "), text=text.strip())


def runbook() -> dict[str, Chapter]:
    """The runbook's chapters by name, in its order."""
    return _chapters_of(RUNBOOK)


def read_chapter(name: str) -> Chapter:
    """A chapter of the runbook, else what the page of all alerts says of a kind. Raises NotFound for any other name."""
    chapters = {**_chapters_of(ALERTS), **runbook()}
    if name not in chapters:
        raise NotFound(f"There is no chapter {name!r}{did_you_mean(name, chapters) or '.'} `detent runbook` lists all.")
    return chapters[name]


def name_of_heading(title: str) -> str:
    """As a link to it ends."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


@cache
def _chapters_of(page: str) -> dict[str, Chapter]:
    parts = _HEADING.split((SHIPPED_HOME / page).read_text(encoding="utf-8"))[1:]
    chapters = [
        Chapter(name=name_of_heading(title), title=title, text=text.strip())
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return {chapter.name: chapter for chapter in chapters}
