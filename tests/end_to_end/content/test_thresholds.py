"""``detent thresholds compare`` as people type it, in a home of its own, without a server."""

from __future__ import annotations

import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.app import run
from optimizer.content.core.records.record import read_record
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.cases import named

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose content pipeline has 600 recorded items."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(ROOT / "families" / "content_pipeline", folder / "families" / "content_pipeline")
    rng = random.Random(5)
    lines = []
    for i in range(600):
        coherence = rng.random()
        item = {
            "content_type": rng.choice(["news", "interview"]),
            "word_count": rng.randrange(30, 2500),
            "sentence_count": 40,
        }
        quality = min(1.0, max(0.0, 0.3 + 0.5 * coherence + rng.gauss(0, 0.1)))
        lines.append(
            json.dumps(
                {
                    "id": f"i{i}",
                    "input": {**item, "coherence_score": coherence, "overall_quality": 0.7},
                    "expected": {"quality": quality},
                }
            )
        )
    (folder / "items.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETENT_HOME", str(folder))
        assert run(["import", str(folder / "items.jsonl"), "--family", "content_pipeline"]) == 0
    return folder


@pytest.fixture
def home(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which commands run."""
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    for name, value in (("DETENT_HOME", str(tmp_path)), ("NO_COLOR", "1"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    return tmp_path


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    code = run(["thresholds", "compare", "content_pipeline", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_presets_variants_and_files_are_compared_and_the_answer_has_its_intervals(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compared(capsys)
    assert code == 0
    assert found["choice"] == found["answer"] == "aggressive", (
        "incoherent items end early in the one alone, and they are not worth much"
    )
    assert found["quality_lost"]["low"] < found["quality_lost"]["estimate"] < found["quality_lost"]["high"]
    assert found["conservative"]["configuration"] == "version conservative"
    assert run(["thresholds", "compare", "content_pipeline"]) == 0
    shown = capsys.readouterr().out
    assert "Mean quality" not in shown
    assert "Quality of what is processed in full" in shown
    assert f"{found['aggressive']['score']:.3f}" in shown, (
        "a study's score beside it, which counts what is not processed in full"
    )
    assert "counts .5 for every item that is not processed in full" in shown

    strict = home / "strict"
    strict.mkdir()
    (strict / "quality_filtering.yaml").write_text(
        "checks: {needed: 4, min_words: 0}\nthresholds: {min_coherence: 0.8}\n", encoding="utf-8"
    )
    code, found = compared(capsys, "--conservative", str(strict), "--aggressive", "champion")
    assert (code, found["choice"]) == (0, "conservative")
    assert found["aggressive"]["configuration"].startswith("champion v_")
    assert found["quality_lost"]["low"] > 0.05


@named(
    ("words", "code", "says"),
    {
        "a mistyped name": (
            ("--aggressive", "agressive"),
            2,
            "no configuration 'agressive'. Name one of conservative, balanced",
        ),
        "an unknown variant": (("--aggressive", "v_000000000000"), 1, "detent variant list"),
        "a missing file": (("--aggressive", "nowhere/early_exit.yaml"), 1, "There is no file"),
        "a file of another name": (("--aggressive", "items.yaml"), 1, "There is no file"),
        "a confidence in percent": (("--confidence", "95"), 2, "less than or equal to 0.999999"),
    },
)
def test_what_cannot_be_compared_is_refused_with_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, says: str
) -> None:
    assert run(["thresholds", "compare", "content_pipeline", *words]) == code
    assert says in capsys.readouterr().err


def test_a_pipelines_own_files_become_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, files = tmp_path / "home", tmp_path / "pipeline"
    (home / "families").mkdir(parents=True)
    files.mkdir()
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    (files / "quality_filtering.yaml").write_text("thresholds: {min_overall: 0.7}\nnotes: ours\n", encoding="utf-8")
    (files / "monitoring.yaml").write_text(
        "overall_metrics:\n  bypass_rate: {target: 0.6, warning_low: 0.55}\n", encoding="utf-8"
    )
    assert run(["family", "create", "content_pipeline", "--from", str(files)]) == 0
    said = capsys.readouterr().err
    assert "version adopted serves, with 1 knob" in said
    assert "quality_filtering.yaml: 1 key without a knob, not taken over: notes." in said
    assert "Nothing of" not in said
    assert run(["family", "show", "content_pipeline", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["definition"]["prompt"]["versions"]["adopted"]["policy"] == {"filter.min_overall": 0.7}
    assert "warning_low: 0.55" in (home / "config" / "monitoring.yaml").read_text(encoding="utf-8")
    assert run(["family", "create", "content_pipeline", "--from", str(files)]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err

    saved = {"total_processed": 20, "quality_bypassed": 10, "early_exits": 4, "full_processing": 6}
    (tmp_path / "metrics_20261120_0830.json").write_text(json.dumps({"overall_metrics": saved}), encoding="utf-8")
    assert run(["thresholds", "recommend", "content_pipeline", "--metrics", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["recommendation"] is None
    assert answer["saved_metrics"]["figures"]["bypass_rate"]["status"] == "warning"
    assert run(["thresholds", "recommend", "content_pipeline", "--metrics", str(tmp_path)]) == 0
    assert "raise filter.min_overall" in capsys.readouterr().out


def test_keys_that_were_not_taken_over_are_named_and_so_is_a_file_of_which_none_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, files = tmp_path / "home", tmp_path / "pipeline"
    (home / "families").mkdir(parents=True)
    files.mkdir()
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "300")
    nested = "quality_filtering: {thresholds: {min_overall: 0.7, min_coherence: 0.6}, checks: {needed: 2}}\n"
    (files / "quality_filtering.yaml").write_text(nested, encoding="utf-8")
    (files / "early_exit.yaml").write_text("global: {min_exit_confidence: 0.8}\n", encoding="utf-8")
    assert run(["family", "create", "content_pipeline", "--from", str(files), "--json"]) == 0
    printed = capsys.readouterr()
    keys = ["thresholds.min_overall", "thresholds.min_coherence", "checks.needed"]
    made = json.loads(printed.out)
    assert made["not_carried"] == {"quality_filtering.yaml": [f"quality_filtering.{key}" for key in keys]}
    assert made["idle_files"] == ["quality_filtering.yaml"]
    assert "quality_filtering.yaml: 3 keys without a knob, not taken over: quality_filtering.thresholds" in printed.err
    assert "Nothing of quality_filtering.yaml decides anything." in printed.err


def test_two_configurations_are_compared_on_what_their_records_say(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = ["thresholds", "compare", "content_pipeline", "--live", "--hours", "1"]
    assert run([*live, "--aggressive", "conservative"]) == 2
    assert "compared with itself" in capsys.readouterr().err
    assert run(live) == 1
    assert "No record of the last 1 hours carries config_version conservative or aggressive" in capsys.readouterr().err
    rng, saved, records = random.Random(3), {"conservative": 0.6, "aggressive": 0.9}, []
    for i in range(480):
        name, full = list(saved)[i % 2], i % 4 < 2
        measured = {
            "processing_type": "full" if full else "lightweight",
            "quality_score": rng.gauss(0.8, 0.02),
            "time_saved_pct": 0.0 if full else saved[name],
            "config_version": name,
            "satisfaction": 0.7 if name == "conservative" else 0.6,
            "failed": name == "aggressive" and i % 8 == 1,
        }
        records.append(read_record(measured, id=f"pr_{i}", received_at=datetime.now(UTC)))
    store = wiring.open_store(load_settings())
    store.write(lambda tx: store.pipeline_stats.add(tx, records))
    store.close()
    capsys.readouterr()
    assert run([*live, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["choice"], answer["conservative"]["n_judged"], answer["aggressive"]["n"]) == ("aggressive", 120, 240)
    assert answer["time_saved_more"]["estimate"] == pytest.approx(0.15)
    assert answer["satisfaction_more"]["high"] < 0 < answer["errors_more"]["low"]
    assert (answer["conservative"]["error_rate"], answer["aggressive"]["error_rate"]) == (0.0, 0.25)
    for most, is_cut in ((480, False), (479, True)):
        monkeypatch.setattr("optimizer.content.jobs.compare_live_records.MOST_RECORDS", most)
        assert run([*live, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["is_cut"] is is_cut
    assert run(live) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "aggressive: quality lost" in said
    assert "more of the items" in said
