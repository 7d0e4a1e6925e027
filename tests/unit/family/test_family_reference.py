"""docs/reference/family.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from optimizer.adapters.files.family_files import parse_family_text
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.family.masking import BUILT_IN_RULES
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.variant import FORMS
from optimizer.core.family.wording import fields_of, models_in
from optimizer.host.config import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "family.md").read_text(encoding="utf-8")
SMALLEST, WHOLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def keys(model: type[BaseModel]) -> set[str]:
    found = {name for name, _ in fields_of(model)}
    return found.union(*(keys(inner) for _, field in fields_of(model) for inner in models_in(field.annotation)))


@pytest.mark.parametrize("text", [SMALLEST, WHOLE], ids=["the smallest", "the whole"])
def test_the_pages_families_are_good(text):
    assert parse_family_text(text, file="docs/reference/family.md").variant().messages


def test_the_whole_family_shows_the_defaults():
    shown = parse_family_text(WHOLE, file="page")
    optional = r"(?ms)^(model|scorer|space|sample|constraints|schedule|triggers|rollout|privacy):.*?(?=^\S|\Z)"
    shortest = parse_family_text(re.sub(optional, "", WHOLE), file="page")
    assert shown.model_dump(exclude={"scorer"}) == shortest.model_dump(exclude={"scorer"})
    assert shown.metrics == shortest.metrics


@pytest.mark.parametrize("key", sorted(keys(Family)))
def test_every_key_is_on_the_page(key: Any):
    assert re.search(rf"\b{key}\b", PAGE)


@pytest.mark.parametrize("name", [*METRICS.built_in, *FORMS, *BUILT_IN_RULES])
def test_every_metric_slot_and_mask_is_on_the_page(name):
    assert f"`{name}`" in PAGE or f"`{name}:" in PAGE


def test_a_cache_in_short_is_the_cache_at_length_and_the_same_family() -> None:
    def cache_of(declared: str) -> Any:
        return parse_family_text(f"{SMALLEST}\ncache: {declared}\n", file="page").cache

    assert cache_of("{ttl_s: 600}") == cache_of("{enabled: true, max_age_s: 600}")
    assert cache_of("{ttl_s: null}") == cache_of("{}")
    assert cache_of("{ttl_s: 5, enabled: false}").enabled is False
    for declared in ("{ttl_s: 0}", "{ttl_s: true}", "{ttl_s: ten}", "{ttl_s: 5, max_age_s: 5}"):
        with pytest.raises(InvalidInput, match="ttl_s"):
            cache_of(declared)


def test_a_budget_without_dollars_is_the_default() -> None:
    families = [parse_family_text(f"{SMALLEST}\nbudget: {value}\n", file="page") for value in ("{usd: null}", "{}")]
    assert families[0].budget == families[1].budget


RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`([a-z_]+\.(?!lock)[a-z_]+)`", RUNBOOK))))
def test_every_setting_that_the_runbook_names_is_one(setting: str) -> None:
    section, key = setting.split(".")
    knobs = (ROOT / "families" / "content_pipeline" / "family.yaml").read_text(encoding="utf-8")
    if section in Settings.model_fields and key in Settings.model_fields[section].annotation.model_fields:
        return
    if f"{setting}:" in knobs:
        return
    parse_family_text(f"{SMALLEST}\n{section}: {{{key}: 600}}\n", file="page")
