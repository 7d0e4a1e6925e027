"""Who leaves takes everything along: prompts that are served without a server, and all rows with their chains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from detent_client import Client
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from tests.clock import Clock
from tests.command_line import Ran, detent
from tests.recordings.fixed import api_of, fixed
from tests.recordings.home import END, PREFIX, unpacked

NOWHERE = "http://127.0.0.1:9"


def say(home: Path, *words: str) -> Ran:
    return detent(*words, env={"DETENT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "100"})


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One in which every table is filled."""
    with fixed(Clock(datetime.fromisoformat(END.read_text().strip()))):
        settings = unpacked(tmp_path_factory.mktemp(PREFIX))
        wiring.migrate_store(settings)
        yield settings


def test_a_client_serves_every_champion_from_the_snapshot_file_as_the_server_did(
    home: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "champions.json"
    assert say(home.home, "export", "snapshot", "--out", str(file)).code == 0
    families = json.loads(file.read_text(encoding="utf-8"))["families"]
    assert families
    with api_of(home, Clock(datetime.fromisoformat(END.read_text().strip()))) as api:
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
