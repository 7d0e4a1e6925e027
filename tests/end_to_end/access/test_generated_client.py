"""A client that a kept generator makes of /openapi.json works against the server, and its answers are typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from openapi_python_client.cli import app as generator
from typer.testing import CliRunner

from api.app import create_app
from optimizer.host.config import load_settings
from optimizer.host.run_files import announce
from tests.clock import until
from tests.command_line import detent
from tests.rows.answer_schemas import openapi_document
from tests.stand_ins.running_server import make_home
from tests.worlds.gateway_world import running, serving

PACKAGE = "client_of_openapi"
# It knows no lines of JSON, protobuf or tar; what it would tidy up needs no tidying here.
BYTES = ("application/x-ndjson", "application/x-protobuf", "application/x-tar")
CONFIG = {"post_hooks": [], "content_type_overrides": dict.fromkeys(BYTES, "application/octet-stream")}
SHEET = "message,label\n" + "".join(f"message {n},{('card', 'refund')[n % 2]}\n" for n in range(50))
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "prompt.txt").write_text("Sort the message.\n\nMessage: {{message}}\nLabel:", encoding="utf-8")
    (folder / "sheet.csv").write_text(SHEET, encoding="utf-8")
    settings = load_settings(home=make_home(folder / "home", "http://127.0.0.1:9"))
    made_of = ["--from", str(folder / "prompt.txt"), "--examples", str(folder / "sheet.csv"), "--output", "label"]
    created = detent("family", "create", "post", *made_of, env={"DETENT_HOME": str(settings.home)})
    assert created.code == 0, created.err
    with running(settings) as gateway:
        announce(settings, "gateway", gateway)
        with serving(create_app(settings), settings) as address:
            yield address


@pytest.fixture(scope="module")
def ask(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a route of the generated client: its tag, the beginning of its name, and what it takes; gives the answer."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(openapi_document()), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    words = [
        "generate",
        "--path",
        str(folder / "openapi.json"),
        "--config",
        str(folder / "config.json"),
        "--meta",
        "none",
    ]
    words += ["--output-path", str(folder / PACKAGE), "--fail-on-warning"]
    ended = CliRunner().invoke(generator, words)
    assert ended.exit_code == 0, ended.output
    sys.path.insert(0, str(folder))
    with import_module(f"{PACKAGE}.client").Client(base_url=url) as client:

        def asked(tag: str, name: str, *path: str, **given: Any) -> Any:
            (module,) = (folder / PACKAGE / "api" / tag).glob(f"{name}_v1_*.py")
            route = import_module(f"{PACKAGE}.api.{tag}.{module.stem}")
            answer = route.sync_detailed(*path, client=client, **given)
            assert answer.parsed is not None, answer.content
            return answer.parsed

        yield asked
    sys.path.remove(str(folder))


def model_of(name: str, **members: Any) -> Any:
    found = import_module(f"{PACKAGE}.models")
    return getattr(found, name).from_dict(members)


def test_it_walks_from_a_new_family_to_its_prompts_and_back_from_a_freeze(ask: Ask) -> None:
    names = until(lambda: [one.name for one in ask("families", "families").items], "the families")
    assert "post" in names
    family = ask("families", "family", "post")
    assert (family.kind, family.definition.output.labels) == ("prompt", ["card", "refund"])

    columns = {"family": ["post"] * 3, "unit": ["a", "b", "c"], "output": ["card", "refund", "card"], "id": list("123")}
    body = model_of("ImportInteractionsV1InteractionsImportPostJsonBody", columns=columns)
    imported = ask("events", "import_interactions", body=body)
    assert (imported.accepted, imported.duplicates, imported.rejected) == (3, 0, [])

    prompt = ask("serving", "documented_prompt", "post", unit="u1")
    assert (prompt.family, prompt.variables, prompt.role.value) == ("post", ["message"], "champion")
    assert prompt.messages[-1].to_dict()["role"] == "user"
    body = model_of("RenderBody", unit="u1", variables={"message": "Where is it?"})
    filled = ask("serving", "render_prompt", "post", body=body)
    assert "Where is it?" in filled.messages[-1].to_dict()["content"]
    assert filled.variant == prompt.variant == ask("serving", "snapshot").families["post"].champion.variant

    body = model_of("FeedbackV1FeedbackPostBodyType0", assignment=prompt.assignment, success=True, id="f1")
    assert ask("events", "feedback", body=body).accepted == 1
    assert ask("events", "feedback", body=body).duplicates == 1

    assert "post" in str(ask("operations", "status").to_dict()["families"])
    frozen = ask("rollouts", "freeze", body=model_of("FreezeBody", family="post", reason="a walk"))
    assert (frozen.changed, [one.scope for one in frozen.freezes]) == (True, ["post"])
    assert ask("serving", "documented_prompt", "post", unit="u1").variant == prompt.variant
    assert ask("rollouts", "unfreeze", body=model_of("FreezeBody", family="post")).freezes == []


def test_a_refusal_is_a_problem_with_its_members(ask: Ask) -> None:
    problem = ask("serving", "documented_prompt", "none_such", unit="u1")
    assert (problem.type_, problem.status) == ("/problems/not-found", 404)
    problem = ask("serving", "render_prompt", "post", body=model_of("RenderBody", variables={}))
    assert [one.pointer for one in problem.errors] == ["/variables/message"]
