"""chrF: what two texts share of their runs of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from optimizer.core.evaluation.metrics.words import answers_of, source_text, text_of
from optimizer.core.family.metrics import metric

ORDER, BETA = 6, 2  # runs of one to six characters; recall weighs BETA times as much as precision


def chrf(wanted: str, output: str) -> float:
    """F of shared runs of 1 to 6 characters without white space, recall weighing twice as much, in [0, 1].

    Orders that one of the texts is too short for do not count. Two texts without characters agree;
    one without does not.

    Source:
        Popović (2015), WMT, as sacreBLEU 2 computes it for one pair of sentences (nc:6, nw:0, eps:no), divided by 100.
    """
    expected, answered = "".join(wanted.split()), "".join(output.split())
    precisions, recalls = [], []
    for n, (ours, theirs) in enumerate(zip(_runs(expected), _runs(answered), strict=True), start=1):
        n_wanted, n_found = len(expected) - n + 1, len(answered) - n + 1
        if n_wanted > 0 and n_found > 0:
            right = (ours & theirs).total()
            precisions.append(right / n_found)
            recalls.append(right / n_wanted)
    if not precisions:
        return float(not expected and not answered)
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 0.0 if not precision + recall else (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


@lru_cache(maxsize=1024)  # the expected text of an example is measured once per variant
def _runs(text: str) -> tuple[Counter[str], ...]:
    """Length -> how often each run of so many characters occurs in the text, from one character on."""
    return tuple(Counter([text[i : i + n] for i in range(len(text) - n + 1)]) for n in range(1, ORDER + 1))


@metric(name="chrf", sees="input", parsers=("text",), parameters={"input": "input"})
def semantic_preservation(wanted: Any, output: Any, inputs: Mapping[str, Any], *, input: str | None = None) -> float:
    """How well a meaning is kept, as far as characters tell: F of shared runs of 1 to 6, recall weighing twice as much.

    Beside the best of the expected texts, or beside an input.

    Args:
        input: the input whose meaning is to be kept, in place of the expected text.
    Source:
        Popović (2015), chrF; equal to sacreBLEU's.
    """
    texts = answers_of(wanted) if input is None else [source_text(inputs, input)]
    if not texts:
        raise ValueError("there is no expected text to measure the answer against")
    return max(chrf(str(one), text_of(output)) for one in texts)
