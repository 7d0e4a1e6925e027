"""A rotation is killed with SIGKILL at each of its steps: no key is lost, and the same command ends it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Literal

import pytest

from optimizer.adapters.files import secrets as key_files
from optimizer.adapters.files.secrets import Secrets
from optimizer.adapters.store import Database
from optimizer.host.config import Settings
from optimizer.jobs.upkeep import rotate_installation_key as rotation
from optimizer.runtime import wiring
from tests.children import die_at, exit_code
from tests.stores import reading
from tests.worlds.api_world import make_home

Kind = Literal["token", "unit"]
POINTS: dict[str, tuple[Kind, Any, str, int, bool]] = {  # what rotates; whose call at which number kills; behind it
    "before the file of token keys": ("token", key_files, "_replace", 1, False),
    "behind it, before the record": ("token", key_files, "_replace", 1, True),
    "within the record of a token key": ("token", rotation, "tell", 1, True),
    "before the older unit keys": ("unit", key_files, "_replace", 1, False),
    "between the two files of unit keys": ("unit", key_files, "_replace", 2, False),
    "behind both, before the record": ("unit", key_files, "_replace", 2, True),
    "within the record of a unit key": ("unit", rotation, "tell", 1, True),
}


def rotate(settings: Settings, kind: Kind) -> rotation.InstallationKeyReport:
    store = Database(settings.db_url())
    try:
        context = wiring.open_context(settings, actor="ann", store=store)
        return rotation.rotate_installation_key(context, rotation.RotateInstallationKeyRequest(kind=kind))
    finally:
        store.close()


def rotate_and_die(settings: Settings, point: tuple[Kind, Any, str, int, bool]) -> None:
    kind, owner, name, number, after = point
    die_at(owner, name, number, after=after)
    rotate(settings, kind)


@pytest.mark.parametrize("point", POINTS)
def test_a_rotation_that_was_killed_ends_with_one_new_key_and_one_record(point: str, tmp_path: Path):
    settings, kind = make_home(tmp_path), POINTS[point][0]
    before = wiring.open_secrets(settings)
    assert exit_code(rotate_and_die, settings, POINTS[point]) == -signal.SIGKILL
    assert before.unit_key in wiring.open_secrets(settings).unit_keys
    assert before.token_keys[0] in wiring.open_secrets(settings).token_keys
    n_made = len(getattr(wiring.open_secrets(settings), f"{kind}_keys"))
    report = rotate(settings, kind)
    was_made = n_made == 2  # by the one that was killed
    assert (report.changed, "nothing new was made" in report.what) == (not was_made, was_made), report
    name = report.key
    after = Secrets.load(settings.var() / "keys")
    assert (len(after.token_keys), len(after.unit_keys)) == ((2, 1) if kind == "token" else (1, 2))
    assert before.token_keys[0] == after.token_keys[-1]
    assert before.unit_key == after.unit_keys[-1]
    store = Database(settings.db_url())
    entries, _ = reading(store).audit.page(None, 100)
    store.close()
    assert [entry["subject"] for entry in entries if entry["action"] == rotation.ACTION] == [name]
    assert rotate(settings, kind).key != name  # the next one makes a key again
