"""``detent thresholds compare`` as people type it, in a home of its own, without a server."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.app import run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose content pipeline has 600 recorded items."""
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copytree(ROOT / "families" / "content_pipeline", tmp_path / "families" / "content_pipeline")
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
    (tmp_path / "items.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert run(["import", str(tmp_path / "items.jsonl"), "--family", "content_pipeline"]) == 0
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


def test_cannot_tell_is_an_answer_of_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strict = home / "quality_filtering.yaml"
    strict.write_text("thresholds: {min_coherence: 0.58}\nchecks: {needed: 4}\n", encoding="utf-8")
    code, found = compared(
        capsys, "--conservative", str(strict), "--aggressive", "balanced", "--confidence", "0.999999"
    )
    assert (code, found["choice"], found["answer"]) == (0, None, "cannot tell")
    assert len(found["possible"]) > 1
    capsys.readouterr()
    assert (
        run(["thresholds", "compare", "content_pipeline", "--conservative", str(strict), "--confidence", "0.999999"])
        == 0
    )
    assert "Answer    cannot tell" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(
            ("--aggressive", "agressive"),
            2,
            "no configuration 'agressive'. Name one of conservative, balanced",
            id="a mistyped name",
        ),
        pytest.param(("--aggressive", "v_000000000000"), 1, "detent variant list", id="an unknown variant"),
        pytest.param(("--aggressive", "nowhere/early_exit.yaml"), 1, "There is no file", id="a missing file"),
        pytest.param(("--aggressive", "items.yaml"), 1, "There is no file", id="a file of another name"),
        pytest.param(("--confidence", "95"), 2, "between 0 and 1", id="a confidence in percent"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, says: str
) -> None:
    assert run(["thresholds", "compare", "content_pipeline", *words]) == code
    assert says in capsys.readouterr().err


def test_too_few_items_are_refused_as_by_a_limit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strict = home / "quality_filtering.yaml"
    strict.write_text("thresholds: {min_coherence: 0.99}\nchecks: {needed: 4}\n", encoding="utf-8")
    assert run(["thresholds", "compare", "content_pipeline", "--conservative", str(strict)]) == 3
    assert "30 are needed" in capsys.readouterr().err
