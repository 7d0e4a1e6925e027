"""A dry run names the model it prices; a model that nobody knows is a fault of the family everywhere;
doctor says where a key is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.doctor.keys import key_findings
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.runtime import wiring
from tests.cases import named
from tests.command_line import detent
from tests.worlds.gateway_world import make_home
from tests.worlds.study_world import TOPIC_FAMILY, topic_examples

PRICE = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
REMOTE = {"openai_compatible": "http://127.0.0.1:9", "model": "m", "price": PRICE, "retries": 0}
KEY = "DETENT_TEST_PROVIDER_KEY"


class Home:
    def __init__(self, folder: Path) -> None:
        models = {"remote": REMOTE, "other": {**REMOTE, "api_key_env": KEY}}
        self.settings = make_home(folder, {"topics": json.dumps(self.family("remote"))}, models)
        store = wiring.open_store(self.settings)
        wiring.sync_families(
            self.settings, wiring.load_families(self.settings), store, wiring.open_clock(self.settings)
        )
        rows = [*topic_examples(9, "train"), *topic_examples(6, "dev"), *topic_examples(20, "holdout")]
        store.write(lambda tx: store.examples.add(tx, rows))
        store.close()

    def family(self, model: str, **more: Any) -> dict[str, Any]:
        return {**TOPIC_FAMILY, "model": {"default": model, "max_tokens": 8, **more}}

    def name(self, model: str, **more: Any) -> None:
        (self.settings.families_dir / "topics" / "family.yaml").write_text(json.dumps(self.family(model, **more)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv(KEY, raising=False)
    return Home(tmp_path)


def test_a_dry_run_names_the_model_whose_price_it_says_which_is_the_champions(home: Home) -> None:
    assert "with model remote" in detent("study", "run", "topics", "--dry-run").out
    home.name("other")
    told = detent("study", "run", "topics", "--dry-run").out
    assert "with model remote (the serving champion's; the file now names other)" in told


DRY_RUNS = [
    pytest.param(["study", "run", "topics", "--dry-run"], id="study"),
    pytest.param(["study", "confirm", "topics", "file", "--dry-run"], id="confirm"),
    pytest.param(["family", "evaluate", "topics", "--dry-run"], id="evaluate"),
    pytest.param(["variant", "compare", "topics", "champion", "file", "--dry-run"], id="compare"),
]


@pytest.mark.parametrize("words", DRY_RUNS)
def test_a_dry_run_says_that_a_key_is_missing_before_money_is_spent(
    home: Home, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.name("other")
    missing = f"other: its key, the environment variable {KEY}, is not set in this shell. export {KEY}="
    dry = detent(*words)
    assert (dry.code, missing in dry.err) == (0, True), dry.err
    monkeypatch.setenv(KEY, "sk-very-secret")
    assert KEY not in detent(*words).err


@pytest.mark.parametrize("words", [pytest.param(["family", "validate", "topics"], id="validate"), *DRY_RUNS])
def test_a_model_that_nobody_knows_is_the_same_fault_of_the_family_everywhere(home: Home, words: list[str]) -> None:
    home.name("nowhere", proposer="nobody")
    ran = detent(*words)
    assert ran.code == 2, ran.err
    assert (
        "/model/default: There is no model 'nowhere' in config/models.yaml. Known: remote, other, student." in ran.err
    )
    assert "/model/proposer: There is no model 'nobody'" in ran.err


def test_doctor_finds_the_unknown_model_and_goes_on_to_the_others(home: Home) -> None:
    home.name("nowhere")
    ran = detent("doctor")
    assert ran.code == 1
    assert "There is no model 'nowhere'" in ran.out
    assert "detent family validate topics" in ran.out
    assert "mlflow" in ran.out


def test_doctor_says_of_which_model_most_requests_fail(home: Home) -> None:
    store, clock = wiring.open_store(home.settings), wiring.open_clock(home.settings)
    row = MinuteSums(
        family="topics", minute=clock.now().replace(second=0, microsecond=0), variant="v_1", model="remote"
    )
    for i in range(30):
        row.add_interaction(failed=i < 20, latency_ms=None, cost_usd=None)
    store.write(lambda tx: store.minute_stats.put(tx, [row]))
    store.close()
    assert "remote: 20 of 30 requests failed within 15 minutes" in detent("doctor").out


def test_doctor_says_which_library_of_the_system_the_embedded_model_lacks(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    why = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "broken" / "xllamacpp").mkdir(parents=True)
    (tmp_path / "broken" / "xllamacpp" / "__init__.py").write_text(f"raise ImportError({why!r})")
    (tmp_path / "config" / "models.yaml").write_text(json.dumps({"remote": REMOTE, "here": {"provider": "embedded"}}))
    home.name("here")
    assert "here: engine and weights are installed" in detent("doctor").out
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    ran = detent("doctor")
    assert ran.code == 1
    assert f"here: its engine does not start (ImportError: {why})" in ran.out
    assert "apt-get install libgomp1" in ran.out


def test_doctor_says_that_a_key_is_missing_and_in_which_shell(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.name("other")
    missing = detent("doctor")
    assert (
        missing.code,
        f"other: its key, the environment variable {KEY}, is not set in this shell" in missing.out,
    ) == (1, True), missing.out
    monkeypatch.setenv(KEY, "sk-very-secret")
    found = detent("doctor").out
    assert f"other: its key, the environment variable {KEY}, is set in this shell" in found
    assert "sk-very-secret" not in found


@named(
    ("shell", "server", "verdict", "says"),
    {
        "both": ({KEY: "a"}, {KEY: "a"}, "ok", "set in this shell and for the running server (pid 7)"),
        "only here": ({KEY: "a"}, {}, "fault", "not in the one that the running server (pid 7) was started from"),
        "only there": ({}, {KEY: "a"}, "warning", "set for the running server (pid 7), and not in this shell"),
        "nowhere": ({}, {KEY: ""}, "fault", "neither in this shell nor for the running server (pid 7)"),
        "no server": ({KEY: "a"}, None, "ok", "is set in this shell"),
    },
)
def test_the_shell_of_the_server_counts_too(
    shell: Mapping[str, str], server: Mapping[str, str] | None, verdict: str, says: str
) -> None:
    (found,) = key_findings({"other": KEY}, (7, server) if server is not None else None, shell)
    assert (found.verdict, says in found.detail) == (verdict, True), found.detail
