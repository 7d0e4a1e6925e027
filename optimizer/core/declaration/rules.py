"""Rules between the keys of a family, checked on the plain data so that a fault in one key does not hide the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, TypeGuard

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.base.values import AIMS
from optimizer.core.evaluation.suite import DEFAULT, FULL, GOLDEN
from optimizer.core.family.family import KINDS, declared_kind
from optimizer.core.family.metrics import METRICS, MetricRecord, unknown_metric
from optimizer.core.family.parsers import PARSERS, fold_label, unknown_parser
from optimizer.core.family.settings import DIMENSIONS, JUDGE_METRIC, is_named
from optimizer.core.family.variant import DEFAULT_SPACE, ROLES, VARIABLE, repeated_slots, space_faults
from optimizer.core.family.wording import shown

_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# JSON or YAML in a prompt may hold double braces, too: a quote or a key begins it, or a value that something follows.
_JSON = re.compile(r"""["']|[^|(\[{}"']+?:(?!=)|(?:[{\[]|-?\d).*[\s"':,]""", re.DOTALL)
_INPUT_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def check_rules(data: Mapping[str, Any]) -> list[Fault]:
    """Faults in how keys fit together.

    Parts of a wrong type are passed over: their type has been found fault with already.
    """
    faults = [
        *_no_json(_mapping(data, "output").get("schema"), ["output", "schema"]),
        *_no_json(data.get("scorer"), ["scorer"]),
        *_no_json(data.get("space"), ["space"]),
        *_kind(data),
        *_inputs(data),
        *_output(data),
        *_prompt(data),
        *_model(data),
        *_scorer(data),
        *judge_faults(data),
        *target_faults(data),
        *_rollout(data),
        *_strategies(data),
    ]
    if (kind := declared_kind(data)) is not None:
        faults += kind.declared_faults(data)
    return faults + (space_faults(data["space"], _mapping(data, "inputs")) if "space" in data else [])


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _no_json(value: Any, at: Sequence[Any]) -> Iterator[Fault]:
    """What a free value holds that JSON does not, though YAML reads it: dates, keys that are no texts."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                detail = f"the key {shown(key)} is read as no text; put it in quotes"
                yield Fault(pointer=pointer_of([*at, key]), detail=detail)
            yield from _no_json(inner, [*at, key])
    elif _is_list(value):
        for i, inner in enumerate(value):
            yield from _no_json(inner, [*at, i])
    elif isinstance(value, float) and not isfinite(value):
        yield Fault(pointer=pointer_of(at), detail=f"JSON has no number {value}; write a finite one")
    elif value is not None and not isinstance(value, str | int | float):
        yield Fault(pointer=pointer_of(at), detail=f"{shown(value)} cannot be written as JSON; put it in quotes")


def _kind(data: Mapping[str, Any]) -> Iterator[Fault]:
    name = data.get("kind", "prompt")
    if isinstance(name, str) and declared_kind(data) is None:
        yield Fault(
            pointer="/kind", detail=f"{name!r} is not one of {' or '.join(map(repr, KINDS.names))}; choose one of them"
        )


def _inputs(data: Mapping[str, Any]) -> Iterator[Fault]:
    for name, declared in _mapping(data, "inputs").items():
        if not isinstance(name, str) or not _INPUT_NAME.fullmatch(name):
            yield Fault(
                pointer=pointer_of(["inputs", name]),
                detail=(
                    f"{name!r} cannot be a template variable: use letters, digits and underscores, and no digit first"
                ),
            )
        if isinstance(declared, Mapping) and declared.get("max_chars") and declared.get("type", "text") != "text":
            yield Fault(
                pointer=pointer_of(["inputs", name, "max_chars"]),
                detail=(
                    f"max_chars limits texts, and {name!r} is of type {declared['type']!r}; remove it or make the input"
                    " a text"
                ),
            )
        if isinstance(declared, Mapping) and declared.get("too_long") == "refuse" and not declared.get("max_chars"):
            yield Fault(
                pointer=pointer_of(["inputs", name, "too_long"]),
                detail="a text longer than max_chars is refused, and there is no max_chars; add it",
            )


