"""The command line as people type it, in a home of its own, without a server."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer

from optimizer.cli import imports
from optimizer.cli.app import app, exit_code
from optimizer.core.base import errors
from optimizer.host import run_files
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests import command_line
from tests.cases import named
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.stores import keep_one_request, migrate_store, study

ROOT = Path(__file__).parents[3]


Detent = Callable[..., command_line.Ran]


@pytest.fixture(scope="module")
def module_monkeypatch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def detent(tmp_path_factory: pytest.TempPathFactory, module_monkeypatch: pytest.MonkeyPatch) -> Iterator[Detent]:
    """Runs a command line in a project made by ``detent init`` whose model answers every question with ``payment``."""
    home = tmp_path_factory.mktemp("project") / "home"
    module_monkeypatch.setenv("DETENT_HOME", str(home))
    module_monkeypatch.setenv("NO_COLOR", "1")
    module_monkeypatch.setenv("COLUMNS", "200")
    module_monkeypatch.chdir(home.parent)

    with provider() as model:
        model.answer = lambda body: (200, {}, json.dumps(chat_answer(_topic(body))).encode())
        made = command_line.detent("init", str(home), "--json")
        assert made.code == 0, made.err
        entry = {
            "openai_compatible": model.url,
            "model": "m",
            "price": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0},
        }
        (home / "config" / "models.yaml").write_text(json.dumps({"embedded": {**entry, "max_output_tokens": 8}}))
        yield command_line.detent


def _topic(body: dict[str, Any]) -> str:
    """Right when the prompt shows examples, else one word for everything: so a search finds something better."""
    shown = sum(m["role"] == "assistant" for m in body["messages"])
    asked = body["messages"][-1]["content"]
    labels = {label: example for label, example in _examples() if example in asked} if shown else {}
    return next(iter(labels), "payment")


def _examples() -> list[tuple[str, str]]:
    lines = (ROOT / "optimizer/templates/families/support_topics/examples.jsonl").read_text().splitlines()
    return [(row["expected"]["topic"], row["input"]["message"]) for row in map(json.loads, lines)]


def test_a_new_project_has_a_family_with_its_examples_that_serves(detent: Detent) -> None:
    (row,) = detent("family", "list", "--json").json["items"]
    assert row["name"] == "support_topics"
    assert row["champion"]["variant"].startswith("v_")
    assert row["n_train"] + row["n_dev"] + row["n_holdout"] == 96


def test_a_new_projects_database_is_its_users_alone_and_its_files_are_like_any_others(
    detent: Detent, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        assert detent("init", str(tmp_path / "home")).code == 0
    finally:
        os.umask(before)
    var = tmp_path / "home" / "var"
    assert [path.name for path in (var, *var.rglob("*")) if path.stat().st_mode & 0o077] == []
    assert (tmp_path / "home" / "families" / "support_topics" / "family.yaml").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["doctor"], ["serve", "--no-mlflow", "--port", "0"]], ids=" ".join
)
def test_a_home_of_before_the_first_release_is_refused_with_the_way_out_and_its_store_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "families").mkdir()
    migrate_store(settings := load_settings(home=tmp_path))
    with closing(sqlite3.connect(settings.var() / "detent.db")) as made, made:
        made.execute("UPDATE alembic_version SET version_num = '0015'")
    before = {path.name: path.read_bytes() for path in settings.var().glob("detent.db*")}
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    refused = command_line.detent(*command)
    assert refused.code == 1
    said = " ".join(f"{refused.err} {refused.out}".split())
    assert (
        "go on with the version that made it, or start a new home (`detent init DIR`) and import the sheets again"
        in said
    )
    assert max(stream.count("import the sheets again") for stream in (refused.err, refused.out)) == 1
    assert {path.name: path.read_bytes() for path in settings.var().glob("detent.db*")} == before
    assert run_files.find(settings, "serve") is None


def test_a_family_without_examples_is_shown_the_import_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "families" / "support_topics"
    shutil.copytree(ROOT / "optimizer/templates/families/support_topics", folder)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    follows = "import families/support_topics/examples.jsonl --family support_topics --curated"
    assert f"Next      detent {follows}" in command_line.detent("family", "show", "support_topics").out
    assert command_line.detent(*follows.split()).code == 0
    shown = command_line.detent("family", "show", "support_topics").out
    assert "Next      detent study run support_topics --dry-run" in shown


def test_families_without_examples_are_one_finding_of_doctor_and_show_says_the_parameters_of_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("summarization", "general_reflection", "query_processing"):
        shutil.copytree(ROOT / "families" / name, tmp_path / "families" / name)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    found = command_line.detent("doctor", "--json").json["findings"]
    (finding,) = [one for one in found if one["check"] == "family"]
    assert finding["detail"].endswith("general_reflection, query_processing, summarization")
    shown = command_line.detent("family", "show", "query_processing").out
    assert re.search(r"^Scorer .*\befficiency 0\.2 \(max_words 12\)", shown, re.MULTILINE)
    assert "Suites    golden (6 scenarios)" in shown


def test_init_in_a_folder_with_files_takes_back_its_own_alone(
    detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "app.py").write_text("print()")
    monkeypatch.chdir(tmp_path)
    undo = detent("init", ".").err.split("Undo: remove, in .: ")[1].splitlines()[0].split(", ")
    profiles = [f"config/{name}.yaml" for name in ("demo", "dev", "models", "prod", "staging")]
    assert undo == [".gitignore", "README.md", *profiles, "families/", "var/"]


def test_init_in_the_folder_that_one_is_in_names_it_and_what_takes_it_back(
    detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topics").mkdir()
    monkeypatch.chdir(tmp_path / "topics")
    said = detent("init", ".").err
    assert "\ntopics: made a project" in said
    assert "Undo: remove, in .: .gitignore, README.md, config/, families/, var/\n" in said
    assert "Next: detent serve; " in said


def test_init_quotes_a_folder_whose_name_holds_a_space(
    detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Next: cd 'a b' && detent serve; " in detent("init", "a b").err


def test_init_without_a_name_makes_nothing(detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert detent("init", "").code == 2
    assert not [*Path.cwd().iterdir()]


def test_init_overwrites_nothing(detent: Detent) -> None:
    again = detent("init", os.environ["DETENT_HOME"])
    assert again.code == 1
    assert "nothing is overwritten" in again.err


@named(
    ("words", "code", "says"),
    {
        "neither study nor family": (["study", "show", "nothing"], 1, "no study and no family"),
        "report of an unknown study": (["study", "report", "st_nothing"], 1, "no study"),
        "report of no study": (["study", "report", "support_topics"], 1, "has had no study yet"),
        "no budget at all": (["study", "run", "support_topics", "--budget-calls", "0"], 3, "cannot pay"),
        "less than none": (["study", "run", "support_topics", "--budget-calls", "-3"], 2, "--budget-calls"),
        "unknown aim": (["study", "run", "support_topics", "--aim", "beauty"], 2, "quality"),
        "no nominated variant": (["rollout", "start", "support_topics"], 1, "has no candidate"),
        "no candidate yet": (["variant", "diff", "support_topics", "candidate"], 1, "no study has nominated a variant"),
        "the holdout is sealed": (["family", "evaluate", "support_topics", "--split", "holdout"], 2, "sealed"),
        "no such file": (["import", "nothing.csv", "--family", "support_topics"], 1, "no such file"),
        "unknown command": (["fly"], 2, "No such command"),
        "a project below a file": (["init", f"{__file__}/sub"], 1, "test_cli.py/sub: Not a directory"),
        "a snapshot over a folder": (["export", "snapshot", "--out", "."], 2, "cannot be written"),
        "files without end": (["events", "tail", "--once", "--rotate-mb", "inf"], 2, "--rotate-mb"),
    },
)
def test_what_cannot_be_done_says_why_on_stderr_with_its_exit_code(
    detent: Detent, words: list[str], code: int, says: str
) -> None:
    ran = detent(*words)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert re.search(says, ran.err), ran.err


def test_a_failure_is_one_json_document_too(detent: Detent) -> None:
    ran = detent("family", "show", "nothing", "--json")
    assert ran.code == 1
    assert ran.json["error"]["type"] == "not-found"
    assert "nothing" in ran.json["error"]["detail"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.GateNotMet("x"), 3),
        (errors.BudgetTooSmall("x"), 3),
        (errors.TooMany("x"), 3),
        (errors.InvalidFamily("x"), 2),
        (errors.Conflict("x"), 1),
        (errors.Busy("x"), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: errors.DetentError, code: int) -> None:
    assert exit_code(error) == code


def test_every_study_is_listed_and_one_that_failed_with_its_error(tmp_path: Path) -> None:
    command_line.new_project(tmp_path)
    env, store = {"DETENT_HOME": str(tmp_path), "COLUMNS": "300"}, wiring.open_store(load_settings(home=tmp_path))
    for n in range(101):
        failed = study(f"st_{n}", family="support_topics", status="failed", error=None if n else "The provider is ill.")
        store.write(lambda tx, failed=failed: store.studies.add(tx, failed))
    store.close()
    assert len(command_line.detent("study", "list", "--json", env=env).json["items"]) == 101
    assert "The provider is ill." in command_line.detent("study", "list", env=env).out


def _report(variant: str) -> None:
    store = wiring.open_store(load_settings())
    keep_one_request(store, "support_topics", variant)
    store.close()


def test_the_loop_by_hand_from_study_to_champion_and_back(detent: Detent, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text("{n_train: 20, n_dev: 12, n_holdout: 14}", encoding="utf-8")
    study_run = ("study", "run", "support_topics", "--strategy", "bootstrap", "--budget-calls", "400")
    ran = detent(*study_run, "--definition", str(small), "--json")
    assert ran.code == 0, ran.err
    study = ran.json["study"]
    assert study["status"] == "finished", study
    winner = study["winner"]
    assert winner, study
    champion = study["champion"]

    report = detent("study", "report", "support_topics", "--json").json
    assert report["study"] == study["id"]
    assert winner in Path(report["path"]).read_text(encoding="utf-8")
    assert winner in detent("study", "report", study["id"], "-o", "-").out

    diff = detent("variant", "diff", "support_topics", winner, "--json").json
    assert any(line.startswith("+[example 1: ") for line in diff["diff"].splitlines())

    blind = detent("rollout", "start", "support_topics", winner, "--dry-run")
    assert (blind.code, "nothing would start: Cannot start" in blind.err) == (0, True), blind.err
    assert "Cannot tell how long: nothing was reported in the last 30 days" in blind.out
    assert "rollout start" not in blind.out, "it would be refused"
    refused = detent("rollout", "start", "support_topics", winner)
    assert (refused.code, "no interaction of support_topics was reported" in refused.err) == (1, True)
    _report(champion)
    dry = detent("rollout", "start", "support_topics", winner, "--dry-run")
    assert dry.code == 0, dry.err
    assert "Cannot tell how long: none of 1 unit gave a label" in dry.out
    refused = detent("rollout", "start", "support_topics", winner)
    assert refused.code == 3
    assert "at least 100 needed" in refused.err
    started = detent("rollout", "start", "support_topics", winner, "--confirm", "support_topics")
    assert started.code == 0, started.err
    for word in (
        "forced",
        "Why:",
        "Undo: detent rollout rollback support_topics",
        "Next: detent rollout approve support_topics",
    ):
        assert word in started.err

    assert detent("rollout", "hold", "support_topics").code == 0
    assert detent("rollout", "resume", "support_topics").code == 0
    status = detent("rollout", "status", "support_topics", "--json").json
    assert (status["rollout"]["status"], status["served"]) == ("validating", False)
    assert "detent rollout approve" in status["next"]
    assert status["headline"].startswith("Waits for a person: detent rollout approve support_topics")
    assert detent("status", "--json").json["rollouts"] == {"support_topics": status["headline"]}
    assert f"Rollout   support_topics: {status['headline']}." in detent("status").out
    assert detent("rollout", "approve", "support_topics", "--reason", "looked at the diff").code == 0
    assert detent("rollout", "advance", "support_topics", "--confirm", "support_topics").code == 1, (
        "it is not served before a tick"
    )
    assert detent("rollout", "rollback", "support_topics", "--reason", "enough").code == 0
    assert detent("rollout", "rollback", "support_topics").code == 1

    rollout = status["rollout"]["id"]
    verified = detent("rollout", "verify", rollout, "--json")
    assert (verified.code, verified.json["ok"]) == (0, True)
    log = detent("rollout", "log", "support_topics", "--json").json["items"]
    assert [d["kind"] for d in log] == ["start", "validate", "hold", "resume", "approve", "rollback"]
    assert all(d["actor"].startswith("local:") for d in log if d["kind"] != "validate")

    history = detent("champion", "history", "support_topics", "--json").json["items"]
    assert [tenure["variant"] for tenure in history] == [champion]


def test_a_finished_study_is_not_resumed(detent: Detent) -> None:
    ran = detent("study", "resume", "support_topics")
    assert ran.code == 1
    assert "finished" in ran.err


@pytest.mark.parametrize(
    ("records", "before", "taken", "there"),
    [
        pytest.param(
            [{"input": {"message": text}, "expected": {"topic": "payment"}} for text in ("cut", "off", "rest")],
            "Before that part: support_topics: 2 rows read, 2 taken",
            "n_accepted",
            "n_duplicate",
            id="examples",
        ),
        pytest.param(
            [{"id": f"cut{n}", "unit": "u1", "score": 0.5} for n in range(3)], "", "accepted", "duplicates", id="events"
        ),
    ],
)
def test_an_import_that_is_interrupted_says_that_the_same_import_takes_the_rest(
    detent: Detent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    records: list[Any],
    before: str,
    taken: str,
    there: str,
) -> None:
    words = ("import", str(tmp_path / "cut_off.jsonl"), "--family", "support_topics", "--json")
    (tmp_path / "cut_off.jsonl").write_text("\n".join(map(json.dumps, records)))
    n_parts, in_turn = 0, imports._in_turn

    def until_the_second(send: Callable[[], Any]) -> Any:
        nonlocal n_parts
        n_parts += 1
        if n_parts == 2:
            raise KeyboardInterrupt
        return in_turn(send)

    with monkeypatch.context() as patch:
        patch.setattr(imports, "_in_turn", until_the_second)
        for name in ("PART_ROWS", "PART_EVENTS"):
            patch.setattr(imports, name, 2)
        ran = detent(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("What was taken stays. The same import again takes the rest.\nInterrupted.\n")
    assert before in ran.err
    again = detent(*words).json
    assert (again[taken], again[there]) == (1, 2)


def test_a_key_is_shown_once_and_never_again(detent: Detent) -> None:
    made = detent("keys", "create", "web", "--role", "feedback", "--json").json
    assert made["secret"].startswith("dk_")
    listed = detent("keys", "list", "--json")
    assert made["secret"] not in listed.out
    assert "hash" not in listed.out
    assert detent("keys", "create", "web").code == 1
    rotated = detent("keys", "rotate", "web", "--grace", "30m", "--json").json
    assert rotated["secret"] not in (made["secret"], None)
    assert rotated["undo"].startswith("detent keys rotate web --undo")
    assert detent("keys", "rotate", "web", "--undo", "--json").json["changed"] is True
    assert detent("keys", "rotate", "web", "--undo").code == 1
    assert detent("keys", "rotate", "web", "--grace", "soon").code == 2
    assert detent("keys", "revoke", "web", "--json").json["changed"] is True
    assert detent("keys", "revoke", "web", "--json").json["changed"] is False


def test_a_faulty_family_file_is_told_with_every_fault(detent: Detent) -> None:
    import os

    folder = Path(os.environ["DETENT_HOME"]) / "families" / "broken"
    folder.mkdir()
    try:
        (folder / "family.yaml").write_text("name: broken\ninputs: {}\nrollout: {ladder: [0.5, 0.2]}\n")
        ran = detent("family", "validate", "broken", "--json")
        assert ran.code == 2
        assert len(ran.json["errors"]) >= 2
        assert all(fault["line"] for fault in ran.json["errors"])
        assert detent("serve", "--strict").code == 3
    finally:
        (folder / "family.yaml").unlink()
        folder.rmdir()


def test_the_doctor_finds_a_healthy_project(detent: Detent) -> None:
    ran = detent("doctor", "--json")
    assert ran.code == 0, ran.out
    assert {f["check"] for f in ran.json["findings"]} >= {
        "python",
        "disk",
        "store",
        "family",
        "model",
        "ports",
        "mlflow",
    }


def test_doctor_names_variables_that_no_setting_reads(detent: Detent, monkeypatch: pytest.MonkeyPatch) -> None:
    read, unread = ("DETENT_API__WORKERS", "DETENT_PORT", "DETENT_SERVER"), ("DETENT_API_WORKERS", "DETENT_TOKEN_KEY")
    for name in (*read, *unread):
        monkeypatch.setenv(name, "1")
    findings = detent("doctor", "--json").json["findings"]
    found = {one["detail"].split()[0]: one["detail"] for one in findings if "is read by nothing" in one["detail"]}
    assert found.keys() >= {*unread}
    assert not found.keys() & {*read}
    assert found["DETENT_TOKEN_KEY"].endswith("did you mean 'DETENT_TOKEN_KEYS'?")


def test_doctor_says_that_no_server_answers_for_a_home_that_was_served(detent: Detent) -> None:
    def of_server() -> list[tuple[str, str]]:
        ran = detent("doctor", "--json")
        assert ran.code == 0
        return [(one["verdict"], one["detail"]) for one in ran.json["findings"] if one["check"] == "server"]

    assert of_server() == [], "nobody has served it yet"
    settings = load_settings()
    store = wiring.open_store(settings)
    store.write(lambda tx: store.serving_version.ticked(tx, datetime.now(UTC)))
    store.close()
    ((verdict, said),) = of_server()
    assert verdict == "warning"
    assert "none answers for this home, which was served until" in said
    run_files.announce(settings, "serve", url="http://127.0.0.1:9")
    ((verdict, said),) = of_server()
    run_files.withdraw(settings, "serve")
    assert (verdict, "does not answer" in said) == ("warning", True)


def test_a_worker_that_is_alive_and_does_not_tick_is_named_by_status_and_the_doctor(
    detent: Detent, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    store = wiring.open_store(settings)

    def shown(tick_age: timedelta) -> tuple[str, list[str]]:
        store.write(lambda tx: store.serving_version.ticked(tx, datetime.now(UTC) - tick_age))
        findings = detent("doctor", "--json").json["findings"]
        faults = [one["detail"] for one in findings if one["verdict"] == "fault"]
        return detent("status", "--json").json["headline"], faults

    run_files.announce(settings, "worker")
    try:
        monkeypatch.setenv("DETENT_LEASE_SECONDS", "20000")
        monkeypatch.setenv("DETENT_TICK_SECONDS", "10000")
        assert shown(timedelta(days=2))[1] == [], "it has just begun"
        monkeypatch.setenv("DETENT_TICK_SECONDS", "0.01")  # so that this process has been there for long
        headline, (fault,) = shown(timedelta(minutes=2))
        assert fault.startswith("the worker has not ticked since")
        assert fault in headline
        assert "ahead of the clock" in shown(timedelta(minutes=-2))[0]
        monkeypatch.setenv("DETENT_TICK_SECONDS", "20")
        assert "tick" not in shown(timedelta())[0]
    finally:
        run_files.withdraw(settings, "worker")
        store.close()


def test_a_model_that_the_running_gateway_has_not_read_is_not_adopted_and_the_doctor_says_so(detent: Detent) -> None:
    settings = load_settings()
    family_file = settings.families_dir / "support_topics" / "family.yaml"
    models, declared = settings.models_file.read_text(), family_file.read_text()
    try:
        run_files.announce(settings, "gateway", models=wiring.open_models(settings).digests())
        known = json.loads(models)
        settings.models_file.write_text(
            json.dumps({"embedded": {**known["embedded"], "retries": 5}, "large": known["embedded"]})
        )
        family_file.write_text(declared.replace("model: {default: embedded", "model: {default: large"))
        refused = detent("family", "adopt", "support_topics", "--confirm", "support_topics")
        assert refused.code == 1
        assert "does not know its model 'large'" in refused.err
        (found,) = [f for f in detent("doctor", "--json").json["findings"] if "server has not read" in f["detail"]]
        assert (found["verdict"], "added: large; changed: embedded" in found["detail"]) == ("warning", True)
        assert "within a second" in found["advice"]
    finally:
        run_files.withdraw(settings, "gateway")
        settings.models_file.write_text(models)
        family_file.write_text(declared)


def test_the_version_is_that_of_the_installed_package(detent: Detent) -> None:
    assert detent("--version").out == f"detent {metadata.version('detent-server')}\n"


def test_paragraphs_of_help_are_wrapped_by_the_terminal_and_several_examples_keep_their_lines(detent: Detent) -> None:
    lines = [line.strip() for line in detent("study", "run", "--help").out.splitlines()]
    assert any("for every strategy. With a server its worker runs" in line for line in lines)
    assert "detent study run triage --budget-usd 2" in lines


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from optimizer.cli.app import run; run(['--help']); heavy = {'pydantic', 'sqlalchemy', 'httpx',"
        " 'mlflow', 'dspy', 'litellm', 'optuna', 'dbos', 'psutil', 'structlog'} & set(sys.modules); assert not heavy,"
        " heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def commands(group: Any = None, path: str = "detent") -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("path", "command"), [pytest.param(path, command, id=path) for path, command in commands()])
def test_every_command_has_a_sentence_of_help_and_takes_json(path: str, command: Any) -> None:
    assert command.help, "a command needs a sentence of help"
    is_excepted = path in ("detent serve", "detent worker", "detent demo")
    assert is_excepted != any("--json" in p.opts for p in command.params)
