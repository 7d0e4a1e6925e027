"""Ranked ids beside the relevant ones: precision, recall, reciprocal rank and nDCG of the first ``k``.

Wanted is one id, a list of ids, or an object of ids with grades above 0; found is a list of ids, best first, or an
object with one under ``ids``. An id that is named again keeps its place and is no hit. Where nothing is relevant,
naming nothing is right and naming anything is not.

Those of a query search the corpus for the answer, by BM25 (Robertson and Zaragoza 2009); several queries search as one.
`corpus` is the path of a JSONL file from the project folder, with a line per passage: an object with its id, by the
name that `id` says (id), and its texts, such as `{"id": "p-1", "title": "Rollo", "text": "Rollo was a Viking."}`. The
hash of the file is part of the scorer's version, so scores over two states of a corpus are never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import fsum, log2
from typing import Any

from optimizer.core.evaluation.metrics.words import Wrong, answers_of, found_items, text_of
from optimizer.core.family.metrics import metric

K = 10
Search = Callable[[str, int], list[str]]  # (query, k) -> ids of at most k passages, best first
Measure = Callable[[Sequence[float], Sequence[float], int], float]  # (grades as ranked, grades of all relevant ids, k)


def precision_at(ranked: Sequence[float], relevant: Sequence[float], k: int) -> float:
    """Share of the ids given that are relevant, in [0, 1].

    The divisor is the number of ids given, where trec_eval's P has ``k``: so one relevant id alone is perfect.
    """
    return sum(grade > 0 for grade in ranked) / len(ranked)


def recall_at(ranked: Sequence[float], relevant: Sequence[float], k: int) -> float:
    """Share of the relevant ids that were given, in [0, 1]."""
    return sum(grade > 0 for grade in ranked) / len(relevant)


def reciprocal_rank(ranked: Sequence[float], relevant: Sequence[float], k: int) -> float:
    """1 / the place of the first relevant id, 0 where there is none; the mean over examples is MRR.

    Source: Voorhees (1999), The TREC-8 question answering track report.
    """
    return next((1 / place for place, grade in enumerate(ranked, start=1) if grade > 0), 0.0)


def ndcg(ranked: Sequence[float], relevant: Sequence[float], k: int) -> float:
    """Discounted gain, the sum of grade / log2(1 + place), as a share of that of the best order, in [0, 1].

    Source: Järvelin and Kekäläinen (2002), ACM TOIS 20(4), with the discount of trec_eval's ndcg_cut.
    """
    return min(1.0, _gain(ranked) / _gain(sorted(relevant, reverse=True)[:k]))


def _gain(grades: Sequence[float]) -> float:
    return fsum(grade / log2(1 + place) for place, grade in enumerate(grades, start=1))


def relevant_ids(wanted: Any) -> dict[str, float]:
    """The grade of each relevant id; raises ValueError for a grade that is no number above 0."""
    if not isinstance(wanted, Mapping):
        return {_id(one): 1.0 for one in answers_of(wanted)}
    for one, grade in wanted.items():
        if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 < grade < float("inf"):
            raise ValueError(f"the grade of {one!r} is {grade!r}, and not a number above 0")
    return {_id(one): float(grade) for one, grade in wanted.items()}


def _id(value: Any) -> str:
    return str(value).strip()


def _at(measure: Measure) -> Callable[..., float]:
    def compare(wanted: Any, output: Any, k: int = K) -> float:
        relevant = relevant_ids(wanted)
        # The grade of each of the first `k` ids given, best first; 0 where it is not relevant, or stood there
        # before.
        ranked, seen = [], set()
        for one in found_items(output, "ids")[:k]:
            name = "" if one is Wrong else _id(one)
            ranked.append(0.0 if name in seen else relevant.get(name, 0.0))
            seen.add(name)
        if not relevant or not ranked:
            return float(not relevant and not ranked)
        return measure(ranked, list(relevant.values()), k)

    compare.__doc__ = measure.__doc__
    return compare


def _by_query(measure: Measure) -> Callable[..., float]:
    """The measure over what a query finds, so that the query is judged; several queries search as one."""
    judge = _at(measure)

    def compare(wanted: Any, output: Any, *, corpus: Search, k: int = K) -> float:
        return judge(wanted, corpus(text_of(output), k), k=k)

    compare.__doc__ = f"Of the first `k` passages that the answer finds as a query: {measure.__doc__}"
    return compare


_ranked = partial(metric, sees="answers", parsers=("list", "json"), parameters={"k": "count"})
_searched = partial(
    metric, sees="answers", parsers=("text", "list"), parameters={"corpus": "corpus", "id": "text", "k": "count"}
)
retrieval_precision = _ranked(name="retrieval_precision")(_at(precision_at))
retrieval_recall = _ranked(name="retrieval_recall")(_at(recall_at))
retrieval_mrr = _ranked(name="retrieval_mrr")(_at(reciprocal_rank))
retrieval_ndcg = _ranked(name="retrieval_ndcg")(_at(ndcg))
query_precision = _searched(name="query_precision")(_by_query(precision_at))
query_recall = _searched(name="query_recall")(_by_query(recall_at))
query_mrr = _searched(name="query_mrr")(_by_query(reciprocal_rank))
query_ndcg = _searched(name="query_ndcg")(_by_query(ndcg))
