"""Idempotency-Key on every route that changes something: sent twice it acts once,
and the second answer is the first.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from optimizer.core.search.study import Trial
from tests.clock import T0
from tests.rows.answer_schemas import openapi_document
from tests.stand_ins.playbook_model import add_entry
from tests.worlds.api_world import World
from tests.worlds.graph_world import F as VERIFIER, add_family, report
from tests.worlds.rated_world import F as JUDGED, add_inputs, add_judged_family, add_unjudged, rate_all
from tests.worlds.taught_student import TAUGHT

EVENT = {"family": "triage", "unit": "u", "output": "billing"}
STUDY = {
    "strategy": "settings",
    "budget": {"calls": 2000},
    "definition": {"n_train": 10, "n_dev": 10, "n_holdout": 10},
    "seed": 7,
}
WINDOW = {
    "family": "triage",
    "variant": "v_1",
    "from": "2026-11-20T08:00:00Z",
    "to": "2026-11-20T08:01:00Z",
    "exposed": 3,
}
RECORD = {"processing_type": "full", "content_type": "news"}
# What changes nothing of the installation, or nothing more when it is repeated.
NOT_KEYED = {
    "POST /v1/families/{family}/variants/preview",  # reads; its request is too long for an address
    "POST /ofrep/v1/evaluate/flags",
    "POST /ofrep/v1/evaluate/flags/{key}",
    "POST /v1/families/{family}/render",
    "POST /v1/chat/completions",
    "POST /v1/data/prune",
    "POST /v1/data/export",  # each is a look of its own
    "POST /v1/traces",  # a span that is sent again counts once, by its own id
    "POST /v1/logs",
    "POST /v1/families/{family}/thresholds/comparison",
}
Asked = tuple[str, Any]  # path, body


def rolled_out(world: World) -> Asked:
    rollout = world.deploying()
    assert world.post(f"/v1/rollouts/{rollout['id']}/promote", {"confirm": "triage", "reason": "go"}).status_code == 200
    return "/v1/families/triage/champion/rollback", {"reason": "back"}


def to_start(world: World) -> Asked:
    world.report()
    return "/v1/families/triage/rollouts", {"variant": world.candidate(), "confirm": "triage", "reason": "a try"}


def pending(act: str) -> Callable[[World], Asked]:
    return lambda world: (f"/v1/rollouts/{world.start(world.candidate())['id']}/{act}", {"reason": "so"})


def deployed(act: str) -> Callable[[World], Asked]:
    return lambda world: (f"/v1/rollouts/{world.deploying()['id']}/{act}", {"reason": "so", "confirm": "triage"})


def held(world: World) -> Asked:
    id = world.deploying()["id"]
    world.post(f"/v1/rollouts/{id}/hold", {"reason": "wait"})
    return f"/v1/rollouts/{id}/resume", {"reason": "on"}


def studied(world: World, n_examples: int = 120, **sizes: int) -> dict[str, Any]:
    world.add_examples(n_examples)
    wanted = {**STUDY, "definition": {"n_train": 10, "n_dev": 10, "n_holdout": 10, **sizes}}
    study: dict[str, Any] = world.post("/v1/families/triage/studies", wanted).json()
    return study


def searched(world: World) -> Asked:
    study, point = studied(world, 800, n_holdout=100), world.candidate()  # as many as its gates ask for
    world.post(f"/v1/studies/{study['id']}/cancel", {})
    trial = Trial(
        study=study["id"], number=1, variant=point, proposer="settings", params={}, status="complete", n=10, score=0.5
    )
    world.shared.store.write(lambda tx: world.shared.store.studies.put_trial(tx, trial))
    return f"/v1/studies/{study['id']}/nominate", {"variant": point, "aim": "quality"}


def to_study(world: World) -> Asked:
    world.add_examples(120)
    return "/v1/families/triage/studies", STUDY


def frozen(world: World) -> Asked:
    world.post("/v1/freeze", {"reason": "wait"})
    return "/v1/unfreeze", {"reason": "on"}


def scheduled(world: World) -> Asked:
    put = world.client.put(
        "/v1/families/triage/schedule", json={"cron": "0 3 * * *", "reason": "nightly"}, headers={"If-Match": "*"}
    )
    assert put.status_code == 200, put.text
    return "/v1/families/triage/schedule?reason=off", None


def retired(world: World) -> Asked:
    assert world.client.delete("/v1/families/triage?confirm=triage").status_code == 200
    return "/v1/families/triage/restore", {"reason": "a slip"}


def edited(world: World) -> Asked:
    file = world.settings.families_dir / "triage" / "family.yaml"
    file.write_text(file.read_text().replace("Is it billing or technical?", "Which one?"))
    return "/v1/families/triage/adopt", {"confirm": "triage", "reason": "shorter"}


def verifying(world: World) -> Asked:
    add_family(world.settings.home)
    world.shared.serving.refresh()
    return f"/v1/families/{VERIFIER}/graphs", {"interaction": report(world)}


def proposed(act: str) -> Callable[[World], Asked]:
    def made(world: World) -> Asked:
        graph = world.post(*verifying(world)).json()
        return f"/v1/repairs/{graph['repairs'][0]['id']}/{act}", {"reason": "I read it"}

    return made


def learned(act: str) -> Callable[[World], Asked]:
    def made(world: World) -> Asked:
        entry = add_entry(world.shared.store, "triage")
        return f"/v1/families/triage/playbook/{entry}/{act}", {"reason": "I read it"}

    return made


def released(world: World) -> Asked:
    world.add_examples(10)
    with world.shared.store.read() as tx:
        example = world.shared.store.examples.of_split(tx, "triage", split="train")[0]
    return "/v1/families/triage/golden", {"example": example.id}


def asked_often(world: World) -> Asked:
    event = {"family": "triage", "unit": "a-person", "id": "in_often", "input": {"text": "When?"}, "output": "billing"}
    assert world.post("/v1/interactions", event).json()["accepted"] == 1
    return "/v1/families/triage/scenario-offers", {"interactions": ["in_often"]}


def silent(world: World) -> Asked:
    path = "/v1/alert-silences/errors"
    assert world.client.put(path, json={"minutes": 30, "reason": "night"}).status_code == 200
    return path, None


def golden(world: World) -> Asked:
    path, body = released(world)
    assert world.post(path, body).status_code == 200
    return f"{path}/{body['example']}?reason=stale", None


def drawn(world: World) -> Asked:
    add_judged_family(world)
    return f"/v1/families/{JUDGED}/rating-draws", {"n": 25}


def rating_one(world: World) -> Asked:
    review = world.post(*drawn(world)).json()["reviews"][0]
    return f"/v1/reviews/{review}/answer", {"answer": "0.5"}


def kept_back(world: World) -> Asked:
    correction = {"input": {"text": "?"}, "output": "billing", "expected": {"topic": "billing"}}
    world.post("/v1/feedback", {"id": "corrected", "family": "triage", "unit": "u", **correction})
    review = world.get("/v1/reviews").json()["items"][0]["id"]
    world.post(f"/v1/reviews/{review}/answer", {"answer": "keep_back"})
    return f"/v1/reviews/{review}/withdraw", {}


def rated(world: World) -> Asked:
    world.post(*drawn(world))
    rate_all(world)
    return f"/v1/families/{JUDGED}/judge/calibrations", {}


def to_score(world: World) -> Asked:
    add_judged_family(world)
    add_unjudged(world, 3)
    return f"/v1/families/{JUDGED}/judge/scores", {"n": 3}


def to_check(world: World) -> Asked:
    add_judged_family(world)
    add_inputs(world, 30)
    return f"/v1/families/{JUDGED}/judge/checks", {"n": 5}


def to_compare(world: World) -> Asked:
    to_study(world)
    return "/v1/families/triage/comparisons", {"variants": ["champion", world.candidate()], "n": 2}


def to_evaluate(world: World) -> Asked:
    scenario = {"id": "late", "input": {"text": "My card was charged twice."}, "expected": {"topic": "billing"}}
    (world.settings.home / "families" / "triage" / "golden.jsonl").write_text(json.dumps(scenario) + "\n")
    return "/v1/families/triage/evaluations", {"variant": world.candidate(), "suite": "golden"}


def evaluated(world: World) -> Asked:
    return f"{world.post(*to_evaluate(world)).headers['location']}/cancel", {"reason": "no"}


def compared(world: World) -> Asked:
    return f"{world.post(*to_compare(world)).headers['location']}/cancel", {"reason": "no"}


def asked(world: World) -> Asked:
    return f"{world.post(*to_score(world)).headers['location']}/cancel", {"reason": "no"}


def student(act: str) -> Callable[[World], Asked]:
    def serving_one(world: World) -> Asked:
        shared, id = world.shared, TAUGHT.student.hash
        shared.store.write(lambda tx: shared.store.students.add(tx, "triage", TAUGHT, study="st-1", at=T0))
        policy = {"tiers": ["student", "embedded"], "students": {"student": id}, "accept": 0.9}
        draft = {"messages": [{"role": "user", "content": "Which? {{text}}"}], "policy": policy, "note": "n"}
        variant = world.post("/v1/families/triage/variants", draft).json()["variant"]
        change = {"variant": variant, "reason": "so", "confirm": "triage"}
        assert world.post("/v1/families/triage/champion/set", change).status_code == 200
        if act == "resume":
            world.post("/v1/families/triage/student/bypass", {"reason": "so"})
        return f"/v1/families/triage/student/{act}", {"reason": "so"}

    return serving_one


def with_key(act: str) -> Callable[[World], Asked]:
    def made(world: World) -> Asked:
        world.add_key("boss", "admin", secret=SECRET)
        world.add_key("app", "feedback", secret="another-secret")
        return f"/v1/keys/app/{act}", {} if act == "rotate" else None

    return made


def second_key(world: World) -> Asked:
    """The first one is refused where programs without a key were seen, which a server writes down as it goes."""
    world.add_key("boss", "admin", secret=SECRET)
    return "/v1/keys", {"name": "second", "roles": ["feedback"]}


def variant(world: World) -> Asked:
    return "/v1/families/triage/variants", {"messages": [{"role": "user", "content": "Which? {{text}}"}], "note": "n"}


SECRET = "the-secret-of-the-test"
CASES: dict[str, Callable[[World], Asked]] = {
    "POST /v1/families/{family}/champion/rollback": rolled_out,
    "POST /v1/families/{family}/student/bypass": student("bypass"),
    "POST /v1/families/{family}/student/resume": student("resume"),
    "POST /v1/families/{family}/champion/set": lambda world: (
        "/v1/families/triage/champion/set",
        {"variant": world.candidate(), "reason": "outage", "confirm": "triage"},
    ),
    "PUT /v1/families/{family}/overrides/{unit}": lambda world: (
        "/v1/families/triage/overrides/a-person",
        {"variant": world.champion(), "until": "2099-01-01T00:00:00Z"},
    ),
    "POST /v1/families/{family}/variants": variant,
    "POST /v1/feedback": lambda world: ("/v1/feedback", EVENT),
    "POST /v1/interactions": lambda world: ("/v1/interactions", EVENT),
    "POST /v1/exposures": lambda world: ("/v1/exposures", {"client": "c", "windows": [WINDOW]}),
    "POST /v1/interactions/import": lambda world: (
        "/v1/interactions/import",
        json.dumps(EVENT) + "\n" + json.dumps(EVENT),
    ),
    "POST /v1/families/{family}/graphs": verifying,
    "POST /v1/families/{family}/scenario-offers": asked_often,
    "POST /v1/repairs/{id}/approve": proposed("approve"),
    "POST /v1/repairs/{id}/reject": proposed("reject"),
    "POST /v1/families/{family}/playbook/{entry}/retire": learned("retire"),
    "POST /v1/families/{family}/playbook/{entry}/restore": learned("restore"),
    "POST /v1/families/{family}/examples": lambda world: (
        "/v1/families/triage/examples",
        {"rows": [{"input": {"text": "Who pays?"}, "expected": {"topic": "billing"}}]},
    ),
    "POST /v1/families/{family}/golden": released,
    "DELETE /v1/families/{family}/golden/{example}": golden,
    "POST /v1/families/{family}/rating-draws": drawn,
    "POST /v1/families/{family}/judge/calibrations": rated,
    "POST /v1/reviews/{id}/answer": rating_one,
    "POST /v1/reviews/{id}/withdraw": kept_back,
    "POST /v1/families/{family}/judge/scores": to_score,
    "POST /v1/families/{family}/judge/checks": to_check,
    "POST /v1/judge-runs/{id}/cancel": asked,
    "POST /v1/families/{family}/comparisons": to_compare,
    "POST /v1/families/{family}/evaluations": to_evaluate,
    "POST /v1/evaluations/{id}/cancel": evaluated,
    "POST /v1/comparisons/{id}/cancel": compared,
    "POST /v1/families/{family}/studies": to_study,
    "POST /v1/studies/{id}/cancel": lambda world: (f"/v1/studies/{studied(world)['id']}/cancel", {"reason": "no"}),
    "POST /v1/studies/{id}/nominate": searched,
    "POST /v1/families/{family}/reviews": lambda world: ("/v1/families/triage/reviews", {}),
    "POST /v1/studies/{id}/resume": lambda world: (f"/v1/studies/{studied(world)['id']}/resume", {}),
    "PUT /v1/families/{family}/schedule": lambda world: (
        "/v1/families/triage/schedule",
        {"cron": "0 3 * * *", "reason": "nightly"},
    ),
    "DELETE /v1/families/{family}/schedule": scheduled,
    "POST /v1/families/{family}/rollouts": to_start,
    "POST /v1/rollouts/{id}/approve": pending("approve"),
    "POST /v1/rollouts/{id}/reject": pending("reject"),
    "POST /v1/rollouts/{id}/advance": deployed("advance"),
    "POST /v1/rollouts/{id}/hold": deployed("hold"),
    "POST /v1/rollouts/{id}/resume": held,
    "POST /v1/rollouts/{id}/promote": deployed("promote"),
    "POST /v1/rollouts/{id}/rollback": deployed("rollback"),
    "DELETE /v1/families/{family}": lambda world: ("/v1/families/triage?confirm=triage", None),
    "POST /v1/families/{family}/restore": retired,
    "POST /v1/families/{family}/rename": lambda world: (
        "/v1/families/triage/rename",
        {"name": "tickets", "confirm": "triage"},
    ),
    "POST /v1/families/{family}/adopt": edited,
    "PUT /v1/alert-silences/{name}": lambda world: ("/v1/alert-silences/errors", {"minutes": 30, "reason": "night"}),
    "DELETE /v1/alert-silences/{name}": silent,
    "POST /v1/freeze": lambda world: ("/v1/freeze", {"reason": "wait"}),
    "POST /v1/unfreeze": frozen,
    "POST /api/performance/record": lambda world: ("/api/performance/record", RECORD),
    "DELETE /v1/units/{unit}": lambda world: ("/v1/units/a-person?confirm=a-person", None),
    "POST /v1/clock/reset": lambda world: ("/v1/clock/reset", {"reason": "it ran ahead"}),
    "POST /v1/keys": second_key,
    "POST /v1/keys/{name}/rotate": with_key("rotate"),
    "POST /v1/keys/{name}/revoke": with_key("revoke"),
    "POST /v1/installation-keys/{kind}/rotate": lambda world: ("/v1/installation-keys/token/rotate", {}),
}


def send(world: World, method: str, path: str, body: Any, key: str = "once") -> Any:
    headers = {"Idempotency-Key": key, "Authorization": f"Bearer {SECRET}"}
    if path.endswith(("/schedule", "?reason=off")) and method == "PUT":
        headers["If-Match"] = "*"
    if isinstance(body, str):
        return world.client.request(
            method, path, content=body, headers={**headers, "Content-Type": "application/x-ndjson"}
        )
    return world.client.request(method, path, json=body, headers=headers)


def other(path: str, body: Any) -> tuple[str, Any]:
    """The same request, but for one thing that it says."""
    if body is None:
        return (path + "x" if "?" in path else path), {"of": "another"} if "?" not in path else None
    if body == RECORD:
        return path, {**RECORD, "content_type": "sport"}
    return path, body + "\n" + json.dumps(EVENT) if isinstance(body, str) else {**body, "changed": 1}


def kept_rows(world: World) -> str:
    """Every row of the store but the counts of requests that keys are held to, and when each caller was last seen."""
    with closing(sqlite3.connect(world.settings.var() / "detent.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return "\n".join(
            f"{name} {row}"
            for (name,) in tables
            if name != "callers" and not name.startswith("key_")
            for row in database.execute(f'SELECT * FROM "{name}"')
        )


def test_every_route_that_changes_something_is_tried_here() -> None:
    paths = openapi_document()["paths"]
    changing = {
        f"{method.upper()} {path}": route
        for path, routes in paths.items()
        for method, route in routes.items()
        if method != "get"
    }
    assert set(changing) - NOT_KEYED == set(CASES)
    named = {
        name
        for name, route in changing.items()
        if any(one["name"] == "Idempotency-Key" for one in route.get("parameters", ()))
    }
    assert named == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_request_sent_twice_acts_once_and_is_answered_as_before(world: World, name: str) -> None:
    method = name.split()[0]
    path, body = CASES[name](world)
    first = send(world, method, path, body)
    assert first.status_code in (200, 201, 202), first.text
    before = kept_rows(world)
    second = send(world, method, path, body)
    expected = first.content
    if secret := first.json().get("secret"):  # it stands in one answer and in no store
        expected = expected.replace(f'"{secret}"'.encode(), b"null")
    assert (second.status_code, second.content) == (first.status_code, expected)
    assert {n: second.headers.get(n) for n in ("etag", "location")} == {
        n: first.headers.get(n) for n in ("etag", "location")
    }
    path, body = other(path, body)
    refused = send(world, method, path, body)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert kept_rows(world) == before, "neither of them wrote anything"


def test_a_unit_or_a_secret_stands_in_no_kept_answer(world: World) -> None:
    path, body = CASES["PUT /v1/families/{family}/overrides/{unit}"](world)
    assert send(world, "PUT", path, body).json()["unit"] == "a-person"
    first_key = {
        "name": "app",
        "roles": ["feedback"],
        "close_keyless_from": "2099-01-01T00:00:00Z",
    }  # this caller has none
    secret = send(world, "POST", "/v1/keys", first_key).json()["secret"]
    assert secret
    rows = kept_rows(world)
    assert "a-person" not in rows
    assert secret not in rows


def test_what_was_refused_is_tried_again_under_the_same_key(world: World) -> None:
    world.report()
    candidate = world.candidate()
    body = {"variant": candidate, "confirm": "triage", "reason": "a try"}
    world.post("/v1/freeze", {"reason": "wait"})
    assert send(world, "POST", "/v1/families/triage/rollouts", body).status_code == 409
    world.post("/v1/unfreeze", {})
    assert send(world, "POST", "/v1/families/triage/rollouts", body).status_code == 201


def test_the_same_request_at_the_same_moment_acts_once(world: World) -> None:
    """Both find no answer before they begin; the second one meets the first one's in its own transaction."""
    path, body = deployed("promote")(world)
    meet = threading.Barrier(2, timeout=60)
    read = world.shared.store.events.stored_answer
    looks = itertools.count()

    def look(tx: Any, *keyed: str) -> Any:
        found = read(tx, *keyed)
        if next(looks) < 2:  # counted before the wait: the first to go on would else wait again, inside its write
            meet.wait()
        return found

    world.shared.store.events.stored_answer = look  # type: ignore[method-assign]
    answers: list[Any] = []
    both = [threading.Thread(target=lambda: answers.append(send(world, "POST", path, body))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    champions = world.get("/v1/families/triage/history").json()["items"]
    assert len(champions) == 2
