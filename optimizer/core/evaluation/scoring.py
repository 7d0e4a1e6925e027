"""Scores of outputs against expected outputs, by the weighted metrics of a Family.

The version says which scores may be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.evaluation.judging.judgement import Judgement, NotJudged
from optimizer.core.family.metrics import MetricRecord
from optimizer.core.family.parsers import PARSER_VERSION
from optimizer.core.family.rendering import ParsedAnswer, expected_value, parse_output
from optimizer.core.family.settings import Output

AskJudge = Callable[[Mapping[str, Any], str, Mapping[str, Any]], Judgement]  # (expected, output text, input)
Judge = Callable[[Mapping[str, Any], Any], float]  # the user's own: ({"input", "expected"}, parsed value) -> [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """``value`` in [0, 1], or None where it could not be measured; ``error`` says why, also for a 0 of an unreadable
    output.
    """

    value: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    reasoning: str = ""  # of the judge, where one was asked


def _no_judge(dotted: str) -> Judge:
    raise InvalidInput(f"There is no function {dotted!r} to score answers with here.")


class Scorer:
    """Weighted mean of a Family's metrics.

    An output that cannot be read (no label, no JSON) is the model's failure: 0 with the reason. A metric that raises or
    leaves [0, 1] is ours: None with the reason, since a missing score is not a bad one.

    Attributes:
        version: ``s_`` and 12 hex digits over metric names, weights, versions and the way outputs are read.
        judge_of: loads a function of the user's own by its dotted path, for gates; raises InvalidInput where it cannot.
        is_judged: whether a score takes a judgement, so that a model is asked before.

    Args:
        parser_version: of a package's parser; empty for built-in ones.
        optional: metrics with the part of the expected output that each measures. Where an example's expected output is
            no object with that part, the metric is left out, and the others share its weight.
    """

    def __init__(
        self,
        output: Output,
        weights: Mapping[str, float],
        metrics: Sequence[MetricRecord],
        judge_of: Callable[[str], Judge] = _no_judge,
        parser_version: str = "",
        optional: Mapping[str, str] | None = None,
    ) -> None:
        self._output = output
        self._parser_version = parser_version
        self._optional = dict(optional or {})
        self.judge_of = judge_of
        self._weights = dict(weights)
        self._metrics = {m.name: m for m in metrics}
        measured_by = {
            name: [weight, self._metrics[name].version, *(["optional"] if name in self._optional else [])]
            for name, weight in self._weights.items()
        }
        read_by = [PARSER_VERSION, self._parser_version] if self._parser_version else PARSER_VERSION
        # what examples show is no part of how an answer is read
        shape = self._output.model_dump(mode="json", by_alias=True, exclude={"shown"})
        self.version = "s_" + digest(canonical_json([measured_by, shape, read_by]))[:12]
        used = [self._metrics[name] for name in self._weights]
        self.is_judged = any(metric.sees == "judgement" for metric in used)
        self.needs_expected = any(metric.needs_expected for metric in used)
        self._ask: AskJudge | None = None

    def asking(self, ask: AskJudge) -> Scorer:
        """The scorer for code that blocks: where no judgement is given, ``ask`` makes one, and waits for its model."""
        asks = copy(self)
        asks._ask = ask if self.is_judged else None
        return asks

    def unjudged(self) -> Scorer:
        """The scorer that asks no judge, as for answers that are only timed: a judged metric has no score."""
        silent = copy(self)
        silent.is_judged, silent._ask = False, None
        return silent

    def reads(self, output_text: str) -> bool:
        """Whether the text can be read; an unreadable one needs no judgement."""
        return parse_output(self._output, output_text).error is None

    def score(
        self,
        expected: Mapping[str, Any],
        output_text: str,
        input: Mapping[str, Any] | None = None,
        *,
        judgement: Judgement | None = None,
    ) -> Score:
        """Score of a model's text. ``input`` reaches those metrics that look at it.

        Args:
            judgement: of this very text, where a metric takes one; without it that metric gives no score.
        Raises:
            InvalidInput: ``expected`` lacks the field, and a metric needs it.
        """
        wanted = expected_value(self._output, expected) if self.needs_expected else expected.get(self._output.field)
        parsed = parse_output(self._output, output_text)
        if judgement is None and self._ask is not None and parsed.error is None:
            judgement = self._ask(expected, output_text, input or {})
        reasoning = "" if judgement is None else judgement.reasoning
        example = {"input": dict(input or {}), "expected": dict(expected)}
        parts: dict[str, float] = {}
        for name in self._weights:
            part = self._optional.get(name)
            if part is not None and not (isinstance(wanted, Mapping) and part in wanted):
                continue
            try:
                parts[name] = _measure(self._metrics[name], wanted, example, parsed, judgement)
            except NotJudged as missing:
                return Score(value=None, parts=parts, error=str(missing), reasoning=reasoning)
            except (
                Exception
            ) as error:  # a metric may be the user's code; an error in it leaves this example without a score
                return Score(value=None, parts=parts, error=f"metric {name}: {type(error).__name__}: {error}")
        if not parts:
            return Score(value=None, error=f"the expected output has none of {', '.join(self._optional.values())}")
        total = math.fsum(self._weights[name] for name in parts)
        value = math.fsum(self._weights[name] * part for name, part in parts.items()) / total
        return Score(value=min(1.0, max(0.0, value)), parts=parts, error=parsed.error, reasoning=reasoning)


def _measure(
    metric: MetricRecord, wanted: Any, example: Mapping[str, Any], parsed: ParsedAnswer, judgement: Judgement | None
) -> float:
    if parsed.error is not None:
        return 0.0
    if metric.sees == "answers":
        raw = metric.judge(wanted, parsed.value)
    elif metric.sees == "input":
        raw = metric.judge(wanted, parsed.value, example["input"])
    elif metric.sees == "judgement":
        raw = metric.judge(judgement)
    else:
        raw = metric.judge(example, parsed.value)
    value = float(raw)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"returned {raw!r}, which is outside [0, 1]")
    return value
