"""OpenFeature's own Python provider asks a server over the network, and an application gets prompts as flag values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from api.app import create_app
from tests.api_world import World, make_home, serving
from tests.gateway_world import serving as on_a_socket

ROOT = Path(__file__).parents[2]
FALLBACK = {"messages": [{"role": "user", "content": "what the application has in store"}]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """A rollout under way, keys, and the server behind a socket."""
    settings = make_home(tmp_path_factory.mktemp("openfeature"))
    with serving(settings) as world:
        world.deploying()
        world.add_key("shop", "feedback", secret="app")
        world.add_key("boss", "admin", secret="boss")
        world.add_key("of-another", "serve", secret="elsewhere", families=["elsewhere"])
        world.add_key("once-a-minute", "serve", secret="slow", limits={"requests_per_minute": 1})
        with on_a_socket(create_app(settings), settings) as url:
            yield url, world


def flags(url: str, key: str = "app") -> OpenFeatureClient:
    api.set_provider(OFREPProvider(base_url=url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
    return api.get_client()


@pytest.fixture(autouse=True)
def _no_provider_stays() -> Iterator[None]:
    yield
    api.clear_providers()


def test_users_get_their_prompt_and_its_outcome_is_counted(home: tuple[str, World]) -> None:
    url, headers = home[0], {"Authorization": "Bearer app"}
    client = flags(url)
    variants = set()
    for i in range(20):
        told = client.get_object_details("triage", FALLBACK, EvaluationContext(f"u{i}", {"country": "CH"}))
        prompt = httpx.get(f"{url}/v1/families/triage/prompt?unit=u{i}", headers=headers).json()
        assert (told.error_code, told.reason, told.variant) == (None, Reason.SPLIT, prompt["variant"])
        assert isinstance(told.value, dict)
        assert told.value["messages"] == prompt["messages"]
        assert told.flag_metadata["lease_expires_at"] == prompt["lease_expires_at"]
        event = {"assignment": told.flag_metadata["assignment"], "unit": f"u{i}", "success": True}
        assert httpx.post(f"{url}/v1/feedback", json=event, headers=headers).json()["accepted"] == 1
        variants.add(told.variant)
    assert len(variants) == 2


def test_the_how_to_s_own_lines_ask_and_report(home: tuple[str, World]) -> None:
    url = home[0]
    page = (ROOT / "docs" / "how-to" / "openfeature.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    sent: list[Any] = []

    def my_model(messages: Any, **settings: Any) -> str:
        sent.append(messages)
        return "billing"

    names = {"user_id": "u-of-the-page", "text": "Where is my invoice?", "my_model": my_model}
    exec(code.replace("http://127.0.0.1:8321", url).replace("KEY", "app"), names)
    assert "Where is my invoice?" in sent[0][-1]["content"]
    reported = httpx.get(f"{url}/v1/interactions?family=triage", headers={"Authorization": "Bearer boss"}).json()
    assert [one["output"] for one in reported["items"] if one["rollout"] is not None] == ["billing"]


def test_without_a_targeting_key_the_champion_comes(home: tuple[str, World]) -> None:
    url, world = home
    for context in (None, EvaluationContext(attributes={"country": "CH"})):
        told = flags(url).get_object_details("triage", FALLBACK, context)
        assert (told.error_code, told.reason) == (None, Reason.STATIC)
        assert told.variant == world.shared.serving.now_served.family("triage").champion.variant
        assert told.flag_metadata == {}


def test_what_goes_wrong_gives_the_fallback_and_says_why(home: tuple[str, World]) -> None:
    def told(client: OpenFeatureClient, flag: str = "triage", unit: str = "u1") -> tuple[ErrorCode | None, str]:
        details = client.get_object_details(flag, FALLBACK, EvaluationContext(unit))
        assert (details.value, details.reason) == (FALLBACK, Reason.ERROR)
        return details.error_code, details.error_message or ""

    url, world = home
    assert told(flags(url), unit="u" * 513) == (
        ErrorCode.INVALID_CONTEXT,
        "The context cannot be used: a targeting key has at most 512 characters, and this one has 513.",
    )
    code, why = told(flags(url), flag="nope")
    assert code is ErrorCode.FLAG_NOT_FOUND
    assert "nope" in why
    assert told(flags(url, "elsewhere")) == (ErrorCode.GENERAL, "forbidden")
    assert told(flags(url, "nobody's")) == (ErrorCode.GENERAL, "unauthorized")
    with on_a_socket(create_app(world.settings), world.settings) as stopped:
        pass
    assert told(flags(stopped))[0] is ErrorCode.GENERAL


def test_a_key_s_limit_makes_the_provider_wait(home: tuple[str, World]) -> None:
    client = flags(home[0], "slow")
    context = EvaluationContext("u1")
    assert client.get_object_details("triage", FALLBACK, context).error_code is None
    for why in ("Rate limited, retry after", "paused due to TooManyRequests"):
        told = client.get_object_details("triage", FALLBACK, context)
        assert (told.value, told.error_code) == (FALLBACK, ErrorCode.GENERAL)
        assert why in (told.error_message or "")


def test_a_flag_of_another_type_gives_the_fallback(home: tuple[str, World]) -> None:
    told = flags(home[0]).get_string_details("triage", "mine", EvaluationContext("u1"))
    assert (told.value, told.error_code) == ("mine", ErrorCode.TYPE_MISMATCH)
