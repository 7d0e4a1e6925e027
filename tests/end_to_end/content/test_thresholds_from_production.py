"""From requests through a running gateway, with audits behind their answers,
to recommended thresholds and the variant that has them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from itertools import count
from math import log
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient
from ulid import ULID

from api.app import create_app
from optimizer.core.policy.steps import draw_of
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from tests import command_line
from tests.clock import until
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.worlds.gateway_world import family, interactions, make_home, running

N, SHARE, ACCEPT = 240, 0.5, 0.3
USD = {"cheap": 0.002, "strong": 0.02}
PRICES = {
    "cheap": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 10},
    "strong": {"input_usd_per_mtok": 10, "output_usd_per_mtok": 100},
}


def sure(i: int) -> float:
    return (37 * i % 100 + 0.5) / 100


def is_right(i: int) -> bool:
    """The cheap model: always where it is surer than .5, else of every second request."""
    return sure(i) > 0.5 or i % 2 == 0


def answer(body: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    found = re.search(r"number (\d+)", body["messages"][-1]["content"])
    assert found
    i = int(found.group(1))
    if body["model"] == "strong" and i % 29 == 0:
        return 500, {}, json.dumps({"error": {"message": "out of order"}}).encode()
    value = chat_answer(f"topic {i % 7}" if body["model"] == "strong" or is_right(i) else "something else")
    value["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": log(sure(i))}]}
    return 200, {}, json.dumps(value).encode()


def cascade() -> str:
    text = family("topics", "cheap").replace("tiers: [cheap]", "tiers: [cheap, strong]")
    policy = f"policy: {{tiers: [cheap, strong], accept: {ACCEPT}, audit_share: {SHARE}, fall_back: true}}"
    return text.replace('"Text: {{document}}"}]}', f'"Text: {{{{document}}}}"}}], {policy}}}')


def detent(home: Path, *words: str) -> command_line.Ran:
    return command_line.detent(*words, env={"DETENT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "240"})


def served(settings: Settings, url: str) -> dict[int, str]:
    """Interaction by number; returns when interactions and audits are on record."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    ids = {
        i: client.chat.completions.create(model="topics", messages=[{"role": "user", "content": f"number {i}"}]).id
        for i in range(N)
    }
    until(lambda: len(interactions(settings, "topics")) == N)
    wanted = {id for i, id in ids.items() if draw_of(id) < SHARE and sure(i) >= ACCEPT}
    store = wiring.open_store(settings)

    def audited() -> bool:
        with store.read() as tx:
            return set(store.events.later_parts(tx, "topics", wanted)) == wanted

    until(audited)
    store.close()
    return ids


def test_requests_of_the_gateway_become_records_estimates_and_a_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = (
        count()
    )  # ids say who is audited; an interval of 95 % misses the truth in one of twenty draws, so every run draws alike
    monkeypatch.setattr(
        "api.gateway.chat.new_id", lambda prefix: f"{prefix}_{str(ULID.from_int(next(numbers))).lower()}"
    )
    with provider() as behind:
        behind.answer = answer  # type: ignore[assignment]
        models = {
            name: {
                "openai_compatible": behind.url,
                "model": name,
                "retries": 0,
                "price": price,
                "breaker": {"failures": 1000},
            }
            for name, price in PRICES.items()
        }
        settings = make_home(tmp_path, {"topics": cascade()}, models)
        with running(settings) as url:
            ids = served(settings, url)
    with TestClient(create_app(settings), base_url="http://localhost", client=("127.0.0.1", 50000)) as api:
        events = [
            {
                "id": f"fb_{i}",
                "family": "topics",
                "interaction": ids[i],
                "expected": {"topic": f"topic {i % 7}"},
                "source": "person",
            }
            for i in range(0, N, 4)
        ]
        assert api.post("/v1/feedback", json=events).json()["accepted"] == N / 4

    ran = detent(tmp_path, "thresholds", "recommend", "topics", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["n_read"], found["n_older"], found["left_out"]) == (N, 0, {})
    drawn = [i for i, id in ids.items() if draw_of(id) < SHARE and (sure(i) >= ACCEPT or not i % 29)]
    complete = [i for i in drawn if i % 29]
    assert found["audits"] == {
        "drawn": len(drawn),
        "complete": len(complete),
        "failed": len(drawn) - len(complete),
        "lost": 0,
        "paid_usd": pytest.approx(len(complete) * USD["strong"]),
    }
    assert found["references"]["expected"] == N / 4
    advice = found["advice"]
    present = advice["estimated"]
    truth = sum(sure(i) < ACCEPT or is_right(i) for i in range(N)) / N
    assert present["quality"]["low"] <= truth <= present["quality"]["high"]
    assert present["quality"]["mean"] != pytest.approx(1.0)
    usd = USD["cheap"] + sum(sure(i) < ACCEPT for i in range(N)) / N * USD["strong"]
    assert present["cost_usd"]["mean"] == pytest.approx(
        usd, rel=0.05
    )  # requests of which the strong tier failed are known by audits alone
    assert advice["verdict"] == "change"
    assert 0.45 < advice["policy"]["accept"] < 0.75
    assert advice["audit_cost"]["audit_share"] == SHARE

    shown = detent(tmp_path, "thresholds", "recommend", "topics")
    assert shown.code == 0, shown.err
    for words in (
        f"Read      {N} requests",
        "against the expected output of a correction",
        "with a tier that failed",
        "strong alone",
        "% of what these cost without it",
    ):
        assert words in shown.out
    then = shown.out.split("Next      detent ")[1].strip()
    made = detent(tmp_path, *shlex.split(then), "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["policy"]["accept"] == advice["policy"]["accept"]
    refused = detent(tmp_path, "thresholds", "recommend", "topics", "--out", "somewhere")
    assert refused.code != 0
    assert "--out writes the files of a content pipeline" in refused.err
