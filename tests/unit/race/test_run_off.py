"""A winner is named on every dev row that a study can pay for, and at an equal score the smaller change wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from sqlalchemy import text

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.study.view import view
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.run_off import (
    N_LEADERS,
    RUN_OFF,
    Leader,
    Stage,
    change_of,
    leaders_in_words,
    n_answers,
    ranked_leaders,
    rows_in_words,
    stages,
)
from optimizer.core.search.strategy import Proposal
from optimizer.core.views.study_headline import view_of_study
from optimizer.jobs.studies.report_study import report_study
from tests.worlds.study_world import TOPICS, Killed, TopicModel, World, killed_at, topic_family

CHAMPION = topic_family().variant()
SIZES = {"n_train": 9, "n_dev": 6, "n_holdout": 4, "n_run_off": 200}


def shown(n: int, **model: object) -> Variant:
    """The champion with ``n`` examples and these generation settings."""
    few = [FewShot(id=f"train-{i:03d}", input={"document": f"On {TOPICS[i]}."}, output=TOPICS[i]) for i in range(n)]
    return replace(CHAMPION, examples=tuple(few), model={**CHAMPION.model, **model})


class Proposed:
    """A strategy that proposes what it is given."""

    def __init__(self, variants: Sequence[Variant]) -> None:
        self._variants = list(variants)

    def ask(self) -> Proposal | None:
        return Proposal(variant=self._variants.pop(0), proposer="settings") if self._variants else None

    def tell(self, proposal: object, score: object, results: object) -> None:
        """It learns nothing."""


class RightOn(TopicModel):
    """Knows the topics of the documents that the temperature of the request names; of none without an entry."""

    def __init__(self, rows: dict[float, range], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.rows = rows

    def _text(self, request):
        text = str(request.messages[-1]["content"])
        number = int(text.split("number ")[1].split()[0])
        is_known = number in self.rows.get(float(request.params.get("temperature") or 0), range(0))
        return next(t for t in TOPICS if t in text) if is_known else "?"


def searched(world: World, variants: Sequence[Variant], **options):
    study = world.create(definition=SIZES, strategy="settings", **options)
    return world.run(study, strategies=lambda name, setting: Proposed(variants))


def dev_numbers(world: World, study) -> tuple[list[int], list[int]]:
    """Numbers of the documents that every trial met, and of those behind them."""
    dataset = world.create(definition=SIZES, strategy="settings").dataset if study is None else study.dataset
    return tuple([int(id[-3:]) for id in dataset[name]] for name in ("dev", RUN_OFF))  # type: ignore[return-value]


def world_of(folder, rows: dict[float, object], **options) -> World:
    """``rows``: temperature > (how many of the first dev rows it knows, how many of those behind them)."""
    world = World(folder, model=RightOn({}, **options)).fill(n_dev=26, n_holdout=24)
    plan = world.create(definition=SIZES, strategy="settings")
    first, behind = dev_numbers(world, plan)
    world.model.rows = {t: {*first[:n], *behind[:m]} for t, (n, m) in rows.items()}  # type: ignore[misc]
    world.stop(plan)
    return world


def test_at_an_equal_score_the_variant_with_fewer_changed_settings_wins(tmp_path):
    """Both are right on everything; the temperature of the other was moved for nothing."""
    small, large = shown(3), shown(3, temperature=0.4)
    world = World(tmp_path, model=TopicModel()).fill(n_dev=26)
    ended = searched(world, [large, small])
    assert ended.winner == small.id


SEEN_THROUGH = {0.1: (6, 2), 0.2: (5, 20)}
LUCKY, STEADY = shown(0, temperature=0.1), shown(0, temperature=0.2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(world, study), which tests only read."""
    world = world_of(tmp_path_factory.mktemp("undisturbed"), SEEN_THROUGH)
    return world, searched(world, [LUCKY, STEADY])


def test_a_lead_on_the_first_dev_rows_alone_is_seen_through_on_the_others(undisturbed):
    world, ended = undisturbed
    assert ended.winner == STEADY.id
    record = ended.findings[RUN_OFF]
    assert (record["n_dev"], record["n_used"], record["why_not_all"]) == (26, 26, None)
    assert {one["variant"]: one["n"] for one in record["leaders"]}[STEADY.id] == 26
    assert rows_in_words(ended.findings) == "The choice rests on all 26 dev rows."
    assert f"{STEADY.id} 0.962 on 26 rows, the champion 0.000 on the same" in leaders_in_words(ended.findings)
    page = study_page(report_study(ended, family=world.family, store=world.store, clock=world.clock))
    assert "6 dev for every trial (n) and 20 more for those that lead," in " ".join(page.split())
    assert f"{STEADY.id} 0.962 on 26 rows" in page
    console = Console(record=True, width=200, file=StringIO())
    view(console, view_of_study(ended), [])
    assert f"Run-off   {STEADY.id} 0.962 on 26 rows" in console.export_text()
    assert ended.confirmation["selection_lift"] == pytest.approx(25 / 26)


def test_what_leads_on_the_first_rows_and_not_on_all_is_no_winner_and_the_holdout_stays_sealed(tmp_path):
    world = world_of(tmp_path, {0.0: (4, 18), 0.1: (6, 0), 0.2: (5, 0)})
    ended = searched(world, [LUCKY, STEADY])
    assert (ended.outcome, ended.winner) == ("no_improvement", None)
    assert rows_in_words(ended.findings) == (
        "The choice rests on 14 of 26 dev rows. Nothing led the champion on them any more."
    )
    assert world.n_looked_at() == 0


