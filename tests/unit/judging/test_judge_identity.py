"""Whose calibration counts: a judge is its models, as config/models.yaml has them, and its rubric."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.worlds.rated_world import YAML, F

LARGE = "large: {litellm: openai/gpt-4o-2024-08-06, api_key_env: KEY, timeout_s: 60}\n"
OTHERS = "small: {openai_compatible: 'http://localhost:1', model: a}\nembedded: {provider: embedded}\n"


def identity(home: Path, models: str) -> str:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "models.yaml").write_text(models)
    (home / "families" / F).mkdir(parents=True, exist_ok=True)
    (home / "families" / F / "family.yaml").write_text(YAML.replace("model: embedded", "model: large"))
    return judge_identity(wiring.load_families(load_settings("dev", home)).families[F])


@pytest.mark.parametrize(
    ("models", "is_same"),
    [
        (LARGE + OTHERS, True),
        (LARGE.replace("60", "30") + OTHERS, True),
        (LARGE + OTHERS.replace("model: a", "model: b"), True),
        (LARGE.replace("2024-08-06", "2024-11-20") + OTHERS, False),
        ("large: {openai_compatible: 'http://localhost:1', model: a}\n" + OTHERS, False),
    ],
    ids=["untouched", "another time limit", "another model elsewhere", "another version", "another server"],
)
def test_another_model_under_the_same_name_is_another_judge(tmp_path: Path, models: str, is_same: bool) -> None:
    first = identity(tmp_path, LARGE + OTHERS)
    assert (identity(tmp_path, models) == first) == is_same


def test_the_model_is_known_after_a_restart_with_a_broken_family_file(tmp_path: Path) -> None:
    good = identity(tmp_path, LARGE + OTHERS)
    file = tmp_path / "families" / F / "family.yaml"
    file.write_text("name: [")
    assert judge_identity(wiring.load_families(load_settings("dev", tmp_path)).families[F]) == good