def _output(data: Mapping[str, Any]) -> Iterator[Fault]:
    output = _mapping(data, "output")
    parser, labels, schema = output.get("parser", "text"), output.get("labels"), output.get("schema")
    if isinstance(parser, str) and parser not in PARSERS:
        yield Fault(pointer="/output/parser", detail=unknown_parser(parser))
    # A package's parser is given labels and schema to use as it likes.
    is_built_in = isinstance(parser, str) and parser in PARSERS.built_in
    if parser == "label" and not labels:
        yield Fault(
            pointer="/output/labels",
            detail="the parser 'label' needs the labels it may find; list them: labels: [yes, no]",
        )
    if is_built_in and parser != "label" and labels is not None:
        yield Fault(
            pointer="/output/labels",
            detail=f"labels belong to the parser 'label', and this one is {parser!r}; remove one of the two",
        )
    if _is_list(labels):
        folded = [fold_label(label) for label in labels if isinstance(label, str)]
        for i, label in enumerate(labels):
            if isinstance(label, str) and not label.strip():
                yield Fault(
                    pointer=pointer_of(["output", "labels", i]),
                    detail="a label of white space can be found in no answer; give it a character, or remove it",
                )
        twice = sorted({label for label in folded if folded.count(label) > 1})
        if twice:
            yield Fault(
                pointer="/output/labels",
                detail=f"upper and lower case count as one, so {', '.join(twice)} is listed twice; keep one",
            )
    if parser == "json" and schema is None:
        yield Fault(
            pointer="/output/schema",
            detail="the parser 'json' needs a JSON Schema; the smallest is schema: {type: object}",
        )
    if is_built_in and parser != "json" and schema is not None:
        yield Fault(
            pointer="/output/schema",
            detail=f"a schema belongs to the parser 'json', and this one is {parser!r}; remove one of the two",
        )
    if isinstance(schema, Mapping):
        yield from _schema(schema, ["output", "schema"])


def _schema(schema: Mapping[str, Any], at: Sequence[str]) -> Iterator[Fault]:
    from jsonschema import Draft202012Validator  # here, because most families need none of it
    from jsonschema.exceptions import SchemaError

    from optimizer.core.base.json_schema import is_unbounded, outside_references

    if any(_no_json(schema, at)):
        return
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield Fault(
            pointer=pointer_of([*at, *error.absolute_path]),
            detail=f"this is no JSON Schema (draft 2020-12): {error.message}; see json-schema.org for the keywords",
        )
    if is_unbounded(schema):
        yield Fault(
            pointer=pointer_of(at),
            detail=(
                "unevaluatedProperties beside patternProperties takes time without a bound; use additionalProperties"
            ),
        )
    for name in outside_references(schema):
        yield Fault(
            pointer=pointer_of(at),
            detail=(
                f"the reference {name!r} leads out of the schema, and nothing is fetched; put what it names under $defs"
            ),
        )


def _prompt(data: Mapping[str, Any]) -> Iterator[Fault]:
    kind = declared_kind(data)
    if "prompt" not in data:
        if kind is None or kind.asks_models:
            yield Fault(
                pointer="/prompt",
                detail="'prompt' is missing; give current and versions (only kind: policy goes without)",
            )
        return
    prompt = _mapping(data, "prompt")
    versions = _mapping(prompt, "versions")
    named: dict[tuple[str, ...], Any] = {("current",): prompt.get("current")}
    named |= {("by_size", size): base for size, base in _mapping(prompt, "by_size").items()}
    for at, base in named.items():
        if isinstance(base, str) and base not in versions:
            known = ", ".join(map(repr, versions)) or "none"
            yield Fault(
                pointer=pointer_of(["prompt", *at]),
                detail=f"there is no version {base!r}; name one of those below (there are: {known})",
            )
    inputs = _mapping(data, "inputs")
    for name, version in versions.items():
        if not isinstance(version, Mapping):
            continue
        place: list[Any] = ["prompt", "versions", name]
        if kind is not None and kind.asks_models and not version.get("content"):
            detail = "'content' is missing and has no default; add it"
            yield Fault(pointer=pointer_of([*place, "content"]), detail=detail)
        elif _is_list(version.get("content")) and version["content"]:
            yield from _messages(version["content"], [*place, "content"], inputs)
        for key in ("tools", "response_format", "policy"):  # a variant's id is the hash of its JSON
            yield from _no_json(version.get(key), [*place, key])


