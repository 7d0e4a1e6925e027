"""A person is forgotten: nothing that they left stands in any byte of the home, and what others left stays."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from optimizer.adapters.files.spool import NAME, SPOOLS, Spool
from optimizer.adapters.mlflow.connection import connect
from optimizer.adapters.personal_places import MOST_READ_BYTES
from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.serving import champion
from optimizer.host.config import Settings
from optimizer.jobs.upkeep.forget_person import carry_out_forgetting
from optimizer.runtime import wiring
from optimizer.runtime.personal_home import (
    BACKUP_FOLDERS,
    BESIDE_BACKUPS,
    FORGOTTEN,
    forgetting_home,
    forgotten_in,
    keep_beside,
    remember,
)
from tests.command_line import Ran, detent
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stores import reading, writing
from tests.worlds.api_world import make_home, serving
from tests.worlds.forgotten_world import (
    ANSWERED,
    MARK,
    OTHER,
    SAID,
    UNIT,
    F,
    event,
    files_with,
    plant,
    plant_spool,
    serve,
)

HEATING = "heating"  # in what another person said
FORGET = ("data", "forget", "--unit", UNIT)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.db_url())
    yield opened
    opened.close()


@pytest.fixture
def planted(settings: Settings, store: Database) -> dict[str, Any]:
    clock, families = wiring.open_clock(settings), wiring.load_families(settings)
    return plant(settings, store, clock, wiring.open_intake(settings, store, clock, families, actor="app"))


def in_home(settings: Settings, *words: object) -> Ran:
    return detent(*map(str, words), env={"DETENT_HOME": str(settings.home)})


def plant_mlflow(settings: Settings, new_mlflow: NewMlflow) -> str:
    """A study's run, and a prompt as the registry keeps it; returns the run."""
    client = connect(new_mlflow(settings.mlflow_dir() / "mlflow.db"))
    place = settings.mlflow_dir() / "artifacts"
    experiment = client.create_experiment(f"detent/{F}", artifact_location=place.as_uri())
    tags = {"detent.kind": "study", "detent.digest": "abc", "mlflow.note.content": f"It says: {SAID}"}
    run = str(client.create_run(experiment, tags=tags).info.run_id)
    client.log_param(run, "prompt", json.dumps([{"role": "user", "content": SAID}]))
    client.log_text(run, json.dumps({"data": [[SAID]]}), "trials.json")
    client.log_text(run, OTHER, "other.txt")
    return run


def test_nothing_that_the_person_left_is_found_in_any_byte_of_the_home(
    settings: Settings, store: Database, planted: dict[str, Any], new_mlflow: NewMlflow
) -> None:
    run = plant_mlflow(settings, new_mlflow)
    assert len(files_with(settings.home, MARK)) >= 10
    others = {file.removesuffix("-wal") for file in files_with(settings.home, HEATING)}
    ran = in_home(settings, *FORGET, "--confirm", UNIT, "--json")
    assert ran.code == 0, ran.err
    assert files_with(settings.home, MARK, planted["unit"]) == ["var/forgotten.jsonl"], "that holds the HMAC alone"
    assert files_with(settings.home, MARK) == []
    assert {file.removesuffix("-wal") for file in files_with(settings.home, HEATING)} >= others
    result = ran.json["result"]
    assert result["variants"] == {F: sorted([planted["quoting"], planted["shown"]])}
    assert result["champions"] == {F: planted["first"]}
    assert (result["first"], result["families"]) == ([], [F])
    places = {place["place"]: place["n"] for place in result["places"]}
    assert places["store: interactions"] == 2, "one of them waited in the spool"
    assert {"logs": 3, "reports": 1, "files of examples": 2, "DBOS": 1, "MLflow artifacts": 1}.items() <= places.items()
    with closing(sqlite3.connect(settings.mlflow_dir() / "mlflow.db")) as mlflow:
        rows = dict(mlflow.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)).fetchall())
        ((prompt,),) = mlflow.execute("SELECT value FROM params").fetchall()
    assert "detent.digest" not in rows, "so that it is sent again"
    assert json.loads(prompt) == [{"role": "user", "content": "(forgotten)"}]


