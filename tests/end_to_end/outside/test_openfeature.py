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
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from api.app import create_app
from detent_client import Client
from detent_client.adapters.openfeature import DetentBulkProvider, DetentProvider, ExposureHook, flag_prompt
from tests.clock import until
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

ROOT = Path(__file__).parents[3]
FALLBACK = {"messages": [{"role": "user", "content": "what the application has in store"}]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """A rollout under way, keys, and the server behind a socket."""
    settings = make_home(tmp_path_factory.mktemp("openfeature"))
    with serving(settings) as world:
        world.deploying()
        world.add_key("shop", "feedback", secret="app")
        world.add_key("boss", "admin", secret="boss")
        with on_a_socket(create_app(settings), settings) as url:
            yield url, world


def flags(url: str, key: str = "app") -> OpenFeatureClient:
    api.set_provider_and_wait(OFREPProvider(base_url=url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
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
    code = code.replace("{{message}}", "{{text}}").replace("message=text", "text=text")  # the input of this family
    sent: list[Any] = []

    def my_model(messages: Any, settings: Any) -> str:
        sent.append(messages)
        return "billing"

    names: dict[str, Any] = {"user_id": "u-of-the-page", "text": "Where is my invoice?", "my_model": my_model}
    exec(code.replace("http://127.0.0.1:8321", url).replace('"KEY"', '"app"'), names)
    names["detent"].close()
    assert "Where is my invoice?" in sent[0][-1]["content"]
    reported = httpx.get(f"{url}/v1/interactions?family=triage", headers={"Authorization": "Bearer boss"}).json()
    assert [one["output"] for one in reported["items"] if one["rollout"] is not None] == ["billing"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[str, World, dict[str, Any]]]:
    """A rollout at one half, whose counts no other test moves."""
    settings = make_home(tmp_path)
    with serving(settings) as world:
        rollout = world.deploying()
        world.add_key("shop", "feedback", secret="app")
        world.add_key("boss", "admin", secret="boss")
        with on_a_socket(create_app(settings), settings) as url:
            yield url, world, rollout


def asked(url: str, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = httpx.get(url + path, headers={"Authorization": "Bearer boss"}).json()["items"]
    return items


def n_exposed(world: World) -> dict[str, int]:
    """By variant, of the whole home."""
    world.shared.exposures.flush(world.shared.store)
    counts: dict[str, int] = {}
    for arm in world.exposures():
        counts[arm["variant"]] = counts.get(arm["variant"], 0) + arm["n_exposed"]
    return counts


PROVIDERS = [pytest.param(DetentProvider, id="single"), pytest.param(DetentBulkProvider, id="bulk")]


@pytest.mark.parametrize("kind", PROVIDERS)
def test_each_use_of_a_flag_counts_once_and_its_interaction_and_outcome_stand_in_its_arm(
    own: tuple[str, World, dict[str, Any]], kind: Any
) -> None:
    url, world, rollout = own
    used: dict[str, int] = {}
    ids: set[str] = set()
    with Client(url, "app") as detent:
        api.set_provider_and_wait(kind(detent, url, "app"))
        client = api.get_client()
        client.add_hooks([ExposureHook(detent)])  # one more than the provider has
        for i in range(20):
            context = EvaluationContext(f"u{i}")
            flag = client.get_object_details("triage", FALLBACK, context)
            assert (flag.error_code, flag.reason) == (None, Reason.SPLIT)
            with flag_prompt(detent, flag, unit=f"u{i}", text="Where is my invoice?") as p:
                assert p.messages[-1]["content"].endswith("Where is my invoice?")
                p.record("billing")
            detent.feedback(p, success=True)
            outcome = {"assignment": flag.flag_metadata["assignment"], "success": False}
            client.track("escalated", context, TrackingEventDetails(attributes=outcome))
            used[p.variant or ""] = used.get(p.variant or "", 0) + 1
            ids.add(p.id)
        assert detent.flush()
        status = detent.status()
        assert (status.events_sent, status.events_rejected, status.events_in_no_arm) == (60, {}, 0)
    assert used.keys() == {rollout["champion"], rollout["candidate"]}
    until(lambda: n_exposed(world) == used, "the exposures")
    with world.shared.store.read() as tx:
        arms = [one.arm for ones in world.shared.store.events.interactions(tx, ids).values() for one in ones]
    # without a token a unit is evidence only as far as its key reported exposures, as the client does of a bulk flag
    assert [arm.recomputed for arm in arms] == [kind is DetentBulkProvider] * 20
    for path in ("/v1/interactions?family=triage", "/v1/feedback?family=triage"):
        items = asked(url, path + "&limit=100")
        assert len(items) >= 20
        counted: dict[str, int] = {}
        items = [item for item in items if item["rollout"] is not None]  # one was reported before it started
        for item in items:
            counted[item["variant"]] = counted.get(item["variant"], 0) + 1
        per_use = len(items) // 20
        assert counted == {variant: n * per_use for variant, n in used.items()}


def test_a_bulk_evaluation_is_asked_once_and_again_when_its_time_is_over(
    own: tuple[str, World, dict[str, Any]],
) -> None:
    url, _, rollout = own
    statuses: list[int] = []
    transport = httpx.HTTPTransport()

    class Counted(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = transport.handle_request(request)
            statuses.append(answer.status_code)
            return answer

    def variant(provider: DetentBulkProvider, unit: str | None) -> str | None:
        context = EvaluationContext(unit)
        return provider.resolve_object_details("triage", FALLBACK, context).variant

    with Client(url, "app") as detent:
        provider = DetentBulkProvider(detent, url, "app", transport=Counted())
        assert variant(provider, "u1") == variant(provider, "u1")
        assert statuses == [200]
        assert variant(provider, None) == rollout["champion"]
        assert statuses == [200, 200]
        eager = DetentBulkProvider(detent, url, "app", max_age=0.0, transport=Counted())
        assert variant(eager, "u1") == variant(eager, "u1") == variant(provider, "u1")
        assert statuses == [200, 200, 200, 304]
        provider.shutdown()


def test_inputs_that_do_not_fit_leave_the_arm_and_an_outcome_of_nothing_is_dropped(
    own: tuple[str, World, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    url, world, _ = own
    with Client(url, "app") as detent:
        api.set_provider_and_wait(DetentBulkProvider(detent, url, "app"))
        client = api.get_client()
        flag = client.get_object_details("triage", FALLBACK, EvaluationContext("u1"))
        p = flag_prompt(detent, flag, unit="u1", question="of another name")
        assert p.messages[-1]["content"].endswith("{{text}}")
        p.record("of no variant")
        client.track("nothing", EvaluationContext("u1"), TrackingEventDetails(attributes={"success": True}))
        assert "nothing" in caplog.text
        assert detent.flush()
        assert detent.status().exposures_taken_back == 1
    (interaction,) = (one for one in asked(url, "/v1/interactions?family=triage") if one["output"] == "of no variant")
    assert (interaction["variant"], interaction["rollout"]) == (None, None)
    assert n_exposed(world) == {}
