"""How much users are likely to like an answer: a predictor of their thumbs, learned from production, as a score.

It reads numbers of request and answer alone, and holds no word of either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.word_lists import STOP, WORD
from optimizer.core.family.metrics import metric
from optimizer.core.predictor.answer_features import answer_features
from optimizer.core.predictor.predictor import Predictor
from optimizer.core.predictor.request_features import request_features

LEAST_THUMBS = 100
LEAST_OF_A_KIND = 10  # up and down, among the later thumbs
EARLIER = 0.7  # the share of the thumbs that is learned from
LEAST_AREA = 0.6  # how often a liked answer has to score above a disliked one; chance is .5
_OF_ANSWER = ("answer.log_words", "answer.refusal", "answer.hedges", "answer.log_numbers", "answer.ends")
LENGTH = "answer.log_words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What was learned, and how well it tells later thumbs apart: area under the ROC curve with its 95 % interval.

    ``length_area``: that of the answer's length alone, longer or shorter, whichever tells more.
    """

    predictor: Predictor
    n_earlier: int
    n_later: int
    area: float
    low: float
    high: float
    length_area: float

    @property
    def is_enough(self) -> bool:
        return self.area >= LEAST_AREA and self.low > 0.5

    def as_data(self) -> dict[str, Any]:
        """Without the predictor."""
        return {name: value for name, value in asdict(self).items() if name != "predictor"} | {
            "is_enough": self.is_enough
        }


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()


def alignment_features(input: Mapping[str, Any], answer: str) -> dict[str, float | None]:
    """Of the request, of the answer, and of how much the one takes up of the other."""
    request = "\n".join(text_of(value) for value in input.values())
    request_words, answer_words = _words(request), _words(answer)
    shared = request_words & answer_words
    own = answer_features(answer)
    return {
        **request_features(request),
        **{name: own[name] for name in _OF_ANSWER},
        "answer.log_length_ratio": math.log1p(len(answer)) - math.log1p(len(request)),
        "answer.share_from_request": len(shared) / len(answer_words) if answer_words else 0.0,
        "answer.share_of_request": len(shared) / len(request_words) if request_words else 0.0,
        "answer.log_lines": math.log1p(answer.count("\n")),
    }


@metric(name="aligned", sees="input", parameters={"predictor": "predictor"}, needs_expected=False)
def aligned_score(wanted: Any, found: Any, input: Mapping[str, Any], *, predictor: Predictor) -> float:
    """How likely users are to like the answer, as `detent family align` learned.

    It reads 40 numbers of request and answer, such as length, hedges, a refusal, and how much of the request comes
    back, and no word of either: a search may learn to please it by them, so look at what wins. Its version is the
    file's hash. It needs no expected output.

    Args:
        predictor: the file that the command wrote, from the project folder.
    """
    return predictor.predict(alignment_features(input, text_of(found)))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in WORD.findall(text)) - STOP


FEATURES: Sequence[str] = tuple(alignment_features({}, ""))
