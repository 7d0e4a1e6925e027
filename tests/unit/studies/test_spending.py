"""Monthly limits on what studies spend."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from optimizer.core.base.errors import BudgetTooSmall
from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.language import ModelPrice
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, Remainder, RunSpend, left_of, month_of, under
from tests.cases import named
from tests.worlds.study_world import TopicModel, World, topic_family


def spend(family: str = "a", *, usd: float = 0.0, cap: float | None = None, ended: bool = True) -> RunSpend:
    return RunSpend(run="st_1", family=family, cap_usd=cap, usd=usd, has_ended=ended)


@named(
    ("limits", "spends", "left"),
    {
        "no limit": ({}, [spend(usd=9.0)], None),
        "of a family": ({"family_usd": 5.0}, [spend(usd=2.0), spend("b", usd=4.0)], 3.0),
        "of all": ({"all_usd": 5.0}, [spend(usd=2.0), spend("b", usd=2.5)], 0.5),
        "the tighter one": ({"family_usd": 5.0, "all_usd": 9.0}, [spend(usd=1.0), spend("b", usd=7.0)], 1.0),
        "one that goes on counts with its cap": ({"family_usd": 5.0}, [spend(usd=1.0, cap=4.0, ended=False)], 1.0),
        "one that ended as spent": ({"family_usd": 5.0}, [spend(usd=1.0, cap=4.0)], 4.0),
        "nothing beside one without a cap": ({"all_usd": 5.0}, [spend("b", usd=1.0, ended=False)], 0.0),
        "unless it is another family's": ({"family_usd": 5.0}, [spend("b", usd=1.0, ended=False)], 5.0),
        "never below 0": ({"family_usd": 5.0}, [spend(usd=6.0)], 0.0),
    },
)
def test_what_is_left_of_a_month(limits: dict[str, float], spends: list[RunSpend], left: float | None) -> None:
    assert left_of(MonthlyLimits(**limits), spends, "a").usd == left


def test_the_study_that_began_without_a_cap_is_named() -> None:
    left = left_of(MonthlyLimits(all_usd=1.0), [spend(usd=0.1, ended=False)], "b")
    with pytest.raises(BudgetTooSmall, match=r"st_1 began without a cap in dollars.*\$0.0000 is left"):
        under(left, Budget(usd=0.9))


def test_a_study_without_a_cap_gets_what_is_left_and_a_larger_cap_is_refused_with_the_figures() -> None:
    left = Remainder(usd=1.5, text="the studies of all families have used $3.5 of this month's $5")
    assert under(left, Budget(calls=10)) == Budget(calls=10, usd=1.5)
    assert under(left, Budget(usd=1.5)) == Budget(usd=1.5)
    with pytest.raises(BudgetTooSmall, match=r"\$2 would pass.*\$3.5 of this month's \$5.*\$1.5000 is left"):
        under(left, Budget(usd=2.0))
    assert under(Remainder(), Budget(calls=3)) == Budget(calls=3)


def test_a_month_begins_with_its_first_second() -> None:
    assert month_of(datetime(2026, 11, 20, 9, 30, 1, tzinfo=UTC)) == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def priced(tmp_path: Path) -> World:
    return World(tmp_path, model=TopicModel(), family=topic_family(budget={"usd_per_month": 1.0})).fill()


def test_studies_of_people_are_held_to_the_month_too(priced: World) -> None:
    first = priced.create(budget=Budget(usd=0.7))
    priced.change(first, status="finished", finished_at=priced.clock.now(), spend=Spend(usd=0.6))
    with pytest.raises(BudgetTooSmall, match="monthly limit"):
        priced.create(budget=Budget(usd=0.5))
    assert priced.create(budget=Budget(calls=500)).budget.usd == pytest.approx(0.4)


def test_all_families_together_are_held_to_the_setting(priced: World) -> None:
    with pytest.raises(BudgetTooSmall, match="setting usd_per_month"):
        priced.create(budget=Budget(usd=0.5), usd_per_month=0.25)


def test_a_cancelled_study_goes_on_only_within_the_month(priced: World) -> None:
    study = priced.create(budget=Budget(usd=0.8))
    priced.stop(study)
    other = priced.create(budget=Budget(usd=0.5))
    priced.stop(other)
    priced.change(other, spend=Spend(usd=0.5))
    limits = MonthlyLimits(family_usd=1.0)
    with pytest.raises(BudgetTooSmall, match="monthly limit"):
        priced.resume(study, limits=limits)
    priced.change(other, spend=Spend(usd=0.1))
    assert priced.resume(study, limits=limits).status == "queued"


def test_a_study_without_a_cap_is_not_resumed_under_a_limit(tmp_path: Path) -> None:
    world = World(tmp_path, model=TopicModel(price=ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0))).fill()
    study = world.create(budget=Budget(calls=500))
    world.stop(study)
    with pytest.raises(BudgetTooSmall, match="no cap in dollars"):
        world.resume(study, limits=MonthlyLimits(all_usd=5.0))