def test_what_was_counted_and_what_others_left_stays(
    settings: Settings, store: Database, planted: dict[str, Any]
) -> None:
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    with store.read() as tx:
        rows = {name: list(store.tables.each(tx, name)) for name in store.tables.names()}
        history = store.champions.history(tx, F)
    assert [row["id"] for row in rows["interactions"]] == ["in_bob_1"]
    assert [row["id"] for row in rows["feedback_events"]] == ["fb_bob_1"]
    assert [row["id"] for row in rows["examples"]] == ["co_fb_bob_1"]
    (sums,) = [row for row in rows["arm_stats"] if row["n_interactions"]]
    assert sums["n_interactions"] == 3
    assert champion.current_of(history).variant == planted["first"]
    calls = {row["id"]: row["request"] for row in rows["lm_calls"]}
    assert calls["ca_0"] is None
    assert calls["ca_1"] is not None
    results = sorted((row["score"], row["output"]) for row in rows["trial_results"])
    assert results == [(0.5, "technical"), (1.0, None)]
    entries = {row["id"]: row for row in rows["playbook_entries"]}
    assert (entries["pb_1"]["text"], entries["pb_1"]["state"]) == ("", "retired")
    assert (entries["pb_2"]["text"], entries["pb_2"]["evidence"]) == ("Be brief.", ["co_fb_bob_1"])
    (counts,) = rows["rollout_units"]
    assert list(json.loads(counts["counts"])["0"]) == ["b" * 64]
    (told,) = [row for row in rows["audit"] if row["action"] == "person.forgotten"]
    assert MARK not in str(rows)
    assert told["detail"]["variants"] == {F: sorted([planted["quoting"], planted["shown"]])}


def test_a_dry_run_counts_and_changes_nothing(settings: Settings, store: Database, planted: dict[str, Any]) -> None:
    before = files_with(settings.home, MARK)
    ran = in_home(settings, *FORGET, "--dry-run")
    assert ran.code == 0, ran.err
    assert "store: interactions" in ran.out
    assert f"{planted['first']} would serve there" in ran.err
    assert "Nothing was deleted" in ran.err
    assert {*before, "var/spool/interactions"} <= {*files_with(settings.home, MARK)}
    assert forgotten_in(settings.var() / FORGOTTEN) == {}


def test_without_the_unit_again_nothing_is_queued(settings: Settings, store: Database) -> None:
    for more in ((), ("--confirm", "somebody")):
        refused = in_home(settings, *FORGET, *more)
        assert refused.code == 3
        assert "--confirm UNIT" in refused.err
    assert reading(store).runs.unfinished() == []


def test_a_family_file_that_quotes_the_person_is_named_and_nothing_is_changed(
    settings: Settings, store: Database, planted: dict[str, Any]
) -> None:
    file = settings.families_dir / F / "family.yaml"
    file.write_text(file.read_text().replace("Is it billing", f"Such as: {SAID}. Is it billing"))
    before = files_with(settings.home, MARK)
    refused = in_home(settings, *FORGET, "--confirm", UNIT)
    assert refused.code == 1
    assert re.search(rf"{file}:\d+: these lines say", refused.err), refused.err
    assert "--own-words" in refused.err
    assert {*before} - {"var/spool/interactions"} <= {*files_with(settings.home, MARK)}
    kept = in_home(settings, *FORGET, "--confirm", UNIT, "--own-words")
    assert kept.code == 0, kept.err
    with store.read() as tx:
        assert MARK not in str([list(store.tables.each(tx, name)) for name in ("interactions", "examples", "reviews")])


def test_a_family_whose_champions_all_quote_the_person_is_to_get_another_first(
    settings: Settings, store: Database, planted: dict[str, Any]
) -> None:
    change = "UPDATE champions SET variant = ? WHERE seq = 1"
    store.write(lambda tx: tx.exec_driver_sql(change, (planted["shown"],)) and None)
    refused = in_home(settings, *FORGET, "--confirm", UNIT)
    assert refused.code == 1
    assert f"detent champion set {F} VARIANT" in refused.err
    at = wiring.open_clock(settings).now()
    store.write(lambda tx: serve(tx, store, at, planted["clean"], after=""))
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    assert files_with(settings.home, MARK) == []
    back = in_home(settings, "champion", "rollback", F, "--reason", "try")
    assert back.code == 1
    assert "was forgotten with a person" in back.err


