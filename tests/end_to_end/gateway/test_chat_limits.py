"""How many chats one end user and one address may ask for in a minute, at the api's address and behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.stand_ins.faulty_provider import FaultyProvider, faulty_provider
from tests.worlds.gateway_world import add_key, behind_the_api, family, make_home, remote

LIMIT, LEFT = "x-ratelimit-limit", "x-ratelimit-remaining"


@contextmanager
def served(folder: Path, **limits: Any) -> Iterator[tuple[str, FaultyProvider]]:
    with faulty_provider() as behind:
        families = {
            "topic": family("topic", "remote"),
            "strict": family("strict", "priced") + "limits: {usd_per_hour: 0.003, above: refuse}\n",
        }
        models = {"remote": remote(behind.url), "priced": remote(behind.url, (1, 10))}
        settings = make_home(folder, families, models, limits=limits)
        for key in ("shop", "blog"):
            add_key(settings, key)
        with behind_the_api(settings) as (api, _):
            yield api, behind


def chat(url: str, user: str | None, key: str = "shop", **more: Any) -> httpx.Response:
    body = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "user": user, **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers={"X-API-Key": key}, timeout=30)


def test_an_end_user_has_so_many_chats_a_minute_and_is_told_what_is_left(tmp_path: Path) -> None:
    with served(tmp_path, user_chats_per_minute=2) as (url, behind):
        answers = [chat(url, "ann"), chat(url, "ann", stream=True), chat(url, "ann")]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers[LEFT] for answer in answers] == ["1", "0", "0"]
        refusal = answers[-1]
        assert 1 <= int(refusal.headers["retry-after"]) <= 60
        assert "one user in a minute" in refusal.json()["detail"]
        assert "Wait" in refusal.json()["detail"]
        assert len(behind.bodies) == 2  # the model was not asked
        assert chat(url, "bob").status_code == 200
        assert chat(url, "ann", "blog").status_code == 200  # another application's user of the same name
        by_header = httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": "topic", "messages": [{"role": "user", "content": "Stars?"}]},
            headers={"X-API-Key": "shop", "X-Detent-Unit": "ann"},
        )
        assert by_header.status_code == 429
        without = chat(url, None)
        assert (without.status_code, LEFT in without.headers) == (200, False)


def test_an_address_has_so_many_chats_whatever_its_keys_and_the_answer_tells_the_nearer_limit(tmp_path: Path) -> None:
    with served(tmp_path, user_chats_per_minute=3, address_chats_per_minute=4) as (url, behind):
        answers = [chat(url, "ann"), chat(url, "ann"), chat(url, "bob", "blog"), chat(url, "eve"), chat(url, "eve")]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
        told = [(answer.headers[LIMIT], answer.headers[LEFT]) for answer in answers]
        assert told == [("3", "2"), ("3", "1"), ("4", "1"), ("4", "0"), ("4", "0")]
        assert all(len(answer.headers.get_list(LEFT)) == 1 for answer in answers)
        assert "one address" in answers[-1].json()["detail"]
        assert len(behind.bodies) == 4
        prompt = httpx.get(f"{url}/v1/families/topic/prompt", headers={"X-API-Key": "shop"})
        assert (prompt.status_code, LEFT in prompt.headers) == (200, False)


def test_what_another_limit_or_a_fault_refuses_uses_nothing_up(tmp_path: Path) -> None:
    with served(tmp_path, user_chats_per_minute=1, address_chats_per_minute=3) as (url, behind):
        assert chat(url, "ann", detent={"variables": {"no such": "x"}}).status_code == 422
        answers = [chat(url, "ann") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 429, 429, 429, 429]
        assert [(answer.headers[LIMIT], answer.headers[LEFT]) for answer in answers[1:]] == [("1", "0")] * 4
        assert chat(url, "bob").status_code == 200  # the faulty one, ann's and bob's are three of the address
        assert chat(url, "eve").status_code == 429
        assert len(behind.bodies) == 2


def test_what_a_familys_money_refuses_leaves_the_users_minute_as_it_was(tmp_path: Path) -> None:
    with served(tmp_path, user_chats_per_minute=3) as (url, _behind):
        assert [chat(url, "ann", model="strict").status_code for _ in range(4)] == [200, 200, 429, 429]
        answer = chat(url, "ann")
        assert (answer.status_code, answer.headers[LEFT]) == (200, "0")


def test_without_these_settings_nothing_is_counted(tmp_path: Path) -> None:
    with served(tmp_path) as (url, _behind):
        assert LEFT not in chat(url, "ann").headers
