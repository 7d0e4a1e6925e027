"""The forgetting of a person is killed with SIGKILL at each of its steps, and ends as it does in peace; a restore that
forgets them does, too.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters import personal_places
from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.personal import PersonalTables
from optimizer.core.views.forgetting import ForgetQuery, ForgetRun
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.upkeep import forget_person
from optimizer.runtime import restore_home, wiring
from optimizer.runtime.back_up_home import back_up_home
from optimizer.runtime.personal_home import FORGOTTEN, forgetting_home, forgotten_in
from tests.children import die_at, exit_code
from tests.stores import NOW, reading, writing
from tests.worlds.api_world import make_home
from tests.worlds.forgotten_world import MARK, SAID, F, files_with, plant, plant_short

# By name, whose call at which number kills: before it does anything, and with ``after`` when it has.
POINTS: dict[str, tuple[Any, str, int, bool]] = {
    "before anything went": (forget_person, "_serve_others", 1, False),
    "when another champion serves": (forget_person, "_serve_others", 1, True),
    "within the rows of the person": (PersonalTables, "remove", 3, False),
    "before a commit of such rows": (PersonalTables, "remove", 2, True),
    "within the other tables": (PersonalTables, "clear", 4, False),
    "before a commit of another table": (PersonalTables, "clear", 2, True),
    "in the logs": (personal_places, "_filled", 2, False),
    "in a file of examples": (personal_places, "_replace", 2, False),
    "in another program's database": (personal_places, "_cleared", 1, False),
    "before the record says so": (forget_person, "_tell", 1, False),
    "before the store is written anew": (Database, "compact", 1, False),
    "behind it": (Database, "compact", 1, True),
}
RESTORE_POINTS = {name: point for name, point in POINTS.items() if name != "in the logs"} | {
    "when all was forgotten": (restore_home, "_forget_again", 1, True)
}  # a backup has no logs


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copied for each test; its store is closed."""
    settings = make_home(tmp_path_factory.mktemp("forget") / "home")
    store, clock, families = Database(settings.db_url()), wiring.open_clock(settings), wiring.load_families(settings)
    intake = wiring.open_intake(settings, store, clock, families, actor="app")
    planted = plant(settings, store, clock, intake)
    plant_short(settings, store, clock, intake, f"who is {MARK} of Kiel")
    query = ForgetQuery(unit=planted["unit"], own_words=False, dry_run=False)
    store.write(lambda tx: forget_person.queue_forgetting(tx, store, query, actor="ann", at=clock.now()))
    store.close()
    return settings.home


def copied(home: Path, folder: Path) -> Settings:
    shutil.copytree(home, folder)
    return load_settings("dev", folder)


def unfinished(settings: Settings) -> list[Any]:
    store = Database(settings.db_url())
    try:
        return list(reading(store).runs.unfinished())
    finally:
        store.close()


def forget(settings: Settings) -> ForgetRun:
    store, clock = Database(settings.db_url()), wiring.open_clock(settings)
    try:
        (run,) = reading(store).runs.unfinished()
        return forget_person.carry_out_forgetting(
            run.id, forgetting_home(settings, store, clock, wiring.load_families(settings))
        )
    finally:
        store.close()


def forget_and_die(settings: Settings, point: tuple[Any, str, int, bool]) -> None:
    owner, name, number, after = point
    die_at(owner, name, number, after=after)
    forget(settings)


def what_is_left(settings: Settings) -> Any:
    """Every row but times and what the runs are called; names of files, but of copies that any start makes anew."""
    store = Database(settings.db_url())
    try:
        with store.read() as tx:
            names = [name for name in store.tables.names() if name not in ("watermarks", "judge_runs")]
            rows = {name: list(store.tables.each(tx, name)) for name in names}
    finally:
        store.close()
    times = ("at", "since", "until", "seq", "not_before", "created_at", "subject", "ended_at")
    plain = {
        name: sorted(str({key: value for key, value in row.items() if key not in times}) for row in of)
        for name, of in rows.items()
    }
    files = sorted(str(f.relative_to(settings.home)) for f in settings.home.rglob("*") if f.is_file())
    return plain, [file for file in files if not file.startswith(("var/run", "var/last_good"))]