def test_a_rollback_passes_by_a_champion_that_was_forgotten(
    settings: Settings, store: Database, planted: dict[str, Any]
) -> None:
    at = wiring.open_clock(settings).now()
    store.write(lambda tx: serve(tx, store, at, planted["clean"], after=""))
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    assert in_home(settings, "champion", "rollback", F, "--reason", "try").code == 0
    current = reading(store).champions.current(F)
    assert current is not None
    assert current.variant == planted["first"]


def test_a_restore_of_an_older_backup_forgets_again(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    backups, new = tmp_path / "backups", tmp_path / "new"
    backups.mkdir()
    assert in_home(settings, "backup", backups / "old.tar").code == 0
    ran = in_home(settings, *FORGET, "--confirm", UNIT)
    assert ran.code == 0
    assert f"Backups in {backups}" in ran.err
    restored = detent("restore", str(backups / "old.tar"), "--json", env={"DETENT_HOME": str(new)})
    assert restored.code == 0, restored.err
    assert restored.json["n_forgotten"] == 1
    assert files_with(new, MARK) == []
    assert "var/detent.db" in files_with(new, HEATING)
    with_them = tmp_path / "with"
    kept = detent("restore", str(backups / "old.tar"), "--forgotten", "none", env={"DETENT_HOME": str(with_them)})
    assert kept.code == 0
    assert files_with(with_them, MARK)
    (backups / BESIDE_BACKUPS).unlink()
    refused = detent("restore", str(backups / "old.tar"), env={"DETENT_HOME": str(tmp_path / "third")})
    assert refused.code == 1
    assert "--forgotten none" in refused.err


def test_a_home_made_of_a_backup_notes_beside_it_who_is_forgotten_there(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "backups").mkdir()
    backup, second = tmp_path / "backups" / "old.tar", {"DETENT_HOME": str(tmp_path / "second")}
    assert in_home(settings, "backup", backup).code == 0
    assert detent("restore", str(backup), env=second).code == 0
    assert detent(*FORGET, "--confirm", UNIT, env=second).code == 0
    third = detent("restore", str(backup), "--json", env={"DETENT_HOME": str(tmp_path / "third")})
    assert third.json["n_forgotten"] == 1, third.err
    assert files_with(tmp_path / "third", MARK) == []


def restored(file: Path, home: Path, forgotten: object) -> int:
    """How many were forgotten in it."""
    ran = detent("restore", str(file), "--forgotten", str(forgotten), "--json", env={"DETENT_HOME": str(home)})
    assert ran.code == 0, ran.err
    return int(ran.json["n_forgotten"])


@pytest.mark.long
def test_nobody_comes_back_with_a_backup_of_a_home_that_was_restored(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    old, since, second = tmp_path / "old.tar", tmp_path / BESIDE_BACKUPS, tmp_path / "second"
    assert in_home(settings, "backup", old).code == 0
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    assert restored(old, second, since) == 1
    (tmp_path / "nested").mkdir()
    nested = tmp_path / "nested" / "nested.tar"
    assert detent("backup", str(nested), env={"DETENT_HOME": str(second)}).code == 0
    for name, forgotten in (("again", since), ("none", "none"), ("beside", nested.parent / BESIDE_BACKUPS)):
        assert restored(nested, tmp_path / name, forgotten) == 0
        assert files_with(tmp_path / name, MARK) == []
        assert restored(old, tmp_path / f"old {name}", tmp_path / name / "var" / FORGOTTEN) == 1
        assert files_with(tmp_path / f"old {name}", MARK) == []
    bob = "data", "forget", "--unit", "bob", "--confirm", "bob"
    assert detent(*bob, env={"DETENT_HOME": str(second)}).code == 0
    assert restored(old, tmp_path / "both", second / "var" / FORGOTTEN) == 2
    assert files_with(tmp_path / "both", MARK, HEATING) == []
    assert restored(nested, tmp_path / "neither", second / "var" / FORGOTTEN) == 1
    assert files_with(tmp_path / "neither", MARK, HEATING) == []


def test_who_came_back_and_was_forgotten_again_waits_in_no_spool_of_a_backup_of_between(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    old = tmp_path / "old.tar"
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    plant_spool(settings, planted["unit"], f"in_{MARK}_3")
    assert in_home(settings, "backup", old).code == 0
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    assert restored(old, tmp_path / "new", tmp_path / BESIDE_BACKUPS) == 1
    assert files_with(tmp_path / "new", MARK) == []


def test_a_folder_of_backups_that_cannot_be_written_keeps_nobody_from_being_forgotten(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    """As where a service manager lets the worker write to its home alone."""
    backups, new = tmp_path / "backups", tmp_path / "new"
    backups.mkdir()
    assert in_home(settings, "backup", backups / "old.tar").code == 0
    (backups / BESIDE_BACKUPS).unlink()
    (backups / BESIDE_BACKUPS).mkdir()
    ran = in_home(settings, *FORGET, "--confirm", UNIT)
    assert (ran.code, "cannot be written there now" in ran.err) == (0, True), ran.err
    assert files_with(settings.home, MARK) == []
    (backups / BESIDE_BACKUPS).rmdir()
    assert in_home(settings, "backup", backups / "next.tar").code == 0
    restored = detent("restore", str(backups / "old.tar"), "--json", env={"DETENT_HOME": str(new)})
    assert restored.json["n_forgotten"] == 1, restored.err
    assert files_with(new, MARK) == []


def test_a_backup_disk_that_was_away_meanwhile_brings_nobody_back(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    backups, away = tmp_path / "backups", tmp_path / "away"
    backups.mkdir()
    assert in_home(settings, "backup", backups / "old.tar").code == 0
    backups.rename(away)
    backups.mkdir()  # a mount point without its disk
    ran = in_home(settings, *FORGET, "--confirm", UNIT)
    assert (ran.code, "cannot be written there now" in ran.err) == (0, True), ran.err
    backups.rmdir()  # nothing was written below it
    away.rename(backups)
    assert restored(backups / "old.tar", tmp_path / "named", settings.var() / FORGOTTEN) == 1
    assert in_home(settings, "backup", backups / "next.tar").code == 0
    assert restored(backups / "old.tar", tmp_path / "beside", backups / BESIDE_BACKUPS) == 1
    assert files_with(tmp_path / "beside", MARK) == []


def test_a_restore_lets_a_familys_own_words_stay_where_the_forgetting_did(
    settings: Settings, store: Database, tmp_path: Path
) -> None:
    said = event(UNIT, "in_1", "Is it billing or technical?", ANSWERED)
    with serving(settings) as world:
        assert world.post("/v1/feedback", said).json()["accepted"] == 1
    (tmp_path / "backups").mkdir()
    backup = tmp_path / "backups" / "old.tar"
    assert in_home(settings, "backup", backup).code == 0
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 1
    assert in_home(settings, *FORGET, "--confirm", UNIT, "--own-words").code == 0
    restored = detent("restore", str(backup), "--json", env={"DETENT_HOME": str(tmp_path / "new")})
    assert restored.code == 0, restored.err
    assert restored.json["n_forgotten"] == 1
    assert files_with(tmp_path / "new", ANSWERED) == []


def test_what_stayed_is_known_beside_backups_that_were_away_meanwhile(settings: Settings, tmp_path: Path) -> None:
    backups, away = tmp_path / "backups", tmp_path / "away"
    backups.mkdir()
    beside = keep_beside(settings, backups / "a.tar")
    remember(settings, "one", datetime.now(UTC), own_words=False)
    backups.rename(away)
    remember(settings, "one", datetime.now(UTC), own_words=True)
    away.rename(backups)
    keep_beside(settings, backups / "b.tar")
    assert forgotten_in(beside)["one"].own_words


def test_a_record_of_the_spool_that_no_store_takes_keeps_nobody_from_being_forgotten(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    spool = Spool(settings.var() / SPOOLS / NAME)
    (record,), _ = spool.waiting()
    spool.append({**record, "arm": {**record["arm"], "of_a_later_version": 1}})
    spool.close()
    assert in_home(settings, "backup", tmp_path / "b.tar").code == 0
    ran = in_home(settings, *FORGET, "--confirm", UNIT)
    assert ran.code == 0, ran.err
    assert "cannot be kept and was set aside" in (settings.log_dir() / "cli.log").read_text()
    assert files_with(settings.home, MARK) == []
    assert restored(tmp_path / "b.tar", tmp_path / "new", tmp_path / BESIDE_BACKUPS) == 1
    assert files_with(tmp_path / "new", MARK) == []


def test_what_cannot_be_gone_through_is_named(settings: Settings, store: Database, planted: dict[str, Any]) -> None:
    database, loop = settings.mlflow_dir() / "mlflow.db", settings.families_dir / F / "loop"
    database.parent.mkdir()
    database.write_bytes(b"no database " * 100)
    refused = in_home(settings, *FORGET, "--confirm", UNIT)
    assert (refused.code, f"MLflow ({database}) cannot be gone through" in refused.err) == (1, True), refused.err
    database.unlink()
    loop.symlink_to(loop)
    refused = in_home(settings, *FORGET, "--confirm", UNIT)
    assert (refused.code, str(loop) in refused.err) == (1, True), refused.err
    loop.unlink()
    assert in_home(settings, *FORGET, "--confirm", UNIT).code == 0
    assert files_with(settings.home, MARK) == []


def test_what_stays_in_the_home_is_named_wherever_it_lies(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    home, copy = settings.home, settings.var() / "detent.db.before-upgrade"
    assert in_home(settings, "data", "export", home / "leaving").code == 0
    assert in_home(settings, "backup", home / "b.tar").code == 0
    with closing(sqlite3.connect(settings.var() / "detent.db")) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    (home / "large.txt").write_text(SAID * (MOST_READ_BYTES // len(SAID) + 1))
    (home / ".venv").mkdir()
    (home / ".venv" / "program.txt").write_text(SAID)
    ran = in_home(settings, *FORGET, "--confirm", UNIT)
    assert ran.code == 0, ran.err
    shown = re.findall(rf"{home}/(\S+) shows the person", ran.err)
    assert {"var/detent.db.before-upgrade", "leaving/tables/interactions.jsonl"} <= {*shown}
    assert {*shown} | {".venv/program.txt", "b.tar", "large.txt"} == {*files_with(home, MARK, planted["unit"])} - {
        "var/forgotten.jsonl",
        BESIDE_BACKUPS,
    }
    assert f"large or unreadable: {home / 'large.txt'}." in ran.err


def test_in_an_imported_home_the_report_says_that_its_unit_keys_stayed_behind(
    settings: Settings, store: Database, planted: dict[str, Any], tmp_path: Path
) -> None:
    home, leaving = tmp_path / "new", tmp_path / "leaving"
    new = {"DETENT_HOME": str(home)}
    assert in_home(settings, "data", "export", leaving, "--sealed").code == 0
    brought = detent("data", "import", str(leaving), env=new)
    assert (brought.code, "The keys that hash its units stayed behind" in brought.err) == (0, True), brought.err
    (name,) = wiring.open_secrets(settings).unit_key_names
    ran = detent(*FORGET, "--confirm", UNIT, env=new)
    assert (ran.code, f"does not have ({name})" in ran.err) == (0, True), ran.err
    key = (settings.var() / "keys" / "unit.key").read_text()
    (home / "var" / "keys" / "unit.older").write_text(f"{name}:{key}")
    ran = detent(*FORGET, "--confirm", UNIT, env=new)
    assert (ran.code, "does not have" in ran.err) == (0, False), ran.err
    assert files_with(home, MARK) == []


def test_a_line_that_a_full_disk_cut_off_stops_nothing(settings: Settings, tmp_path: Path) -> None:
    noted, beside = settings.var() / FORGOTTEN, keep_beside(settings, tmp_path / "a.tar")
    for file, torn in ((noted, b'{"unit": "a'), (beside, b'{"unit": "b'), (settings.var() / BACKUP_FOLDERS, b"/mn")):
        with file.open("ab") as out:
            out.write(torn)
    assert forgotten_in(beside) == {}
    remember(settings, "one", datetime.now(UTC), own_words=False)
    assert list(forgotten_in(noted)) == list(forgotten_in(keep_beside(settings, tmp_path / "b.tar"))) == ["one"]
    beside.write_bytes(beside.read_bytes().rstrip())  # as an editor may leave it
    remember(settings, "two", datetime.now(UTC), own_words=False)
    assert list(forgotten_in(beside)) == ["one", "two"]
    noted.write_text("no line of ours\n")
    with pytest.raises(InvalidInput, match="names nobody"):
        keep_beside(settings, tmp_path / "c.tar")


def test_a_list_of_the_forgotten_that_finds_no_room_is_as_it_was(settings: Settings, tmp_path: Path) -> None:
    beside = keep_beside(settings, tmp_path / "a.tar")
    with (
        patch("os.fsync", side_effect=OSError(ENOSPC, "No space left on device")),
        pytest.raises(Conflict, match=FORGOTTEN),
    ):
        remember(settings, "one", datetime.now(UTC), own_words=False)
    assert (settings.var() / FORGOTTEN).read_bytes() == beside.read_bytes() == b""


def test_a_server_queues_it_and_throws_away_what_its_processes_hold(settings: Settings) -> None:
    with serving(settings) as world:
        store = world.shared.store
        said = event(UNIT, f"in_{MARK}_1", SAID, ANSWERED)
        assert world.post("/v1/feedback", said).json()["accepted"] == 1
        override = {"variant": world.champion()}
        kept = {"Idempotency-Key": "k1"}
        path = f"/v1/families/{F}/overrides/{UNIT}"
        assert world.client.put(path, json=override, headers=kept).status_code == 200
        refused = world.client.delete(f"/v1/units/{UNIT}")
        assert (refused.status_code, "?confirm=UNIT" in refused.json()["detail"]) == (409, True)
        queued = world.client.delete(f"/v1/units/{UNIT}", params={"confirm": UNIT}, headers={"Idempotency-Key": "k2"})
        assert queued.status_code == 202
        again = world.client.delete(f"/v1/units/{UNIT}", params={"confirm": UNIT})
        assert again.json()["id"] == queued.json()["id"]
        (job,) = world.get("/v1/jobs").json()["items"]
        assert (job["kind"], job["location"]) == ("forget", queued.headers["Location"])
        assert world.shared.hmac_unit.cache_info().currsize > 0  # type: ignore[attr-defined]
        home = forgetting_home(settings, store, world.shared.clock, world.shared.families)
        ended = carry_out_forgetting(job["id"], home)
        assert ended.status == "finished"
        world.shared.serving.refresh()
        assert world.shared.hmac_unit.cache_info().currsize == 0  # type: ignore[attr-defined]
        told = world.get(queued.headers["Location"]).json()
        assert (told["status"], told["request"]["unit"]) == ("finished", "")
        assert files_with(settings.home, MARK) == []
    assert files_with(settings.home, MARK) == []


def test_it_waits_for_a_study_that_holds_examples_in_memory(settings: Settings) -> None:
    from tests.stores import study

    with serving(settings) as world:
        store = world.shared.store
        running = study(family=F, status="running")
        writing(store).studies.add(running)
        id = world.client.delete("/v1/units/u", params={"confirm": "u"}).json()["id"]
        home = forgetting_home(settings, store, world.shared.clock, world.shared.families)
        assert carry_out_forgetting(id, home).status == "queued"
        writing(store).studies.update(running.id, status="cancelled")
        assert carry_out_forgetting(id, home).status == "finished"
