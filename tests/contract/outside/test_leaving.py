"""Who leaves takes everything along: prompts that are served without a server, and all rows with their chains."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from errno import ENOSPC
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from detent_client import Client
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.dataset.sealed_rows import EMPTY
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.upkeep.export_folder import Archive, ExportWriter, NewFolder, read_folder, unpack
from optimizer.runtime import export_home
from optimizer.runtime.api_client import ApiClient
from tests.command_line import Ran, detent
from tests.forked import run_forked
from tests.recordings.fixed import api_of, fixed
from tests.recordings.home import PREFIX, clock_then, migrated
from tests.stores import migrate_store

NOWHERE = "http://127.0.0.1:9"


def say(home: Path, *words: str) -> Ran:
    return detent(*words, env={"DETENT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "100"})


@pytest.fixture
def then() -> Iterator[None]:
    with fixed(clock_then()):
        yield


@pytest.fixture
def home(then: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One in which every table is filled."""
    return migrated(tmp_path_factory.mktemp(PREFIX))


def test_a_client_serves_every_champion_from_the_snapshot_file_as_the_server_did(
    home: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "champions.json"
    assert say(home.home, "export", "snapshot", "--out", str(file)).code == 0
    families = json.loads(file.read_text(encoding="utf-8"))["families"]
    assert families
    with api_of(home, clock_then()) as api:
        api.client.headers["Authorization"] = "Bearer secret-boss"
        snapshot = api.client.get("/v1/snapshot").json()["families"]
    assert {name: entry["champion"]["variant"] for name, entry in families.items()} == {
        name: entry["champion"]["variant"] for name, entry in snapshot.items()
    }
    with Client(NOWHERE, "no key", fallback=file) as client:
        for name, entry in families.items():
            champion = snapshot[name]["champion"]
            assert {**champion, **entry["champion"]} == champion  # the same bytes, and no lease, stage or rollout
            assert set(entry) == {"champion", "privacy"}
            if champion["messages"] and not champion["policy"]:
                texts = {input: f"a {input}" for input in champion["variables"]}
                with client.prompt(name, unit="anna", **texts) as prompt:
                    assert prompt.variant == champion["variant"]


def test_a_snapshot_printed_is_the_one_that_a_file_gets(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "champions.json"
    say(home.home, "export", "snapshot", "--out", str(file))
    assert say(home.home, "export", "snapshot").out == file.read_text(encoding="utf-8")
    assert say(home.home, "export", "snapshot", "--out", str(tmp_path / "no" / "x.json")).code == 2


def exported(home: Settings, tmp_path: Path, *options: str) -> Path:
    folder = tmp_path / "leaving"
    ran = say(home.home, "data", "export", str(folder), *options)
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture(scope="module")
def leaving(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """A home and its default export; tests change neither, but copies."""
    with fixed(clock_then()):
        home = migrated(tmp_path_factory.mktemp(PREFIX))
        return home, exported(home, tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="module")
def leaving_sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """The same with what is sealed."""
    with fixed(clock_then()):
        home = migrated(tmp_path_factory.mktemp(PREFIX))
        return home, exported(home, tmp_path_factory.mktemp("with-sealed"), "--sealed")


def sealed_texts(home: Settings) -> set[str]:
    """Of every sealed example, each text that is long enough to be its own."""
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        rows = database.execute("SELECT input, expected FROM examples WHERE split = 'holdout'").fetchall()
    assert rows
    texts = {
        text for row in rows for part in row for text in json.loads(part or "{}").values() if isinstance(text, str)
    }
    return {json.dumps(text, ensure_ascii=False)[1:-1] for text in texts if len(text) > 20}


@pytest.mark.usefixtures("then")
def test_what_was_exported_serves_the_same_bytes_in_an_empty_home_and_its_chains_verify(
    leaving: tuple[Settings, Path], tmp_path: Path
) -> None:
    clock = clock_then()
    (home, folder), new = leaving, tmp_path / "new"
    new.mkdir()
    imported = say(new, "data", "import", str(folder))
    assert imported.code == 0, imported.err
    served = []
    for settings in (home, load_settings(home=new)):
        with api_of(settings, clock) as api:
            api.client.headers["Authorization"] = "Bearer secret-boss"
            families = api.client.get("/v1/snapshot").json()["families"]
            for entry in families.values():
                entry["overrides"] = None  # they name units by a hash whose key stays behind
            served.append(families)
    assert served[0] == served[1]
    assert any(entry["rollout"] or entry["holdback"] for entry in served[0].values())
    before, after = (say(place, "rollout", "verify", "--from", str(folder), "--json") for place in (home.home, new))
    assert before.code == after.code
    assert before.json == after.json
    for report in before.json["items"]:
        here = say(home.home, "rollout", "verify", report["rollout"], "--json").json
        assert report == here == say(new, "rollout", "verify", report["rollout"], "--json").json
    assert any(report["ok"] and report["n_blocks"] for report in before.json["items"])


def test_no_text_of_a_sealed_example_and_no_secret_is_in_a_default_export(leaving: tuple[Settings, Path]) -> None:
    home, folder = leaving
    texts = sealed_texts(home)
    keys = [file.read_bytes().strip() for file in (home.var() / "keys").rglob("*") if file.is_file()]
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        keys += [row[0].encode() for row in database.execute("SELECT secret_hash FROM api_keys")]
    assert texts
    assert keys
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert [text for text in texts if text.encode() in content] == [], file
            assert [key for key in keys if key in content] == [], file


@pytest.mark.usefixtures("then")
def test_the_sealed_rows_come_in_a_file_of_their_own_and_count_as_a_look(
    leaving_sealed: tuple[Settings, Path], tmp_path: Path
) -> None:
    home, folder = leaving_sealed
    texts = sealed_texts(home)
    sealed = (folder / "sealed.jsonl").read_text(encoding="utf-8")
    assert all(text in sealed for text in texts)
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        (n,) = database.execute("SELECT count(*) FROM examples WHERE split = 'holdout'").fetchone()
        (looks,) = database.execute(
            "SELECT count(*) FROM holdout_looks WHERE study LIKE 'ex\\_%' ESCAPE '\\'"
        ).fetchone()
    assert n == looks
    new = tmp_path / "new"
    new.mkdir()
    assert say(new, "data", "import", str(folder)).code == 0
    with closing(sqlite3.connect(new / "var" / "detent.db")) as database:
        query = "SELECT count(*) FROM examples WHERE split = 'holdout'"
        assert database.execute(query).fetchone() == (n,)
    assert sealed_texts(load_settings(home=new)) == texts
    for table in (*EMPTY, "examples", "graphs", "reviews"):
        assert rows_of(load_settings(home=new), table) == rows_of(home, table), table


def test_unfinished_work_and_schedules_of_a_home_that_was_left_go_on_in_one_home_alone(
    home: Settings, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        (study,) = database.execute("SELECT max(id) FROM studies").fetchone()
        (run,) = database.execute("SELECT max(id) FROM judge_runs").fetchone()
        database.execute("UPDATE studies SET status = 'running', finished_at = NULL WHERE id = ?", (study,))
        database.execute("UPDATE judge_runs SET status = 'queued' WHERE id = ?", (run,))
        columns = [column for _, column, *_ in database.execute("PRAGMA table_info(judge_runs)")]
        forgets = ", ".join({"id": "'fo_1'", "kind": "'forget'"}.get(column, column) for column in columns)
        database.execute(f"INSERT INTO judge_runs SELECT {forgets} FROM judge_runs")
        database.commit()
    folder, new = exported(home, tmp_path), tmp_path / "new"
    new.mkdir()
    imported = say(new, "data", "import", str(folder), "--json")
    assert imported.code == 0, imported.err
    assert (imported.json["studies"], imported.json["runs"]) == ([study], [run])
    assert imported.json["schedules"] == ['detent family schedule triage --cron "0 3 * * *"']
    assert all(named in imported.err for named in (study, run, *imported.json["schedules"]))
    settings = load_settings(home=new)
    with closing(sqlite3.connect(settings.var() / "detent.db")) as database:
        for table, id, status in (
            ("studies", study, "cancelled"),
            ("judge_runs", run, "cancelled"),
            ("judge_runs", "fo_1", "queued"),
        ):
            row = database.execute(f"SELECT status FROM {table} WHERE id = ?", (id,)).fetchone()
            assert row == (status,), id
    assert rows_of(settings, "schedules") == []
    assert rows_of(home, "schedules") != []


def rows_of(home: Settings, table: str) -> list[str]:
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        return sorted(map(repr, database.execute(f"SELECT * FROM {table}")))


@pytest.mark.usefixtures("then")
def test_a_changed_file_is_no_export_and_a_home_with_rows_takes_none(
    leaving: tuple[Settings, Path], tmp_path: Path
) -> None:
    home, folder = leaving[0], Path(shutil.copytree(leaving[1], tmp_path / "leaving"))
    taken = say(home.home, "data", "import", str(folder))
    assert (taken.code, "no empty home" in taken.err) == (1, True)
    audited = tmp_path / "audited"  # nothing but a line in the record of changes
    audited.mkdir()
    migrate_store(load_settings(home=audited))
    with (
        closing(sqlite3.connect(audited / "var" / "detent.db")) as database,
        closing(sqlite3.connect(home.var() / "detent.db")) as filled,
    ):
        row = filled.execute("SELECT * FROM audit LIMIT 1").fetchone()
        database.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(row))})", row)
        database.commit()
    assert "no empty home" in say(audited, "data", "import", str(folder)).err
    file = folder / "tables" / "decisions.jsonl"
    file.write_bytes(file.read_bytes().replace(b"advance", b"advence", 1))
    for words in (["rollout", "verify", "--from", str(folder)], ["data", "import", str(folder)]):
        new = tmp_path / "new"
        new.mkdir(exist_ok=True)
        ran = say(new, *words)
        assert (ran.code, "was changed" in ran.err) == (2, True)
    assert not (new / "var" / "detent.db").exists()
    again = say(home.home, "data", "export", str(folder))
    assert (again.code, "is there already" in again.err) == (1, True)


@pytest.mark.usefixtures("then")
def test_a_row_that_is_none_is_refused_by_its_line_and_leaves_nothing(
    leaving: tuple[Settings, Path], tmp_path: Path
) -> None:
    folder, new = Path(shutil.copytree(leaving[1], tmp_path / "leaving")), tmp_path / "new"
    new.mkdir()
    file = folder / "tables" / "rollouts.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    verify, take = ["rollout", "verify", "--from", str(folder)], ["data", "import", str(folder)]
    for row, *asked in (
        ({"x": 1}, verify, take),
        ({**first, "id": 2**70}, take),
    ):
        put(folder, "tables/rollouts.jsonl", [*lines, json.dumps(row)])
        for words in asked:
            ran = say(new, *words)
            text = " ".join(ran.err.split())
            assert (ran.code, f"Line {len(lines) + 1} of" in text) == (2, True), (row, ran.err)
        assert list((new / "var").glob(".detent.db.part*")) == []


@pytest.mark.usefixtures("then")
def test_a_sealed_row_of_no_table_is_refused_by_its_line(leaving_sealed: tuple[Settings, Path], tmp_path: Path) -> None:
    folder, new = Path(shutil.copytree(leaving_sealed[1], tmp_path / "leaving")), tmp_path / "new"
    new.mkdir()
    file = folder / "sealed.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    for table in ("trails", ["examples"]):
        put(folder, "sealed.jsonl", [*lines, json.dumps({"table": table, "row": {}})])
        ran = say(new, "data", "import", str(folder))
        text = "".join(ran.err.split())
        assert (ran.code, f"Line{len(lines) + 1}of" in text, "sealed.jsonl" in text) == (2, True, True), ran.err
        assert list((new / "var").glob("*detent.db*")) == []


def put(folder: Path, name: str, lines: list[str]) -> None:
    """The file has these lines, and the manifest says so."""
    file = folder / name
    file.write_text("\n".join(lines), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_two_exports_into_one_name_share_no_part(tmp_path: Path) -> None:
    folder = tmp_path / "leaving"
    late = NewFolder(folder)  # looked before the other had its name
    with NewFolder(folder) as first:
        writer = ExportWriter(first)
        writer.content("families/triage/family.yaml", b"name: triage")
        with pytest.raises(Conflict, match="being written"), NewFolder(folder):
            pass
        writer.finish({})
    with pytest.raises(Conflict, match="there already"), late:
        pass
    assert list(read_folder(folder).files) == ["families/triage/family.yaml"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["leaving"]


def test_a_colleague_leaves_by_the_server_with_the_same_files_and_nothing_stays_there(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, at_home = sealed_texts(home), exported(home, tmp_path / "at-home")
    monkeypatch.setattr(export_home, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": run_forked}))
    with api_of(home, clock_then()) as api:
        monkeypatch.setattr(ApiClient, "at", lambda url, key: ApiClient(url, http=api.client))

        def ask(key: str, *words: str) -> Ran:
            api.client.headers["Authorization"] = f"Bearer secret-{key}"
            return detent(*words, "--server", "http://localhost", env={"DETENT_HOME": "/nowhere", "COLUMNS": "100"})

        for key in ("texts", "application"):
            refused = ask(key, "data", "export", str(tmp_path / "refused"))
            assert (refused.code, "role admin" in " ".join(refused.err.split())) == (1, True), refused.err
        with monkeypatch.context() as disk:
            disk.setattr(export_home, "TemporaryFile", Mock(side_effect=OSError(ENOSPC, "No space left on device")))
            for _ in range(2):  # the first leaves the way free for the second
                no_room = ask("boss", "data", "export", str(tmp_path / "no-room"))
                assert "did not end well. Look for room on the disk" in " ".join(no_room.err.split())
        shutil.rmtree(home.var() / "last_good", ignore_errors=True)
        (home.var() / "last_good").write_text("")  # as on a disk that takes no file, of which a line is logged
        folder = tmp_path / "leaving"
        before = {file.name for file in home.run_dir().iterdir()}
        ran = ask("boss", "data", "export", str(folder))
        assert ran.code == 0, ran.err
        with_sealed = ask("boss", "data", "export", str(tmp_path / "sealed"), "--sealed")
        assert with_sealed.code == 0, with_sealed.err
        assert {file.name for file in home.run_dir().iterdir()} == before
    mine, theirs = read_folder(at_home), read_folder(folder)
    changed = {name for name in mine.files if mine.files[name] != theirs.files.get(name)}
    assert (mine.files.keys(), changed) == (theirs.files.keys(), {"tables/audit.jsonl"})  # each export is on record
    (own,) = list(theirs.lines("tables/audit.jsonl"))[len(list(mine.lines("tables/audit.jsonl"))) :]
    assert (own["actor"], own["action"], own["detail"]) == ("boss", "data.export", {})
    for file in (*folder.rglob("*"), *tmp_path.glob(".*.part")):
        assert not file.is_file() or [text for text in texts if text.encode() in file.read_bytes()] == [], file
    assert all(text in (tmp_path / "sealed" / "sealed.jsonl").read_text(encoding="utf-8") for text in texts)
    with closing(sqlite3.connect(home.var() / "detent.db")) as database:
        (n,) = database.execute("SELECT count(*) FROM examples WHERE split = 'holdout'").fetchone()
        (looks,) = database.execute("SELECT count(*) FROM holdout_looks WHERE study LIKE 'ex%'").fetchone()
    assert (n, n > 0) == (looks, True)


def archive(*members: tuple[str, bytes], manifest: dict[str, Any] | None = None) -> io.BytesIO:
    file = io.BytesIO()
    with Archive(file, Path(tempfile.gettempdir())) as target:
        for name, content in members:
            with target.new(name) as member:
                member.write(content)
        if manifest is not None:
            with target.new("manifest.json") as member:
                member.write(json.dumps({"format": 1, **manifest}).encode())
    file.seek(0)
    return file


HASH = {"sha256": hashlib.sha256(b"x").hexdigest()}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (archive(("tables/a.jsonl", b"x")), "ends before its manifest"),
        (io.BytesIO(archive(("a", b"x" * 20_000), manifest={"files": {}}).getvalue()[:9000]), "not whole"),
        (io.BytesIO(b"<html>"), "not whole"),
        (archive(("../a", b"x"), manifest={"files": {"../a": HASH}}), "no file of an export"),
        (archive(("/tmp/a", b"x"), manifest={"files": {"/tmp/a": HASH}}), "no file of an export"),
        (archive(("a", b"y"), manifest={"files": {"a": HASH}}), "was changed"),
        (archive(("a", b"x"), ("b", b"x"), manifest={"files": {"a": HASH}}), "its manifest does not name"),
        (archive(("a", b"x"), manifest={"files": {"a": HASH, "b": HASH}}), "missing"),
    ],
    ids=["no-manifest", "cut", "no-tar", "above", "absolute", "changed", "more", "less"],
)
def test_what_is_no_whole_export_leaves_no_folder(tmp_path: Path, sent: io.BytesIO, why: str) -> None:
    sent.seek(0)
    with pytest.raises(InvalidInput, match=why), NewFolder(tmp_path / "leaving") as target:
        unpack(sent, target)
    assert list(tmp_path.iterdir()) == []


def test_an_export_into_the_folder_one_is_in_is_refused(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = say(home.home, "data", "export", ".")
    assert (ran.code, "into a new folder" in " ".join(ran.err.split())) == (1, True)
    assert say(home.home, "data", "export", "leaving/../other").code == 0
    assert (tmp_path / "other" / "manifest.json").is_file()


@pytest.mark.parametrize("format", ["messages", "yaml"])
def test_an_imported_variant_says_the_same_and_serves_nobody(home: Settings, tmp_path: Path, format: str) -> None:
    file = tmp_path / ("triage.json" if format == "messages" else "triage.yaml")
    made = say(home.home, "variant", "create", "triage", "--model", "temperature=0.35", "--json").json["variant"]
    file.write_text(say(home.home, "variant", "export", "triage", made, "--format", format).out, encoding="utf-8")
    champion = say(home.home, "variant", "show", "triage", "champion", "--json").json
    imported = say(home.home, "variant", "import", "triage", str(file), "--json")
    assert imported.code == 0, imported.err
    exported = [say(home.home, "variant", "export", "triage", id) for id in (made, imported.json["variant"])]
    content = [{**json.loads(ran.out), "variant": None} for ran in exported]
    assert content[0] == content[1]
    assert content[0]["model"]["temperature"] == 0.35
    assert say(home.home, "variant", "show", "triage", "champion", "--json").json == champion


def test_what_is_no_export_of_a_variant_is_refused(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text in (
        *("", "[]", "{", "prompt: 3", "prompt: {current: a, versions: {}}", "messages: text"),
        "prompt: {current: [a], versions: {a: {content: []}}}",
        "prompt: {current: a, versions: {a: {content: [{role: user, content: x}]}}}\nmodel: [x]",
    ):
        file.write_text(text, encoding="utf-8")
        assert say(home.home, "variant", "import", "triage", str(file)).code == 2, text
