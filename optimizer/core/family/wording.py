"""pydantic's findings about a family, said in the family's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.phrasing import did_you_mean

_PATTERNS = {
    "name": "a name starts with a small letter and goes on with 1 to 62 small letters, digits or underscores",
    "field": "a field is named by letters, digits and underscores, and does not start with a digit",
}


def faults_of(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any] | None = None) -> list[Fault]:
    """One Fault per wrong place with its JSON pointer; alternatives that pydantic tried for one place give one fault.

    ``data`` is what was validated; without it a pointer may also name the branch of a union that pydantic tried.
    """
    faults: dict[str, Fault] = {}
    for entry in error.errors(include_url=False):
        path = list(entry["loc"]) if data is None else _path_in(data, entry)
        if "[key]" in entry["loc"]:
            path.append(entry["input"])
        pointer = pointer_of(path)
        faults.setdefault(pointer, Fault(pointer=pointer, detail=_sentence(entry, path, model)))
    return list(faults.values())


def _path_in(data: Any, entry: ErrorDetails) -> list[Any]:
    """The place as the user wrote it. pydantic also names the branches of unions, which are no keys of the file."""
    path: list[Any] = []
    here = data
    for part in entry["loc"]:
        in_list = isinstance(here, Sequence) and isinstance(part, int) and part < len(here)
        if in_list or (isinstance(here, Mapping) and part in here):
            here = here[part]
        elif entry["type"] != "missing" or part != entry["loc"][-1]:
            continue
        path.append(part)
    return path


def _sentence(entry: ErrorDetails, path: Sequence[Any], model: type[BaseModel]) -> str:
    kind, value, context = entry["type"], entry.get("input"), entry.get("ctx", {})
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = keys_at(model, path[:-1])
        others = f"; known here: {', '.join(known)}"
        return f"unknown key {last!r}{did_you_mean(last, known) or others}"
    if kind == "missing":
        return f"{last!r} is missing and has no default; add it"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not allowed: {_PATTERNS.get(last, 'it must match ' + str(context.get('pattern')))}"
    if kind == "literal_error":
        return f"{shown(value)} is not one of {context['expected']}; choose one of them"
    if kind in ("too_short", "string_too_short"):
        return f"{last!r} is empty; give at least one {'character' if kind == 'string_too_short' else 'entry'}"
    if kind in ("model_type", "dict_type", "mapping_type", "model_attributes_type"):
        return f"{shown(value)} does not fit: {last!r} takes a mapping of keys"
    if "[key]" in entry["loc"]:
        return f"the key {shown(value)} is read as no text; put it in quotes"
    if kind in ("tuple_type", "list_type"):
        return f"{shown(value)} does not fit: {last!r} takes a list"
    if kind == "less_than_equal":
        bound = f"{context['le']:,}".removesuffix(".0")
        return f"{shown(value)} is too large: it should be less than or equal to {bound}"
    return f"{shown(value)} does not fit: it should be {entry['msg'].removeprefix('Input should be ')}"


def shown(value: Any) -> str:
    """The value as a fault quotes it."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def keys_at(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """The keys that the model at this path knows."""
    here: Any = model
    for part in path:
        field = next((f for name, f in fields_of(here) if name == part), None)
        # No field: an index or a free name inside a container.
        models = models_in(field.annotation) if field is not None else [here]
        if not models:
            return []
        here = models[0]
    return [name for name, _ in fields_of(here)]


def fields_of(model: type[BaseModel]) -> list[tuple[str, Any]]:
    """(key in the file, field) for each field of a model."""
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in get_args(annotation) for m in models_in(inner)]
