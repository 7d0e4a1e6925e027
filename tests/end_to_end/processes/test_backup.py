"""A home is written into one file while its server takes feedback, and another home is made of it."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from errno import ENOSPC
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from optimizer.adapters.files.family_files import parse_family_text
from optimizer.adapters.files.spool import NAME, Spool
from optimizer.adapters.store.migrations import revisions
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import MetricUse
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from optimizer.runtime.back_up_home import MANIFEST, MLFLOW, STORE, back_up_home
from optimizer.runtime.personal_home import BESIDE_BACKUPS
from tests.command_line import Ran, detent
from tests.recordings.home import unpacked
from tests.stores import NOW, arm, interaction, keep_events, reading
from tests.worlds.api_world import FAMILY, World, make_home, serving

REPORTED = ("interactions", "feedback_events")
UNITS = [f"user-{n}" for n in range(40)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(tmp_path / "home")) as made:
        yield made


def in_home(home: Path, *words: object) -> Ran:
    return detent(*map(str, words), env={"DETENT_HOME": str(home)})


def begin_rollout(world: World) -> str:
    id = str(world.start(world.candidate("Is it billing? "))["id"])
    world.post(f"/v1/rollouts/{id}/approve", {"reason": "go"})
    world.tick()
    return id


def prompts(world: World) -> list[Any]:
    answers = [world.client.get("/v1/families/triage/prompt", headers={"X-Detent-Unit": unit}).json() for unit in UNITS]
    return [(answer["variant"], answer["messages"]) for answer in answers]


def rows(store: Any, table: str) -> list[Any]:
    with store.read() as tx:
        return list(store.tables.each(tx, table))


def test_a_home_made_of_a_backup_serves_the_same_with_its_rollouts_held(world: World, tmp_path: Path) -> None:
    rollout = begin_rollout(world)
    world.add_key("boss", "admin", secret="secret")
    world.client.headers["Authorization"] = "Bearer secret"
    spool = Spool(world.settings.var() / "spool" / NAME)
    with spool.promise(100):
        spool.append({"waits": "for room"})
    over, n_acknowledged = threading.Event(), 0

    def write() -> None:
        nonlocal n_acknowledged
        while not over.is_set():
            keep_events(
                world.shared.store, [interaction(f"in_{n_acknowledged}", of=arm(family="triage", rollout=None))]
            )
            n_acknowledged += 1

    writer = threading.Thread(target=write)
    writer.start()
    n_before = n_acknowledged
    backed_up = in_home(world.settings.home, "backup", tmp_path / "b.tar.gz", "--json")
    over.set()
    writer.join()
    assert backed_up.code == 0, backed_up.err
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o077 == 0, "keys are in it"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    served = prompts(world)

    new = tmp_path / "new"
    restored = in_home(new, "restore", tmp_path / "b.tar.gz", "--json")
    assert restored.code == 0, restored.err
    answer = json.loads(restored.out)
    assert answer["held"] == {rollout: "triage"}
    assert answer["n_files"] == json.loads(backed_up.out)["n_files"]
    assert answer["checksum"] == json.loads(backed_up.out)["checksum"]
    assert in_home(new, "rollout", "verify", rollout).code == 0
    settings = load_settings(home=new)
    store = wiring.open_store(settings)
    (log, n_events) = reading(store).rollouts.get(rollout), len(rows(store, "interactions"))
    assert log.held
    assert n_before <= n_events <= n_acknowledged
    assert rows(store, "api_keys") == rows(world.shared.store, "api_keys")
    store.close()
    assert (new / STORE).with_name("detent.db.keyed").exists(), "a store that lost its keys would let everybody in"
    assert Spool(new / "var" / "spool" / NAME).waiting()[0] == [{"waits": "for room"}]
    with serving(settings) as again:
        again.client.headers["Authorization"] = "Bearer secret"
        again.tick()
        assert prompts(again) == served


def test_a_backup_of_an_older_version_becomes_a_home_of_this_one_with_every_event(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = unpacked(tmp_path / "old")
    with closing(sqlite3.connect(old.var() / "detent.db")) as database:
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        counts = {name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone() for name in REPORTED}
    assert revision < revisions()[-1]
    back_up_home(old, tmp_path / "b.tar", at=NOW, version="0.0.1")
    new = tmp_path / "new"
    restored = in_home(new, "restore", tmp_path / "b.tar", "--json")
    assert restored.code == 0, restored.err
    rollouts = json.loads(restored.out)["held"]
    assert rollouts
    for rollout in rollouts:
        assert in_home(new, "rollout", "verify", rollout).code == 0
    with closing(sqlite3.connect(new / STORE)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (revisions()[-1],)
        assert {name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone() for name in REPORTED} == counts


def test_what_is_no_whole_backup_makes_no_home(world: World, tmp_path: Path) -> None:
    file, new = tmp_path / "b.tar", tmp_path / "new"
    assert in_home(world.settings.home, "backup", file).code == 0
    content = file.read_bytes()
    place = content.index(b"SQLite format 3")
    for damaged in (content[: len(content) // 2], content[:place] + b"X" + content[place + 1 :], b"words", b""):
        file.write_bytes(damaged)
        refused = in_home(new, "restore", file)
        assert refused.code == 2, refused.err
        assert "Nothing was changed" in refused.err
        assert not new.exists() or list(new.iterdir()) == []
    assert in_home(new, "restore", tmp_path / "none.tar").code == 1


def test_a_whole_backup_that_finds_no_room_is_called_no_other_file(world: World, tmp_path: Path) -> None:
    assert in_home(world.settings.home, "backup", tmp_path / "b.tar").code == 0
    with patch("shutil.copyfileobj", side_effect=OSError(ENOSPC, "No space left on device")):
        refused = in_home(tmp_path / "new", "restore", tmp_path / "b.tar")
    assert (refused.code, "make some" in refused.err, "no whole backup" in refused.err) == (2, True, False), refused.err
    assert list((tmp_path / "new").iterdir()) == []


def test_a_member_outside_of_the_home_is_refused(world: World, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(__file__, "../../escaped.py")
    assert in_home(tmp_path / "a" / "new", "restore", tmp_path / "b.tar").code == 2
    assert not list(tmp_path.rglob("escaped.py"))


def test_a_home_with_files_and_a_file_that_is_there_are_left_alone(world: World, tmp_path: Path) -> None:
    home, file = world.settings.home, tmp_path / "b.tar"
    assert in_home(home, "backup", file).code == 0
    before = file.read_bytes()
    assert in_home(home, "backup", file).code == 1
    assert file.read_bytes() == before
    refused = in_home(home, "restore", file)
    assert refused.code == 1
    assert "no empty home" in refused.err
    refused = in_home(home, "backup", file / "c.tar")
    assert (refused.code, "Nothing of it was kept" in refused.err) == (2, True)


def test_a_damaged_store_is_not_backed_up(world: World, tmp_path: Path) -> None:
    home = tmp_path / "damaged"
    assert in_home(world.settings.home, "backup", tmp_path / "b.tar").code == 0
    assert in_home(home, "restore", tmp_path / "b.tar").code == 0
    store = home / STORE
    content = bytearray(store.read_bytes())
    content[8192:16384] = b"\x07" * 8192
    store.write_bytes(content)
    refused = in_home(home, "backup", tmp_path / "c.tar")
    assert refused.code != 0
    assert "damaged" in refused.err
    assert not (tmp_path / "c.tar").exists()


def test_mlflow_s_artifacts_are_found_in_the_new_home(world: World, tmp_path: Path) -> None:
    home, new = world.settings.home, tmp_path / "new"
    (home / "mlflow" / "artifacts" / "triage").mkdir(parents=True)
    (home / "mlflow" / "artifacts" / "triage" / "plot.html").write_text("plot")
    with closing(sqlite3.connect(home / MLFLOW)) as database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        place = (home / "mlflow" / "artifacts" / "triage").as_uri()
        database.execute("INSERT INTO experiments VALUES (?), ('mlflow-artifacts:/0')", (place,))
        database.commit()
    assert in_home(home, "backup", tmp_path / "b.tar").code == 0
    assert in_home(new, "restore", tmp_path / "b.tar").code == 0
    with closing(sqlite3.connect(new / MLFLOW)) as database:
        places = [place for (place,) in database.execute("SELECT artifact_location FROM experiments")]
    assert places == [(new / "mlflow" / "artifacts" / "triage").as_uri(), "mlflow-artifacts:/0"]
    assert (new / "mlflow" / "artifacts" / "triage" / "plot.html").read_text() == "plot"
    with tarfile.open(tmp_path / "b.tar") as tar:
        names = tar.getnames()
    assert names[-1] == MANIFEST
    assert not [name for name in names if name.startswith(("var/logs", "var/run")) or name.endswith(("-wal", "-shm"))]


def test_where_nobody_could_be_forgotten_in_it_no_backup_is_kept(world: World, tmp_path: Path) -> None:
    """Else a restore would ask for a file that no forgetting wrote to."""
    (tmp_path / BESIDE_BACKUPS).mkdir()
    with pytest.raises(InvalidInput, match="Nothing of it was kept"):
        back_up_home(world.settings, tmp_path / "b.tar", at=NOW, version="1")
    assert [path.name for path in tmp_path.iterdir() if "b.tar" in path.name] == []


def test_study_definitions_of_the_home_are_in_it(world: World, tmp_path: Path) -> None:
    home = world.settings.home
    (home / "experiments").mkdir()
    (home / "experiments" / "own.yaml").write_text("strategy: bootstrap\n", encoding="utf-8")
    back_up_home(world.settings, tmp_path / "b.tar", at=NOW, version="1")
    new = tmp_path / "new"
    restored = in_home(new, "restore", tmp_path / "b.tar")
    assert restored.code == 0, restored.err
    assert (new / "experiments" / "own.yaml").read_text(encoding="utf-8") == "strategy: bootstrap\n"


def test_what_families_name_is_in_it_and_what_lies_elsewhere_is_said(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    settings = make_home(
        home / ".." / "home",
        families_dir="../elsewhere",
        **{name: elsewhere / name for name in ("alert_rules_file", "monitoring_file")},
    )
    for name, content in {"my_metrics.py": "", "own/gates.py": "", "metrics/aligned.json": "{}"}.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(content)
    uses = {
        "aligned": {"predictor": "metrics/aligned.json", "text": "no file " * 100},
        "recall": {"corpus": f"{elsewhere}/corpus.jsonl"},
    }
    scorer = {"my_metrics.good": 1.0, **{name: MetricUse(weight=1.0, **use) for name, use in uses.items()}}
    gate = {"policy.gate.scorer": {"choices": ["own.gates.sure"]}}
    family = parse_family_text(FAMILY, file="family.yaml").model_copy(update={"scorer": scorer, "space": gate})
    (elsewhere / "family.yaml").write_text(FAMILY)
    for name in ("alert_rules_file", "monitoring_file", "corpus.jsonl"):
        (elsewhere / name).write_text("{}")
    source = SimpleNamespace(families={"triage": family}, problems={"broken": None})
    with patch.object(wiring, "load_families", lambda settings: source):
        backup = back_up_home(settings, tmp_path / "b.tar", at=NOW, version="1")
    with tarfile.open(tmp_path / "b.tar") as tar:
        names = tar.getnames()
    assert {"my_metrics.py", "own/gates.py", "metrics/aligned.json"} <= set(names)
    assert not [name for name in names if name.startswith("..")], "no restore takes what leads out of the home"
    named = [words.partition(",")[0] for words in backup.not_in_it if "outside" in words]
    outside = {elsewhere / name for name in ("alert_rules_file", "monitoring_file", "corpus.jsonl")}
    assert set(map(Path, named)) == {elsewhere, *outside}
    assert [words for words in backup.not_in_it if "broken" in words], "nobody knows what its file names"


def test_folders_that_are_links_are_in_it_and_a_link_in_a_circle_ends(world: World, tmp_path: Path) -> None:
    """``var`` on another disk, or families in a repository of their own."""
    home = world.settings.home
    (home / "families").rename(tmp_path / "repository")
    (home / "families").symlink_to(tmp_path / "repository")
    (tmp_path / "repository" / "again").symlink_to(home / "families")
    assert in_home(home, "backup", tmp_path / "b.tar").code == 0
    with tarfile.open(tmp_path / "b.tar") as tar:
        names = tar.getnames()
    assert [name for name in names if name.endswith("triage/family.yaml")] == ["families/triage/family.yaml"]


def test_a_restore_leaves_a_folder_that_the_backup_has_too_as_it_is(world: World, tmp_path: Path) -> None:
    home, new = world.settings.home, tmp_path / "new"
    (home / "families").rename(home / "prompts")
    env = {"DETENT_FAMILIES_DIR": "prompts"}
    assert detent("backup", str(tmp_path / "b.tar"), env={"DETENT_HOME": str(home), **env}).code == 0
    (new / "prompts").mkdir(parents=True)
    (new / "prompts" / "precious.txt").write_text("mine")
    refused = detent("restore", str(tmp_path / "b.tar"), env={"DETENT_HOME": str(new), **env})
    assert (refused.code, "has prompts, as the backup has" in refused.err) == (1, True), refused.err
    assert [path.name for path in new.rglob("*")] == ["prompts", "precious.txt"]


def test_who_came_back_and_was_forgotten_again_is_forgotten_in_a_backup_of_between(
    world: World, tmp_path: Path
) -> None:
    home, forget = world.settings.home, ("data", "forget", "--unit", "user-1", "--confirm", "user-1")
    event = {"family": "triage", "variant": world.champion(), "unit": "user-1", "input": {"text": "hi"}, "output": "x"}
    assert world.post("/v1/feedback", {**event, "id": "in_a"}).json()["accepted"] == 1
    assert in_home(home, *forget).code == 0
    assert world.post("/v1/feedback", {**event, "id": "in_b"}).json()["accepted"] == 1
    assert in_home(home, "backup", tmp_path / "b.tar").code == 0
    assert in_home(home, *forget).code == 0
    assert in_home(tmp_path / "new", "restore", tmp_path / "b.tar").code == 0
    store = wiring.open_store(load_settings(home=tmp_path / "new"))
    assert rows(store, "interactions") == []
    store.close()


def test_who_came_back_before_a_backup_stays_in_it_until_they_are_forgotten_again(world: World, tmp_path: Path) -> None:
    home, forget = world.settings.home, ("data", "forget", "--unit", "user-1", "--confirm", "user-1")
    event = {"family": "triage", "variant": world.champion(), "unit": "user-1", "input": {"text": "hi"}, "output": "x"}

    def ids_in(backup: str) -> list[str]:
        new = tmp_path / f"of {backup} {len(list(tmp_path.iterdir()))}"
        assert in_home(new, "restore", tmp_path / backup).code == 0
        store = wiring.open_store(load_settings(home=new))
        ids = [str(row["id"]) for row in rows(store, "interactions")]
        store.close()
        return ids

    assert world.post("/v1/feedback", {**event, "id": "in_a"}).json()["accepted"] == 1
    assert in_home(home, "backup", tmp_path / "b.tar").code == 0
    assert in_home(home, *forget).code == 0
    assert world.post("/v1/feedback", {**event, "id": "in_b"}).json()["accepted"] == 1
    assert in_home(home, "backup", tmp_path / "c.tar").code == 0
    assert [ids_in("b.tar"), ids_in("c.tar"), ids_in("b.tar")] == [[], ["in_b"], []]
    assert ids_in("c.tar") == ["in_b"], "a restore of an older one forgot nobody anew"
    assert in_home(home, *forget).code == 0
    assert ids_in("c.tar") == []
