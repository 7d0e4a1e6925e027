"""A prompt of another system becomes that of a family: what it says, its examples, and the names of what it loses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import product
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import PROMPT_SOURCES, ForeignPrompt
from tests.command_line import detent
from tests.stand_ins.local_server import local_server

NEW = """
[functions.triage]
type = "chat"
description = "Topic of a message."
tools = ["look_up"]
[functions.triage.variants.heavy]
type = "chat_completion"
model = "openai::gpt-4o-mini"
weight = 0.9
temperature = 0.2
stop_sequences = ["END"]
seed = 7
templates.system.path = "system.minijinja"
templates.user.path = "user.minijinja"
templates.recap.path = "user.minijinja"
templates.assistant.path = "user.minijinja"
[functions.triage.variants.light]
type = "chat_completion"
model = "x"
[functions.other]
type = "chat"
[metrics.solved]
type = "boolean"
"""
OLD = """
[functions.triage]
type = "chat"
[functions.triage.variants.one]
type = "chat_completion"
model = "openai::gpt-4o-mini"
temperature = 0.2
stop_sequences = ["END"]
system_template = "system.minijinja"
user_template = "user.minijinja"
assistant_template = "user.minijinja"
"""
PROMPTFOO = """
description: Topics
prompts:
  - label: short
    raw: "Topic of: {{ text }}"
  - "Again: {{text}}"
providers: [openai:gpt-4o-mini]
defaultTest: {}
tests:
  - vars: {text: a cell divides}
    assert: [{type: equals, value: biology}, {type: latency, threshold: 5}]
  - vars: {text: a star}