def _messages(messages: Sequence[Any], at: list[Any], inputs: Mapping[str, Any]) -> Iterator[Fault]:
    for i, message in enumerate(messages):
        if isinstance(message, Mapping):
            yield from _message(message, [*at, i], inputs)
    roles = [role for m in messages if isinstance(m, Mapping) and isinstance(role := m.get("role"), str)]
    if "user" not in roles and set(roles) <= set(ROLES):  # an unknown role may be a mistyped "user"
        yield Fault(
            pointer=pointer_of(at),
            detail="there is no user message, so a model would have nothing to answer; add {role: user, content: ...}",
        )
    yield from (Fault(pointer=pointer_of(at), detail=detail) for detail in repeated_slots(roles))


def _message(message: Mapping[str, Any], at: list[Any], inputs: Mapping[str, Any]) -> Iterator[Fault]:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        yield Fault(pointer=pointer_of([*at, "role"]), detail=f"there is no role {role!r}; use {', '.join(ROLES)}")
    for key in message:
        if key not in ("role", "content"):
            yield Fault(pointer=pointer_of([*at, key]), detail=f"unknown key {key!r}; a message has role and content")
    if role in ("examples", "history"):
        if content is not None:
            yield Fault(
                pointer=pointer_of([*at, "content"]),
                detail=f"{{role: {role}}} is a place that is filled later; remove its content",
            )
        return
    if not isinstance(content, str):
        yield Fault(
            pointer=pointer_of([*at, "content"]), detail='a message needs a text as content; write content: "..."'
        )
        return
    for inside in dict.fromkeys(_BRACES.findall(content)):
        whole = "{{" + inside + "}}"
        name = VARIABLE.fullmatch(whole)
        if name is None:
            if not _JSON.match(inside.strip()):
                yield Fault(
                    pointer=pointer_of([*at, "content"]),
                    detail=(
                        f"{whole} is no variable: only {{{{name}}}} is replaced, with letters, digits and underscores;"
                        " there is no code. To send double braces, put a space between them"
                    ),
                )
        elif name.group(1) not in inputs:
            known = ", ".join(str(i) for i in inputs) or "none"
            yield Fault(
                pointer=pointer_of([*at, "content"]),
                detail=(
                    f"the variable {whole} is no input of this family (declared: {known}); declare it under inputs or"
                    " correct the name"
                ),
            )


def _model(data: Mapping[str, Any]) -> Iterator[Fault]:
    tiers = _mapping(data, "model").get("tiers")
    if _is_list(tiers):
        if not tiers:
            yield Fault(
                pointer="/model/tiers", detail="there is no tier; name at least one model, the first is asked first"
            )
        elif len(set(map(str, tiers))) < len(tiers):
            yield Fault(pointer="/model/tiers", detail="a model is named twice; a cascade asks each once")


def _scorer(data: Mapping[str, Any]) -> Iterator[Fault]:
    parser = _mapping(data, "output").get("parser", "text")
    declared = {str(name): entry for name, entry in _mapping(data, "inputs").items()}
    inputs = {name: str(entry.get("type", "text")) for name, entry in declared.items() if isinstance(entry, Mapping)}
    for name, use in _mapping(data, "scorer").items():
        fault = None
        # Code of a package is loaded where answers are scored, which is no matter of serving.
        if name in METRICS.built_in:
            record = METRICS.built_in[name]
            fault = record.misfit(parser)
            uses = use if isinstance(use, Mapping) else {}
            parameters = {key: value for key, value in uses.items() if key not in ("weight", "optional")}
            if uses.get("optional") is True and "key" not in parameters:
                yield Fault(pointer=pointer_of(["scorer", name, "optional"]), detail=_no_part(record))
            for parameter, wrong in record.parameter_faults(parameters, inputs):
                yield Fault(pointer=pointer_of(["scorer", name, parameter]), detail=wrong)
            for parameter, kind in record.parameters.items():
                if kind == "schema" and isinstance(parameters.get(parameter), Mapping):
                    yield from _schema(parameters[parameter], ["scorer", name, parameter])
        elif not _DOTTED.fullmatch(str(name)) and name not in METRICS:
            fault = unknown_metric(name)
        if fault is not None:
            yield Fault(pointer=pointer_of(["scorer", name]), detail=fault)


