"""What every role may do, tried on every route of a seeded installation:
nothing outside the table of docs/reference/rest.md succeeds.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.access.wrong_keys import WrongKeys
from api.app import declared_routes
from api.gateway import app as gateway, chat, readiness
from api.routing import guard_of
from api.serving import STORE_AWAY
from optimizer.core.serving.access import LADDERS, ROLES, Role
from optimizer.runtime.use_cases import USE_CASES
from tests.rows.answer_schemas import openapi_document
from tests.worlds.api_world import FAMILY, World, make_home, serving
from tests.worlds.seeded_world import SEALED_WORD, SECRET_WORD, seeded

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "rest.md").read_text(encoding="utf-8")
BODIES: dict[str, Any] = {
    "POST /v1/families/{family}/render": {"variables": {"text": "x"}},
    "POST /v1/feedback": {"family": "triage", "unit": "u", "success": True},
    "POST /v1/interactions": {"family": "triage", "unit": "u", "output": "x"},
    "POST /v1/traces": {},
    "POST /v1/logs": {},
    "POST /v1/exposures": {"client": "c", "windows": [{"family": "triage"}]},
    "POST /api/performance/record": {"processing_type": "full", "content_type": "note"},
    "POST /v1/chat/completions": {"model": "triage", "messages": [{"role": "user", "content": "x"}]},
    "POST /v1/families/{family}/examples": {"rows": []},
    "POST /v1/families/{family}/rename": {"name": "tickets"},
    "POST /v1/families/{family}/variants": {"messages": [{"role": "user", "content": "{{text}} again"}]},
    "POST /v1/families/{family}/studies": {"dry_run": True},
    "PUT /v1/families/{family}/schedule": {"cron": None},
    "POST /v1/installation-keys/{kind}/rotate": {"dry_run": True},
    "POST /v1/keys": {"name": "another", "roles": ["serve"]},
    "POST /v1/studies/{id}/nominate": {"variant": "v_000000000000", "dry_run": True},
}


def _table() -> dict[str, Role]:
    """Role by route, as the reference says it."""
    section = REFERENCE.split("## Roles\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z]+ [^`]+)` \| ([a-z-]+) \|", section, flags=re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a route stands in the table twice"
    return {route: role for route, role in rows if role in ROLES}


def _declared(routes: Iterable[BaseRoute]) -> dict[str, APIRoute]:
    own = [route for route in routes if isinstance(route, APIRoute)]
    return {f"{method} {route.path}": route for route in own for method in sorted(route.methods)}


def _routes() -> dict[str, APIRoute]:
    return _declared(declared_routes())


def _path_text(path: str) -> str:
    return path.replace(":path}", "}")


def _role_of(route: APIRoute) -> Role | None:
    return guard_of(route).role


def _reach(needed: Role) -> set[Role]:
    """The roles that include this one, written down anew: admin, and what stands above it on its ladder."""
    return {"admin", *(role for ladder in LADDERS if needed in ladder for role in ladder[ladder.index(needed) :])}


def _refused(needed: Role) -> set[Role]:
    """The highest role of each ladder that does not include this one: what it may, those below it may too."""
    below = [[role for role in ladder if role not in _reach(needed)] for ladder in LADDERS]
    return {roles[-1] for roles in below if roles}


@contextmanager
def installation(home: Path) -> Iterator[World]:
    settings = make_home(home, limits={"operator_per_minute": 1_000_000, "events_per_minute": 1_000_000})
    with serving(settings, raise_faults=True) as world:
        yield seeded(world)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with installation(tmp_path_factory.mktemp("home")) as world:
        yield world


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[World]:
    """One that may be changed by every act there is."""
    with installation(tmp_path) as world:
        yield world


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def call(world: World, route: str, secret: str | None, family: str = "triage") -> Any:
    method, path = route.split(" ")
    of_rollout = re.search("rollout|variant|override", path)  # half of the calls need not ask what it is
    rollout = world.get("/v1/families/triage/rollout").json() if of_rollout else {"id": "x", "candidate": "x"}
    id = {"/v1/studies": "st_1", "/v1/rollouts": rollout["id"], "/v1/interactions": "in_1"}.get(
        "/".join(path.split("/")[:3]), "x"
    )
    named = {
        "family": family,
        "id": id,
        "variant": rollout["candidate"],
        "unit": "u",
        "name": "no-such-key",
        "key": "triage",
        "entry": "pb_none",
        "example": "ex_none",
        "kind": "token",
    }
    filled = re.sub(r"\{(\w+)(:path)?\}", lambda found: named[found[1]], path)
    headers = {} if secret is None else bearer(secret)
    if method == "PUT":
        headers["If-Match"] = "*"
    body = BODIES.get(_path_text(route))
    if route.startswith("PUT /v1/families/{family}/overrides"):
        body = {"variant": rollout["candidate"]}
    if route == "POST /v1/interactions/import":
        return world.client.request(method, filled, content=b"{}\n", headers=headers)
    if route == "POST /v1/families/{family}/rollouts":
        body = {"variant": rollout["candidate"], "dry_run": True}
    return world.client.request(method, filled, headers=headers, **({"json": body} if body is not None else {}))


# --- the declaration, the table, the document -------------------------------------------------------------------------


def test_the_table_of_the_reference_is_what_the_routes_declare() -> None:
    declared = {_path_text(name): _role_of(route) for name, route in _routes().items()}
    needed = {name: role for name, role in declared.items() if role is not None}
    assert _table() == needed, "\n".join(
        f"| `{name}` | {role} |" for name, role in sorted(needed.items(), key=lambda i: (ROLES.index(i[1]), i[0]))
    )
    assert {name for name, role in declared.items() if role is None} == {"GET /health", "GET /ready"}


def test_every_route_of_the_document_is_one_of_the_tables() -> None:
    paths = openapi_document()["paths"]
    documented = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert documented == {*_table(), "GET /health", "GET /ready"}


def test_the_gateway_asks_for_the_same_roles_as_the_api_that_forwards_to_it() -> None:
    behind = _declared([*chat.routes.routes, *readiness.routes.routes, *gateway.operations.routes])
    assert {"POST /v1/chat/completions", "GET /v1/models", "GET /metrics"} <= behind.keys()
    for name, route in behind.items():
        assert _role_of(route) == _role_of(_routes()[name]), name


IN_FRONT = "answered in front of FastAPI, many thousand times a second"
NO_REPORT = "its answer is no report as JSON"
OWN_FORM = "what it takes has a form of others: lines, protocol buffers, or parameters beside a body"
NO_USE_CASE = {
    "GET /health": "asks this process, not the home",
    "GET /ready": "asks this process, not the home",
    "GET /metrics": NO_REPORT,
    "POST /v1/data/export": NO_REPORT,
    "GET /v1/models": "the gateway's",
    "POST /v1/chat/completions": "the gateway's",
    "POST /api/performance/record": OWN_FORM,
    "POST /v1/interactions/import": OWN_FORM,
    "POST /v1/logs": OWN_FORM,
    "POST /v1/traces": OWN_FORM,
    **dict.fromkeys(
        (
            "GET /v1/families/{family}/prompt",
            "GET /v1/snapshot",
            "POST /ofrep/v1/evaluate/flags",
            "POST /ofrep/v1/evaluate/flags/{key:path}",
            "POST /v1/families/{family}/render",
            "POST /v1/feedback",
            "POST /v1/interactions",
        ),
        IN_FRONT,
    ),
}


def test_every_route_is_that_of_a_use_case_but_those_with_a_reason() -> None:
    assert _routes().keys() - {f"{one.method} {one.path}" for one in USE_CASES} == NO_USE_CASE.keys()


# --- every role on every route ----------------------------------------------------------------------------------------


def test_every_role_is_refused_on_every_route_that_the_table_does_not_give_it(
    spare: World, subtests: pytest.Subtests
) -> None:
    world = spare
    for route, needed in _table().items():
        with subtests.test(route):
            for role in {needed, "admin"}:  # the lowest that may and the highest
                answer = call(world, route, f"secret-{role}")
                assert answer.status_code not in (401, 403), answer.text
                assert SEALED_WORD not in answer.text
                assert SECRET_WORD not in answer.text or role not in ("read", "feedback")
            for role in _refused(needed):  # before anything is looked at that the request names
                method, path = route.split(" ")
                filled, key = re.sub(r"\{\w+\}", "x", path), bearer(f"secret-{role}")
                answer = world.client.request(method, filled, headers=key)
                assert (answer.status_code, answer.json()["needed"]) == (403, needed), role
    with world.shared.store.read() as tx:
        assert world.shared.store.examples.counts(tx, "triage")["holdout"] > 3
        outbox = tx.exec_driver_sql("SELECT topic, payload FROM outbox").all()
    assert {topic for topic, payload in outbox if SECRET_WORD in payload} <= {"alert"}  # which people are told
    assert not any(SEALED_WORD in payload for _, payload in outbox)


def test_without_a_key_or_with_a_wrong_one_no_route_of_the_table_answers(world: World) -> None:
    del world.client.headers["Authorization"]
    try:
        for route in _table():
            method, path = route.split(" ")
            filled = re.sub(r"\{\w+\}", "x", path)
            assert world.client.request(method, filled).status_code == 401, route
            world.shared.wrong_keys = WrongKeys()  # else the address would have to wait before long
            assert world.client.request(method, filled, headers={"X-API-Key": "wrong"}).status_code == 401, route
    finally:
        world.client.headers["Authorization"] = "Bearer secret-admin"


def test_a_key_that_was_revoked_while_the_body_came_opens_no_route(world: World, subtests: pytest.Subtests) -> None:
    store, headers = world.shared.store, {"Content-Type": "application/json", "If-Match": "*"}
    for n, (route, needed) in enumerate(_table().items()):
        method, path = route.split(" ")
        if method == "GET":
            continue  # answered without a body
        body = json.dumps(BODIES.get(route, {})).encode()
        name = f"revoked-{n}"
        world.add_key(name, needed, secret=name)

        def sent_late(name: str = name, body: bytes = body) -> Iterator[bytes]:
            yield body[:1]
            store.write(lambda tx: store.api_keys.revoke(tx, name, world.shared.clock.now()))
            world.shared.serving.refresh()
            yield body[1:]

        with subtests.test(route):
            answer = world.client.request(
                method,
                re.sub(r"\{\w+\}", "triage", path),
                content=sent_late(),
                headers={**headers, "Authorization": f"Bearer {name}"},
            )
            assert answer.status_code == 401, answer.text
            assert "was revoked" in answer.json()["detail"]
        world.shared.wrong_keys = WrongKeys()


def test_one_role_of_each_ladder_gives_both_and_no_more(spare: World) -> None:
    world = spare
    world.add_key("both", "serve", "read", secret="secret-both")
    for needed, route in {needed: route for route, needed in _table().items()}.items():  # one of each role
        assert (call(world, route, "secret-both").status_code == 403) == (needed not in ("serve", "read")), route


# --- families ---------------------------------------------------------------------------------------------------------


def test_a_key_for_another_family_reaches_nothing_of_this_one(world: World, subtests: pytest.Subtests) -> None:
    rollout = world.get("/v1/families/triage/rollout").json()
    words = ("triage", rollout["id"], rollout["candidate"], rollout["champion"], "st_1")
    for route, needed in _table().items():
        if needed == "admin":
            continue
        with subtests.test(route):
            answer = call(world, route, f"elsewhere-{needed}")
            outcome = answer.json() if answer.status_code < 300 and route.startswith("POST ") else {}
            if "accepted" in outcome:
                assert outcome["accepted"] == 0
                assert all(one["type"] in ("family_not_allowed", "malformed") for one in outcome["rejected"])
            elif answer.status_code < 300:
                assert not any(word in answer.text for word in words), answer.text
            else:
                forwarded = route in (
                    "POST /v1/chat/completions",
                    "GET /v1/models",
                )  # the gateway holds the key to its families
                assert answer.status_code in ((503,) if forwarded else (403, 404, 422)), answer.text


def test_a_key_for_this_family_does_here_what_its_roles_say(world: World) -> None:
    world.add_key("at-home", "feedback", "operate", secret="secret-at-home", families=["triage"])
    ok = {
        route: call(world, route, "secret-at-home").status_code
        for route in (
            "GET /v1/families/{family}/prompt",
            "POST /v1/feedback",
            "GET /v1/feedback",
            "GET /v1/families",
            "GET /v1/studies",
            "GET /v1/rollouts/{id}",
            "GET /v1/interactions/{id:path}",
            "GET /v1/status",
            "GET /v1/variants/{variant}",
        )
    }
    assert set(ok.values()) == {200}, ok
    assert call(world, "POST /v1/freeze", "secret-at-home").status_code == 403  # every family is more than its own
    headers = bearer("secret-at-home")
    assert [one["name"] for one in world.get("/v1/families", headers=headers).json()["items"]] == ["triage"]


def test_every_route_without_a_family_in_its_path_says_whether_it_narrows() -> None:
    """A key for named families is refused where a route has not said that it keeps to them."""
    refused = {
        _path_text(name)
        for name, route in _routes().items()
        if _role_of(route) not in (None, "admin") and "{family}" not in name and not guard_of(route).narrows
    }
    assert refused == {
        "GET /metrics",
        "GET /v1/settings",
        "POST /api/performance/record",
        "GET /api/performance/",
        "GET /api/performance/metrics/summary",
        "GET /api/performance/content-types",
        "GET /api/performance/checkpoints",
        "GET /api/performance/quality-trends",
        "GET /api/performance/comparison",
    }


# --- figures and texts ------------------------------------------------------------------------------------------------


def test_a_reading_key_sees_figures_and_no_text_that_somebody_wrote(world: World, subtests: pytest.Subtests) -> None:
    seen = 0
    for name, route in _routes().items():
        if not name.startswith("GET ") or _role_of(route) != "read":
            continue
        with subtests.test(name):
            figures, texts = call(world, name, "secret-read"), call(world, name, "secret-read-texts")
            assert SECRET_WORD not in figures.text
            assert figures.status_code == texts.status_code
            seen += SECRET_WORD in texts.text
    assert seen >= 10  # the word was there to be found


BROKEN = "a-broken-family"


@pytest.fixture
def with_a_broken_file(world: World) -> Iterator[World]:
    folder = world.settings.families_dir / BROKEN
    folder.mkdir()
    (folder / "family.yaml").write_text(
        FAMILY.replace("name: triage", f"name: {BROKEN}").replace("{{text}}", f"{{{{{SECRET_WORD}}}}}")
    )
    world.shared.serving.refresh()
    yield world
    shutil.rmtree(folder)
    world.shared.serving.refresh()


@pytest.mark.parametrize("what", ["", "/schedule", "/rollout", "/variants", "/history"])
def test_a_reading_key_sees_nothing_of_a_familys_file_that_cannot_be_used(with_a_broken_file: World, what: str) -> None:
    path = f"/v1/families/{BROKEN}{what}"
    figures, texts = (with_a_broken_file.get(path, headers=bearer(f"secret-{role}")) for role in ("read", "read-texts"))
    assert SECRET_WORD in texts.text or texts.status_code == 404
    assert SECRET_WORD not in figures.text
    assert str(with_a_broken_file.settings.home) not in figures.text
    assert figures.status_code == texts.status_code


def test_a_key_for_one_family_is_told_the_name_of_no_other(with_a_broken_file: World) -> None:
    with_a_broken_file.add_key("of-a-family-that-is-gone", "serve", "operate", secret="gone", families=["gone"])
    for name in (
        "GET /v1/status",
        "GET /v1/families/gone",
        "GET /v1/families/gone/prompt",
        "GET /v1/families/gone/schedule",
    ):
        method, _, path = name.partition(" ")
        answer = with_a_broken_file.client.request(method, path, headers=bearer("gone"))
        assert "triage" not in answer.text
        assert BROKEN not in answer.text


def test_to_a_key_for_one_family_an_interaction_of_others_does_not_exist(world: World) -> None:
    """Told apart from one that is unknown, an id that is guessed would name the family that it is of."""
    world.add_key("reporting-elsewhere", "feedback", secret="reporting-elsewhere", families=["elsewhere"])

    def said_of(interaction: str) -> tuple[str, str]:
        answer = world.post(
            "/v1/feedback",
            [{"interaction": interaction, "success": True}],
            headers=bearer("reporting-elsewhere"),
        )
        (rejected,) = answer.json()["rejected"]
        return rejected["type"], rejected["detail"].replace(interaction, "ID")

    assert said_of("in_1") == said_of("in_that_is_not_there")
    assert (
        world.post(
            "/v1/feedback",
            {"interaction": "in_1", "success": True},
            headers=bearer("secret-feedback"),
        ).json()["accepted"]
        == 1
    )


def test_without_a_key_nothing_is_told_of_where_the_store_is(spare: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(tx: object) -> None:
        raise OSError("connection to server at 10.0.0.5 failed for user detent")

    monkeypatch.setattr(spare.shared.serving, "_read", away)
    spare.shared.serving.refresh()
    store = spare.client.get("/ready", headers={"Authorization": ""}).json()["dependencies"]["store"]
    assert not store["ok"]
    assert store["detail"] == STORE_AWAY


def test_figures_keep_every_number_of_the_whole_answer(world: World) -> None:
    for path in ("/v1/families/triage/rollout", "/v1/status", "/v1/families"):
        figures = world.get(path, headers=bearer("secret-read")).json()
        texts = world.get(path, headers=bearer("secret-read-texts")).json()
        assert figures.keys() == texts.keys()
    rollout = world.get("/v1/families/triage/rollout", headers=bearer("secret-read"))
    assert rollout.json()["evidence"]["labels"]["allowed"] > 0
    assert rollout.json()["reason"] is None
    assert rollout.headers["etag"]


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["person", "judge"])
def test_events_of_a_person_or_a_judge_need_a_right_of_their_own(world: World, source: str) -> None:
    world.add_key(f"with-{source}", "feedback", secret=f"with-{source}", sources=[source])
    event = {"family": "triage", "unit": "u", "score": 0.5, "source": source}
    single = world.post("/v1/feedback", event, headers={"X-API-Key": "secret-feedback", "Authorization": ""})
    assert (single.status_code, single.json()["reason"]) == (422, "source_not_allowed")
    listed = world.post(
        "/v1/feedback",
        [event, {**event, "source": "user"}],
        headers={"X-API-Key": "secret-feedback", "Authorization": ""},
    )
    assert (listed.json()["accepted"], listed.json()["rejected"][0]["type"]) == (1, "source_not_allowed")
    for secret in (f"with-{source}", "secret-admin"):
        assert (
            world.post("/v1/feedback", event, headers={"X-API-Key": secret, "Authorization": ""}).json()["accepted"]
            == 1
        )


# --- keys over REST ---------------------------------------------------------------------------------------------------


def test_keys_are_made_rotated_and_ended_over_rest_and_no_secret_is_shown_twice(world: World) -> None:
    for name in ("a/b", "..", "."):  # by whose address it could not be revoked
        assert world.post("/v1/keys", {"name": name, "roles": ["serve"]}).status_code == 422, name
    keyed = {"idempotency-key": "app"}
    made, again = (world.post("/v1/keys", {"name": "app", "roles": ["serve"]}, headers=keyed) for _ in range(2))
    assert (again.headers["cache-control"], again.json()["secret"]) == ("no-store", None)
    assert (made.status_code, made.headers["cache-control"], made.json()["undo"]) == (
        201,
        "no-store",
        "detent keys revoke app",
    )
    first = made.json()["secret"]

    def opens(secret: str) -> bool:
        return bool(world.get("/v1/families/triage/prompt", headers=bearer(secret)).status_code == 200)

    second = world.post("/v1/keys/app/rotate", {"grace_s": 600}).json()["secret"]
    assert (opens(first), opens(second)) == (True, True)
    assert world.post("/v1/keys/app/rotate", {"undo": True}).json()["secret"] is None
    assert (opens(first), opens(second)) == (True, False)
    third = world.post("/v1/keys/app/rotate", {"grace_s": 0}).json()["secret"]
    assert (opens(first), opens(third)) == (False, True)
    assert world.post("/v1/keys/app/rotate", {"undo": True}).status_code == 409
    listed = world.get("/v1/keys").text
    assert not any(secret in listed for secret in (first, second, third))
    assert "hash" not in listed
    assert world.post("/v1/keys/app/revoke").json()["changed"] is True
    assert world.post("/v1/keys/app/revoke").json()["changed"] is False
    assert not opens(third)
    assert world.post("/v1/keys/app/rotate").status_code == 409
    audited = json.dumps(world.get("/v1/audit?limit=1000").json())
    assert all(f'"key.{act}"' in audited for act in ("create", "rotate", "rotate_undo", "revoke"))
    assert third not in audited


@pytest.mark.parametrize(
    "wrong",
    [
        {"roles": ["serve", "feedback"]},
        {"roles": ["admin", "read"]},
        {"roles": []},
        {"roles": ["king"]},
        {"roles": ["read"], "sources": ["judge"]},
        {"roles": ["admin"], "families": ["triage"]},
        {"roles": ["read"], "families": ["no-such-family"]},
        {"roles": ["read"], "families": []},
        {"roles": ["read"], "expires_at": "2020-01-01T00:00:00Z"},
        {"roles": ["read"], "limits": {"requests_per_minute": 0}},
        {"roles": ["read"], "name": "local:anna"},
    ],
    ids=json.dumps,
)
def test_a_key_that_makes_no_sense_is_refused_with_its_fault(world: World, wrong: dict[str, Any]) -> None:
    refused = world.post("/v1/keys", {"name": "odd", **wrong})
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"]


def test_two_roles_of_one_ladder_are_refused_with_the_one_to_leave_out(world: World) -> None:
    refused = world.post("/v1/keys", {"name": "odd", "roles": ["operate", "read-texts"]})
    assert "leave read-texts out, and the key may do both" in refused.json()["detail"]
