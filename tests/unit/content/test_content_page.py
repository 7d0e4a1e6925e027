"""docs/reference/content-pipeline.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.content.core.policy.files import FILES, read_files
from optimizer.content.core.policy.filter import TIMES
from optimizer.content.core.policy.flags import METRICS, SWITCHES, THRESHOLDS
from optimizer.content.core.policy.pipeline import KNOBS, PER_TYPE, PRIORITY
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.policy.route import CONTENT_TYPES
from optimizer.content.core.records.fields import FIELDS, Field
from optimizer.core.base.knob import Knob
from optimizer.core.feedback.pipeline_record import TARGETS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "content-pipeline.md").read_text(encoding="utf-8")


def knob_row(knob: Knob) -> str:
    """A row of the table of knobs; a star: may end in .<content type>."""
    said = "" if knob.default is None else f"{knob.default}"
    default = said.lower() if isinstance(knob.default, bool) else said
    meaning = knob.meaning[0].upper() + knob.meaning[1:]
    return f"| `{knob.name}`{' *' if knob.name in PER_TYPE else ''} | {knob.kind} | {default} | {meaning} |"


def field_row(field: Field) -> str:
    return f"| `{field.name}` | {field.known_from} | {field.kind} | {field.meaning} |"


def type_row(name: str) -> str:
    known = CONTENT_TYPES[name]
    own = ", ".join(f"`{knob}` {value:g}" for knob, value in known.thresholds.items())
    return f"| {name} | {known.mode} | {own} | {known.why} |"


def preset_row(name: str) -> str:
    p = PRESETS[name]
    pair = f"{p.min_overall:.2f} | {p.min_exit_confidence:.2f}"
    return f"| {name} | {pair} | {p.expected_bypass_share:.0%} | {p.expected_quality:.2f} | {p.meaning} |"


@pytest.mark.parametrize(
    "row",
    [
        *map(knob_row, [*KNOBS, PRIORITY]),
        *map(field_row, FIELDS),
        *map(type_row, CONTENT_TYPES),
        *map(preset_row, PRESETS),
    ],
)
def test_the_tables_are_the_code_s(row: str) -> None:
    assert f"\n{row}\n" in PAGE


def test_the_tables_have_no_row_of_something_that_is_gone() -> None:
    named = re.findall(r"^\| `(?!guide_targets)([a-z_.<>]+)`", PAGE, re.MULTILINE)
    assert sorted(named) == sorted([*(k.name for k in [*KNOBS, PRIORITY]), *(f.name for f in FIELDS)])


@pytest.mark.parametrize("name", [*FILES, *SWITCHES, *THRESHOLDS, METRICS, *TARGETS])
def test_every_file_flag_and_figure_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE or f"# {name}" in PAGE or f"\n{name}:" in PAGE


def test_the_times_on_the_page_are_the_model_s() -> None:
    for share in (TIMES[way] for way in TIMES if way != "full"):
        assert f"{share:.2f}".lstrip("0") in PAGE


def test_the_files_on_the_page_can_be_read() -> None:
    blocks = re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    files: dict[str, Any] = {name: YAML(typ="safe", pure=True).load(text) for name, text in blocks}
    assert set(files) == set(FILES) - {"optimal_config.yaml"}
    content = read_files(files)
    assert dict(content.monitoring) == dict(TARGETS)
    assert content.policy["filter.min_words.news"] == 250