"""


def read(source: str, reference: object) -> ForeignPrompt:
    return PROMPT_SOURCES[source].read(str(reference))


def refusal(source: str, reference: object) -> str:
    with pytest.raises(InvalidInput) as refused:
        read(source, reference)
    return refused.value.detail


def promptfoo_of(folder: Path, prompt: Any, *tests: Any, **more: Any) -> Path:
    """A configuration of one prompt."""
    file = folder / "promptfooconfig.yaml"
    file.write_text(json.dumps({"prompts": [prompt], "tests": tests, **more}))
    return file


def answered(value: str, **values: Any) -> dict[str, Any]:
    """A test whose answer is known."""
    return {"vars": values, "assert": [{"type": "equals", "value": value}]}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """As DSPy itself saves it."""
    import dspy

    class Topic(dspy.Signature):
        """Name the topic."""

        text: str = dspy.InputField(desc="what was written")
        topic: str = dspy.OutputField()

    made = dspy.ChainOfThought(Topic)
    made.predict.demos = [dspy.Example(text="a cell", reasoning="alive", topic="biology"), dspy.Example(text="half")]
    made.save(str(tmp_path / "program.json"))
    return tmp_path / "program.json"


def test_a_program_that_dspy_saved_brings_its_instruction_and_its_whole_demonstrations(program: Path) -> None:
    prompt = read("dspy", program)
    assert prompt.messages == [
        {"role": "system", "content": "Name the topic."},
        {"role": "user", "content": "Text: {{text}}\nTopic:"},
    ]
    assert (prompt.rows, prompt.output) == ([{"text": "a cell", "topic": "biology"}], "topic")
    assert [name.split(" (")[0] for name in prompt.not_carried] == [
        "field reasoning",
        "demonstrations that lack a field",
    ]


def test_a_pickle_of_dspy_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "program.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert "runs whatever is in it" in refusal("dspy", tmp_path / "program.pkl")
    assert "runs whatever is in it" in refusal("dspy", tmp_path)  # a whole program is a folder with a pickle
    (tmp_path / "x.json").write_text("[]")
    assert "holds no predictor" in refusal("dspy", tmp_path / "x.json")


FIELDS = [{"prefix": "Text:"}, {"prefix": "Topic:"}]


@pytest.mark.parametrize(
    "program",
    [
        {"signature": {"instructions": "x", "fields": ["a", "b"]}},
        {"signature": {"instructions": "x", "fields": [{"prefix": "Reasoning:"}, {"prefix": "Reasoning:"}]}},
        {"signature": {"instructions": "x", "fields": [{"prefix": "Text:"}, {"prefix": "Text:"}]}},
        {"signature": {"instructions": "x", "fields": FIELDS}, "demos": 5},
        {"signature": {"instructions": "x", "fields": FIELDS}, "traces": 3},
        {"signature": {"instructions": "{% if x %}y{% endif %}", "fields": FIELDS}},
    ],
)
def test_what_is_no_program_of_dspy_is_refused(tmp_path: Path, program: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(program))
    assert refusal("dspy", tmp_path / "x.json")


def test_a_program_of_dspy_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 100_000)
    assert "cannot be read as JSON" in refusal("dspy", tmp_path / "x.json")


@pytest.mark.parametrize("config", [NEW, OLD], ids=["templates.system.path", "system_template"])
def test_a_variant_of_tensorzero_is_read_in_both_spellings(tmp_path: Path, config: str) -> None:
    (tmp_path / "tensorzero.toml").write_text(config)
    (tmp_path / "system.minijinja").write_text("Topic for {{ shop }}.")
    (tmp_path / "user.minijinja").write_text("{{text}}")
    prompt = read("tensorzero", f"{tmp_path}#triage")
    assert prompt.messages == [
        {"role": "system", "content": "Topic for {{shop}}."},
        {"role": "user", "content": "{{text}}"},
    ]
    assert prompt.model == {"temperature": 0.2, "stop": ["END"]}
    names = {name.split(" (")[0] for name in prompt.not_carried}
    if config is NEW:
        assert names == {
            *("variant light", "function other", "triage.tools", "metric solved", "model", "seed"),
            *("template recap", "template assistant"),
        }
        assert "Name the function" in refusal("tensorzero", tmp_path)
    else:
        assert names == {"model", "template assistant"}


def test_a_function_without_a_template_of_the_user_has_its_message_as_input(tmp_path: Path) -> None:
    (tmp_path / "tensorzero.toml").write_text(OLD.replace('user_template = "user.minijinja"', ""))
    (tmp_path / "system.minijinja").write_text("Topic.")
    assert read("tensorzero", tmp_path).messages[-1] == {"role": "user", "content": "{{message}}"}


def test_a_template_outside_the_folder_of_a_configuration_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
        (folder / "tensorzero.toml").write_text(OLD.replace("system.minijinja", name))
        detail = refusal("tensorzero", folder)
        assert name in detail
        assert "outside its own folder" in detail


def test_a_template_that_is_a_program_is_refused_by_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "tensorzero.toml").write_text(OLD)
    (tmp_path / "user.minijinja").write_text("{{text}}")
    for logic in ("{% if shop %}x{% endif %}", "{{ shop | upper }}", "{{ shop.name }}"):
        (tmp_path / "system.minijinja").write_text(f"Topic. {logic}")
        assert "has no logic" in refusal("tensorzero", tmp_path)


def test_a_configuration_of_promptfoo_brings_the_tests_that_know_their_answer(tmp_path: Path) -> None:
    file = tmp_path / "promptfooconfig.yaml"
    file.write_text(PROMPTFOO)
    prompt = read("promptfoo", file)
    assert prompt.messages == [{"role": "user", "content": "Topic of: {{text}}"}]
    assert (prompt.rows, prompt.output) == ([{"text": "a cell divides", "output": "biology"}], "output")
    names = {name.split(" (")[0] for name in prompt.not_carried}
    assert names == {"prompt 2", "provider openai:gpt-4o-mini", "defaultTest", "assert latency", "test 2"}
    assert read("promptfoo", f"{file}#2").messages[0]["content"] == "Again: {{text}}"
    file = promptfoo_of(tmp_path, "{{text}}", answered("delivery", text="Package: lost"))
    assert read("promptfoo", file).rows == [{"text": "Package: lost", "output": "delivery"}]
    chat = [{"role": "system", "content": "Topic."}, {"role": "user", "content": "{{text}}"}]
    assert read("promptfoo", promptfoo_of(tmp_path, json.dumps(chat))).messages == chat
    parts: list[Any] = [{"type": "text", "text": "Topic of"}, {"type": "text", "text": "{{text}}"}]
    in_parts = json.dumps([{"role": "user", "content": parts}])
    joined = [{"role": "user", "content": "Topic of\n{{text}}"}]
    assert read("promptfoo", promptfoo_of(tmp_path, in_parts)).messages == joined
    picture = json.dumps([{"role": "user", "content": [*parts, {"type": "image_url", "image_url": {"url": "x"}}]}])
    assert "has a part that is no text" in refusal("promptfoo", promptfoo_of(tmp_path, picture))


def test_an_answer_of_promptfoo_may_name_variables_and_settings_of_the_prompt_come_along(tmp_path: Path) -> None:
    named = answered("{{topic}}", text="lost", topic=["delivery", "card"])
    mixed = answered("{{n}} of {{text}}", text="a", n=2)
    mixed["assert"] *= 2
    prompt = {"raw": "{{text}}", "config": {"temperature": 0.5, "response_format": "json"}, "function": "f"}
    read_prompt = read("promptfoo", promptfoo_of(tmp_path, prompt, named, mixed))
    assert [row["output"] for row in read_prompt.rows] == ["delivery", "card", "2 of a"]
    assert read_prompt.model == {"temperature": 0.5}
    assert read_prompt.not_carried == [
        "function of prompt 1",
        "response_format ('json')",
        "a second answer of test 2",
    ]


def test_lists_of_a_promptfoo_test_are_a_row_for_each_combination(tmp_path: Path) -> None:
    lists = answered("delivery", text=["lost", "late"], tone=["short", "kind"], shop="Berlin") | {"options": {"a": 1}}
    prompt = read("promptfoo", promptfoo_of(tmp_path, "{{text}} {{tone}} {{shop}}", lists))
    assert [(row["text"], row["tone"]) for row in prompt.rows] == list(product(("lost", "late"), ("short", "kind")))
    assert {(row["shop"], row["output"]) for row in prompt.rows} == {("Berlin", "delivery")}
    assert prompt.not_carried == ["options of a test"]


@pytest.mark.parametrize(
    ("prompt", "tests"),
    [
        pytest.param("file://secret.txt", [], id="a file"),
        pytest.param("exec: cat /etc/passwd", [], id="a command"),
        pytest.param("prompts.txt", [], id="the name of a file"),
        pytest.param({"id": "file://prompt.py", "label": "x"}, [], id="a program"),
        pytest.param("{{text}}", "file://tests.csv", id="a file of tests"),
        pytest.param("{{text}}", [{"vars": "file://vars.yaml"}], id="a file of variables"),
        pytest.param("{{text}}", [{"vars": {"text": "file://text.txt"}}], id="a variable in a file"),
        pytest.param("{{text}}", [{"vars": {"text": ["a", "file://text.txt"]}}], id="one of its values in a file"),
        pytest.param("{{text}}", [answered("file://x")], id="an answer in a file"),
        pytest.param("{{output}}", [answered("out", output="in")], id="a variable called output"),
        pytest.param("[]", [], id="no messages"),
        pytest.param("{{text}}", [answered("{{topic}}")], id="an answer that is no variable"),
        pytest.param("{{text}}", [answered("{{text | upper}}", text="a")], id="an answer that is a program"),
    ],
)
def test_what_promptfoo_would_run_or_fetch_and_what_would_lose_its_meaning_is_refused(tmp_path, prompt, tests):
    assert refusal("promptfoo", promptfoo_of(tmp_path, prompt, tests=tests))


class Langfuse(BaseHTTPRequestHandler):
    """Its public API as documented, as far as it is asked."""

    prompts: ClassVar[dict[tuple[str, str], dict[str, Any]]] = {
        ("shop/triage", "production"): {
            "name": "shop/triage",
            "type": "chat",
            "prompt": [
                {"type": "chatmessage", "role": "system", "content": "Topic for {{shop}}."},
                {"type": "placeholder", "name": "history"},
                {"type": "chatmessage", "role": "user", "content": "{{ text }}"},
            ],
            "config": {"model": "gpt-4o", "temperature": 0.5},
            "labels": ["production"],
            "tags": ["shop"],
            "commitMessage": "shorter",
        },
        ("plain", "staging"): {"type": "text", "prompt": "Topic of {{text}}", "config": {}, "tags": []},
    }

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        label = parse_qs(address.query).get("label", ["production"])[0]
        key = base64.b64encode(b"pk-lf-1:sk-lf-1").decode()
        name = address.path.removeprefix("/api/public/v2/prompts/").replace("%2F", "/")
        prompt = self.prompts.get((name, label))
        allowed = self.headers["Authorization"] == f"Basic {key}"
        body = json.dumps(prompt if allowed and prompt else {"message": "no"}).encode()
        self.send_response(401 if not allowed else 200 if prompt else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def langfuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with local_server(Langfuse) as address:
        monkeypatch.setenv("LANGFUSE_BASE_URL", address)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
        yield


def test_a_prompt_of_langfuse_is_asked_for_by_name_and_label(langfuse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = read("langfuse", "shop/triage")
    assert prompt.messages == [
        {"role": "system", "content": "Topic for {{shop}}."},
        {"role": "user", "content": "{{text}}"},
    ]
    assert prompt.model == {"temperature": 0.5}
    assert {name.split(" (")[0] for name in prompt.not_carried} == {"model", "placeholder history", "tag shop"}
    assert read("langfuse", "plain@staging").messages == [{"role": "user", "content": "Topic of {{text}}"}]
    assert "404" in refusal("langfuse", "plain")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-2")
    wrong = refusal("langfuse", "plain@staging")
    assert "401" in wrong
    assert "sk-lf" not in wrong
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://localhost:port")
    assert "http://localhost:port gives no answer" in refusal("langfuse", "plain@staging")
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    assert "set LANGFUSE_PUBLIC_KEY" in refusal("langfuse", "plain@staging")


def test_a_prompt_of_mlflows_registry_is_found_by_alias_and_version(new_mlflow, tmp_path, monkeypatch):
    import mlflow

    uri = new_mlflow(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    chat = [{"role": "system", "content": "Topic."}, {"role": "user", "content": "{{text}}"}]
    settings = {"model_name": "gpt-4o", "temperature": 0.3, "max_tokens": 9}
    client.register_prompt("triage", "Topic of {{ text }}", tags={"team": "shop"})
    client.register_prompt("triage", chat, model_config=settings)
    client.set_prompt_alias("triage", "live", 2)
    prompt = read("mlflow", "triage@live")
    assert (prompt.messages, prompt.model) == (chat, {"temperature": 0.3, "max_tokens": 9})
    assert any("model_name" in name for name in prompt.not_carried)
    first = read("mlflow", "triage/1")
    assert first.messages == [{"role": "user", "content": "Topic of {{text}}"}]
    assert "tag team" in first.not_carried
    assert "no prompt 'nope@live'" in refusal("mlflow", "nope@live")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "MLFLOW_TRACKING_URI" in refusal("mlflow", "triage@live")


def test_a_family_is_made_of_a_program_with_its_demonstrations_as_examples(program: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert detent("init", str(home)).code == 0
    env = {"DETENT_HOME": str(home), "COLUMNS": "200"}
    ran = detent("family", "create", "topic", "--from", f"dspy:{program}", env=env)
    assert ran.code == 0, ran.err
    assert "Not carried over: field reasoning" in ran.err
    shown = detent("variant", "show", "topic", "--json", env=env).json
    assert [message["role"] for message in shown["messages"]] == ["system", "examples", "user"]
    (line,) = (home / "families" / "topic" / "examples.jsonl").read_text().splitlines()
    assert json.loads(line) == {"input": {"text": "a cell"}, "expected": {"topic": "biology"}}
    missing = detent("family", "create", "other", "--from", str(program), env=env)
    assert (missing.code, "--examples FILE" in missing.err) == (2, True)
