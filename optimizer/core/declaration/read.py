"""Reads a Family from plain data (of YAML or JSON): every fault at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from optimizer.core.base.errors import Fault, InvalidFamily, InvalidInput
from optimizer.core.declaration.rules import check_rules
from optimizer.core.family.family import Family, declared_kind
from optimizer.core.family.variant import Size, with_current_base
from optimizer.core.family.wording import faults_of


def parse_family(data: Any, sizes: Mapping[str, Size] = MappingProxyType({})) -> Family:
    """The Family that plain data (of YAML or JSON) declares.

    Args:
        sizes: of models by name, which choose among base prompts.
    Raises:
        InvalidFamily: carries every fault at once, each with a JSON pointer and a sentence: what, why, what to do.
    """
    if not isinstance(data, Mapping):
        raise invalid_family(
            "the family", [Fault(pointer="", detail="a family file is a mapping of keys; start it with `name: ...`")]
        )
    # YAML reads an unquoted version 1 as a number; whole numbers can mean nothing else, so they become texts.
    plain = dict(data)
    prompt = plain.get("prompt")
    if isinstance(prompt, Mapping):
        prompt = dict(prompt)
        versions = prompt.get("versions")
        if isinstance(versions, Mapping):
            prompt["versions"] = {_text(k): v for k, v in versions.items()}
        if "current" in prompt:
            prompt["current"] = _text(prompt["current"])
        if isinstance(prompt.get("by_size"), Mapping):
            prompt["by_size"] = {size: _text(version) for size, version in prompt["by_size"].items()}
        plain["prompt"] = prompt
    if isinstance(plain.get("prompt"), Mapping):
        declared = plain.get("model")
        model = declared.get("default", "embedded") if isinstance(declared, Mapping) else "embedded"
        plain["prompt"] = with_current_base(plain["prompt"], model, sizes)
    try:
        if (kind := declared_kind(plain)) is not None:
            plain.setdefault("space", kind.default_space)
    except InvalidInput as broken:  # a package's
        raise invalid_family("the family", [Fault(pointer="/kind", detail=broken.detail)]) from broken
    faults: list[Fault] = []
    family: Family | None = None
    try:
        family = Family.model_validate(plain)
    except ValidationError as error:
        faults += faults_of(error, Family, plain)
    known = {f.pointer for f in faults}
    faults += [f for f in check_rules(plain) if f.pointer not in known]
    if family is None or faults:
        raise invalid_family(
            f"family {plain.get('name')!r}" if isinstance(plain.get("name"), str) else "the family", faults
        )
    return family


def invalid_family(subject: str, faults: list[Fault]) -> InvalidFamily:
    """One error for all faults, each in a line of its own."""
    many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InvalidFamily(
        f"Cannot use {subject}, because it has {many}:\n" + "\n".join(f"  {describe(f)}" for f in faults), faults
    )


def describe(fault: Fault) -> str:
    """``file:line /pointer: sentence`` with the parts that are known."""
    place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
    return " ".join(part for part in (place, f"{fault.pointer or '/'}:", fault.detail) if part)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
