"""What a key of role serve does to spend past an hour's limit, against a running gateway.

What holds it is told in docs/explanation/threat-model.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.clock import until
from tests.stand_ins.faulty_provider import FaultyProvider, faulty_provider
from tests.worlds.gateway_world import family, make_home, remote, running

# The provider asks $0.002 for an answer; by its length this request may cost more than $0.01.
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 10_000}], "max_tokens": 10}


@pytest.fixture(scope="module")
def behind() -> Iterator[FaultyProvider]:
    with faulty_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def url(behind: FaultyProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    away = remote("http://127.0.0.1:9/v1", (0, 0), fallbacks=["priced"])
    models = {"priced": remote(behind.url, (1, 10)), "unpriced": remote(behind.url), "away": away}
    long = "{document: {type: text, max_chars: 20000}}"
    families = {
        name: f"{family(name, 'priced', inputs=long)}limits: {{usd_per_hour: 0.008}}\n"
        for name in ("held", "malformed")
    }
    families["fallen"] = families["held"].replace("held", "fallen").replace("priced", "away")
    # Twice the answer that this may write fits, and not what the second call sends beside: the first one's answer.
    mended = "validate: [empty], validate.then: retry"
    families["mended"] = families["held"].replace("held", "mended").replace("0.008", "0.023")
    families["mended"] = families["mended"].replace('{{document}}"}]}', f'{{{{document}}}}"}}], policy: {{{mended}}}}}')
    families["mended"] = families["mended"].replace("max_tokens: 12", "max_tokens: 1000")
    families["free"] = family("free", "unpriced") + "limits: {usd_per_hour: 1}\n"
    families["plain"] = family("plain", "unpriced")
    settings = make_home(tmp_path_factory.mktemp("home"), families, models, limits={"models_usd_per_hour": 0.1})
    with running(settings) as address:
        yield address


def post(url: str, model: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={**ASKED, "model": model, **more}, timeout=30)


@pytest.mark.parametrize(("model", "n_allowed"), [("held", 1), ("fallen", 1), ("priced", 10)])
def test_requests_that_come_at_once_do_not_all_find_the_same_money_left(
    url: str, behind: FaultyProvider, model: str, n_allowed: int
) -> None:
    behind.hold = threading.Event()
    n = len(behind.bodies)
    try:
        with ThreadPoolExecutor(n_allowed) as pool:
            first = [pool.submit(post, url, model, stream=True) for _ in range(min(n_allowed, 4))]
            until(lambda: len(behind.bodies) == n + len(first))
            if model == "priced":  # places of the model are taken, and others wait for one: they count as well
                first += [pool.submit(post, url, model, stream=True) for _ in range(n_allowed - 4)]
                until(lambda: waiting(url, model) == n_allowed - 4)
            refused = post(url, model)
            behind.hold.set()
            assert [one.result().status_code for one in first] == [200] * n_allowed
    finally:
        behind.hold.set()
        behind.hold = None
    assert refused.status_code == 429
    assert "calls under way may cost" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) < 10
    assert post(url, model).status_code == 200, "they cost less than they might have"


def test_a_policys_calls_count_with_the_earlier_answer_that_the_next_one_sends(
    url: str, behind: FaultyProvider
) -> None:
    go_on, n, short = threading.Event(), len(behind.bodies), [{"role": "user", "content": "x"}]
    behind.fault = lambda n: None if go_on.wait(30) else "broken"
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, url, "mended", messages=short)
            until(lambda: len(behind.bodies) == n + 1)
            refused = post(url, "mended", messages=short)
            go_on.set()
            assert first.result().status_code == 200
    finally:
        go_on.set()
        behind.fault = lambda n: None
    assert (refused.status_code, len(behind.bodies)) == (429, n + 1)


def waiting(url: str, model: str) -> int:
    return int(httpx.get(f"{url}/ready").json()["dependencies"]["models"]["providers"][model]["waiting"])


def test_answers_that_cannot_be_read_are_paid_for_and_count(url: str, behind: FaultyProvider) -> None:
    behind.fault = lambda n: "malformed"
    try:
        assert [post(url, "malformed").status_code for _ in range(2)] == [502, 429]
    finally:
        behind.fault = lambda n: None


def test_a_model_without_a_price_is_asked_under_no_limit(url: str, behind: FaultyProvider) -> None:
    n = len(behind.bodies)
    for model in ("unpriced", "free"):
        refused = post(url, model)
        assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (429, "money-spent")
        assert "no known price" in refused.json()["detail"]
    assert len(behind.bodies) == n
    assert post(url, "plain").status_code == 200, "a family without a limit asks it"


def test_a_role_that_no_model_knows_is_refused_wherever_its_message_stands(url: str, behind: FaultyProvider) -> None:
    """Some servers write the role into the prompt as it is, and it is not counted as text."""
    n, odd = len(behind.bodies), {"role": "x" * 5000, "content": "y"}
    asked = {"role": "user", "content": "z"}
    for messages in ([odd, asked], [asked, odd]):
        for model in ("plain", "priced"):
            refused = post(url, model, messages=messages)
            assert (refused.status_code, len(behind.bodies)) == (422, n)
            assert f"/messages/{messages.index(odd)}/role" in [one["pointer"] for one in refused.json()["errors"]]
