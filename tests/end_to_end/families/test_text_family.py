"""docs/how-to/text-as-a-family.md, followed: its commands make a text a family, its example serves it to sessions from
the outside and reports them, and what it shows of an application runs.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clock import until
from tests.stand_ins.running_server import Server, make_home, started
from tests.stand_ins.scripted_model import provider

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "text-as-a-family.md").read_text(encoding="utf-8")
TEXT = "# Changelog\n\nName the section that a change belongs to: added, changed or fixed. Say that word alone."
SHORTER = "Added, changed or fixed?"


def typed(beginning: str) -> list[str]:
    command = next(line for line in PAGE.splitlines() if line.startswith(f"detent {beginning}"))
    return shlex.split(command)[1:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that has the page's family, made by the page's commands."""
    folder = tmp_path_factory.mktemp("text")
    with provider() as model:
        home = make_home(folder / "home", model.url)
        models = json.loads((home / "config" / "models.yaml").read_text())
        (home / "config" / "models.yaml").write_text(json.dumps(models | {"gpt-4o-mini": models["embedded"]}))
        with started(home) as running, pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            Path("SKILL.md").write_text(TEXT)
            rows = [f"change {n},{('added', 'changed', 'fixed')[n % 3]}" for n in range(60)]
            Path("tasks.csv").write_text("\n".join(["task,section", *rows]))
            Path("shorter.json").write_text(
                json.dumps([{"role": "system", "content": SHORTER}, {"role": "user", "content": "{{task}}"}])
            )
            subprocess.run(next(line for line in PAGE.splitlines() if line.startswith("printf")), shell=True)
            ran = running.detent(*typed("family create"))
            assert ran.code == 0, ran.err
            yield running


def session(url: str, unit: str, *, check: str = "true", then: str = "") -> subprocess.CompletedProcess[str]:
    """The page's command with an agent that reads the text, and says it."""
    line = next(line for line in PAGE.splitlines() if line.startswith("python examples/text_session.py"))
    words = shlex.split(line)[1:]
    agent = [sys.executable, "-c", f"print(open('SKILL.md').read()); {then}"]
    words = [*words[: words.index("--") + 1], *agent]
    words[words.index("ann")], words[words.index("make test")] = unit, check
    words[0] = str(ROOT / words[0])
    environment = {"DETENT_SERVER": url, "PYTHONPATH": str(ROOT / "client")}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60)


def items(server: Server, what: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = httpx.get(f"{server.url}/v1/{what}?family=changelog&limit=500").json()["items"]
    return listed


def test_sessions_get_the_text_in_its_file_and_report_how_they_ended(server: Server) -> None:
    good = session(server.url, "ann")
    assert (good.returncode, good.stdout.strip()) == (0, TEXT)
    assert good.stderr.startswith("champion: v_")
    assert session(server.url, "ann", check="false").returncode == 0
    assert session(server.url, "ben", then="raise SystemExit(3)").returncode == 3
    assert Path("SKILL.md").read_text() == TEXT, "what stood there before"
    sessions = until(lambda: len(seen := items(server, "interactions")) == 3 and seen, "the sessions")
    assert sorted(str(one["error"]) for one in sessions) == ["None", "None", "exit code 3"]
    assert all(one["latency_ms"] > 0 for one in sessions)
    outcomes = until(lambda: len(seen := items(server, "feedback")) == 3 and seen, "the outcomes")
    assert sorted(one["success"] for one in outcomes) == [False, True, True]
    assert {one["source"] for one in outcomes} == {"system"}


@pytest.mark.usefixtures("server")
def test_while_the_service_is_away_the_session_has_the_text_of_its_own() -> None:
    away = session("http://127.0.0.1:9", "ann")
    assert (away.returncode, away.stdout.strip()) == (0, TEXT)
    assert "fallback: None" in away.stderr
    file = Path("SKILL.md")
    file.unlink()
    try:
        assert session("http://127.0.0.1:9", "ann").returncode == 0
        assert not file.exists(), "where there was no file, none is left"
    finally:
        file.write_text(TEXT, encoding="utf-8")


def test_a_new_text_is_searched_rolled_out_to_some_units_and_rolled_back(server: Server) -> None:
    def run(*words: str) -> str:
        ran = server.detent(*words)
        assert ran.code == 0, (words, ran.out, ran.err)
        return ran.out

    assert "calls" in run(*typed("study run"))
    session(server.url, "ann")
    until(lambda: items(server, "interactions"), "a report")
    candidate = json.loads(run(*typed("variant create"), "--json"))["variant"]
    start = [candidate if word == "v_…" else word for word in typed("rollout start")]
    run(*start, "--ladder", "0.5")
    run(*typed("rollout approve"))
    until(lambda: candidate in httpx.get(f"{server.url}/v1/snapshot").text, "the rollout")
    served = {role_of(server, f"u{n}"): f"u{n}" for n in range(60)}
    assert session(server.url, served["champion"]).stdout.strip() == TEXT
    assert session(server.url, served["candidate"]).stdout.strip() == SHORTER
    counted = until(
        lambda: len(seen := [one for one in items(server, "feedback") if one["rollout"]]) == 2 and seen,
        "their outcomes",
    )
    assert {one["variant"] == candidate for one in counted} == {True, False}
    run(*typed("rollout rollback"))
    until(lambda: role_of(server, served["candidate"]) == "champion", "the champion for everybody")


def role_of(server: Server, unit: str) -> str:
    return str(httpx.get(f"{server.url}/v1/families/changelog/prompt", params={"unit": unit}).json()["role"])


def test_the_page_s_lines_of_an_application_run(server: Server) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
    sent: list[str] = []
    names: dict[str, Any] = {
        "key": None,
        "own_text": TEXT,
        "user_id": f"user-{time.monotonic_ns()}",
        "task": "Sort it.",
        "is_merged": True,
        "run_agent": lambda system, task: sent.append(system),
    }
    exec(code.replace("http://127.0.0.1:8321", server.url), names)
    names["detent"].close()
    assert sent in ([TEXT], [SHORTER])
    id = names["session"].id
    until(lambda: httpx.get(f"{server.url}/v1/interactions/{id}").status_code == 200, "the session")