def _no_part(record: MetricRecord) -> str:
    if "key" not in record.parameters:
        return f"{record.name} measures no part of an object, so it cannot be left out; drop optional"
    form = f"{record.name}: {{weight: 1.0, key: ..., optional: true}}"
    return f"{record.name} is left out where the expected output has no part of that name; name the part: {form}"


def _rollout(data: Mapping[str, Any]) -> Iterator[Fault]:
    rollout = _mapping(data, "rollout")
    least, most = rollout.get("min_labelled_per_stage", 200), rollout.get("max_labelled", 8000)
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield Fault(
            pointer="/rollout/max_labelled",
            detail=(
                f"a stage needs {least} labelled interactions and the whole rollout may use {most}, so no stage could"
                " end; raise max_labelled"
            ),
        )
    hours, days = rollout.get("min_duration_hours", 24), rollout.get("max_days", 30)
    if isinstance(hours, int | float) and isinstance(days, int | float) and hours > days * 24:
        yield Fault(
            pointer="/rollout/max_days",
            detail=f"the rollout lasts at least {hours:g} hours and must end within {days:g} days; raise max_days",
        )


def _strategies(data: Mapping[str, Any]) -> Iterator[Fault]:
    """A strategy that no study could have is better found here than at three at night."""
    from optimizer.core.scheduling.schedule import strategy_fault  # here, because it needs to know what a Family is

    schedule, triggers = _mapping(data, "schedule"), _mapping(data, "triggers")
    gates_aim = _mapping(_mapping(data, "rollout"), "gates").get("aim", "quality")
    space = _mapping(data, "space") if "space" in data else DEFAULT_SPACE
    schedules = {
        "/schedule/strategy": (schedule.get("strategy"), schedule.get("aim") or gates_aim),
        "/triggers/strategy": (triggers.get("strategy"), gates_aim),
    }
    kind = declared_kind(data)
    for pointer, (strategy, aim) in schedules.items():
        if not isinstance(strategy, str) or not strategy or aim not in AIMS:
            continue
        # load=False: a broken package must not stop serving
        if (fault := strategy_fault(strategy, aim, space, kind, load=False)) is not None:
            yield Fault(pointer=pointer, detail=fault)


MIN_COMMITTEE, MAX_COMMITTEE = 2, 8


