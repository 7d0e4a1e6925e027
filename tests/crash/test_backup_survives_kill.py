"""A backup and a restore are killed with SIGKILL half-way: no file and no home looks whole, and the next run is."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import NotFound
from optimizer.host.config import Settings, load_settings
from optimizer.runtime import back_up_home, restore_home
from optimizer.runtime.back_up_home import STORE, HomeBackup
from tests.children import exit_code
from tests.stores import NOW, arm, interaction, keep_events, migrate_store

N = 20


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = load_settings(home=tmp_path / "home")
    for name in ("config", "families", "mlflow"):
        (settings.home / name).mkdir(parents=True)
        (settings.home / name / "file").write_text(name)
    migrate_store(settings)
    store = Database(settings.db_url())
    keep_events(store, [interaction(f"in_{n}", of=arm(rollout=None)) for n in range(N)])
    store.close()
    return settings


def back_up(settings: Settings, file: Path) -> HomeBackup:
    return back_up_home.back_up_home(settings, file, at=NOW, version="1")


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def back_up_and_die(settings: Settings, file: Path) -> None:
    back_up_home._BackupArchive.finish = die  # type: ignore[assignment]
    back_up(settings, file)


def restore_and_die(settings: Settings, file: Path, at: str) -> None:
    if at == "unpacked":
        restore_home._hold_all = die  # type: ignore[assignment]
    else:
        real = Path.rename

        def dying(self: Path, target: Path) -> Path:
            if self.name == at:
                die()
            return real(self, target)

        Path.rename = dying  # type: ignore[method-assign, assignment]
    restore_home.restore_home(settings, file, actor="test")


def test_a_killed_backup_leaves_no_file_of_its_name_and_the_next_one_is_whole(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    assert exit_code(back_up_and_die, home, file) == -signal.SIGKILL
    assert not file.exists()
    assert list(tmp_path.glob(".b.tar.*.part")), "it had begun"
    assert back_up(home, file).n_files == 4
    assert not list(tmp_path.glob(".b.tar.*.part"))


@pytest.mark.parametrize("at", ["unpacked", "families", "var"])
def test_a_killed_restore_leaves_a_home_without_a_store_and_the_next_one_is_whole(
    home: Settings, tmp_path: Path, at: str
) -> None:
    file, new = tmp_path / "b.tar", load_settings(home=tmp_path / "new")
    back_up(home, file)
    assert exit_code(restore_and_die, new, file, at) == -signal.SIGKILL
    assert not (new.home / "var").exists()
    with pytest.raises(NotFound):  # a mistake in the second call leaves it to a third
        restore_home.restore_home(new, file, actor="test", forgotten="elsewhere")
    assert restore_home.restore_home(new, file, actor="test").held == {}
    assert sorted(path.name for path in new.home.iterdir()) == ["config", "families", "mlflow", "var"]
    assert (new.home / "families" / "file").read_text() == "families"
    store = Database(f"sqlite:///{new.home / STORE}")
    with store.read() as tx:
        assert len(list(store.tables.each(tx, "interactions"))) == N
    store.close()
