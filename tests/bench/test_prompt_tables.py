"""The benchmark of rules on recorded tables: same draws for all, nulls left out,
our twin chooses what the product chooses, the page is its result file.

The tables here are drawn by chance; nothing measured on them is written anywhere.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
pools = importlib.import_module("fixed_pool.pools")
trials = importlib.import_module("fixed_pool.trials")
studies = importlib.import_module("fixed_pool.studies")
rejects = importlib.import_module("fixed_pool.rejects")
bench = importlib.import_module("prompt_tables")
page = importlib.import_module("fixed_pool.page").page

SHAPE = (9, 60)


def drawn_pool(seed: int = 1, shape: tuple[int, int] = SHAPE) -> object:
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.2, 0.9, shape[0])[:, None] + rng.normal(0, 0.1, shape[1])[None]
    return pools.Pool(name=f"drawn {seed}", scores=(rng.random(shape) < levels).astype(float))


def test_a_draw_is_the_same_each_time_and_holds_the_whole_table_in_another_order():
    pool = drawn_pool()
    once, again = (pools.draw(pool, [3, 4]) for _ in range(2))
    assert (once.scores == again.scores).all()
    assert (once.scores[0] != once.scores[1]).any()
    for scores, worth in zip(once.scores, once.worth, strict=True):
        assert sorted(map(tuple, np.sort(scores, axis=1))) == sorted(map(tuple, np.sort(pool.scores, axis=1)))
        assert worth == pytest.approx(scores.mean(axis=1))


def test_an_example_with_a_null_is_left_out_of_its_table_and_counted(tmp_path):
    (tmp_path / "llmbar_drawn.json").write_text(json.dumps({"scores": [[1, None, 0.5], [0, 1, 1]]}), encoding="utf-8")
    (pool,) = pools.pools(tmp_path, pools.DEVELOPMENT)
    assert pool.scores.tolist() == [[1, 0.5], [0, 1]]
    assert pool.n_left_out == 1


def test_the_split_gives_every_recorded_table_to_one_part(tmp_path):
    names = ["babe_bias_a", "llmbar_b", "trec_c", "ups_d", "llmjudge_e"]
    for name in names:
        (tmp_path / f"{name}.json").write_text(json.dumps({"scores": [[1, 0]]}), encoding="utf-8")
    parts = [{pool.name for pool in pools.pools(tmp_path, part)} for part in (pools.DEVELOPMENT, pools.CONFIRMATION)]
    assert parts == [set(names[:2]), set(names[2:])]


def test_every_task_of_the_means_belongs_to_one_part(tmp_path):
    tasks = {task: {"models": ["m", "n"], "mean": [[0.5, None], [0.1, 0.2]]} for task in "abc"}
    (tmp_path / pools.MEANS_FILE).write_text(json.dumps({"tasks": tasks}), encoding="utf-8")
    development, confirmation = (
        [(pool.name, len(pool.means)) for pool in pools.published_means(tmp_path, part)]
        for part in (pools.DEVELOPMENT, pools.CONFIRMATION)
    )
    assert development == [("a by m", 1), ("c by n", 2)]
    assert confirmation == [("b by m", 1)]


def test_marks_of_judges_and_answers_of_models_make_tables_too(tmp_path):
    story = {"human": {"taste": 2.0}, "logged_judge": {"a/1": [3.0], "b/1": [None]}}
    other = {"human": {"taste": 5.0}, "logged_judge": {"a/1": [1.0], "b/1": [5.0]}}
    query = {"models": {"small": {"correct": 0}, "large": {"correct": 1}}}
    for folder, rows in (("judge_calibration/hanna", [story, other]), ("cascade_logs/rlc_x", [query])):
        (tmp_path / folder).mkdir(parents=True)
        lines = "".join(json.dumps({"expected": row}) + "\n" for row in rows)
        (tmp_path / folder / "dev.jsonl").write_text(lines, encoding="utf-8")
    judges, models = pools.pools(tmp_path / "prompt_tables", pools.CONFIRMATION)
    assert (judges.name, judges.scores.tolist(), judges.n_left_out) == ("hanna_taste", [[0.0], [1.0]], 1)
    assert (models.name, models.scores.tolist()) == ("rlc_x", [[1.0], [0.0]])


@pytest.mark.parametrize("name", list(trials.RULES))
def test_a_rule_names_a_variant_for_each_budget_and_does_not_see_what_nobody_could_have_asked(name):
    scores = pools.draw(drawn_pool(), range(3)).scores
    budgets = [60, 120, 300]
    chosen = trials.RULES[name](scores, budgets)
    assert chosen.shape == (3, 3)
    assert set(chosen.ravel()) <= set(range(SHAPE[0]))
    unseen = scores.copy()
    unseen[:, :, 30:] = 1 - unseen[:, :, 30:]
    if name not in {
        "random subset in full",
        "Rasch on scattered cells",
        "TRIPLE-CR, examples not shared",
    }:  # whose cells lie elsewhere
        few = [4 * SHAPE[0]]
        assert (trials.RULES[name](scores, few) == trials.RULES[name](unseen, few)).all()


@pytest.mark.parametrize(
    "name", ["continuous rejects, ours", "continuous rejects, CR-A", "successive rejects", "sequential halving"]
)
def test_the_best_of_clearly_different_variants_is_found(name):
    means = np.array([0.1] * 8 + [0.9])
    pool = pools.Pool(name="clear", scores=np.zeros((9, 60)), means=means)
    draws = pools.draw(pool, range(5))
    assert draws.lost(trials.RULES[name](draws.scores, [200])[0]) == [0.0] * 5


def test_with_all_calls_asking_everybody_loses_nothing_and_a_subset_of_all_neither():
    draws = pools.draw(drawn_pool(), range(5))
    for name in ("fewer examples for all", "random subset in full"):
        (chosen,) = trials.RULES[name](draws.scores, [draws.scores[0].size])
        assert draws.lost(chosen) == [0.0] * 5


@pytest.mark.parametrize("shape", [(2, 30), (9, 60), (24, 40)])
def test_our_twin_chooses_what_the_products_own_code_chooses(shape):
    for seed in range(3):
        scores = pools.draw(drawn_pool(seed, shape), range(4), 25 if seed else None).scores
        budgets = [int(share * scores[0].size) for share in (0.15, 0.3, 0.5, 0.8, 1.0)]
        assert (trials.RULES[trials.OURS](scores, budgets) == trials.THROUGH_RACE(scores, budgets)).all()


def test_what_was_measured_is_read_again_and_measured_anew_for_other_code(tmp_path, monkeypatch):
    pool = drawn_pool()
    first = trials.measure(pool, tmp_path, 3)
    monkeypatch.setattr(trials, "_measure", lambda *_: pytest.fail("measured again"))
    assert trials.measure(pool, tmp_path, 3) == first
    monkeypatch.setattr(trials, "code_digest", lambda: "other")
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        trials.measure(pool, tmp_path, 3)


def test_the_page_says_who_is_better_than_ours_and_whether_the_bar_holds():
    def cells(low: float) -> list[dict[str, object]]:
        return [
            {"case": "agreed: x", "ours": 4, "other": 4, "other_name": "all", "low": None, "high": None, "n": 4},
            *[_cell(share, trials.OURS, 0.5, None, 0.1, 0.9) for share in (10, 20)],
            _cell(10, "other", 0.5, 0.2, 0.1, 0.4),
            _cell(20, "other", 0.5, 0.4, low, 0.2),
        ]

    text = page({"commit": "c", "machine": "m", "cells": cells(-0.1)})
    assert "Better than ours here, the whole interval on its side: other (at 10 %)." in text
    assert "| other | **0.20** +0.30 (+0.10 to +0.40) | **0.40** +0.10 (-0.10 to +0.20) |" in text
    assert "On the confirmation tables it holds." in text
    text = page({"commit": "c", "machine": "m", "cells": cells(0.05)})
    assert "On the confirmation tables it was missed: 60 rows, other." in text


def _cell(share: int, name: str, ours: float, other: float | None, low: float, high: float) -> dict[str, object]:
    case = f"confirmation, 60 rows: points lost at {share}%: {name}"
    return {"case": case, "ours": ours, "other": other, "other_name": name, "low": low, "high": high, "n": 2}


def test_scores_dealt_out_by_chance_keep_each_examples_scores_and_leave_no_difference_between_variants():
    table = np.array([[float(i >= 30 * variant) for i in range(300)] for variant in range(8)])
    study = studies.without_differences(table, 1)
    assert sorted([*study.dev, *study.held]) == list(range(300))
    for before, after in zip(table.T, zip(*study.scores, strict=True), strict=True):
        assert sorted(before) == sorted(after)
    means = [study.mean(variant) for variant in range(8)]
    assert max(means) - min(means) < 0.3


def test_studies_on_shuffled_scores_are_told_by_the_products_gates():
    cell = bench.shuffled([drawn_pool(2, (6, 80))], range(1, 5))
    assert (cell.n, cell.other) == (4, 0.05)
    assert cell.ours is not None
    assert cell.low <= cell.ours <= cell.high
