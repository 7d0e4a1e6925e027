"""Every command of docs/runbook.md is run in the order of the page, beside a server and in the homes that it makes, and
every page and route is read that it names.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.content.core.records.fields import CHECKPOINTS
from optimizer.content.core.records.record import read_record
from optimizer.content.jobs.watch_pipeline import watch_pipeline
from optimizer.core.base.errors import Busy
from optimizer.core.feedback.pipeline_record import TARGETS
from optimizer.core.views.forgetting import ForgetRun
from optimizer.host.run_files import announce
from optimizer.jobs.upkeep.forget_person import carry_out_forgetting
from optimizer.runtime.personal_home import forgetting_home
from tests.command_line import detent
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket
from tests.worlds.taught_student import TAUGHT, crown

PAGE = Path(__file__).resolve().parents[3] / "docs" / "runbook.md"
STEP = re.compile(r"`(?:DETENT_HOME=(\S+) )?detent ([^`]+)`|`(?:GET )?(/(?:v1|dashboard)/[^`]+)`")
UNTESTED = re.compile(r"`(?:POST|PUT|PATCH|DELETE) [^`]+`|\bcurl\b")
MENTIONED = {"`POST /v1/chat/completions`"}  # by the problem that it answers
PROCESSES = {"serve", "worker"}  # stay until they are ended: test_serve.py and tests/crash start and end them
FINDINGS = {"doctor": "at fault", "study cancel triage": "has had no study"}  # exit 1 is a result here


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backups").mkdir()
    (tmp_path / "srv").mkdir()
    shutil.copytree(PAGE.parents[1] / "families" / "content_pipeline", home / "families" / "content_pipeline")
    settings = make_home(home)
    with serving(settings) as running, on_a_socket(running.app, settings) as url:
        announce(settings, "api", url)
        running.add_key("boss", "admin", secret="boss")
        running.add_key("web", "feedback", secret="web")
        running.add_key("batch", "feedback", secret="batch")
        running.client.headers["Authorization"] = "Bearer boss"
        monkeypatch.setenv("DETENT_API_KEY", "boss")
        ended = threading.Event()
        worker = threading.Thread(target=forget, args=(running, ended), daemon=True)
        worker.start()
        yield running
        ended.set()
        worker.join()


def forget(world: World, ended: threading.Event) -> None:
    """What the worker does of it."""
    shared = world.shared
    home = forgetting_home(world.settings, shared.store, shared.clock, shared.families)
    while not ended.wait(0.1):
        with shared.store.read() as tx:
            runs = [run for run in shared.store.runs.unfinished(tx) if isinstance(run, ForgetRun)]
        for run in runs:
            with suppress(Busy):  # as when a long read keeps the log from being emptied: the next look goes on
                carry_out_forgetting(run.id, home)


def chapters() -> list[tuple[str, list[tuple[str | None, str]]]]:
    """Title and steps of each: a command with the home that stands before it, or an address to read."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [
        (title, [(home or None, " ".join(words.split()) or address) for home, words, address in STEP.findall(text)])
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def two_configurations(world: World) -> None:
    """A second champion of the content pipeline, and what a week with half of the items under each reported."""
    made = detent("variant", "create", "content_pipeline", "--policy", "filter.min_overall=0.7", "--json")
    second = json.loads(made.out[made.out.index("{") :])["variant"]  # after what the server of this process logs
    assert (
        detent("champion", "set", "content_pipeline", second, "--reason", "x", "--confirm", "content_pipeline").code
        == 0
    )
    rng, shared = random.Random(7), world.shared
    records = [
        read_record(
            {
                "processing_type": ("full", "lightweight", "early_exit")[i % 3],
                "content_type": rng.choice(("news", "talk", "interview")),
                "quality_score": rng.random(),
                "time_saved_pct": (0, 0.8, 0.9)[i % 3],
                "config_version": rng.choice(("conservative", "aggressive")),
                **({"exit_checkpoint": CHECKPOINTS[i // 3 % 4]} if i % 3 == 2 else {}),
            },
            id=f"pr_{i}",
            received_at=shared.clock.now(),
        )
        for i in range(600)
    ]
    shared.store.write(lambda tx: shared.store.pipeline_stats.add(tx, records))
    assert watch_pipeline(shared.store, shared.clock, TARGETS)


def bypassed_student(world: World) -> None:
    """A champion of triage that names a student, which is bypassed."""
    store, at = world.shared.store, world.shared.clock.now()
    with store.read() as tx:
        tenure = store.champions.current(tx, "triage")
        assert tenure is not None
        record = store.variants.get(tx, "triage", tenure.variant)
    assert record is not None
    students = {"student": TAUGHT.student.hash}
    variant = replace(record.variant, policy={"tiers": ["student", "fake"], "accept": 0.9, "students": students})
    store.write(lambda tx: store.students.add(tx, "triage", TAUGHT, study="st-1", at=at))
    crown(store, "triage", variant, at=at)
    assert detent("student", "bypass", "triage", "--reason", "before").code == 0


def test_every_command_of_the_runbook_does_what_its_chapter_says(world: World, tmp_path: Path) -> None:
    night = world.candidate("Is it billing? Answer with one word.")
    assert detent("champion", "set", "triage", night, "--reason", "before", "--confirm", "triage").code == 0
    world.deploying()
    two_configurations(world)
    assert detent("backup", str(tmp_path / "backups" / "monday.tar.gz")).code == 0
    n_run = n_read = 0
    for title, commands in chapters():
        if title == "The worker is dead":
            world.deploying()
            assert detent("rollout", "hold", "triage", "--reason", "the clock ran ahead").code == 0
        if title == "A student is bypassed":
            bypassed_student(world)
        elsewhere: dict[str, str] = {}
        for home, words in commands:
            if words in PROCESSES:
                continue
            if words.startswith("/"):
                n_read += 1
                answer = world.client.get(words)
                assert answer.status_code == 200, f"{title}: {words}\n{answer.text}"
                if words == "/v1/audit":
                    assert {"key.rotate", "key.revoke"} <= {entry["action"] for entry in answer.json()["items"]}
                continue
            here = words.replace("v_0a1b2c3d4e5f", night).replace("/mnt/backups", str(tmp_path / "backups"))
            if home is not None:
                elsewhere = {"DETENT_HOME": home.replace("/srv", str(tmp_path / "srv")), "DETENT_API_KEY": ""}
            ran = detent(*shlex.split(here), env=elsewhere or None)
            said, n_run = ran.out + ran.err, n_run + 1
            if ran.code == 1 and words in FINDINGS:
                assert FINDINGS[words] in said, f"{title}: {words}\n{said}"
            else:
                assert ran.code == 0, f"{title}: {words}\n{said}"
            if (title, words) == ("Take one family back", "status"):
                assert re.search(r"^Moved .* serves since .* Back: detent champion rollback triage$", said, re.M), said
            world.shared.serving.refresh()
    assert (n_run > 40, n_read) == (True, 3)


def test_the_runbook_asks_for_no_request_that_the_test_above_leaves_out() -> None:
    assert set(UNTESTED.findall(PAGE.read_text(encoding="utf-8"))) == MENTIONED
