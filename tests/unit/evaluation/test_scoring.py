from __future__ import annotations

import importlib
import sys

import pytest

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.errors import InvalidFamily
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.metrics.equality import exact_match, label_match, list_f1
from optimizer.core.family.family import Family


def family(output: dict, scorer: dict[str, float] | None = None) -> Family:
    prompt = {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{x}}"}]}}}
    return parse_family(
        {"name": "triage", "inputs": {"x": {}}, "output": output, "prompt": prompt, "scorer": scorer or {}}
    )


LABEL = {"field": "team", "parser": "label", "labels": ["billing", "support"]}
TEXT = {"field": "summary", "parser": "text"}


def test_a_label_scores_one_or_zero():
    scorer = build_scorer(family(LABEL))
    assert scorer.score({"team": "billing"}, "Billing.").value == 1.0
    assert scorer.score({"team": "billing"}, "support").value == 0.0


def test_an_unreadable_output_is_a_zero_with_its_reason():
    score = build_scorer(family(LABEL)).score({"team": "billing"}, "who knows")
    assert (score.value, score.error) == (0.0, "no label")


def test_rouge_matches_published_values():
    """'the cat was found under the bed' against 'the cat was under the bed':
    6 of 7 and 6 of 6 words, 4 of 6 and 4 of 5 pairs.
    """
    scorer = build_scorer(family(TEXT, {"rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 2.0}))
    score = scorer.score({"summary": "the cat was under the bed"}, "the cat was found under the bed")
    rouge_1, rouge_2 = 12 / 13, 8 / 11
    assert score.parts == pytest.approx({"rouge_1": rouge_1, "rouge_2": rouge_2, "rouge_l": rouge_1})
    assert score.value == pytest.approx((rouge_1 + rouge_2 + 2 * rouge_1) / 4)


def test_of_several_good_texts_the_nearest_counts():
    scorer = build_scorer(family(TEXT, {"rouge_l": 1.0}))
    assert scorer.score({"summary": ["something else", "a good answer"]}, "a good answer").value == 1.0


@pytest.mark.parametrize(
    ("wanted", "found", "f1"),
    [
        pytest.param(["a", "b"], ["B", " a "], 1.0, id="order, case and space"),
        pytest.param(["a", "b"], ["a"], 2 / 3, id="one of two"),
        pytest.param(["a"], ["a", "a"], 2 / 3, id="said twice"),
        pytest.param(["a"], ["b"], 0.0, id="nothing right"),
        pytest.param([], [], 1.0, id="both empty"),
        pytest.param([], ["a"], 0.0, id="one empty"),
        pytest.param([{"t": "x", "k": 1}], [{"k": 1, "t": "x"}], 1.0, id="objects by content"),
    ],
)
def test_list_f1(wanted, found, f1):
    assert list_f1(wanted, found) == pytest.approx(f1)


def test_exact_match_compares_content():
    assert exact_match("An  answer", "an answer") == 1.0
    assert exact_match({"a": 1.0, "b": 2}, {"b": 2, "a": 1}) == 1.0
    assert exact_match(["a"], ["b"]) == 0.0
    assert label_match(["x", "y"], "Y") == 1.0


def test_json_valid_is_the_share_of_outputs_that_fit_the_schema():
    scorer = build_scorer(
        family(
            {"field": "data", "parser": "json", "schema": {"type": "object"}}, {"json_valid": 1.0, "exact_match": 3.0}
        )
    )
    assert scorer.score({"data": {"a": 1}}, '{"a": 2}').value == pytest.approx(0.25)
    assert scorer.score({"data": {"a": 1}}, "[]").value == 0.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith("own_metric")]:
        del sys.modules[name]


def test_a_metric_of_the_users_own_sees_the_example_and_the_parsed_output(folder):
    (folder / "own_metric_a.py").write_text(
        "def shorter(example, output):\n    return float(len(output) < len(example['input']['x']))\n"
    )
    scorer = build_scorer(family(TEXT, {"own_metric_a.shorter": 1.0}), folder)
    assert scorer.score({"summary": ""}, " abc ", {"x": "abcd"}).value == 1.0
    assert scorer.score({"summary": ""}, "abcd", {"x": "abcd"}).value == 0.0
    assert sys.path[-1] == str(folder)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("return 2", "returned 2, which is outside", id="above one"),
        pytest.param("return float('nan')", "outside", id="not a number"),
        pytest.param("return example['nothing']", "KeyError", id="an exception"),
        pytest.param("return None", "TypeError", id="nothing returned"),
    ],
)
def test_a_metric_that_fails_gives_no_score_rather_than_a_bad_one(folder, body, says):
    (folder / "own_metric_b.py").write_text(f"def judge(example, output):\n    {body}\n")
    score = build_scorer(family(TEXT, {"own_metric_b.judge": 1.0}), folder).score({"summary": "x"}, "x")
    assert score.value is None
    assert says in score.error


def test_metrics_that_cannot_be_loaded_are_named_together(folder):
    (folder / "own_metric_c.py").write_text("value = 1\n")
    with pytest.raises(InvalidFamily) as error:
        build_scorer(
            family(TEXT, {"own_metric_c.value": 1.0, "own_metric_c.missing": 1.0, "own_metric_none.f": 1.0}), folder
        )
    assert [f.pointer for f in error.value.faults] == [
        "/scorer/own_metric_c.value",
        "/scorer/own_metric_c.missing",
        "/scorer/own_metric_none.f",
    ]


def test_scores_are_comparable_only_between_equal_versions(folder):
    def version(output=TEXT, scorer=None) -> str:
        return build_scorer(family(output, scorer), folder).version

    same = version(TEXT, {"rouge_l": 0.5, "rouge_1": 0.5})
    assert version(TEXT, {"rouge_1": 0.5, "rouge_l": 0.5}) == same
    (folder / "own_metric_d.py").write_text("def f(example, output):\n    return 1\n")
    versions = {
        same,
        version(TEXT, {"rouge_l": 0.6, "rouge_1": 0.4}),
        version(TEXT, {"rouge_l": 1.0}),
        version(TEXT, {"exact_match": 1.0}),
        version(LABEL),
        version({**LABEL, "labels": ["billing", "support", "sales"]}),
        version(TEXT, {"own_metric_d.f": 1.0}),
    }
    (folder / "own_metric_d.py").write_text("def f(example, output):\n    return 0\n")
    assert version(TEXT, {"own_metric_d.f": 1.0}) in versions, "the old code still runs"
    del sys.modules["own_metric_d"]  # as in a new process
    importlib.invalidate_caches()
    versions.add(version(TEXT, {"own_metric_d.f": 1.0}))
    assert len(versions) == 8
