"""Every metric by name: those built in, to which packages add by an entry point of group ``detent.scorers``.

The code of those built in stands in ``core/evaluation/scoring.py``, ``core/evaluation/scorers/`` and, where it needs
libraries, ``adapters/text_metrics.py``. docs/reference/scorers.md describes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optimizer.core.base.registry import Added, Registry
from optimizer.core.family.judge_settings import SCORER as JUDGED
from optimizer.core.family.parsers import PARSERS

ALIGNED = "aligned"  # learned from users' thumbs
# "the input" may be left out where the family has one text alone; "input" may always
ParameterKind = Literal[
    "count", "number", "text", "texts", "schema", "input", "the input", "inputs", "corpus", "predictor"
]
_FORMS: Mapping[ParameterKind, str] = {
    "count": "a whole number from 1",
    "number": "a number",
    "text": "a text",
    "texts": "a list of texts, at least one",
    "schema": "a JSON Schema, as a mapping",
    "input": "the name of an input",
    "the input": "the name of an input",
    "inputs": "a list of names of inputs",
    "corpus": "the path of a JSONL file, from the project folder",
    "predictor": "the path of a learned scorer's file, from the project folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord:
    """What is known of a metric before it measures.

    Args:
        judge: a package's function ({"input", "expected"}, parsed output) -> [0, 1]; None for one that is built in.
        parsers: whose outputs it can judge; None: of all.
        usual_for: the parser whose outputs it judges where a family names no metric.
        name, package: a package's are those of its entry point and distribution.
        place: where its code or a table with it stands, as ``module:name``; empty for what the scorer itself knows.
        parameters: what a family may set beside its weight; they reach the function by name.
        needs_expected: False: it scores examples without an expected output, too.
    """

    judge: Callable[[Mapping[str, Any], Any], float] | None = None
    parsers: tuple[str, ...] | None = None
    usual_for: str | None = None
    name: str = ""
    place: str = ""
    package: str = ""
    parameters: Mapping[str, ParameterKind] = field(default_factory=dict)
    needs_expected: bool = True

    def misfit(self, parser: str) -> str | None:
        """Why it cannot judge outputs of this parser, as a sentence without its full stop; None where it can."""
        if self.parsers is None or parser in self.parsers:
            return None
        return (
            f"{self.name} judges outputs of parser {' or '.join(self.parsers)}, and this family's parser is {parser!r};"
            " choose another metric"
        )

    def parameter_faults(self, given: Mapping[str, Any], inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """(parameter, what is wrong with it) for each that it does not take, or that lacks or has the wrong form.

        Args:
            inputs: the type of each of the family's inputs, by name.
        """
        for name, value in given.items():
            kind = self.parameters.get(name)
            if kind is None:
                known = ", ".join(("weight", *self.parameters))
                yield name, f"{self.name} takes no parameter {name!r}; known here: {known}"
            elif not _has_form(value, kind):
                yield name, f"{value!r} does not fit: {name} of {self.name} is {_FORMS[kind]}"
            elif kind in ("input", "the input", "inputs"):
                for one in [value] if isinstance(value, str) else value:
                    if one not in inputs:
                        yield name, f"there is no input {one!r}; the family's inputs are {', '.join(inputs)}"
        for name, kind in self.parameters.items():
            if kind == "corpus" and name not in given:
                form = f"{self.name}: {{weight: 1.0, {name}: families/.../{name}.jsonl}}"
                yield name, f"{self.name} searches a corpus; name its file: {form}"
            if kind == "predictor" and name not in given:
                form = f"{self.name}: {{weight: 1.0, {name}: families/.../aligned.json}}"
                yield name, f"{self.name} reads what `detent family align` has learned; name its file: {form}"
            if kind == "the input" and name not in given and len(_texts(inputs)) != 1:
                form = f"{self.name}: {{weight: 1.0, {name}: ...}}"
                why = f"{self.name} measures against one input, and this family has no single text"
                yield name, f"{why}; name it: {form}"

    def with_defaults(self, given: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
        """The parameters, with the family's only text as the input that is measured against where none is named."""
        only = _texts(inputs)
        left_out = [name for name, kind in self.parameters.items() if kind == "the input" and name not in given]
        return {**given, **{name: only[0] for name in left_out}}


def _texts(inputs: Mapping[str, str]) -> list[str]:
    return [name for name, type in inputs.items() if type == "text"]


def _has_form(value: Any, kind: ParameterKind) -> bool:
    if kind == "count":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("texts", "inputs"):
        return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, str) for one in value)
    return isinstance(value, Mapping if kind == "schema" else str)