def judge_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of plain data; parts of a wrong type are passed over, since that has been found fault with already."""
    judge = data.get("judge")
    if JUDGE_METRIC in _mapping(data, "scorer") and judge is None:
        yield Fault(
            pointer=pointer_of(["scorer", JUDGE_METRIC]),
            detail="the metric 'judge' needs a model that judges; name one: judge: {model: ...}",
        )
    if isinstance(judge, Mapping):
        yield from _members(judge)
        yield from _rubric(judge)


def _members(judge: Mapping[str, Any]) -> Iterator[Fault]:
    model, committee = judge.get("model"), judge.get("committee")
    if model is None and not committee:
        yield Fault(
            pointer="/judge/model",
            detail="no model judges; name one of config/models.yaml: model: ..., or several: committee: [..., ...]",
        )
    if not _is_list(committee) or not committee:
        return
    if len(set(map(str, committee))) < len(committee):
        yield Fault(pointer="/judge/committee", detail="a model is named twice; each member of a committee judges once")
        return
    n = len({*map(str, committee), *([str(model)] if model is not None else [])})
    if n < MIN_COMMITTEE:
        yield Fault(
            pointer="/judge/committee",
            detail="a committee of one is a judge; name a second model, or write model: ... alone",
        )
    if n > MAX_COMMITTEE:
        detail = f"at most {MAX_COMMITTEE} models judge together, and these are {n}; leave some out"
        yield Fault(pointer="/judge/committee", detail=detail)


def _rubric(judge: Mapping[str, Any]) -> Iterator[Fault]:
    dimensions, weights = judge.get("dimensions", DIMENSIONS), judge.get("weights")
    if _is_list(dimensions):
        for name in (name for name in dimensions if isinstance(name, str) and name not in DIMENSIONS):
            yield Fault(
                pointer="/judge/dimensions",
                detail=(
                    f"{name!r} has no description here, so a model would guess what is meant; describe it: dimensions:"
                    f" {{{name}: what a good answer does}} (known without one: {', '.join(DIMENSIONS)})"
                ),
            )
        if len(set(map(str, dimensions))) < len(dimensions):
            yield Fault(pointer="/judge/dimensions", detail="a dimension is named twice; each is scored once")
    elif isinstance(dimensions, Mapping):
        for name, meaning in dimensions.items():
            if isinstance(meaning, str) and not meaning.strip():
                yield Fault(
                    pointer=pointer_of(["judge", "dimensions", name]),
                    detail="say in a sentence what a good answer does; the model reads nothing else of this dimension",
                )
    else:
        return
    if not dimensions:
        yield Fault(pointer="/judge/dimensions", detail="there is no dimension to score; name one, or leave this out")
    if isinstance(weights, Mapping) and weights:
        for name in (name for name in weights if name not in dimensions):
            known = ", ".join(map(str, dimensions))
            yield Fault(
                pointer=pointer_of(["judge", "weights", name]),
                detail=f"there is no dimension {name!r}; weigh those of this rubric: {known}",
            )
        for name in (name for name in dimensions if name not in weights):
            yield Fault(
                pointer="/judge/weights",
                detail=f"the dimension {name!r} has no weight; give one above 0, or leave all weights out",
            )


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = {FULL: "it means every suite of the family", DEFAULT: "it means the suite that has no name"}


def target_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of plain data; parts of a wrong type are passed over, since that has been found fault with already."""
    targets = data.get("targets")
    if not isinstance(targets, Mapping):
        return
    known = [name for name in _mapping(data, "inputs") if isinstance(name, str)]
    if not is_named(targets):
        if _asks_nothing(targets, is_golden=False):
            yield Fault(pointer="/targets", detail="it asks for nothing, so no candidate could meet it; name a target")
        yield from _tools(targets, ["targets"], known)
        return
    for name, suite in targets.items():
        at = ["targets", name]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            detail = "a suite is named by 1 to 40 small letters, digits and underscores, a letter first"
            yield Fault(pointer=pointer_of(at), detail=detail)
        elif name in _RESERVED:
            detail = f"no suite can have the name {name!r}: {_RESERVED[name]}; choose another"
            yield Fault(pointer=pointer_of(at), detail=detail)
        elif isinstance(suite, Mapping) and _asks_nothing(suite, is_golden=name == GOLDEN):
            yield Fault(pointer=pointer_of(at), detail="it asks nothing, so no candidate could meet it; name a target")
        yield from _tools(suite, at, known)


def _asks_nothing(suite: Mapping[str, Any], *, is_golden: bool) -> bool:
    """Golden scenarios are asked for the usual regression where the file says nothing of it."""
    targets = {name for name, target in suite.items() if target is not None} - {"n"}
    return not targets and not (is_golden and "regression" not in suite)


def _tools(suite: Any, at: Sequence[str], known: Sequence[str]) -> Iterator[Fault]:
    used = suite.get("tools_used") if isinstance(suite, Mapping) else None
    named = used.get("inputs") if isinstance(used, Mapping) else None
    for i, name in enumerate(named if _is_list(named) else ()):
        if isinstance(name, str) and name not in known:
            hint = did_you_mean(name, known) or f"; declared: {', '.join(known) or 'none'}"
            yield Fault(
                pointer=pointer_of([*at, "tools_used", "inputs", i]), detail=f"the family has no input {name!r}{hint}"
            )
