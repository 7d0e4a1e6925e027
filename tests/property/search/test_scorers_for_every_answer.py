"""What holds for every scorer whatever it is given, and that second implementations agree with ours."""

from __future__ import annotations

import string
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from scipy.optimize import linear_sum_assignment

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.evaluation.metrics import answers, characters, coverage, entities, retrieval
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.parsers import plain_text
from optimizer.core.family.settings import JUDGE_METRIC
from tests.examples import n_examples
from tests.strategies import json_values, texts
from tests.unit.evaluation.test_scoring import family

OF_INPUT = {"input": "x"}
INPUT = {"x": "The Norman dynasty was founded by Rollo, a Viking, in 911."}
ENTITY = {"text": "Ana Lima", "type": "person"}
RELATION = {"subject": "Ana", "relation": "made", "object": "bread"}
SEARCHED = [name for name, record in METRICS.built_in.items() if "corpus" in record.parameters]  # test_corpus_index.py
CASES: dict[str, tuple[str, Any]] = {  # by metric: a parser that it judges, and an answer that is right
    **dict.fromkeys(["rouge_1", "rouge_2", "rouge_l", "chrf", "information_retention"], ("text", "Rollo founded it.")),
    **dict.fromkeys(["answer_match", "token_f1", "token_precision", "token_recall", "exact_match"], ("text", "Rollo")),
    **dict.fromkeys(["format_compliance", "efficiency"], ("text", "A Viking did.")),
    **dict.fromkeys(["supported_entities", "supported_numbers"], ("text", "It was Rollo in 911.")),
    **dict.fromkeys([name for name in METRICS.built_in if name.startswith("entity")], ("json", [ENTITY])),
    **dict.fromkeys([name for name in METRICS.built_in if name.startswith("relation")], ("json", [RELATION])),
    **dict.fromkeys(
        [name for name in METRICS.built_in if name.startswith("retrieval_") and name not in SEARCHED],
        ("json", ["p-1", "p-2"]),
    ),
    "readability": ("text", "The cat sat."),
    "query_coverage": ("text", INPUT["x"]),
    "topic_coverage": ("json", ["art", "music"]),
    "structure_detection": ("json", ["Aim", "Method"]),
    "list_f1": ("list", ["a", "b"]),
    "json_valid": ("json", {"a": 1}),
    "label_match": ("label", "yes"),
}
ASKED = [JUDGE_METRIC]  # a model says it: test_judged_evaluation.py
LEARNT = ["aligned"]  # from thumbs, per family: test_align_family.py
NO_IDENTITY = {
    "compression_ratio": ("text", "Rollo"),
    "clarity_improvement": ("text", "Rollo did."),
    "processed_quality": ("json", {"process": True}),
}


@cache
def scorer_of(name: str, parser: str) -> Scorer:
    output: dict[str, Any] = {"parser": parser}
    output |= {"json": {"schema": {}}, "label": {"labels": ["yes", "no"]}}.get(parser, {})
    return build_scorer(family(output, {name: 1.0}))


def test_every_metric_has_a_case_here():
    assert {*CASES, *NO_IDENTITY, *SEARCHED, *ASKED, *LEARNT} == set(METRICS.built_in)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_equals_the_expected_one_scores_one(name):
    parser, answer = CASES[name]
    score = scorer_of(name, parser).score({"output": answer}, plain_text(answer), INPUT)
    assert (score.value, score.error) == (1.0, None)


@given(st.sampled_from([name for name in CASES if CASES[name][0] != "text"]), json_values, json_values)
def test_whatever_is_given_the_score_is_a_share_or_an_error_said(name, wanted, found):
    parser, right = CASES[name]
    scorer = scorer_of(name, parser)
    for expected in (wanted, right):
        score = scorer.score({"output": expected}, plain_text(found), INPUT)
        assert (score.value is not None and 0 <= score.value <= 1) or score.error


@given(st.sampled_from([name for name, (parser, _) in CASES.items() if parser == "text"]), texts, texts)
def test_whatever_texts_are_given_the_score_is_a_share_or_an_error_said(name, wanted, found):
    score = scorer_of(name, "text").score({"output": wanted}, found, {"x": wanted})
    assert (score.value is not None and 0 <= score.value <= 1) or score.error


IDENTITIES = ["rouge_1", "rouge_2", "rouge_l", "chrf", "answer_match", "token_f1", "efficiency", "exact_match"]


@given(st.sampled_from(IDENTITIES), texts)
def test_every_text_is_like_itself_or_cannot_be_measured(name, text):
    assume(text.strip())
    score = scorer_of(name, "text").score({"output": text}, text, {"x": text})
    assert score.value == pytest.approx(1.0) or (score.value is None and name.startswith("rouge") and not words(text))


