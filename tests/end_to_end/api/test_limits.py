"""What a sender may do in a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Busy
from tests.worlds.api_world import World, make_home, serving


def test_prompts_go_on_for_a_limited_key_while_the_store_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_key("app", "serve", secret="s3cret", limits={"requests_per_minute": 3})
    now = datetime.now(UTC)
    monkeypatch.setattr(world.shared.clock, "now", lambda: now)

    async def away(*_: Any, **__: Any) -> None:
        raise Busy("The database is locked.")

    monkeypatch.setattr(world.shared.store, "awrite", away)
    answers = [world.get("/v1/families/triage/prompt", headers={"X-API-Key": "s3cret"}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]


def test_changes_are_limited_per_minute_and_a_rollback_is_never_refused(tmp_path: Path) -> None:
    with serving(make_home(tmp_path, limits={"operator_per_minute": 3})) as world:
        path = "/v1/studies/st_0/cancel"
        answers = [world.post(path) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        assert world.post("/v1/rollouts/ro_0/rollback").status_code == 404
        assert world.get("/v1/families/triage/prompt").status_code == 200


def test_a_script_on_this_machine_meets_no_limit_of_chats_that_nobody_set(tmp_path: Path) -> None:
    body = {"model": "triage", "messages": []}
    with serving(make_home(tmp_path / "open")) as world:
        answers = [world.post("/v1/chat/completions", body) for _ in range(101)]
        assert {answer.status_code for answer in answers} == {503}  # there is no gateway here that could answer
        assert "x-ratelimit-limit" not in answers[0].headers
    with serving(make_home(tmp_path / "limited", limits={"keyless_chat_per_minute": 2})) as world:
        answers = [world.post("/v1/chat/completions", body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503, 503, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]


def test_windows_of_exposures_count_as_events(tmp_path: Path) -> None:
    """Each is a row: a key that reports could else fill the disk at any speed."""
    with serving(make_home(tmp_path, limits={"events_per_minute": 3})) as world:
        variant, start = world.champion(), datetime.now(UTC) - timedelta(hours=1)

        def report(client: str) -> Any:
            window = {
                "family": "triage",
                "variant": variant,
                "rollout": None,
                "stage": None,
                "from": start.isoformat(),
                "to": (start + timedelta(minutes=1)).isoformat(),
                "exposed": 1,
            }
            return world.post("/v1/exposures", {"client": client, "windows": [window] * 2})

        assert report("a").status_code == 200
        refused = report("b")
        assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (429, "1")
