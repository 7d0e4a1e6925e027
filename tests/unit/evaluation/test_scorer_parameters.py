"""Parameters of metrics in a family's file: taken by name, refused where unknown, part of the scorer's version."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.errors import InvalidFamily
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.suite import suite_id
from optimizer.core.family.family import Family

CONTENT = [{"role": "user", "content": "{{question}}"}]


def family(scorer: dict[str, Any], *, inputs: dict[str, Any] | None = None) -> Family:
    prompt = {"current": "1", "versions": {"1": {"content": CONTENT}}}
    declared = {"name": "qa", "inputs": inputs or {"question": {}}, "output": {}, "prompt": prompt}
    return parse_family({**declared, "scorer": scorer})


TWO = {"question": {}, "passage": {"type": "text"}}


def test_a_metric_takes_its_parameters_beside_its_weight():
    declared = family({"token_f1": 0.5, "format_compliance": {"weight": 1.5, "max_words": 2}})
    assert declared.metrics == {"token_f1": 0.5, "format_compliance": 1.5}
    score = build_scorer(declared).score({"output": "one two three"}, "one two three")
    assert score.parts == {"token_f1": 1.0, "format_compliance": 0.0}
    assert score.value == pytest.approx(0.25)


def test_parameters_are_part_of_the_scorers_version_and_of_the_suites():
    uses: tuple[Any, ...] = (1.0, {"weight": 1.0, "max_words": 9}, {"weight": 1.0, "max_words": 2})
    declared = [family({"format_compliance": use}) for use in uses]
    assert len({build_scorer(one).version for one in declared}) == 3
    assert len({suite_id(one, None) for one in declared}) == 3


def test_a_declared_family_is_the_same_when_it_is_read_back():
    declared = family({"token_f1": 0.5, "format_compliance": {"weight": 1.5, "labels": ["a", "b"]}})
    again = parse_family(declared.model_dump(mode="json", by_alias=True))
    assert again == declared
    assert build_scorer(again).version == build_scorer(declared).version


def test_a_weight_alone_is_the_same_with_and_without_a_mapping():
    alone, mapped = family({"token_f1": 1.0}), family({"token_f1": {"weight": 1.0}})
    assert build_scorer(alone).version == build_scorer(mapped).version


def test_the_only_text_is_what_an_answer_is_measured_against():
    scorer = build_scorer(family({"query_coverage": 1.0}, inputs={"question": {}, "n": {"type": "number"}}))
    assert scorer.score({"output": ""}, "rivers of Lisbon", {"question": "Lisbon?", "n": 1}).value == 1.0


def test_among_several_texts_the_input_is_named():
    use = {"query_coverage": {"weight": 1.0, "input": "passage"}}
    scorer = build_scorer(family(use, inputs=TWO))
    assert scorer.score({"output": ""}, "a", {"question": "b", "passage": "a"}).value == 1.0


OPTIONAL = {"weight": 0.4, "key": "relations", "optional": True}
NAME = {"text": "Cork", "type": "city"}
LINK = {"subject": "Cork", "relation": "in", "object": "Ireland"}


def graph(**scorer: Any) -> Any:
    prompt = {"current": "1", "versions": {"1": {"content": CONTENT}}}
    output = {"parser": "json", "schema": {"type": ["array", "object"]}}
    declared = {"name": "qa", "inputs": {"question": {}}, "output": output, "prompt": prompt}
    return build_scorer(parse_family({**declared, "scorer": scorer}))


def test_an_optional_metric_is_left_out_where_nothing_of_it_is_expected_and_the_others_share_its_weight():
    without = graph(entity_f1=0.6, relation_f1=OPTIONAL).score({"output": [NAME]}, '[{"text": "Cork", "type": "city"}]')
    assert (without.parts, without.value) == ({"entity_f1": 1.0}, 1.0)
    both = {"output": {"entities": [NAME], "relations": [LINK]}}
    found = graph(entity_f1=0.6, relation_f1=OPTIONAL).score(
        both, '{"entities": [{"text": "Cork", "type": "city"}], "relations": []}'
    )
    assert (found.parts, found.value) == ({"entity_f1": 1.0, "relation_f1": 0.0}, pytest.approx(0.6))


def test_without_optional_nothing_expected_is_an_error_and_scores_of_both_are_not_compared():
    needed = graph(entity_f1=0.6, relation_f1={"weight": 0.4, "key": "relations"})
    assert needed.score({"output": [NAME]}, "[]").value is None
    assert needed.version != graph(entity_f1=0.6, relation_f1=OPTIONAL).version


def test_where_every_metric_is_left_out_there_is_no_score():
    score = graph(relation_f1=OPTIONAL).score({"output": [NAME]}, "[]")
    assert (score.value, score.error) == (None, "the expected output has none of relations")


@pytest.mark.parametrize(
    ("scorer", "fault"),
    [
        pytest.param({"query_coverage": 1.0}, r"/query_coverage/input: .* query_coverage: \{weight", id="missing"),
        pytest.param({"chrf": {"weight": 1.0, "input": "page"}}, "/chrf/input: there is no input 'page'", id="unknown"),
        pytest.param({"supported_numbers": {"weight": 1.0, "sources": ["x"]}}, "no input 'x'", id="one of a list"),
        pytest.param({"token_f1": {"weight": 1.0, "k": 3}}, "no parameter 'k'; known here: weight$", id="none taken"),
        pytest.param({"efficiency": {"weight": 1.0, "words": 3}}, "known here: weight, max_words", id="another name"),
        pytest.param({"efficiency": {"weight": 1.0, "max_words": 0}}, "a whole number from 1", id="too small"),
        pytest.param({"efficiency": {"weight": 1.0, "max_words": True}}, "a whole number from 1", id="no number"),
        pytest.param({"format_compliance": {"weight": 1.0, "labels": []}}, "a list of texts, at least one", id="empty"),
        pytest.param({"format_compliance": {"weight": 1.0, "schema": "x"}}, "a JSON Schema, as a", id="no schema"),
        pytest.param({"format_compliance": {"weight": 1.0, "schema": {"type": "x"}}}, "no JSON Schema", id="bad"),
        pytest.param({"format_compliance": {"weight": 1.0, "schema": {"$ref": "x:/y"}}}, "leads out", id="outside"),
        pytest.param({"efficiency": {"max_words": 3}}, "/efficiency/weight: 'weight' is missing", id="no weight"),
        pytest.param({"token_f1": {"weight": 1.0, "optional": True}}, "measures no part of an object", id="no part"),
        pytest.param({"topic_coverage": {"weight": 1.0, "optional": True}}, "name the part", id="part without a name"),
        pytest.param({"efficiency": {"weight": 0}}, "/scorer/efficiency/weight: 0 does not fit", id="weight 0"),
        pytest.param({"efficiency": "1"}, "/scorer/efficiency: '1' does not fit", id="a text"),
        pytest.param({"retrieval_mrr": 1.0}, "judges outputs of parser list or json", id="another parser"),
    ],
)
def test_what_does_not_fit_is_told_when_the_file_is_read(scorer, fault):
    with pytest.raises(InvalidFamily, match=fault):
        family(scorer, inputs=TWO)


def test_a_function_of_the_users_own_takes_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_halves.py").write_text("def half(example, output):\n    return 0.5\n", encoding="utf-8")
    assert build_scorer(family({"own_halves.half": 1.0}), tmp_path).score({"output": ""}, "a").value == 0.5
    with pytest.raises(InvalidFamily, match=r"own_halves\.half takes no parameter 'k'"):
        build_scorer(family({"own_halves.half": {"weight": 1.0, "k": 1}}), tmp_path)