def test_what_led_before_a_study_was_cancelled_is_no_winner_where_it_leads_no_more(tmp_path):
    world = world_of(tmp_path, {0.0: (4, 18), 0.1: (6, 0)})
    study = world.create(definition=SIZES, strategy="settings")
    world.change(study, winner=LUCKY.id)
    ended = world.run(study, strategies=lambda name, setting: Proposed([LUCKY]))
    assert (ended.outcome, ended.winner) == ("no_improvement", None)


def test_a_budget_that_ends_before_the_rows_do_is_named_and_the_winner_comes_from_the_rows_that_all_met(tmp_path):
    world = world_of(tmp_path, SEEN_THROUGH)
    ended = searched(world, [LUCKY, STEADY], budget=Budget(calls=3 * 6 + 2 * 4 + 5))
    record = ended.findings[RUN_OFF]
    assert (record["n_used"], ended.winner) == (6, LUCKY.id)
    assert rows_in_words(ended.findings).startswith("The choice rests on 6 of 26 dev rows. ")
    assert "31 calls" in record["why_not_all"]
    assert ended.spend.n_calls <= 31


def test_a_study_whose_definition_asks_for_no_more_rows_says_so(tmp_path):
    world = World(tmp_path, model=TopicModel()).fill(n_dev=26)
    ended = world.run(
        world.create(definition={**SIZES, "n_run_off": 4}, strategy="settings"),
        strategies=lambda name, setting: Proposed([shown(2)]),
    )
    assert (ended.findings[RUN_OFF]["n_used"], ended.findings[RUN_OFF]["n_dev"]) == (10, 26)
    assert "n_dev 6 and n_run_off 4" in rows_in_words(ended.findings)


def test_rows_that_were_forgotten_since_the_study_was_created_are_named_as_the_reason(tmp_path):
    world = World(tmp_path, model=TopicModel()).fill(n_dev=26)
    study = world.create(definition=SIZES, strategy="settings")
    gone = {"id": study.dataset[RUN_OFF][3]}
    world.store.write(lambda tx: tx.execute(text("DELETE FROM examples WHERE id = :id"), gone))
    ended = world.run(study, strategies=lambda name, setting: Proposed([shown(2)]))
    assert rows_in_words(ended.findings) == ("The choice rests on 25 of 26 dev rows. The others were forgotten since.")


@pytest.mark.parametrize("n", [*(pytest.param(n, marks=pytest.mark.long) for n in (20, 30)), 45])
def test_a_study_that_is_killed_in_its_run_off_goes_on_and_names_the_same_winner(tmp_path, undisturbed, n):
    here = world_of(tmp_path, SEEN_THROUGH, before=killed_at(n))
    study = here.create(definition=SIZES, strategy="settings")
    made = {"strategies": lambda name, setting: Proposed([LUCKY, STEADY])}
    with pytest.raises(Killed):
        here.run(study, **made)
    ended = here.run(study, **made)
    here.assert_asked_nothing_twice(ended)
    _, other = undisturbed
    assert (ended.winner, ended.findings[RUN_OFF]) == (other.winner, other.findings[RUN_OFF])


def test_a_dry_run_counts_the_rows_behind_dev(tmp_path):
    estimate = World(tmp_path).fill(n_dev=26).create(definition=SIZES, strategy="settings", dry_run=True)
    assert estimate.parts[RUN_OFF].high == n_answers(20, N_LEADERS)
    assert estimate.parts[RUN_OFF].low == 0


def test_a_change_is_counted_by_setting_and_then_by_what_is_sent() -> None:
    written = replace(CHAMPION, messages=({"role": "user", "content": "{{document}}?"},))
    changes = [change_of(CHAMPION, one) for one in (CHAMPION, shown(1), shown(2), shown(1, temperature=0.7), written)]
    assert [change.n_settings for change in changes] == [0, 1, 1, 2, 1]
    assert sorted(changes) == [changes[0], changes[4], changes[1], changes[2], changes[3]]


def a_leader(variant: str, gain: float, n_settings: int = 1, usd: float = 0.0, number: int = 1) -> Leader:
    change = replace(change_of(CHAMPION, CHAMPION), n_settings=n_settings)
    return Leader(variant=variant, gain=gain, change=change, usd=usd, number=number)


def test_leaders_are_ranked_by_gain_then_change_then_price_then_number_and_what_gains_nothing_is_none() -> None:
    ranked = ranked_leaders(
        [
            a_leader("none", TIE / 2),
            a_leader("second trial", 0.1, number=2),
            a_leader("dearer", 0.1, usd=0.1),
            a_leader("larger", 0.1 + TIE / 2, n_settings=2),
            a_leader("first trial", 0.1),
            a_leader("best", 0.2, n_settings=9),
        ]
    )
    assert [one.variant for one in ranked] == ["best", "first trial", "second trial", "dearer", "larger"]


def test_stages_cost_alike_halve_the_leaders_and_end_with_the_last_row() -> None:
    assert stages(84, 4) == [
        Stage(upto=16, n_leaders=4),
        Stage(upto=43, n_leaders=2),
        Stage(upto=84, n_leaders=1),
    ]
    assert n_answers(84, 4) == 16 * 5 + 27 * 3 + 41 * 2
    assert stages(84, 1) == [Stage(upto=84, n_leaders=1)]
    assert stages(0, 4) == stages(84, 0) == []
    assert stages(1, 4)[-1].upto == 1


def test_a_study_from_before_rows_were_counted_says_nothing_of_them() -> None:
    assert rows_in_words(None) is None
    assert rows_in_words({}) is None
    assert leaders_in_words({}) == leaders_in_words(None) == []
