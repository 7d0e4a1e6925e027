"""A text is looked for among requests, and nothing of the answer tells what the sealed holdout asks."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories import events
from optimizer.core.dataset.examples import make_example, split_of
from optimizer.jobs.feedback.read_events import FindInteractionsRequest, FoundInteractions, find_interactions
from tests.clock import Clock
from tests.rows.ingestion import family
from tests.stores import FAMILY, NOW, interaction, keep_events, minutes
from tests.worlds.contexts import context_of

SEALED = "Where is my parcel on Tuesday?"
OPEN = (2, 5, 11, 17)  # of twenty requests, those that do not ask it


def find(database: Database, text: str, cursor: str | None = None, limit: int = 1) -> FoundInteractions:
    files = SimpleNamespace(families={FAMILY: family()})
    context = context_of(database, Clock(NOW + timedelta(hours=1)), families=lambda: files)
    return find_interactions(context, FindInteractionsRequest(text=text, cursor=cursor, limit=limit))


def pages(database: Database, text: str, limit: int) -> list[list[str]]:
    listed, cursor = list[list[str]](), None
    while not listed or cursor is not None:
        page = find(database, text, cursor, limit)
        listed.append([one.id for one in page.items])
        cursor = page.next_cursor
    return listed


@pytest.fixture
def asked(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Twenty requests, a minute apart: most ask what the holdout asks."""
    monkeypatch.setattr(events, "LEAST_READ", 3)
    texts = [f"Is parcel {i} late on Friday?" if i in OPEN else SEALED for i in range(20)]
    keep_events(
        database,
        [
            interaction(f"in_{i:02}", input={"document": text}, output="soon", received_at=minutes(i), occurred_at=NOW)
            for i, text in enumerate(texts)
        ],
    )
    sealed: dict[str, Any] = {"input": {"document": SEALED.lower()}, "expected": {"summary": "x"}, "origin": "import"}
    group = next(group for group in "abcdefgh" if split_of(group) == "holdout")
    row = make_example(id="sealed", family=FAMILY, group=group, created_at=NOW, **sealed)
    database.write(lambda tx: database.examples.add(tx, [row]))
    return database


@pytest.mark.parametrize("depth", [2, 8])
def test_a_text_of_sealed_questions_alone_is_answered_as_one_that_nobody_sent(
    asked: Database, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    monkeypatch.setattr(events, "LEAST_DEPTH", depth)
    monkeypatch.setattr(events, "MOST_LOOKED_AT", 10)  # so that a page ends before everything was looked at
    assert find(asked, "on Tuesday") == find(asked, "on Wednesday")
    assert pages(asked, "on Tuesday", 1) == pages(asked, "on Wednesday", 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_pages_of_a_text_hold_each_open_request_once_as_if_the_sealed_ones_were_not_there(
    asked: Database, limit: int
) -> None:
    newest_first = [f"in_{i:02}" for i in reversed(OPEN)]
    for text in ("parcel", "soon"):  # which the sealed ones have, too
        listed = pages(asked, text, limit)
        assert [id for page in listed for id in page] == newest_first
        assert listed == pages(asked, "on Friday", limit)
