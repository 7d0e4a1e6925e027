"""The same command typed beside the store and typed against a server says the same; what a server cannot be asked yet
says so.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from api.access.limits import MinuteWindows
from optimizer.cli import imports, progress
from optimizer.cli.app import app
from optimizer.cli.server_option import HERE, with_server
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from optimizer.runtime.api_client import ApiClient
from optimizer.runtime.worker import Worker
from tests.command_line import Ran, detent
from tests.end_to_end.studies.test_judge_runs import Models
from tests.recordings.answers import READING_COMMANDS, _names
from tests.recordings.fixed import api_of, fixed
from tests.recordings.home import PREFIX, clock_then, migrated, without_folder
from tests.stand_ins.scripted_model import ScriptedModel
from tests.worlds.api_world import World

URL = "http://localhost"
COMMANDS = Path(imports.__file__).parent
# Times move with each request; ids count on; who did it is the key there, and the user of this machine here.
OWN = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00| UTC)?|\b[a-z]{2}_[0-9a-z]{26}\b|\bdk_\w+|\b[0-9a-f]{32,}\b|local:recorder"
    r"|\bboss\b"
)
WORDS = ("billing", "technical", "gardening")
ACTS = """
study report STUDY --out -; rollout report triage --out -; rollout selftest triage --runs 2 --seed 3
study confirm topics OTHER --dry-run; study cancel STUDY; study resume STUDY --no-follow; judge calibrate summaries
judge cancel RUN; graph reject ANOTHER --reason no
dialogs offer triage in_2 --reason often; dialogs offer triage in_2 nope; data forget --unit u3 --confirm u4
variant import triage VARIANT.json --note ours; variant import triage VARIANT.json
rollout start triage --dry-run
freeze triage --reason night; freeze; unfreeze --reason day; unfreeze triage
rollout hold triage --reason wait; rollout resume triage; rollout advance triage
rollout advance triage --confirm triage --reason go; rollout promote triage --confirm triage --reason well
champion rollback triage --reason bad --dry-run; champion rollback triage --reason bad
champion set triage TRIAGE --reason it --confirm triage; rollout start topics --dry-run
rollout start topics VARIANT --dry-run; rollout start summarization SUMMARY --confirm summarization --reason again
rollout approve summarization --reason go; rollout rollback summarization
rollout start summarization SUMMARY --confirm summarization --reason once; rollout reject summarization --reason no
family adopt triage; family adopt triage --confirm triage --reason now --no-holdback
review answer REVIEW release; review withdraw REVIEW
variant create triage --model temperature=0.35 --note warmer
variant create cascades --preset thorough --policy gate.retries=4
family schedule topics --on --reason nightly; family schedule topics --no-cron; family schedule topics --off
family schedule topics --off; golden remove triage GOLDEN; golden add triage GOLDEN --scenario invoices --reason May
graph approve REPAIR --reason yes; graph propose graph_check in_0
playbook retire lessons ENTRY --reason old; playbook retire lessons ENTRY; playbook restore lessons ENTRY
review draw summaries --n 5
family delete cascades --confirm cascades --reason unused; family restore cascades
family rename lessons rules --confirm lessons; family show lessons; data prune; clock reset --reason sure
keys create web --role read --role feedback --family triage --calls-per-day 9 --expires 2d
alerts silence errors --for 2h --reason night; alerts silence errors --end
alerts silence errors --family triage --for 1d
keys rotate web --grace 30m; keys rotate web --undo; keys revoke web; keys rotate --token --dry-run
"""

TAIL = "events tail --once --since 2026-11-01"
# By what it is.
REFUSALS = {
    "not-found": """
        family show nope; rollout status nope; thresholds compare nope; study show st_0; graph show gr_0
        rollout verify ro_0; rollout advance topics; rollout hold topics --reason x; rollout hold nope
        variant show triage v_000000000000; keys revoke nope; golden add triage nope; family adopt nope
        family restore triage; student resume cascades; student bypass triage; golden remove triage ..
    """,
    "invalid-input": """
        thresholds recommend cascades --hours 0; judge show topics; variant export triage --format nope
        study run topics --strategy nope --dry-run; keys create x --role nope; feedback stats triage --by week
    """,
    "conflict": """
        rollout start topics VARIANT; champion rollback topics --reason x; study nominate STUDY VARIANT --dry-run
        family rename triage summaries --confirm triage; family delete triage --confirm wrong
    """,
    "gate-not-met": "rollout advance triage --confirm wrong",
    "budget-too-small": "study run topics --budget-calls 1 --dry-run",
    "dataset-too-small": "judge check summaries --dry-run",
}


@dataclass(frozen=True)
class Sides:
    """Two copies of one home: here commands work on the store, there they ask its server."""

    here: Path
    there: Path
    names: dict[str, list[str]]
    server: World

    def say(self, line: str) -> tuple[Ran, Ran]:
        words = [self.names[word][0] if word in self.names else word for word in line.split()]
        plain = {"NO_COLOR": "1", "COLUMNS": "100"}
        by_server = detent(*words, "--json", "--server", URL, env={**plain, "DETENT_HOME": "/nowhere"})
        return detent(*words, "--json", env={**plain, "DETENT_HOME": str(self.here)}), by_server


@contextmanager
def two_sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with fixed(clock_then()) as clock:
        here, there = (migrated(tmp_path_factory.mktemp(PREFIX)) for _ in range(2))
        with api_of(there, clock) as api:
            yield Sides(here.home, there.home, _names(here), api)


@pytest.fixture(scope="module")
def kept_sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with two_sides(tmp_path_factory) as sides:
        yield sides


@pytest.fixture
def unchanged(kept_sides: Sides, monkeypatch: pytest.MonkeyPatch) -> Sides:
    """For tests that read, which share the two homes."""
    return asked_as_boss(kept_sides, monkeypatch)


@pytest.fixture
def sides(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    with two_sides(tmp_path_factory) as sides:
        yield asked_as_boss(sides, monkeypatch)


def asked_as_boss(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> Sides:
    sides.server.client.headers["Authorization"] = "Bearer secret-boss"
    monkeypatch.setattr(ApiClient, "at", lambda url, key: ApiClient(url, http=sides.server.client))
    return sides


def said(ran: Ran) -> Any:
    """Code and document; what the server of this process logs stands before it."""
    out = OWN.sub("*", without_folder(ran.out))
    if (page := re.search(r"^<!doctype html>.*", out, re.DOTALL | re.MULTILINE | re.IGNORECASE)) is not None:
        return ran.code, page[0]
    document = re.search(r"^\{.*", out, re.DOTALL | re.MULTILINE)
    shown = json.loads(document[0]) if document is not None else {}
    if isinstance(error := shown.get("error"), dict):
        error.pop("request_id", None)
    return ran.code, shown


class Refreshed(Models):
    def refresh(self) -> None: ...


def lines(text: str) -> list[str]:
    return [one.strip() for one in re.split(r"[;\n]", text) if one.strip()]


def test_every_reading_command_that_asks_a_server_answers_as_on_the_store(unchanged: Sides) -> None:
    for line in lines(READING_COMMANDS):
        if "--no-such-option" in line or line in HERE:
            continue
        local, asked = unchanged.say(line)
        assert said(asked) == said(local), line


def test_a_reading_command_tells_a_key_that_reads_no_texts_what_is_hidden(unchanged: Sides) -> None:
    unchanged.server.client.headers["Authorization"] = "Bearer secret-reader"
    for line in lines(READING_COMMANDS):
        words = [unchanged.names[word][0] if word in unchanged.names else word for word in line.split()]
        plain = {"NO_COLOR": "1", "COLUMNS": "200", "DETENT_HOME": "/nowhere"}
        ran = detent(*words, "--server", URL, env=plain)
        assert "None" not in (ran.out + ran.err).replace("None fires.", ""), line


def test_a_refusal_says_the_same_by_a_server(unchanged: Sides) -> None:
    for kind, line in ((kind, line) for kind, of_kind in REFUSALS.items() for line in lines(of_kind)):
        local, asked = unchanged.say(line)
        (code, document), told = said(local), re.sub(r"Home: .*", f"Server: {URL}", local.err)
        assert document["error"]["type"] == kind, line
        assert said(asked) == (code, document), line
        assert OWN.sub("*", asked.err) == OWN.sub("*", told), line


def test_acts_say_and_do_the_same_by_a_server(sides: Sides, tmp_path: Path) -> None:
    variant = {"messages": [{"role": "user", "content": "Billing or technical? {{text}}"}]}
    (tmp_path / "variant.json").write_text(json.dumps(variant), encoding="utf-8")
    sides.names.update({"VARIANT.json": [str(tmp_path / "variant.json")], "ANOTHER": sides.names["REPAIR"][1:]})
    for line in lines(ACTS):
        local, asked = sides.say(line)
        assert said(asked) == said(local), (line, local.err, asked.err)


def test_thresholds_of_a_pipeline_are_the_same_by_a_server_and_files_are_those_of_the_caller(
    sides: Sides, tmp_path: Path
) -> None:
    family = Path(__file__).parents[3] / "families" / "content_pipeline"
    rng, items, strict = random.Random(5), tmp_path / "items.jsonl", tmp_path / "quality_filtering.yaml"
    drawn = [(i, rng.random(), rng.choice(("news", "interview", "talk"))) for i in range(400)]
    rows: list[dict[str, Any]] = [
        {
            "id": f"i{i}",
            "input": {"content_type": kind, "word_count": 900, "coherence_score": q, "overall_quality": 0.7},
            "expected": {"quality": q},
        }
        for i, q, kind in drawn
    ]
    items.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for home in (sides.here, sides.there):
        shutil.copytree(family, home / "families" / family.name)
        assert detent("import", str(items), "--family", family.name, env={"DETENT_HOME": str(home)}).code == 0
    strict.write_text("checks: {needed: 4, min_words: 0}\nthresholds: {min_coherence: 0.8}\n", encoding="utf-8")
    for line in (
        "thresholds compare content_pipeline",
        f"thresholds compare content_pipeline --conservative {strict} --aggressive champion",
        "thresholds compare content_pipeline --aggressive agressive",
        "thresholds compare content_pipeline --live",
        "thresholds compare triage --live",
        "thresholds recommend content_pipeline",
    ):
        local, asked = sides.say(line)
        assert said(asked) == said(local), (line, local.err, asked.err)
        assert (local.code == 2) is ("agressive" in line or "triage" in line), (line, local.err)


def test_runs_are_the_same_by_a_servers_worker_and_its_page_is_written_by_the_caller(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel(lambda request, n: "biology", name="embedded")
    monkeypatch.setattr(wiring, "open_models", lambda settings, last_good=False: Refreshed(model))
    monkeypatch.setattr(progress, "POLL_S", 0.01)
    worker = Worker(load_settings(home=sides.there))
    worker._store, worker._clock = wiring.open_store(worker._settings), wiring.open_clock(worker._settings)
    worker._families = wiring.load_families(worker._settings)
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            worker._carry_out_runs()
            ended.wait(0.05)

    first, second, *_ = sides.names["VARIANT"]
    compared: Any = None
    page, thread = tmp_path / "compare.html", threading.Thread(target=work)
    asked_for = f"variant compare topics {first} {second} --examples 4 --out {page}"
    thread.start()
    try:
        for line, code in (
            (f"{asked_for} --budget-calls 1", 3),
            (f"{asked_for} --dry-run", 0),
            (asked_for, 0),
            (f"family evaluate topics --n 4 --variant {second} --dry-run", 0),
            (f"family evaluate topics --n 4 --variant {second}", 0),
        ):
            local, asked = sides.say(line)
            assert (said(asked), local.code) == (said(local), code), (line, local.err, asked.err)
            compared = said(asked) if line == asked_for else compared
            assert asked.err.replace(f"Server: {URL}", f"Home: {sides.here}") == local.err
        monkeypatch.chdir(tmp_path)
        unnamed = detent("variant", "compare", "topics", first, second, "--server", URL, "--examples", "4", "--json")
    finally:
        ended.set()
        thread.join()
    _, grid = compared
    assert (grid["n"], grid["path"], len(grid["rows"][0]["answers"])) == (4, str(page), 2)
    assert first in page.read_text(encoding="utf-8")
    assert Path(said(unnamed)[1]["path"]).parent == tmp_path


@pytest.mark.parametrize("line", ["variant compare topics {0} {1}", "family evaluate topics --n 4 --variant {1}"])
def test_a_run_that_is_interrupted_ends(sides: Sides, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "_carry_out", interrupted)
    ran = detent(*line.format(*sides.names["VARIANT"]).split(), env={"DETENT_HOME": str(sides.here)})
    assert (ran.code, ran.err.splitlines()[-1]) == (1, "Interrupted.")
    store = wiring.open_store(load_settings(home=sides.here))
    with store.read() as tx:
        assert store.runs.unfinished(tx) == []


def test_an_import_uploads_what_a_file_holds_in_parts(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PART_ROWS", 7)
    tickets = [f"Ticket {n % 30} of {n % 30} about an invoice of {n} euros.,{WORDS[n % 3]}" for n in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["Body,Topic", *tickets, tickets[0], "Ticket 1,,,"]) + "\n")
    rows = [json.dumps({"input": {"text": f"Row {n}"}, "expected": {"topic": "billing"}}) for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, "no JSON"]) + "\n")
    events = [json.dumps({"id": f"e{n}", "unit": "u1", "score": n / 4}) for n in range(6)]
    (tmp_path / "feedback.jsonl").write_text("\n".join([*events, "no JSON"]) + "\n")
    said_of = {}
    for name, options in (
        ("tickets.csv", "--input text=Body --output topic=Topic"),
        ("rows.jsonl", "--curated"),
        ("rows.jsonl", "--curated"),
        ("feedback.jsonl", ""),
        ("none.csv", ""),
    ):
        local, asked = sides.say(f"import {tmp_path / name} --family triage {options}")
        assert said(asked) == said(local), (name, local.err, asked.err)
        assert asked.err.replace(f"Server: {URL}", f"Home: {sides.here}") == local.err
        said_of[name] = said(local)
    (_, taken), (_, again), (code, fed) = (said_of[name] for name in ("tickets.csv", "rows.jsonl", "feedback.jsonl"))
    assert (taken["n_read"], taken["n_duplicate"], taken["near_duplicates"] is None) == (42, 1, False)
    assert (again["n_accepted"], again["n_duplicate"], again["reasons"]) == (0, 9, {"no JSON object in one line": 1})
    assert (code, fed["accepted"], [one["where"] for one in fed["rejected"]]) == (0, 5, ["line 7", "line 6"])


def test_an_import_of_more_than_a_sender_may_bring_in_a_minute_waits_and_goes_on(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = [0.0], list[int]()

    def wait(seconds: int) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(imports, "sleep", wait)
    for name in ("PART_ROWS", "PART_EVENTS"):
        monkeypatch.setattr(imports, name, 4)
    shared, (rows, events) = sides.server.shared, (tmp_path / "rows.jsonl", tmp_path / "feedback.jsonl")
    shared.operator_windows = MinuteWindows(2, "changes", now=lambda: now[0])
    shared.event_windows = MinuteWindows(7, "events", now=lambda: now[0])
    made = [{"input": {"text": f"Row {n}"}, "expected": {"topic": "billing"}} for n in range(12)]
    rows.write_text("\n".join(map(json.dumps, made)))
    events.write_text("\n".join(json.dumps({"id": f"e{n}", "unit": "u1", "score": 0.5}) for n in range(12)))
    for file, n_waits in ((rows, 1), (events, 2)):
        waits.clear()
        local, asked = sides.say(f"import {file} --family triage")
        assert said(asked) == said(local), asked.err
        assert waits == [60] * n_waits
        assert asked.err.count("the import goes on in 60 s") == n_waits
    monkeypatch.setattr(imports, "PART_EVENTS", 8)  # such a part never fits
    refused = sides.say(f"import {events} --family triage")[1]
    assert (refused.code, "minute" in refused.err, len(waits)) == (3, True, 2), refused.err


def test_a_part_that_is_refused_leaves_the_parts_before_it_and_says_so(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PART_ROWS", 2)
    rows = [{"input": {"text": f"Part {n}"}, "expected": {"topic": "billing"}} for n in range(2)]
    clash = {**rows[0], "expected": {"topic": "technical"}}
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(map(json.dumps, [*rows, clash, {"input": {"text": 2**60}, "expected": {}}]))
    )
    local, by_server = sides.say(f"import {tmp_path / 'rows.jsonl'} --family triage")
    assert "the same input or id is there with another content" in local.err
    assert (by_server.code, "Before that part: triage: 2 rows read, 2 taken" in by_server.err) == (1, True)


MACHINE, FILES = "about this machine", "writes files of this home"
UNSERVED = "carries out here what no server does"
ON_THE_STORE = {
    "doctor/commands.py": MACHINE,
    "family/commands.py": FILES,
    "family/create.py": FILES,
    "keys.py": "takes the only key back for who is locked out",
    "progress.py": UNSERVED,
    "service/by_itself.py": MACHINE,
    "service/serve.py": MACHINE,
    "session.py": "opens it",
    "study/run.py": UNSERVED,
}


def test_a_command_that_a_server_can_answer_opens_no_store() -> None:
    files = {str(file.relative_to(COMMANDS)): file.read_text(encoding="utf-8") for file in COMMANDS.rglob("*.py")}
    assert {name for name, text in files.items() if re.search(r"\._?store\b|open_store", text)} == ON_THE_STORE.keys()


ELSEWHERE = {
    "data export": "tests/contract/outside/test_leaving.py",
    "import": "the tests of imports above",
    "mcp": "tests/end_to_end/outside/test_mcp.py",
    "runbook": "prints a page of its own",
}


def test_every_command_that_takes_a_server_is_typed_both_ways() -> None:
    def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
        for name, one in getattr(command, "commands", {}).items():
            yield from leaves(one, (*words, name))
        if not hasattr(command, "commands"):
            yield " ".join(words)

    typed = lines("\n".join((READING_COMMANDS, ACTS, TAIL, *REFUSALS.values())))
    known = [name for name in leaves(typer.main.get_command(app)) if name not in (*HERE, *ELSEWHERE)]
    assert [name for name in known if not any(f"{line} ".startswith(f"{name} ") for line in typed)] == []
    assert len(known) > 80


def test_a_tail_of_events_is_the_same_by_a_server(unchanged: Sides) -> None:
    local, asked = ([line for line in ran.out.splitlines() if line.startswith("{")] for ran in unchanged.say(TAIL))
    assert len(local) > 5
    assert asked == local


def test_a_command_about_this_machine_takes_no_server() -> None:
    for name in HERE:
        ran = detent(*name.split(), "--server", URL)
        assert (ran.code, "takes no --server" in ran.err) == (2, True), name


def test_the_address_of_a_server_in_the_environment_is_for_commands_that_ask_one(tmp_path: Path) -> None:
    named = {"DETENT_SERVER": "http://127.0.0.1:1"}
    refused = detent("freeze", env=named).err
    assert ("did not answer" in refused, "nothing was changed" in refused) == (True, True)
    made = detent("init", str(tmp_path / "project"), env=named)
    assert (made.code, (tmp_path / "project" / "families").is_dir()) == (0, True), made.err
    assert "`detent init` is about this machine: DETENT_SERVER (http://127.0.0.1:1) is not asked." in made.err


def test_printed_commands_name_the_server_that_the_option_names(sides: Sides) -> None:
    url, env = f"{URL}/it's", {"DETENT_HOME": "/nowhere", "COLUMNS": "200"}
    named = f""" --server '{URL}/it'"'"'s'"""
    for line, printed in {
        "freeze triage": (f"Undo: detent unfreeze triage{named}", f"Next: detent rollout status triage{named}"),
        "rollout status triage": (
            f"Next      it is frozen; when it may go on: detent unfreeze triage{named}",
            f"Undo      detent rollout rollback triage{named}",
        ),
        "keys rotate boss": (f"Undo: detent keys rotate boss --undo{named}, until then",),
        "family schedule topics --cron 7,9_*_*_*_1": (f"Undo: detent family schedule topics --off{named}",),
        "family schedule topics --off": (f'Undo: detent family schedule topics --cron "7,9 * * * 1"{named}',),
    }.items():
        ran = detent(*(word.replace("_", " ") for word in line.split()), "--server", url, env=env)
        assert all(f"{text}\n" in ran.out + ran.err for text in printed), (line, ran.out, ran.err)
    assert with_server("detent doctor; detent status (none)") == f"detent doctor; detent status{named} (none)"
    assert "Undo: detent unfreeze triage\n" in detent("freeze", "triage", env={**env, "DETENT_SERVER": url}).err


def test_a_key_goes_in_the_clear_to_this_machine_alone() -> None:
    refused = detent("freeze", "--server", "http://detent.example.com")
    assert (refused.code, "plain HTTP to another machine" in refused.err) == (2, True)
    for address in ("ftp://localhost", "detent.example.com"):
        assert "is no address of a server" in detent("freeze", "--server", address).err


def test_a_server_that_does_not_answer_is_no_reason_to_act_here() -> None:
    ran = detent("freeze", "--server", "http://127.0.0.1:1")
    assert (ran.code, "did not answer" in ran.err) == (1, True)


def test_a_value_that_no_request_takes_is_a_usage_error(unchanged: Sides) -> None:
    ran = detent("freeze", "--reason", "x" * 2001, "--json", env={"DETENT_HOME": str(unchanged.here)})
    assert (ran.code, ran.json["error"]["errors"][0]["pointer"]) == (2, "/reason")
    without = detent("family", "show", "--json", env={"DETENT_HOME": str(unchanged.here)})
    assert (without.code, "Missing argument" in without.json["error"]["detail"]) == (2, True), without.err
