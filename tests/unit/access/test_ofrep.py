"""OpenFeature's remote evaluation as the protocol words it: values, reasons, refusals, tags and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from optimizer.core.serving.assignment import verify_token
from tests.unit.access.test_error_shape import assert_problem
from tests.worlds.api_world import World, make_home, serving

FLAG, FLAGS = "/ofrep/v1/evaluate/flags/triage", "/ofrep/v1/evaluate/flags"
NO_FLAG = f"{FLAGS}/none"
_SCALAR = {"type": ["boolean", "string", "number"]}
_TEXT = {"type": "string"}
_EVALUATED = {
    "required": ["value"],
    "properties": {
        **dict.fromkeys(("key", "reason", "variant"), _TEXT),
        "metadata": {"type": "object", "additionalProperties": _SCALAR},
        "value": {"type": ["boolean", "string", "number", "object"]},
    },
}


def _refused(*codes: str) -> dict[str, Any]:
    return {"required": ["errorCode"], "properties": {"errorCode": {"enum": list(codes)}, "errorDetails": _TEXT}}


_BAD_REQUEST = _refused("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL")
_OF_ONE_FLAG = {"required": ["key"], "properties": {"key": {"type": "string"}}}

# What the protocol's OpenAPI document says of each answer, by path and status.
SCHEMAS: dict[tuple[str, int], dict[str, Any]] = {
    (FLAG, 200): _EVALUATED,
    (FLAG, 400): {"allOf": [_BAD_REQUEST, _OF_ONE_FLAG]},
    (NO_FLAG, 404): {"allOf": [_refused("FLAG_NOT_FOUND"), _OF_ONE_FLAG]},
    (NO_FLAG, 400): {"allOf": [_BAD_REQUEST, _OF_ONE_FLAG]},
    (FLAGS, 200): {"required": ["flags"], "properties": {"flags": {"type": "array", "items": _EVALUATED}}},
    (FLAGS, 400): _BAD_REQUEST,
}
CONTEXTS: tuple[Any, ...] = (None, {}, [], *({"targetingKey": key} for key in ("u1", "", 5, "u" * 9000)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """No rollout; nothing here changes what is served."""
    with serving(make_home(tmp_path_factory.mktemp("home"))) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(tmp_path)) as running:
        yield running


def of(unit: str) -> dict[str, Any]:
    return {"context": {"targetingKey": unit}}


def n_exposed(world: World) -> int:
    world.shared.exposures.flush(world.shared.store)
    return sum(arm["n_exposed"] for arm in world.exposures())


def test_the_value_is_the_prompt_and_the_metadata_names_the_assignment(world: World) -> None:
    told = world.post(FLAG, of("u1"))
    evaluated = told.json()
    assert (told.status_code, told.headers["cache-control"]) == (200, "no-store")
    assert list(evaluated) == ["key", "reason", "variant", "metadata", "value"]
    prompt = world.get("/v1/families/triage/prompt?unit=u1").json()
    token = evaluated["value"].pop("assignment")
    prompt.pop("assignment")
    assert evaluated == {
        "key": "triage",
        "reason": "STATIC",
        "variant": prompt["variant"],
        "metadata": {"assignment": token},
        "value": prompt,
    }
    assigned = verify_token(token, world.shared.secrets.token_keys, datetime.now(UTC))
    assert (assigned.family, assigned.variant) == ("triage", prompt["variant"])
    assert assigned.unit_hmac is not None


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({}, id="no body"),
        pytest.param({"json": {}}, id="no context"),
        pytest.param({"json": {"context": None}}, id="null as the context"),
        pytest.param({"json": {"context": {}}}, id="an empty context"),
        pytest.param({"json": {"context": {"targetingKey": None, "country": "CH"}}}, id="null as the key"),
        pytest.param({"json": {"context": {"targetingKey": ""}}}, id="an empty key"),
    ],
)
def test_without_a_targeting_key_the_champion_is_static_and_has_no_assignment(world, sent):
    evaluated = world.client.post(FLAG, **sent).json()
    assert (evaluated["reason"], evaluated["variant"]) == ("STATIC", world.champion())
    assert evaluated["metadata"] == {}
    assert "assignment" not in evaluated["value"]
    assert world.client.post(FLAGS, **sent).json() == {"flags": [evaluated]}


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: str(context)[:24])
@pytest.mark.parametrize("path", [FLAG, FLAGS, NO_FLAG])
def test_each_answer_fits_the_protocol_s_document(world: World, path: str, context: object) -> None:
    told = world.post(path, {"context": context})
    jsonschema.validate(told.json(), {"type": "object", **SCHEMAS[path, told.status_code]})


def test_within_a_rollout_units_are_split_as_those_of_the_prompt(own: World) -> None:
    rollout = own.deploying()
    units = [f"u{i}" for i in range(20)]
    prompts = [own.get(f"/v1/families/triage/prompt?unit={unit}").json() for unit in units]
    evaluated = [own.post(FLAG, of(unit)).json() for unit in units]
    assert [one["variant"] for one in evaluated] == [one["variant"] for one in prompts]
    assert {one["variant"] for one in evaluated} == {rollout["champion"], rollout["candidate"]}
    assert {one["reason"] for one in evaluated} == {"SPLIT"}
    assert {one["metadata"]["lease_expires_at"] for one in evaluated} == {prompts[0]["lease_expires_at"]}
    nobody = own.post(FLAG).json()
    assert (nobody["reason"], nobody["variant"], nobody["metadata"]) == ("STATIC", rollout["champion"], {})


def overridden(world: World) -> str:
    """Gives the variant that u1 gets."""
    variant = world.candidate()
    put = world.client.put("/v1/families/triage/overrides/u1", json={"variant": variant})
    assert put.status_code in (200, 201), put.text
    return variant


def frozen(world: World) -> str:
    world.deploying()
    assert world.post("/v1/freeze", {"reason": "night"}).status_code == 200
    return world.champion()


def unwatched(world: World) -> str:
    world.deploying()
    world.tick(lease_seconds=0)
    return world.champion()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(overridden, "TARGETING_MATCH", id="an override"),
        pytest.param(frozen, "DISABLED", id="a freeze"),
        pytest.param(unwatched, "DEFAULT", id="a lease that ran out"),
    ],
)
def test_the_reason_says_why_this_variant(own: World, make: Callable[[World], str], reason: str) -> None:
    variant = make(own)
    own.shared.serving.refresh()
    evaluated = own.post(FLAG, of("u1")).json()
    assert (evaluated["reason"], evaluated["variant"]) == (reason, variant)
    assert own.post(FLAGS, of("u1")).json()["flags"][0]["reason"] == reason
    nobody = own.post(FLAG).json()
    assert (nobody["reason"], nobody["variant"]) == ("STATIC", own.champion()), "without a targeting key"


def test_a_single_evaluation_is_counted_as_a_fetch_and_a_bulk_one_is_not(own: World) -> None:
    for i in range(3):
        own.post(FLAGS, of(f"u{i}"))
    assert n_exposed(own) == 0
    for i in range(3):
        own.post(FLAG, of(f"u{i}"))
    assert own.post(FLAG, {"context": 3}).status_code == 400
    assert n_exposed(own) == 3, "a refused request was exposed to nothing"


def test_a_bulk_evaluation_is_304_until_something_changes_for_this_unit(own: World) -> None:
    def asked(unit: str | None, tag: str) -> Any:
        return own.post(FLAGS, of(unit) if unit else None, headers={"If-None-Match": tag})

    tag = own.post(FLAGS, of("u1")).headers["etag"]
    same = asked("u1", f'"another", {tag}')
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert asked("u2", tag).status_code == 200, "the tokens are another unit's"
    assert asked(None, tag).status_code == 200
    own.deploying()
    assert asked("u1", tag).status_code == 200


def test_the_tag_ends_with_the_day_so_that_tokens_stay_fresh(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def tag_at(at: datetime) -> str:
        monkeypatch.setattr(type(own.shared.clock), "now", lambda _: at)
        return str(own.post(FLAGS, of("u1")).headers["etag"])

    noon = datetime.now(UTC).replace(hour=12)
    assert tag_at(noon) == tag_at(noon + timedelta(hours=11))
    assert tag_at(noon) != tag_at(noon + timedelta(hours=13))


REFUSED: dict[str, tuple[int, str, str, str, dict[str, Any]]] = {
    "an unknown flag": (404, "not-found", "FLAG_NOT_FOUND", f"{FLAGS}/nope", {"json": of("u1")}),
    "a flag with a slash": (404, "not-found", "FLAG_NOT_FOUND", f"{FLAGS}/no/such", {"json": of("u1")}),
    "half a body": (400, "malformed-body", "PARSE_ERROR", FLAG, {"content": b"{"}),
    "a list": (400, "malformed-body", "PARSE_ERROR", FLAG, {"json": []}),
    "null": (400, "malformed-body", "PARSE_ERROR", FLAGS, {"content": b"null"}),
    "no JSON": (415, "unsupported-media-type", "PARSE_ERROR", FLAG, {"content": b"{}", "type": "text/plain"}),
    "a context that is no object": (400, "invalid-context", "INVALID_CONTEXT", FLAG, {"json": {"context": "u1"}}),
    "a key that is no text": (400, "invalid-context", "INVALID_CONTEXT", FLAGS, {"json": of(7)}),  # type: ignore[arg-type]
    "a key too long": (400, "invalid-context", "INVALID_CONTEXT", FLAG, {"json": of("u" * 513)}),
    "an unknown parameter": (400, "unknown-parameter", "GENERAL", f"{FLAG}?colour=red", {"json": of("u1")}),
    "a body too large": (413, "too-large", "GENERAL", FLAGS, {"json": {"context": {"text": "x" * 1_048_577}}}),
}


@pytest.mark.parametrize(("status", "slug", "code", "path", "sent"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_has_the_protocol_s_members_too(world, status, slug, code, path, sent):
    given = {name: value for name, value in sent.items() if name != "type"}
    told = world.client.post(path, headers={"Content-Type": sent.get("type", "application/json")}, **given)
    problem = assert_problem(told, status, slug)
    assert (problem["errorCode"], problem["errorDetails"]) == (code, problem["detail"])
    assert problem.get("key") == (path.partition("?")[0].removeprefix(f"{FLAGS}/") if path != FLAGS else None)


def test_a_key_sees_the_flags_of_its_families_alone(own: World) -> None:
    own.add_key("here", "serve", secret="here", families=["triage"])
    own.add_key("elsewhere", "serve", secret="elsewhere", families=["elsewhere"])
    own.add_key("reader", "read", secret="reader")

    def asked(path: str, secret: str | None) -> Any:
        return own.post(path, of("u1"), headers={"X-API-Key": secret} if secret else {})

    assert [flag["key"] for flag in asked(FLAGS, "here").json()["flags"]] == ["triage"]
    assert asked(FLAGS, "elsewhere").json() == {"flags": []}
    assert asked(FLAG, "here").status_code == 200
    for path, secret, status in (
        (FLAG, "elsewhere", 403),
        (f"{FLAGS}/nope", "elsewhere", 403),
        (FLAG, "reader", 403),
        (FLAGS, "reader", 403),
        (FLAG, None, 401),
    ):
        refused = asked(path, secret)
        assert (refused.status_code, refused.json()["errorCode"]) == (status, "GENERAL"), refused.text


def test_a_family_answers_to_its_former_name_as_elsewhere(own: World) -> None:
    renamed = own.post("/v1/families/triage/rename", {"name": "sorting", "confirm": "triage"})
    assert renamed.status_code == 200, renamed.text
    own.shared.serving.refresh()
    flags = {flag["key"]: flag["value"]["family"] for flag in own.post(FLAGS, of("u1")).json()["flags"]}
    assert flags == {"sorting": "sorting", "triage": "sorting"}
    assert own.post(FLAG, of("u1")).json()["key"] == "triage"