@pytest.fixture(scope="module")
def in_peace(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = copied(home, tmp_path_factory.mktemp("peace") / "home")
    run = forget(settings)
    assert run.status == "finished", run.error
    return run.result, what_is_left(settings)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_killed_forgetting_ends_as_in_peace(
    home: Path, in_peace: Any, tmp_path: Path, point: tuple[Any, str, int, bool]
) -> None:
    settings = copied(home, tmp_path / "home")
    assert exit_code(forget_and_die, settings, point) == -signal.SIGKILL
    run = forget(settings)
    assert run.status == "finished", run.error
    assert files_with(settings.home, MARK) == []
    result, left = in_peace
    assert run.result == result
    assert what_is_left(settings) == left
    assert len(forgotten_in(settings.var() / FORGOTTEN)) == 1
    assert not list(settings.run_dir().rglob("*.json"))


@pytest.mark.parametrize("point", ["before anything went", "within the other tables", "behind it"])
@pytest.mark.parametrize("list_of_forgotten", [None, "none"])
def test_a_backup_made_in_the_middle_becomes_a_home_in_which_it_has_ended(
    home: Path, in_peace: Any, tmp_path: Path, list_of_forgotten: str | None, point: str
) -> None:
    """Whose rows had gone, so that nothing but the notes of the run says what else is theirs."""
    settings = copied(home, tmp_path / "home")
    assert exit_code(forget_and_die, settings, POINTS[point]) == -signal.SIGKILL
    (id,) = [run.id for run in unfinished(settings)]
    back_up_home(settings, tmp_path / "b.tar", at=NOW, version="1")
    new = load_settings("dev", tmp_path / "new")
    assert restore_home.restore_home(new, tmp_path / "b.tar", actor="ann", forgotten=list_of_forgotten).n_forgotten == 1
    assert files_with(new.home, MARK) == []
    assert unfinished(new) == []
    store = Database(new.db_url())
    run: Any = reading(store).runs.get(id)
    store.close()
    assert (run.status, run.result["variants"]) == ("finished", in_peace[0]["variants"])


def test_a_forgetting_that_could_not_begin_has_ended_however_it_is_killed(home: Path, tmp_path: Path) -> None:
    settings = copied(home, tmp_path / "home")
    file = settings.families_dir / F / "family.yaml"
    file.write_text(file.read_text().replace("Is it billing", f"Such as: {SAID}. Is it billing"))
    assert exit_code(forget_and_die, settings, (forget_person, "_keep", 1, True)) == -signal.SIGKILL
    assert unfinished(settings) == []


def test_a_run_that_knows_nobody_takes_nothing_away(home: Path, tmp_path: Path) -> None:
    """As in a home that was restored from a backup of an ending one: an empty note is nobody's."""
    settings = copied(home, tmp_path / "home")
    before = what_is_left(settings)
    store, (run,) = Database(settings.db_url()), unfinished(settings)
    writing(store).runs.update(run.id, request={**run.request, "unit": ""})
    store.close()
    run = forget(settings)
    assert (run.status, "Say it again" in (run.error or "")) == ("failed", True)
    assert what_is_left(settings) == before


def restore(folder: Path, backups: tuple[Path, Path]) -> tuple[restore_home.HomeRestore, Settings]:
    """``backups``: one made before the forgetting, and the file that names the person."""
    settings, (file, forgotten) = load_settings("dev", folder), backups
    return restore_home.restore_home(settings, file, actor="ann", forgotten=str(forgotten)), settings


def restore_and_die(folder: Path, backups: tuple[Path, Path], point: tuple[Any, str, int, bool]) -> None:
    owner, name, number, after = point
    die_at(owner, name, number, after=after)
    restore(folder, backups)


@pytest.fixture(scope="module")
def backups(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    settings, folder = copied(home, tmp_path_factory.mktemp("before") / "home"), tmp_path_factory.mktemp("backups")
    back_up_home(settings, folder / "b.tar", at=NOW, version="1")
    forget(settings)
    (unit,) = forgotten_in(settings.var() / FORGOTTEN)
    (folder / "since.jsonl").write_text(json.dumps({"unit": unit, "at": NOW.isoformat()}) + "\n")
    return folder / "b.tar", folder / "since.jsonl"


@pytest.fixture(scope="module")
def restored_in_peace(backups: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    restored, settings = restore(tmp_path_factory.mktemp("peace") / "home", backups)
    return restored.n_forgotten, what_is_left(settings)


@pytest.mark.parametrize("point", RESTORE_POINTS.values(), ids=RESTORE_POINTS)
def test_a_restore_that_is_killed_while_it_forgets_ends_as_in_peace(
    backups: tuple[Path, Path], restored_in_peace: Any, tmp_path: Path, point: tuple[Any, str, int, bool]
) -> None:
    assert exit_code(restore_and_die, tmp_path / "new", backups, point) == -signal.SIGKILL
    assert not (tmp_path / "new" / "var").exists(), "it is no home yet"
    restored, settings = restore(tmp_path / "new", backups)
    assert (restored.n_forgotten, what_is_left(settings)) == restored_in_peace
    assert restored.n_forgotten == 1
    assert files_with(settings.home, MARK) == []
