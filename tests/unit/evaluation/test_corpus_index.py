"""A query judged by what it finds in a family's corpus."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from optimizer.adapters.text_metrics import build_scorer, open_corpus
from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.evaluation.scoring import Scorer
from tests.unit.evaluation.test_scoring import family

pytest.importorskip("bm25s", reason="bm25s is not installed here")
PASSAGES = {
    "p-1": "Rollo was a Viking who became ruler of Normandy.",
    "p-2": "The river Seine runs through Rouen.",
    "p-3": "Normandy lies by the sea, and the Seine ends there.",
    "p-4": "東京 is a city.",
}


def corpus(folder: Path, passages: dict[str, str] = PASSAGES, name: str = "corpus.jsonl") -> Path:
    file = folder / name
    lines = [json.dumps({"id": id, "text": text}) for id, text in passages.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def scorer(folder: Path, name: str = "query_mrr", parser: str = "text", **parameters: Any) -> Scorer:
    use = {name: {"weight": 1.0, "corpus": "corpus.jsonl", **parameters}}
    return build_scorer(family({"field": "id", "parser": parser}, use), folder)


def test_a_query_is_worth_what_it_finds(tmp_path):
    corpus(tmp_path)
    measured = scorer(tmp_path)
    assert measured.score({"id": "p-1"}, "Viking ruler").value == 1.0
    assert measured.score({"id": "p-3"}, "Normandy Seine").value == 1.0  # has both words
    assert measured.score({"id": "p-2"}, "Normandy Seine").value == 1 / 2  # has one, and is shorter than p-1
    assert measured.score({"id": "p-1"}, "Normandy Seine").value == pytest.approx(1 / 3)
    assert measured.score({"id": "p-4"}, "京").value == 1.0
    assert measured.score({"id": "p-1"}, "Paris").value == 0.0
    assert measured.score({"id": "p-1"}, "?!").value == 0.0


def test_a_rewrite_is_worth_what_it_finds_sooner_than_the_question_did(tmp_path):
    corpus(tmp_path)
    measured, asked = scorer(tmp_path, "retrieval_boost"), {"x": "Normandy Seine"}
    assert measured.score({"id": "p-2"}, "Rouen", asked).value == 3 / 4  # second, and now first
    assert measured.score({"id": "p-2"}, "Normandy Seine", asked).value == 1 / 2
    assert measured.score({"id": "p-3"}, "Paris", asked).value == 0.0  # first, and now not at all
    assert measured.score({"id": "p-4"}, "京", asked).value == 1.0


def test_several_queries_search_as_one_and_k_bounds_what_is_found(tmp_path):
    corpus(tmp_path)
    wanted = {"id": ["p-1", "p-2"]}
    assert scorer(tmp_path, "query_recall", "list").score(wanted, "- Rollo\n- Rouen").value == 1.0
    assert scorer(tmp_path, "query_recall", "list", k=1).score(wanted, "- Rollo\n- Rouen").value == 0.5
    assert scorer(tmp_path, "query_precision").score(wanted, "Rollo, Seine").value == pytest.approx(2 / 3)
    assert scorer(tmp_path, "query_ndcg").score({"id": "p-1"}, "Rollo").value == 1.0


def test_another_state_of_the_corpus_is_another_scorer(tmp_path):
    corpus(tmp_path)
    before = scorer(tmp_path)
    assert scorer(tmp_path).version == before.version
    corpus(tmp_path, {**PASSAGES, "p-5": "A Viking, too."})
    assert scorer(tmp_path).version != before.version


def test_ids_may_have_another_name_and_all_texts_are_searched(tmp_path):
    lines = [{"passage_id": "p-1", "title": "Rollo", "text": "A Viking.", "n": 3}, {"passage_id": "p-2", "text": "x"}]
    (tmp_path / "corpus.jsonl").write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert scorer(tmp_path, id="passage_id").score({"id": "p-1"}, "Rollo").value == 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read", id="no file"),
        pytest.param("", "no passage with a word", id="empty"),
        pytest.param('{"id": "a", "text": "..."}', "no passage with a word", id="no word"),
        pytest.param('{"id": "a", "text": "x"}\n{', "Line 2 .* no JSON", id="no JSON"),
        pytest.param('["a"]', "Line 1 .* no text 'id'", id="no object"),
        pytest.param('{"id": 3, "text": "x"}', "Line 1 .* no text 'id'", id="no text as id"),
        pytest.param('{"id": "a"}\n{"id": " a"}', "Line 2 .* stood before", id="twice"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_told_with_its_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / "corpus.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match=said):
        open_corpus(tmp_path / "corpus.jsonl")
    with pytest.raises(InvalidFamily, match="/scorer/query_mrr"):
        scorer(tmp_path)


def test_a_file_without_a_corpus_is_at_fault():
    with pytest.raises(InvalidFamily, match=r"query_mrr searches a corpus; name its file: query_mrr: \{weight"):
        family({"field": "id", "parser": "text"}, {"query_mrr": 1.0})


letters = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8)


@given(st.lists(letters, min_size=1, max_size=6), letters)
def test_the_order_is_that_of_bm25_by_its_formula(tmp_path_factory, passages, query):
    """Lucene's form: idf ln(1 + (N - n + .5) / (n + .5)) times tf / (tf + k1 (1 - b + b length / mean length))."""
    named = {f"p-{i}": " ".join(passage) for i, passage in enumerate(passages)}
    index = open_corpus(corpus(tmp_path_factory.mktemp("corpus"), named))
    mean = sum(map(len, passages)) / len(passages)
    n_with = Counter(word for passage in passages for word in set(passage))

    def score(passage: list[str]) -> float:
        length = 1.5 * (1 - 0.75 + 0.75 * len(passage) / mean)
        frequency = {word: passage.count(word) for word in query}
        rarity = {word: log(1 + (len(passages) - n_with[word] + 0.5) / (n_with[word] + 0.5)) for word in query}
        return sum(rarity[word] * frequency[word] / (frequency[word] + length) for word in query)

    scores = {f"p-{i}": score(passage) for i, passage in enumerate(passages)}
    found = index.search(" ".join(query), k=10)
    assert set(found) == {name for name, one in scores.items() if one > 0}
    ranked = [scores[name] for name in found]
    assert all(one >= other - 1e-5 for one, other in pairwise(ranked))
