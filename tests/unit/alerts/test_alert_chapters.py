"""Each alert leads to a heading that there is, and its own command is the first one of that chapter."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from optimizer.core.rollout.alert_causes import BROKEN, OpenCause
from optimizer.core.rollout.alert_chapters import (
    ALERTS,
    OF_KIND,
    OF_METRIC,
    RUNBOOK,
    chapter_in_words,
    chapter_of,
    command_of,
)
from optimizer.core.rollout.alert_rules import LOWER_IS_WORSE, METRICS, AlertRule
from optimizer.jobs.champions.watch_rules import look_at
from tests.command_line import detent
from tests.stores import NOW
from tests.unit.alerts.test_alerts_page import alert_kinds

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(r"\*\*Look:\*\*.*?`(detent [^`]+)`", re.DOTALL)


def of(kind: str, subject: str = "") -> OpenCause:
    return OpenCause(id="al_1", kind=kind, subject=subject, family="triage", level="warning", opened_at=NOW)


def text_at(place: str) -> str:
    """What its command prints of ``docs/runbook.md#its-words``."""
    ran = detent(*command_of(place).split()[1:])
    assert ran.code == 0, ran.err
    return ran.out


def first_command(chapter: str) -> str:
    """That of the chapter's "Look"."""
    command = COMMAND.search(chapter)
    assert command is not None, chapter
    return " ".join(command[1].split())


def test_every_figure_of_a_rule_leads_to_a_chapter_whose_first_command_is_that_of_its_alert() -> None:
    assert set(OF_METRIC) == set(METRICS)
    for metric in METRICS:
        rule = AlertRule(name="one", metric=metric, **{"below" if metric in LOWER_IS_WORSE else "above": 0.5})
        place = chapter_of(of(BROKEN, "one v_1"), [rule])
        if metric != "conversation":  # its alert names the conversation
            assert first_command(text_at(place)) == look_at(metric, "triage"), metric


@pytest.mark.parametrize("kind", sorted(alert_kinds() - {BROKEN}))
def test_every_other_alert_leads_to_a_heading(kind: str) -> None:
    for subject in ("", *OF_KIND.get(kind, {})):
        assert text_at(chapter_of(of(kind, subject), []))


def test_in_words_a_chapter_is_called_as_its_heading_is() -> None:
    """But for apostrophes and names, which an address has not."""
    for kind in sorted(alert_kinds() - {BROKEN}):
        page, _, anchor = (place := chapter_of(of(kind), [])).partition("#")
        title, _, of_page = chapter_in_words(place).partition(" in ")
        text = (ROOT / page).read_text(encoding="utf-8")
        headings = {re.sub(r"[`’']", "", line).lower() for line in re.findall(r"^##+ (.+)$", text, flags=re.MULTILINE)}
        assert title.strip("“”").lower() in headings, (kind, anchor)
        assert of_page.removeprefix("the ").strip("“”").lower() == text.splitlines()[0].removeprefix("# ").lower()


def test_of_a_rule_that_is_gone_the_page_of_all_alerts_speaks() -> None:
    assert text_at(chapter_of(of(BROKEN, "gone"), []))


def test_the_chapters_are_listed_and_one_that_there_is_not_is_refused() -> None:
    listed = [chapter["chapter"] for chapter in json.loads(detent("runbook", "--json").out)["items"]]
    assert {"a-provider-is-down", "upgrade"} <= set(listed)
    assert {RUNBOOK, ALERTS} <= set(shipped_pages()), "a wheel holds what messages lead to"
    refused = detent("runbook", "a-provider-is-dwn")
    assert refused.code == 1
    assert "did you mean 'a-provider-is-down'" in refused.err


def shipped_pages() -> list[str]:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    packed = wheel["wheel"]["force-include"]
    return [source for source, place in packed.items() if place == f"optimizer/shipped/{source}"]
