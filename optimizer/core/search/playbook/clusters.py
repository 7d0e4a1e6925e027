"""Answers that went wrong, sorted by what went wrong, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example, similarities, vectors
from optimizer.core.family.rendering import expected_value, parse_output
from optimizer.core.family.settings import Output
from optimizer.core.search.examples.sets import text_of

PERFECT = 1.0
MOST = 3  # clusters that a reflection reads, those that lose most
LABEL_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredExample:
    """One training example as a variant answered it; ``score`` None where it could not be measured."""

    example: Example
    text: str
    score: float | None
    feedback: str = ""

    @property
    def lost(self) -> float:
        return 0.0 if self.score is None else PERFECT - self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Failures of one kind, the worst first."""

    name: str
    failures: tuple[AnsweredExample, ...]

    @property
    def lost(self) -> float:
        return sum(one.lost for one in self.failures)


def cluster_failures(answered: Sequence[AnsweredExample], output: Output) -> list[Cluster]:
    """At most ``MOST`` clusters, those first that lose most of the score.

    First come failures that have a name: an answer that cannot be read, the wrong label, a missing part of an object.
    The others are clustered by the similarity of their inputs, around those that are least alike.
    """
    named: dict[str, list[AnsweredExample]] = {}
    others: list[AnsweredExample] = []
    for one in answered:
        if one.lost > 0:
            name = _name(one, output)
            (others if name is None else named.setdefault(name, [])).append(one)
    all_clusters = [_cluster(name, failures) for name, failures in named.items()]
    all_clusters += [_cluster(f"alike inputs, {i}", failures) for i, failures in enumerate(_by_similarity(others), 1)]
    return sorted(all_clusters, key=lambda cluster: (-cluster.lost, cluster.name))[:MOST]


def _cluster(name: str, failures: Sequence[AnsweredExample]) -> Cluster:
    return Cluster(name=name, failures=tuple(sorted(failures, key=lambda one: (-one.lost, one.example.id))))


def _name(one: AnsweredExample, output: Output) -> str | None:
    """What went wrong where it can be named."""
    parsed = parse_output(output, one.text)
    if parsed.error is not None:
        return "answers that cannot be read"
    try:
        wanted = expected_value(output, one.example.expected)
    except InvalidInput:
        return None
    if output.parser == "label":
        return f"expected {_shown_value(wanted)}, answered {_shown_value(parsed.value)}"
    if isinstance(wanted, Mapping):
        if not isinstance(parsed.value, Mapping):
            return "answers that are no object"
        if lacks := [key for key in wanted if key not in parsed.value]:
            return f"answers without {', '.join(lacks)}"
        if empty := [key for key in wanted if wanted[key] and not parsed.value[key]]:
            return f"answers with nothing in {', '.join(empty)}"
        if wrong := [key for key in wanted if wanted[key] != parsed.value[key]]:
            return f"answers with another {', '.join(wrong)}"
    return None


def _shown_value(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"


def _by_similarity(failures: Sequence[AnsweredExample]) -> list[list[AnsweredExample]]:
    """Around at most ``MOST`` centres: the worst failure, then always the one least like those chosen."""
    if not failures:
        return []
    ordered = sorted(failures, key=lambda one: (-one.lost, one.example.id))
    embedded = vectors([text_of(one.example.input) for one in ordered])
    alike = similarities(embedded, embedded)
    centres = [0]
    while len(centres) < min(MOST, len(ordered)):
        rest = [i for i in range(len(ordered)) if i not in centres]
        centres.append(min(rest, key=lambda i: (max(alike[i][c] for c in centres), i)))
    groups: dict[int, list[AnsweredExample]] = {centre: [] for centre in centres}
    for i, one in enumerate(ordered):
        nearest = i if i in groups else max(centres, key=lambda c: (alike[i][c], -c))
        groups[nearest].append(one)
    return list(groups.values())
