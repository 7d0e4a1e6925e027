"""Every metric by name.

``@metric`` declares one, mostly in ``core/evaluation/metrics/``; packages add theirs by an entry point of group
``detent.scorers``. docs/reference/scorers.md describes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.knob import is_whole
from optimizer.core.base.registry import Registration, Registry, declares
from optimizer.core.family.parsers import PARSERS

# "the input" may be left out where the family has one text alone; "input" may always
ParameterKind = Literal[
    "count", "number", "text", "texts", "schema", "input", "the input", "inputs", "corpus", "predictor"
]
Sees = Literal["example", "answers", "input", "judgement"]
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
    "predictor": "the path of a learned metric's file, from the project folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord:
    """A metric: its function, with what is known of it before it measures.

    Args:
        judge: gives a number in [0, 1].
        sees: what the function is given: the example, ``{"input", "expected"}``, and the parsed output; the expected
            and the given answer; these and the example's input; or what a model has judged.
        version: of its code; scores under two are never compared. A package's is that of its distribution and source.
        parsers: whose outputs it can judge; None: of all.
        usual_for: the parser whose outputs it judges where a family names no metric.
        parameters: what a family may set beside its weight; they reach the function by name.
        needs_expected: False: it scores examples without an expected output, too.
        name: where it is not that of the function.
        package, place: a package's, with its name, are those of its entry point and distribution.
    """

    judge: Callable[..., float] = field(kw_only=False)
    sees: Sees = "example"
    version: str = "1"
    parsers: tuple[str, ...] | None = None
    usual_for: str | None = None
    parameters: Mapping[str, ParameterKind] = field(default_factory=dict)
    needs_expected: bool = True
    name: str = ""
    package: str = ""
    place: str = ""

    def with_parameters(self, parameters: Mapping[str, Any], opened: Mapping[str, Any] | None = None) -> MetricRecord:
        """The record with parameters by name. They are part of the version, since scores with others do not compare.

        Args:
            opened: what parameters that name something outside refer to; the parameter is then its version.
        """
        if not parameters:
            return self
        return replace(
            self,
            version=f"{self.version} {canonical_json(parameters).decode()}",
            judge=partial(self.judge, **{**parameters, **(opened or {})}),
        )

    def misfit(self, parser: str) -> str | None:
        """Why it cannot judge outputs of this parser, as a sentence without its full stop; None where it can."""
        if self.parsers is None or parser in self.parsers:
            return None
        return (
            f"{self.name} judges outputs of parser {' or '.join(self.parsers)}, and this family's parser is {parser!r};"
            " choose another metric"
        )

    def parameter_faults(self, declared: Mapping[str, Any], inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """(parameter, what is wrong with it) for each that it does not take, or that lacks or has the wrong form.

        Args:
            inputs: the type of each of the family's inputs, by name.
        """
        for name, value in declared.items():
            kind = self.parameters.get(name)
            if kind is None:
                known = ", ".join(("weight", *self.parameters))
                yield name, f"{self.name} takes no parameter {name!r}; known here: {known}"
            elif not _has_form(value, kind):
                yield name, f"{value!r} does not fit: {name} of {self.name} is {_FORMS[kind]}"
            elif kind in ("input", "the input", "inputs"):
                for input in [value] if isinstance(value, str) else value:
                    if input not in inputs:
                        yield name, f"there is no input {input!r}; the family's inputs are {', '.join(inputs)}"
        for name, kind in self.parameters.items():
            if kind == "corpus" and name not in declared:
                form = f"{self.name}: {{weight: 1.0, {name}: families/.../{name}.jsonl}}"
                yield name, f"{self.name} searches a corpus; name its file: {form}"
            if kind == "predictor" and name not in declared:
                form = f"{self.name}: {{weight: 1.0, {name}: families/.../aligned.json}}"
                yield name, f"{self.name} reads what `detent family align` has learned; name its file: {form}"
            if kind == "the input" and name not in declared and len(_texts(inputs)) != 1:
                form = f"{self.name}: {{weight: 1.0, {name}: ...}}"
                why = f"{self.name} measures against one input, and this family has no single text"
                yield name, f"{why}; name it: {form}"

    def with_defaults(self, declared: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
        """The parameters, with the family's only text as the input that is measured against where none is named."""
        only = _texts(inputs)
        left_out = [name for name, kind in self.parameters.items() if kind == "the input" and name not in declared]
        return {**declared, **{name: only[0] for name in left_out}}


def _texts(inputs: Mapping[str, str]) -> list[str]:
    return [name for name, type in inputs.items() if type == "text"]


def _has_form(value: Any, kind: ParameterKind) -> bool:
    if kind == "count":
        return is_whole(value) and value >= 1
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("texts", "inputs"):
        return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, Mapping if kind == "schema" else str)


metric = declares(MetricRecord)


@cache
def usual_metric(parser: str) -> str:
    """What scores outputs of this parser where a family names no metric."""
    return next((record.name for record in METRICS.built_in.values() if record.usual_for == parser), "exact_match")


def _whole(added: Registration, record: MetricRecord) -> MetricRecord:
    if added.package and not callable(record.judge):
        raise TypeError(
            f"it is a {type(record.judge).__name__}, not a function (example, output) -> float, nor a MetricRecord"
            " with one"
        )
    if unknown := sorted(name for name in record.parsers or () if name not in PARSERS):
        raise ValueError(
            f"it judges outputs of parser {' and '.join(unknown)}, and the parsers are {', '.join(PARSERS.names)}"
        )
    if strange := sorted(kind for kind in record.parameters.values() if kind not in _FORMS):
        raise ValueError(f"a parameter is {' and '.join(strange)}, and the kinds are {', '.join(_FORMS)}")
    return replace(record, name=added.name, place=added.place, package=added.package)


METRICS: Registry[MetricRecord] = Registry("detent.scorers", "metric", MetricRecord, _whole)


def unknown_metric(name: str) -> str:
    """The error for a family that names such a metric; it lists all that there are."""
    known = f"use {', '.join(METRICS.names)}, or the dotted path of your own function (module.function)"
    return " ".join([f"there is no metric {name!r}; {known}", *(f"({sentence})" for sentence in METRICS.refused)])