_ENTITIES = "optimizer.core.evaluation.scorers.entities:SCORERS"
_ANSWERS = "optimizer.core.evaluation.scorers.answers:SCORERS"
_RETRIEVAL = "optimizer.core.evaluation.scorers.retrieval:SCORERS"
_FORM = "optimizer.core.evaluation.scorers.form:SCORERS"
_CHARACTERS = "optimizer.core.evaluation.scorers.characters:SCORERS"
_READABILITY = "optimizer.core.evaluation.scorers.readability:SCORERS"
_COVERAGE = "optimizer.core.evaluation.scorers.coverage:SCORERS"
_SUPPORT = "optimizer.core.evaluation.scorers.support:SCORERS"
_STRUCTURED, _SHORT, _RANKED = ("json", "list"), ("text", "label"), ("list", "json")
_KEY: Mapping[str, ParameterKind] = {"key": "text"}
_FIRST: Mapping[str, ParameterKind] = {"k": "count"}
_SEARCHED: Mapping[str, ParameterKind] = {"corpus": "corpus", "id": "text", "k": "count"}
_INPUT: Mapping[str, ParameterKind] = {"input": "the input"}


def _library(
    place: str, names: str, parsers: tuple[str, ...] | None, parameters: Mapping[str, ParameterKind] | None = None
) -> Iterator[MetricRecord]:
    """Records of metrics that stand in one table."""
    for name in names.split():
        yield MetricRecord(name=name, parsers=parsers, place=place, parameters=parameters or {})


_FORMAT: Mapping[str, ParameterKind] = {
    "schema": "schema",
    "labels": "texts",
    "min_words": "count",
    "max_words": "count",
    "max_chars": "count",
}
BUILT_IN = (
    MetricRecord(name="rouge_1", parsers=("text",)),
    MetricRecord(name="rouge_2", parsers=("text",)),
    MetricRecord(name="rouge_l", parsers=("text",), usual_for="text"),
    MetricRecord(name="label_match", parsers=("label",), usual_for="label"),
    MetricRecord(name="exact_match", usual_for="json"),
    MetricRecord(name="list_f1", parsers=("list",), usual_for="list"),
    MetricRecord(name="json_valid", parsers=("json",)),
    *_library(_ENTITIES, "entity_f1 entity_f1_partial entity_precision entity_recall", _STRUCTURED, _KEY),
    *_library(_ENTITIES, "relation_f1 relation_f1_partial relation_precision relation_recall", _STRUCTURED, _KEY),
    *_library(_ANSWERS, "answer_match token_f1 token_precision token_recall", _SHORT),
    *_library(_ANSWERS, "information_retention", ("text",)),
    *_library(_RETRIEVAL, "retrieval_precision retrieval_recall retrieval_mrr retrieval_ndcg", _RANKED, _FIRST),
    *_library(_RETRIEVAL, "query_precision query_recall query_mrr query_ndcg", ("text", "list"), _SEARCHED),
    *_library(_FORM, "format_compliance", None, _FORMAT),
    *_library(_FORM, "efficiency", None, {"max_words": "count"}),
    *_library(_FORM, "compression_ratio", ("text",), _INPUT),
    *_library(_CHARACTERS, "chrf", ("text",), {"input": "input"}),
    *_library(_READABILITY, "readability", ("text",), {"easy_grade": "number", "hard_grade": "number"}),
    *_library(_COVERAGE, "query_coverage", ("text", "list"), _INPUT),
    *_library(_COVERAGE, "topic_coverage", ("text", "label", "list", "json"), _KEY),
    *_library(_COVERAGE, "structure_detection", _STRUCTURED, _KEY),
    *_library(_SUPPORT, "supported_entities", ("text", "list", "json"), {"sources": "inputs", "key": "text"}),
    *_library(_SUPPORT, "supported_numbers", ("text",), {"sources": "inputs"}),
    MetricRecord(name=JUDGED, needs_expected=False),
    MetricRecord(name=ALIGNED, parameters={"predictor": "predictor"}, needs_expected=False),
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
        raise TypeError(
            f"it is a {type(found).__name__}, not a function (example, output) -> float, nor a MetricRecord with one"
        )
    if unknown := sorted(name for name in record.parsers or () if name not in PARSERS):
        raise ValueError(
            f"it judges outputs of parser {' and '.join(unknown)}, and the parsers are {', '.join(PARSERS.names)}"
        )
    if strange := sorted(kind for kind in record.parameters.values() if kind not in _FORMS):
        raise ValueError(f"a parameter is {' and '.join(strange)}, and the kinds are {', '.join(_FORMS)}")
    return replace(record, name=added.name, place=added.place, package=added.package)


METRICS: Registry[MetricRecord] = Registry("detent.scorers", "metric", {one.name: one for one in BUILT_IN}, _of_package)


def unknown_metric(name: str) -> str:
    """What a family is told that names such a metric, with all that there are."""
    known = f"use {', '.join(METRICS.names)}, or the dotted path of your own function (module.function)"
    return " ".join([f"there is no metric {name!r}; {known}", *(f"({sentence})" for sentence in METRICS.refused)])
