"""Every metric by name: those built in, to which packages add by an entry point of group ``detent.scorers``.

``adapters/text_metrics.py`` has the code of those built in, which needs libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from optimizer.core.base.registry import Added, Registry
from optimizer.core.family.parsers import PARSERS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord:
    """What is known of a metric before it measures.

    Args:
        judge: a package's function ({"input", "expected"}, parsed output) -> [0, 1]; None for one that is built in.
        parsers: whose outputs it can judge; None: of all.
        usual_for: the parser whose outputs it judges where a family names no metric.
        name, package: a package's are those of its entry point and distribution.
        place: where its code stands, as ``module:name``; empty for those that the scorer itself knows.
    """

    judge: Callable[[Mapping[str, Any], Any], float] | None = None
    parsers: tuple[str, ...] | None = None
    usual_for: str | None = None
    name: str = ""
    place: str = ""
    package: str = ""

    def misfit(self, parser: str) -> str | None:
        """Why it cannot judge outputs of this parser, as a sentence without its full stop; None where it can."""
        if self.parsers is None or parser in self.parsers:
            return None
        return f"{self.name} judges outputs of parser {' or '.join(self.parsers)}, and this family's parser is {parser!r}; choose another metric"


BUILT_IN = (
    MetricRecord(name="rouge_1", parsers=("text",)),
    MetricRecord(name="rouge_2", parsers=("text",)),
    MetricRecord(name="rouge_l", parsers=("text",), usual_for="text"),
    MetricRecord(name="label_match", parsers=("label",), usual_for="label"),
    MetricRecord(name="exact_match", usual_for="json"),
    MetricRecord(name="list_f1", parsers=("list",), usual_for="list"),
    MetricRecord(name="json_valid", parsers=("json",)),
    MetricRecord(
        name="processed_quality",
        parsers=("json",),
        place="optimizer.content.core.search.score:PROCESSED_QUALITY",
    ),
)
_USUAL: Mapping[str, str] = {one.usual_for: one.name for one in BUILT_IN if one.usual_for is not None}


def usual_metric(parser: str) -> str:
    """What scores outputs of this parser where a family names no metric."""
    return _USUAL.get(parser, "exact_match")


def _of_package(added: Added, found: Any) -> MetricRecord:
    """What an entry point names: a function, or a record that has one."""
    record = found if isinstance(found, MetricRecord) else MetricRecord(judge=found)
    if not callable(record.judge):
        raise TypeError(f"it is a {type(found).__name__}, not a function (example, output) -> float, nor a MetricRecord with one")
    if unknown := sorted(name for name in record.parsers or () if name not in PARSERS):
        raise ValueError(f"it judges outputs of parser {' and '.join(unknown)}, and the parsers are {', '.join(PARSERS.names)}")
    return replace(record, name=added.name, place=added.place, package=added.package)


METRICS: Registry[MetricRecord] = Registry("detent.scorers", "metric", {one.name: one for one in BUILT_IN}, _of_package)


def unknown_metric(name: str) -> str:
    """What a family is told that names such a metric, with all that there are."""
    known = f"use {', '.join(METRICS.names)}, or the dotted path of your own function (module.function)"
    return " ".join([f"there is no metric {name!r}; {known}", *(f"({sentence})" for sentence in METRICS.refused)])
