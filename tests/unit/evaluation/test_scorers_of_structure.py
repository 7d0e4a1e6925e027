"""Scorers of entities, relations, ranked ids, topics and form, on cases computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import pytest

from optimizer.core.evaluation.metrics import coverage, entities, form, retrieval, rewrites


def value(measure: Callable[..., float], wanted: Any, found: Any, **parameters: Any) -> float:
    return measure(wanted, found, **parameters)


def entity(text: Any, type: Any = "person") -> dict[str, Any]:
    return {"text": text, "type": type}


def relation(subject: Any, name: str, object: Any) -> dict[str, Any]:
    return {"subject": subject, "relation": name, "object": object}


ANA, BEN, PARIS = entity("Ana Lima"), entity("Ben"), entity("Paris", "location")


class TestEntities:
    @pytest.mark.parametrize(
        ("wanted", "found", "f1", "precision", "recall"),
        [
            pytest.param([ANA, BEN], [BEN, ANA], 1, 1, 1, id="whatever their order"),
            pytest.param([ANA], [entity(" ana  LIMA ", "Person")], 1, 1, 1, id="case and space"),
            pytest.param([ANA, BEN, PARIS], [ANA], 1 / 2, 1, 1 / 3, id="one of three"),
            pytest.param([ANA], [ANA, BEN], 2 / 3, 1 / 2, 1, id="one too many"),
            pytest.param([ANA], [ANA, ANA], 2 / 3, 1 / 2, 1, id="said twice"),
            pytest.param([PARIS], [entity("Paris", "person")], 0, 0, 0, id="another type"),
            pytest.param([ANA], [entity("Ana")], 0, 0, 0, id="a part is not it"),
            pytest.param([], [], 1, 1, 1, id="both empty"),
            pytest.param([], [ANA], 0, 0, 0, id="nothing wanted"),
            pytest.param([ANA], [], 0, 0, 0, id="nothing found"),
            pytest.param({"entities": [ANA]}, {"entities": [ANA], "relations": []}, 1, 1, 1, id="under their key"),
            pytest.param([ANA], "Ana Lima", 0, 0, 0, id="no list"),
            pytest.param([], {"people": []}, 0, 0, 0, id="another key"),
            pytest.param([ANA], [ANA, "Ben", {"text": "Ben"}, entity(3)], 2 / 5, 1 / 4, 1, id="in another form"),
        ],
    )
    def test_exact(self, wanted, found, f1, precision, recall):
        assert value(entities.entity_f1, wanted, found) == pytest.approx(f1)
        assert value(entities.entity_precision, wanted, found) == pytest.approx(precision)
        assert value(entities.entity_recall, wanted, found) == pytest.approx(recall)

    @pytest.mark.parametrize(
        ("wanted", "found", "f1"),
        [
            pytest.param([ANA], [entity("Ana")], 1 / 2, id="half for a part"),
            pytest.param([ANA], [entity("Ana", "location")], 0, id="of the same type only"),
            pytest.param([ANA], [entity("Anabel Lim")], 0, id="whole words"),
            pytest.param([ANA], [entity("Ana"), entity("Lima")], 1 / 3, id="one to one: one half of one and two"),
            pytest.param([ANA, BEN], [ANA, entity("Ben Lee")], 3 / 4, id="one and a half of two"),
            pytest.param([entity("a b"), entity("b c")], [entity("b"), entity("a x")], 1 / 2, id="b makes room for a"),
            pytest.param([entity("東京都")], [entity("東京")], 1 / 2, id="characters are words"),
            pytest.param([entity("Ana")], [entity("Ana"), entity("Ana Lima")], 2 / 3, id="exact first"),
        ],
    )
    def test_partial(self, wanted, found, f1):
        assert value(entities.entity_f1_partial, wanted, found) == pytest.approx(f1)

    @pytest.mark.parametrize("wanted", [None, "Ana", {"a": [ANA]}, [{"text": "Ana"}], [entity("")], [entity(3)]])
    def test_an_expected_value_in_another_form_is_an_error_and_no_zero(self, wanted):
        with pytest.raises(ValueError, match="expected"):
            value(entities.entity_f1, wanted, [ANA])


class TestRelations:
    MADE = relation("Ana", "made", "bread")

    @pytest.mark.parametrize(
        ("found", "exact", "partial"),
        [
            pytest.param([MADE], 1, 1, id="the same"),
            pytest.param([relation("bread", "made", "Ana")], 0, 0, id="the other way round"),
            pytest.param([relation("Ana", "ate", "bread")], 0, 0, id="another relation"),
            pytest.param([relation("Ana Lima", "made", "the bread")], 0, 1 / 2, id="each in part"),
            pytest.param([relation("Ana", "made", "soup")], 0, 0, id="one of two ends"),
            pytest.param([relation({"text": "ana"}, "made", {"text": "bread"})], 1, 1, id="ends with a text"),
            pytest.param([MADE, relation("Ana", "made", "soup")], 2 / 3, 2 / 3, id="one too many"),
        ],
    )
    def test_f1(self, found, exact, partial):
        assert value(entities.relation_f1, [self.MADE], found) == pytest.approx(exact)
        assert value(entities.relation_f1_partial, [self.MADE], found) == pytest.approx(partial)

    def test_precision_and_recall_of_one_right_in_two_found_of_three(self):
        wanted = [self.MADE, relation("Ben", "made", "soup"), relation("Ben", "ate", "soup")]
        found = {"links": [self.MADE, relation("Ben", "made", "tea")]}
        assert value(entities.relation_precision, wanted, found, key="links") == 1 / 2
        assert value(entities.relation_recall, wanted, found, key="links") == pytest.approx(1 / 3)


SECOND = 1 / log2(3)  # what the second place is worth


class TestRetrieval:
    @pytest.mark.parametrize(
        ("wanted", "found", "k", "precision", "recall", "mrr", "ndcg"),
        [
            pytest.param("a", ["a"], 10, 1, 1, 1, 1, id="the one"),
            pytest.param("a", ["b", "a"], 10, 1 / 2, 1, 1 / 2, SECOND, id="at the second place"),
            pytest.param(["a", "b"], ["x", "b", "y", "a"], 3, 1 / 3, 1 / 2, 1 / 2, SECOND / (1 + SECOND), id="cut"),
            pytest.param({"a": 1, "b": 3}, ["a", "b"], 10, 1, 1, 1, (1 + 3 * SECOND) / (3 + SECOND), id="grades"),
            pytest.param("a", ["b", "a"], 1, 0, 0, 0, 0, id="too late"),
            pytest.param("a", ["a", "a"], 10, 1 / 2, 1, 1, 1, id="named twice"),
            pytest.param([7], [7, " 8 "], 10, 1 / 2, 1, 1, 1, id="numbers"),
            pytest.param("a", [], 10, 0, 0, 0, 0, id="nothing given"),
            pytest.param([], [], 10, 1, 1, 1, 1, id="nothing relevant, nothing given"),
            pytest.param([], ["a"], 10, 0, 0, 0, 0, id="nothing relevant"),
            pytest.param("a", "a", 10, 0, 0, 0, 0, id="no list"),
            pytest.param("a", {"ids": ["a"]}, 10, 1, 1, 1, 1, id="under ids"),
        ],
    )
    def test_each_measure(self, wanted, found, k, precision, recall, mrr, ndcg):
        for metric, expected in (
            (retrieval.retrieval_precision, precision),
            (retrieval.retrieval_recall, recall),
            (retrieval.retrieval_mrr, mrr),
            (retrieval.retrieval_ndcg, ndcg),
        ):
            assert value(metric, wanted, found, k=k) == pytest.approx(expected)

    @pytest.mark.parametrize("grade", [0, -1, True, "1", float("inf")])
    def test_a_grade_that_is_no_number_above_zero_is_an_error(self, grade):
        with pytest.raises(ValueError, match="grade"):
            value(retrieval.retrieval_ndcg, {"a": grade}, ["a"])


class TestCoverage:
    @pytest.mark.parametrize(
        ("question", "query", "share"),
        [
            pytest.param("Which river runs through Lisbon?", "river Lisbon", 2 / 4, id="of four content words"),
            pytest.param("Who was it?", "who", 1 / 3, id="function words alone"),
            pytest.param("Which river?", ["the RIVER", "sea"], 1, id="several queries"),
            pytest.param("東京の川", "東京", 2 / 4, id="characters"),
            pytest.param("Which river?", "", 0, id="an empty query"),
        ],
    )
    def test_query(self, question, query, share):
        measured = value(coverage.query_coverage, None, query, inputs={"q": question}, input="q")
        assert measured == pytest.approx(share)

    @pytest.mark.parametrize("measure", [coverage.query_coverage, rewrites.clarity_improvement])
    def test_a_question_without_words_or_without_its_input_is_an_error(self, measure):
        for inputs in ({"q": "?!"}, {}):
            with pytest.raises(ValueError, match="input 'q'"):
                value(measure, None, "river", inputs=inputs, input="q")

    @pytest.mark.parametrize(
        ("question", "rewrite", "share"),
        [
            pytest.param("Did he leave it?", "Did Dampier leave the ship?", 1, id="both named"),
            pytest.param("Did he leave it?", "Did Dampier leave IT?", 1 / 2, id="one of two"),
            pytest.param("Did he leave it?", "Did he leave it?", 0, id="as it was"),
            pytest.param("Was Ana hurt?", "Was Ana hurt in Peru?", 1, id="nothing to name"),
            pytest.param("Was Ana hurt?", "Was she hurt?", 0, id="less clear than before"),
            pytest.param("Did he leave it?", "?", 0, id="no word"),
        ],
    )
    def test_a_rewrite_is_clearer_by_what_it_names(self, question, rewrite, share):
        measured = value(rewrites.clarity_improvement, None, rewrite, inputs={"q": question}, input="q")
        assert measured == pytest.approx(share)

    @pytest.mark.parametrize(
        ("topics", "found", "share"),
        [
            pytest.param(["Physics", "economics"], ["economics ", "art"], 1 / 2, id="a list"),
            pytest.param(["physics"], {"topics": ["physics"]}, 1, id="an object"),
            pytest.param({"topics": ["physics", "art"]}, "On physics, not arts.", 1 / 2, id="whole words"),
            pytest.param("computer science", "Computer Science", 1, id="one topic"),
            pytest.param(["c++"], "C++ for all", 1, id="with signs"),
            pytest.param([], ["art"], 1, id="none expected"),
            pytest.param(["art"], {"other": []}, 0, id="another form"),
        ],
    )
    def test_topics(self, topics, found, share):
        assert value(coverage.topic_coverage, topics, found) == pytest.approx(share)

    @pytest.mark.parametrize(
        ("wanted", "found", "f1"),
        [
            pytest.param(["Aim", "Method", "Result"], ["aim", "method", "result"], 1, id="the same"),
            pytest.param(["Aim", "Method", "Result"], ["Result", "Aim", "Method"], 2 / 3, id="two in order"),
            pytest.param(["Aim", "Method"], {"structure": ["Aim"]}, 2 / 3, id="one missing"),
            pytest.param([{"title": "Aim", "level": 1}], [{"level": 1, "title": "Aim"}], 1, id="objects"),
            pytest.param([], [], 1, id="both empty"),
            pytest.param(["Aim"], "Aim", 0, id="no list"),
        ],
    )
    def test_structure(self, wanted, found, f1):
        assert value(coverage.structure_detection, wanted, found) == pytest.approx(f1)


class TestForm:
    @pytest.mark.parametrize(
        ("found", "rules", "share"),
        [
            pytest.param("any text", {}, 1, id="no rule"),
            pytest.param("one two three", {"max_words": 2}, 0, id="too long"),
            pytest.param("one two three", {"min_words": 3, "max_words": 3, "max_chars": 12}, 2 / 3, id="two of three"),
            pytest.param("Yes", {"labels": ["yes", "no"]}, 1, id="a label"),
            pytest.param(["a", "b", "x"], {"labels": ["a", "b"]}, 0, id="an item that is none"),
            pytest.param({"a": 1}, {"schema": {"required": ["a"]}, "max_chars": 7}, 1, id="an object"),
            pytest.param({"a": 1}, {"schema": {"required": ["b"]}}, 0, id="against the schema"),
            pytest.param(["one two", "three"], {"max_words": 3, "max_chars": 13}, 1, id="a list has lines"),
        ],
    )
    def test_compliance(self, found, rules, share):
        assert value(form.format_compliance, None, found, **rules) == pytest.approx(share)

    @pytest.mark.parametrize(
        ("wanted", "found", "max_words", "share"),
        [
            pytest.param("two words", "these are four words", None, 1 / 2, id="twice as long"),
            pytest.param(["one", "two of them"], "one two three", None, 1, id="the longest expected"),
            pytest.param("two words", "one", None, 1, id="shorter"),
            pytest.param("two words", "a b c d", 3, 3 / 4, id="beside a limit"),
            pytest.param("", "", None, 1, id="empty"),
            pytest.param("", "a b", None, 1 / 2, id="one word is allowed at least"),
        ],
    )
    def test_efficiency(self, wanted, found, max_words, share):
        assert value(form.efficiency, wanted, found, max_words=max_words) == pytest.approx(share)

    PASSAGE = "The Norman dynasty was founded by Rollo, a Viking."

    @pytest.mark.parametrize(
        ("found", "saved"),
        [
            pytest.param("founded by Rollo", 1 - 3 / 9, id="a third is left"),
            pytest.param("Rollo", 1 - 1 / 9, id="the answer alone"),
            pytest.param("founded by a Viking", 0, id="the answer is lost"),
            pytest.param(PASSAGE, 0, id="nothing saved"),
            pytest.param(PASSAGE + " Rollo!", 0, id="longer than before"),
            pytest.param("", 0, id="nothing left"),
        ],
    )
    def test_compression(self, found, saved):
        inputs = {"p": self.PASSAGE}
        measured = value(form.compression_ratio, ["Rollo", "Hrolf"], found, inputs=inputs, input="p")
        assert measured == pytest.approx(saved)

    @pytest.mark.parametrize(("answers", "passage"), [([], "a text"), (["?"], "a text"), (["a word"], "...")])
    def test_what_cannot_be_compressed_is_an_error(self, answers, passage):
        with pytest.raises(ValueError, match=r"no word|holds a word"):
            value(form.compression_ratio, answers, "x", inputs={"p": passage}, input="p")
