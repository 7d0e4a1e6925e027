"""A model that its provider retires is told of sixty days before, for each family that asks it, until none does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from optimizer.adapters.models.language_models import Models
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.family.settings import JudgeSettings
from optimizer.jobs.families.check_models import ALERT, watch_retirements
from tests.worlds.rollout_world import World


def look(world: World, folder: Path, *, days: int, family: Family | None = None) -> list[tuple[str, str | None, str]]:
    """Level, family, model of each open alert, after a look at a file that gives the champion's model so many days."""
    old, retires_on = world.family.model.default, world.clock.now().date() + timedelta(days=days)
    (folder / "models.yaml").write_text(
        f"{old}: {{litellm: openai/old, retires_on: {retires_on}}}\nnew: {{litellm: openai/new}}\n", encoding="utf-8"
    )
    watch_retirements(world.store, world.clock, [family or world.family], Models(folder / "models.yaml", folder))
    with world.store.read() as tx:
        alerts = world.store.alerts.all(tx, open_only=True, kind=ALERT)
    assert all("detent study run summarization --move-to NEW" in alert.detail for alert in alerts)
    return [(alert.level, alert.family, alert.subject) for alert in alerts]


def test_a_model_that_retires_is_told_of_sixty_days_before_and_once_more_when_it_is_near(
    world: World, tmp_path: Path
) -> None:
    old = world.family.model.default
    assert look(world, tmp_path, days=61) == []
    assert look(world, tmp_path, days=60) == [("warning", "summarization", old)]
    assert look(world, tmp_path, days=60) == [("warning", "summarization", old)]
    assert look(world, tmp_path, days=10) == [("critical", "summarization", old)]
    assert look(world, tmp_path, days=-3) == [("critical", "summarization", old)]
    assert look(world, tmp_path, days=61) == []


def test_a_champion_that_asks_it_keeps_the_alert_open_when_the_file_names_another(world: World, tmp_path: Path) -> None:
    moved = world.family.model_copy(update={"model": world.family.model.model_copy(update={"default": "new"})})
    assert look(world, tmp_path, days=30, family=moved) == [("warning", "summarization", world.family.model.default)]


def test_what_a_served_variant_a_candidate_or_a_fallback_asks_is_told_of_too(world: World, tmp_path: Path) -> None:
    day, store = world.clock.now().date() + timedelta(days=30), world.store
    names = ("tier", "vote", "stand_in", "unasked")
    (tmp_path / "models.yaml").write_text(
        f"{world.family.model.default}: {{litellm: openai/a, fallbacks: [stand_in]}}\n"
        + "".join(f"{name}: {{litellm: openai/{name}, retires_on: {day}}}\n" for name in names),
        encoding="utf-8",
    )
    models = Models(tmp_path / "models.yaml", tmp_path)

    def told() -> dict[str, str]:
        watch_retirements(store, world.clock, [world.family], models)
        with store.read() as tx:
            return {alert.subject: alert.detail for alert in store.alerts.all(tx, open_only=True, kind=ALERT)}

    assert told().keys() == {"stand_in"}
    assert f"under fallbacks of {world.family.model.default}" in told()["stand_in"]
    world.start()
    with store.read() as tx:
        records = {id: store.variants.get(tx, world.family.name, id) for id in (world.champion, world.candidate)}
    asking = {
        world.champion: {"tiers": ["tier", world.family.model.default], "accept": 0.9},
        world.candidate: {"votes.models": ["vote", world.family.model.default]},
    }
    real = store.variants.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store.variants,
            "get",
            lambda tx, family, id: replace(
                real(tx, family, id), variant=replace(records[id].variant, policy=asking[id])
            ),
        )
        assert told().keys() == {"stand_in", "tier", "vote"}


def test_what_to_do_is_that_of_the_part_in_which_it_is_asked(world: World, tmp_path: Path) -> None:
    day, own = world.clock.now().date() + timedelta(days=30), world.family.model.default
    (tmp_path / "models.yaml").write_text(
        "".join(f"{name}: {{litellm: openai/a, retires_on: {day}}}\n" for name in (own, "tier", "writer", "rater")),
        encoding="utf-8",
    )
    model = world.family.model.model_copy(update={"tiers": ("tier", own), "proposer": "writer"})
    judged = world.family.model_copy(update={"model": model, "judge": JudgeSettings(model="rater")})
    watch_retirements(world.store, world.clock, [judged], Models(tmp_path / "models.yaml", tmp_path))
    with world.store.read() as tx:
        alerts = world.store.alerts.all(tx, open_only=True, kind=ALERT)
    details = {alert.subject: alert.detail for alert in alerts}
    assert [name for name, detail in details.items() if "--move-to" in detail] == [own]
    for name, part in (("tier", "model.tiers"), ("writer", "model.proposer"), ("rater", "detent judge calibrate")):
        assert part in details[name]


def test_a_day_that_is_none_is_a_fault_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("old:\n  litellm: openai/old\n  retires_on: soon\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 3 /old/retires_on"):
        Models(file, tmp_path)
