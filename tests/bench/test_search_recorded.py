"""The benchmark of recorded searches: rules see their half of a table only,
and the page says what the result file says.

The tables here are drawn by chance; nothing measured on them is written anywhere.
"""

from __future__ import annotations

import importlib
import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
bench = importlib.import_module("search_recorded")
schedules = importlib.import_module("recorded.schedules")
tables = importlib.import_module("recorded.tables")
trials = importlib.import_module("recorded.trials")
page = importlib.import_module("recorded.search_page").page
without_model = importlib.import_module("recorded.without_model")

FILE = ROOT / "bench" / "results" / "search_recorded.json"


def drawn_table(seed: int = 1, n_examples: int = 24) -> object:
    """8 Variants with true means from .1 to .8."""
    rng = random.Random(seed)
    arms = [
        tables.Arm(
            id=f"v{i}",
            instruction=i // 4,
            choice=f"c{i % 4}",
            scores=tuple(float(rng.random() < 0.1 + 0.1 * i) for _ in range(n_examples)),
        )
        for i in range(8)
    ]
    return tables.Table(family="drawn", examples=tuple(f"e{i}" for i in range(n_examples)), arms=tuple(arms))


def test_a_deal_holds_half_of_the_examples_back_and_begins_with_the_champion():
    table = drawn_table()
    dealt = trials.deal(table, 3)
    assert sorted([*dealt.problem.dev, *dealt.held]) == list(range(24))
    assert len(dealt.held) == 12
    assert dealt.problem.arms[0] == table.arms[0]
    assert {arm.id for arm in dealt.problem.arms} == {arm.id for arm in table.arms}
    assert trials.deal(table, 3) == dealt
    assert trials.deal(table, 4).problem.dev != dealt.problem.dev


@pytest.mark.parametrize("name", list(bench.SCHEDULES))
def test_no_rule_makes_more_calls_than_the_table_has_scores_or_depends_on_what_is_held_out(name):
    dealt = trials.deal(drawn_table(), 2)
    trace = bench.SCHEDULES[name](dealt.problem)
    assert 0 < trace.n_calls <= 8 * 12
    assert trace.calls == sorted(trace.calls)
    held = set(dealt.held)
    changed = [
        tables.Arm(
            id=arm.id,
            instruction=arm.instruction,
            choice=arm.choice,
            scores=tuple(0.5 if i in held else x for i, x in enumerate(arm.scores)),
        )
        for arm in dealt.problem.arms
    ]
    again = bench.SCHEDULES[name](schedules.Problem(arms=changed, dev=dealt.problem.dev, seed=dealt.problem.seed))
    assert (again.calls, again.chosen) == (trace.calls, trace.chosen)


def test_dspys_schedule_asks_every_candidate_all_examples_and_chooses_the_best_mean_so_far():
    problem = trials.deal(drawn_table(), 1).problem
    trace = schedules.in_full(3)(problem)
    means = [sum(problem.scores(arm)) / 12 for arm in range(8)]
    assert trace.n_calls == 36
    assert trace.after(11) == 0
    assert trace.after(24) == max(range(2), key=lambda arm: means[arm])
    assert trace.after(36) == max(range(3), key=lambda arm: means[arm])


def test_ours_chooses_examples_first_and_then_an_instruction_beside_the_leaders_examples():
    problem = trials.deal(drawn_table(n_examples=200), 1).problem
    chosen = [problem.arms[arm] for arm in schedules.raced_search()(problem).chosen]
    turned = next(i for i, arm in enumerate(chosen) if arm.instruction == 1)
    assert all(arm.instruction == 0 for arm in chosen[:turned])
    assert {arm.choice for arm in chosen[turned:]} == {"c3"}
    assert chosen[-1].id == "v7"


def test_a_search_over_examples_keeps_the_champions_instruction():
    problem = trials.deal(drawn_table(), 1).problem
    trace = schedules.over_examples(schedules.in_full())(problem)
    assert trace.n_calls == 4 * 12
    assert {problem.arms[arm].instruction for arm in trace.chosen} == {0}


def test_scores_dealt_out_by_chance_keep_each_examples_scores_and_leave_no_difference_between_variants():
    dealt = trials.deal(drawn_table(n_examples=400), 1)
    shuffled = trials.without_differences(dealt)
    for before, after in zip(
        zip(*(a.scores for a in dealt.problem.arms), strict=True),
        zip(*(a.scores for a in shuffled.problem.arms), strict=True),
        strict=True,
    ):
        assert sorted(before) == sorted(after)
    assert max(dealt.quality) - min(dealt.quality) > 0.5
    assert max(shuffled.quality) - min(shuffled.quality) < 0.2


def test_a_true_improvement_is_reported_and_one_by_chance_hardly_ever():
    table = drawn_table(n_examples=100)
    dealt = [trials.deal(table, seed) for seed in range(10)]
    rule = bench.SCHEDULES["ours"]
    assert all(trials.report(one, rule).improved for one in dealt)
    assert sum(trials.report(trials.without_differences(one), rule).improved for one in dealt) <= 2


def test_regret_is_what_the_choice_lacks_to_the_best_held_out_mean():
    dealt = trials.deal(drawn_table(), 1)
    best = max(range(8), key=lambda arm: dealt.quality[arm])
    trace = schedules.Trace()
    trace.choose(5, best)
    assert trials.regrets(dealt, trace, [4, 5]) == [pytest.approx(max(dealt.quality) - dealt.quality[0]), 0.0]


def test_the_page_shows_every_rule_and_what_was_not_recorded():
    cells = bench.measure(drawn_table(), range(3))
    text = page({"commit": "c", "machine": "m", "cells": [asdict(c) for c in cells]}, ["drawn", "summarization"])
    assert "| summarization | not recorded |" in text
    assert all(f"| {name} |" in text for name in bench.SCHEDULES)
    assert "| drawn | shuffled |" in text


@pytest.mark.skipif(not FILE.exists(), reason="python bench/search_recorded.py has not been run here")
def test_the_page_is_made_of_the_result_file():
    result = json.loads(FILE.read_text(encoding="utf-8"))
    names = [task.name for task in bench.TASKS]
    assert (ROOT / "docs" / "reference" / "search-measured.md").read_text(
        encoding="utf-8"
    ) == without_model.with_stored_section(page(result, names), without_model.RECORDED)
    assert bench.verdict([bench.Cell(**cell) for cell in result["cells"]]) == 0
