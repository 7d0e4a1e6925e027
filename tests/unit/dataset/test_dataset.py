from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from optimizer.core.dataset.examples import class_of, group_of, make_example, normalise, select, split_of
from tests.strategies import NOW

SHARED = Path(os.environ.get("DETENT_SHARED", Path(__file__).parents[3].parent / "shared"))


def example(**kwargs):
    return make_example(
        **{"family": "f", "input": {"x": "a"}, "expected": {"y": "b"}, "origin": "import", "created_at": NOW, **kwargs}
    )


@pytest.mark.parametrize(("group", "split"), [("a", "dev"), ("b", "train"), ("h", "dev"), ("i", "holdout")])
def test_the_split_of_a_group_never_changes(group, split):
    """Fixed values: a change here would move examples that a study has already seen into another split."""
    assert split_of(group) == split


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Hello  World", " hello world\n", id="case and space"),
        pytest.param("ﬁne", "fine", id="a ligature"),
        pytest.param("é", "e\u0301", id="a combined letter"),
        pytest.param("Straße", "STRASSE", id="sharp s"),
        pytest.param({"a": "X", "b": ["Y "]}, {"b": ["y"], "a": "x"}, id="inside an input"),
    ],
)
def test_inputs_that_read_the_same_are_normalised_to_the_same(one, other):
    assert normalise(one) == normalise(other)


def test_different_inputs_stay_different():
    assert len({normalise(v) for v in ({"a": "x"}, {"b": "x"}, {"a": "x y"}, {"a": ["x"]}, {"a": 1})}) == 5


def test_a_given_group_decides_the_split_whatever_the_input():
    assert len({example(input={"x": str(i)}, group="patient 7").split for i in range(50)}) == 1
    assert group_of({"x": "a"}, "") == group_of({"x": "a"}, None)


def test_an_example_without_an_id_is_named_by_its_input():
    assert example().id == example(expected={"y": "other"}).id
    assert example().id.startswith("ex_")
    assert example(id="mine").id == "mine"
    assert example().id != example(input={"x": "b"}).id


def test_only_curated_examples_are_released_by_themselves():
    assert [example(origin=o).released for o in ("curated", "import", "correction", "interaction")] == [
        True,
        False,
        False,
        False,
    ]
    assert example(origin="correction", released=True).released


def test_a_balanced_selection_takes_equally_many_of_each_class():
    ids = [(f"a{i}", "large") for i in range(80)] + [(f"b{i}", "small") for i in range(10)] + [("c", "single")]
    taken = Counter(dict(ids)[i] for i in select(ids, 21, balance=True, seed_text="s"))
    assert taken == {"large": 10, "small": 10, "single": 1}
    assert Counter(dict(ids)[i] for i in select(ids, 21, balance=False, seed_text="s"))["large"] > 14


def test_another_seed_text_selects_other_examples():
    ids = [(f"e{i}", None) for i in range(100)]
    assert set(select(ids, 20, balance=False, seed_text="a")) != set(select(ids, 20, balance=False, seed_text="b"))


def test_the_class_of_an_example_is_the_field_that_balance_names():
    assert class_of({"topic": "stats"}, "topic") == "stats"
    assert class_of({"topics": ["a", "b"]}, "topics") == '["a","b"]'
    assert class_of({"topic": "stats"}, None) is None
    assert class_of({}, "topic") is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data folder (DETENT_SHARED)")
@pytest.mark.parametrize("name", ["summarization", "document_analysis", "intent_routing"])
def test_real_rows_split_60_20_20(name):
    rows = [json.loads(line) for line in (SHARED / "data" / name / "train.jsonl").open(encoding="utf-8")]
    found = Counter(split_of(group_of(row["input"], None)) for row in rows)
    for split, share in (("train", 0.6), ("dev", 0.2), ("holdout", 0.2)):
        assert abs(found[split] / len(rows) - share) < 5 * (share * (1 - share) / len(rows)) ** 0.5