mentions = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=3, unique=True).map(" ".join)
facts = st.lists(st.fixed_dictionaries({"text": mentions, "type": st.sampled_from("xy")}), max_size=7)


@given(facts, facts)
def test_partial_matching_is_the_best_assignment_that_there_is(wanted, found):
    """SciPy's linear assignment over credits of 1 and a half."""
    overlap = entities.entity_overlap(wanted, found, partial=True)
    credits = np.array([[_credit(one, other) for other in found] for one in wanted]).reshape(len(wanted), len(found))
    assert overlap.right == pytest.approx(credits[linear_sum_assignment(credits, maximize=True)].sum())
    assert entities.entity_overlap(wanted, found).right <= overlap.right <= min(len(wanted), len(found))


def _credit(one: dict[str, str], other: dict[str, str]) -> float:
    if one == other:
        return 1.0
    return 0.5 * (one["type"] == other["type"] and bool(set(one["text"].split()) & set(other["text"].split())))


@given(facts, facts)
def test_exact_entities_are_f1_over_multisets_as_list_f1_has_it(wanted, found):
    listed = scorer_of("list_f1", "list")
    score = scorer_of("entity_f1", "json").score({"output": wanted}, plain_text(found))
    assert score.value == pytest.approx(listed.score({"output": wanted}, plain_text(found)).value)


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_the_longest_common_subsequence_is_the_longest(one, other):
    def longest(one: list[str], other: list[str]) -> int:
        if not one or not other:
            return 0
        if one[0] == other[0]:
            return 1 + longest(one[1:], other[1:])
        return max(longest(one[1:], other), longest(one, other[1:]))

    assert coverage.longest_common(one, other) == longest(one, other)


ids = st.sampled_from([f"d{i}" for i in range(12)])


graded = st.dictionaries(ids, st.integers(1, 4), min_size=1)


@given(graded, st.lists(ids, min_size=1, unique=True), st.sampled_from([1, 3, 10]))
def test_retrieval_agrees_with_trec_eval(grades, ranked, k):
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed here")
    run = {"q": {name: float(len(ranked) - place) for place, name in enumerate(ranked[:k])}}
    asked = {"set_P", f"recall.{k}", "recip_rank", f"ndcg_cut.{k}"}
    theirs = pytrec_eval.RelevanceEvaluator({"q": grades}, asked).evaluate(run)["q"]
    for metric, name in (
        (retrieval.retrieval_precision, "set_P"),
        (retrieval.retrieval_recall, f"recall_{k}"),
        (retrieval.retrieval_mrr, "recip_rank"),
        (retrieval.retrieval_ndcg, f"ndcg_cut_{k}"),
    ):
        assert metric(grades, ranked, k=k) == pytest.approx(theirs[name], abs=1e-6), name


@given(texts, texts)
def test_chrf_agrees_with_sacrebleu(wanted, found):
    assume("".join(wanted.split()) and "".join(found.split()))
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed here")
    assert characters.chrf(wanted, found) == pytest.approx(sacrebleu.sentence_chrf(found, [wanted]).score / 100)


ascii_texts = st.text(string.printable, max_size=60) | st.lists(
    st.sampled_from(["the", "a", "cats", "running", "were", "stopped,", "the_house", "U.S.", "3.5"]), max_size=12
).map(" ".join)


@given(ascii_texts, ascii_texts, st.sampled_from([("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")]))
def test_rouge_on_ascii_is_rouge_scores_own(wanted, found, names):
    from rouge_score.rouge_scorer import RougeScorer

    ours, theirs = names
    assume(found.strip() and len(list(islice(words(wanted), 2))) == 2)
    score = scorer_of(ours, "text").score({"output": wanted}, found)
    reference = RougeScorer([theirs], use_stemmer=True).score(wanted, found.strip())[theirs].fmeasure
    assert score.value == pytest.approx(reference)


@given(ascii_texts, ascii_texts)
def test_answers_on_ascii_are_judged_as_by_dspy(wanted, found):
    from dspy.evaluate.metrics import em_score, f1_score

    assert answers.answer_match(wanted, found) == float(em_score(found, wanted))
    if answers.squad_words(wanted) and answers.squad_words(found):  # DSPy says 0 of two texts without words
        assert answers.token_f1(wanted, found) == pytest.approx(f1_score(found, wanted))


@pytest.mark.parametrize("name", sorted(name for name in CASES if CASES[name][0] == "text"))
def test_a_long_answer_costs_little(name):
    """Sixty thousand characters without a break: no scorer goes through them more than a few times."""
    for text in ("a" * n_examples(60_000), "A." * 30_000, "1," * 30_000, "東" * 20_000):
        scorer_of(name, "text").score({"output": "Rollo"}, text, INPUT)
