"""chrF: what two texts share of their runs of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from optimizer.core.evaluation.scorers.values import answers_of, source_text, text_of
from optimizer.core.evaluation.scoring import ScoringMetric

ORDER, BETA = 6, 2  # runs of one to six characters; recall weighs BETA times as much as precision
_Grams = tuple[Counter[str], ...]


def chrf(wanted: str, found: str) -> float:
    """F of shared runs of 1 to 6 characters without white space, recall weighing twice as much, in [0, 1].

    Orders that one of the texts is too short for do not count. Two texts without characters agree; one without does
    not.

    Source:
        Popović (2015), WMT, as sacreBLEU 2 computes it for one pair of sentences (nc:6, nw:0, eps:no), divided by 100.
    """
    expected, given = _grams("".join(wanted.split())), _grams("".join(found.split()))
    precisions, recalls = [], []
    for ours, theirs in zip(expected, given, strict=True):
        n_wanted, n_found = ours.total(), theirs.total()
        if n_wanted and n_found:
            few, many = (ours, theirs) if len(ours) < len(theirs) else (theirs, ours)
            right = sum(min(n, many[run]) for run, n in few.items() if run in many)
            precisions.append(right / n_found)
            recalls.append(right / n_wanted)
    if not precisions:
        return float(not expected[0] and not given[0])
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if not precision + recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


@lru_cache(maxsize=1024)  # the expected text of an example is measured once per variant
def _grams(text: str) -> _Grams:
    return tuple(Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(1, ORDER + 1))


def semantic_preservation(wanted: Any, found: Any, inputs: Mapping[str, Any], *, input: str | None = None) -> float:
    """chrF of the answer beside the best of the expected texts, or beside an input whose meaning is to be kept."""
    texts = answers_of(wanted) if input is None else [source_text(inputs, input)]
    if not texts:
        raise ValueError("there is no expected text to measure the answer against")
    return max(chrf(str(one), text_of(found)) for one in texts)


CHRF = ScoringMetric(name="chrf", version="1", with_input=semantic_preservation)
