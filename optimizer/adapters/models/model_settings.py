"""Reads config/models.yaml whole: every fault at once, with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
)

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.family.family import STUDENT
from optimizer.core.family.variant import DEFAULT_SIZE, SMALLEST, Size
from optimizer.core.family.wording import keys_at, shown
from optimizer.core.models.language import ModelPrice
from optimizer.core.models.settings import ModelSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$"


WHICH_MODEL = ("provider", "litellm", "openai_compatible", "model", "api_base")


def known_price(settings: ModelSettings) -> ModelPrice | None:
    """The price given there, else LiteLLM's; the embedded model and a student cost nothing unless one is given."""
    if settings.price is not None:
        return ModelPrice(**settings.price.model_dump())
    if settings.provider is not None:
        return ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
    return listed_price(settings.litellm) if settings.litellm is not None else None


def read_models(path: Path) -> dict[str, ModelSettings]:
    """All models of a models.yaml; a folder without the file has the embedded model. ``student`` is a student unless
    the file says what else it is.

    Raises:
        InvalidInput: unreadable YAML, or entries that cannot be used; carries every fault with its line.
    """
    from optimizer.host.yaml_files import line_of, load_file, plain

    if not path.exists():
        return {"embedded": ModelSettings(provider="embedded"), STUDENT: ModelSettings(provider="student")}
    entries = load_file(path, "Correct the file.", with_lines=True)
    if not isinstance(entries, Mapping) or not entries:
        raise InvalidInput(
            f"{path} must hold at least one model as `name: {{settings}}`. docs/reference/models.md shows it."
        )
    models: dict[str, ModelSettings] = {}
    faults: list[Fault] = []
    for name, entry in entries.items():
        try:
            models[str(name)] = _NamedModel.model_validate({"name": name, "settings": plain(entry)}).settings
        except ValidationError as error:
            faults += [_fault(path, entries, name, fault) for fault in error.errors()]
    for name, settings in models.items():
        faults += [
            Fault(
                pointer=pointer_of([name, "fallbacks", i]),
                detail=f"there is no other model {other!r} to fall back to",
                line=line_of(entries, name),
                file=str(path),
            )
            for i, other in enumerate(settings.fallbacks)
            if other == name or other not in entries
        ]
    if faults:
        listed = "; ".join(f"line {f.line} {f.pointer}: {f.detail}" for f in faults)
        raise InvalidInput(f"{path} cannot be used: {listed}. docs/reference/models.md explains every field.", faults)
    models.setdefault(STUDENT, ModelSettings(provider="student"))
    return models


def read_sizes_and_places(path: Path) -> tuple[dict[str, Size], dict[str, str]]:
    """Name -> the model's size, and which model it is, as a hash.

    The hash covers where it is found: LiteLLM's id, or the id and address behind openai_compatible. Price, time limits
    and the like are no part of it; a student is STUDENT. Raises InvalidInput.
    """
    models = read_models(path)
    places = {
        name: STUDENT
        if settings.student
        else digest(canonical_json(settings.model_dump(mode="json", include=set(WHICH_MODEL))))[:12]
        for name, settings in models.items()
    }
    # A size that is not given: small for the embedded model and medium for any other.
    sizes = {
        name: one.size or (SMALLEST if one.embedded else DEFAULT_SIZE)
        for name, one in models.items()
        if not one.student
    }
    return sizes, places


def declared_prices(path: Path) -> dict[str, ModelPrice]:
    """Prices of the models of a models.yaml, by each name that one may be reported under.

    These are its own name, its id at its provider, and that id after the provider's name. Raises InvalidInput.
    """
    prices: dict[str, ModelPrice] = {}
    for name, settings in read_models(path).items():
        price = known_price(settings)
        if price is not None:
            id = settings.litellm or settings.model
            others = [id, id.partition("/")[2]] if id is not None else []
            prices |= {other: price for other in others if other and other not in prices} | {name: price}
    return prices


_OF_LONG_PROMPTS = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)")  # no model of the table has two


@cache
def _table() -> dict[str, Any]:
    """Of prices inside the installed LiteLLM, read as a file: importing LiteLLM takes seconds."""
    spec = find_spec("litellm")
    for folder in list(spec.submodule_search_locations or ()) if spec is not None else []:
        if (file := Path(folder) / "model_prices_and_context_window_backup.json").exists():
            table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return table
    return {}


def listed_price(litellm_id: str) -> ModelPrice | None:
    """The price in LiteLLM's table."""
    entry = _table().get(litellm_id) or _table().get(litellm_id.partition("/")[2])
    listed = entry if isinstance(entry, dict) else None
    if listed is None or "input_cost_per_token" not in listed or "output_cost_per_token" not in listed:
        return None
    above = next(filter(None, map(_OF_LONG_PROMPTS.fullmatch, listed)), None)
    ends = ["", above.group(1)] if above is not None else [""]
    short, *long = (
        ModelPrice(
            input_usd_per_mtok=float(listed[f"input_cost_per_token{end}"]) * 1e6,
            output_usd_per_mtok=float(
                listed.get(f"output_cost_per_token{end}") or listed["output_cost_per_token"],
            )
            * 1e6,
        )
        for end in ends
    )
    return replace(short, long=long[0], long_from_tokens=1000 * int(above.group(2))) if above is not None else short


class _NamedModel(BaseModel):
    name: str = Field(pattern=NAME)
    settings: ModelSettings


def _fault(path: Path, entries: Any, name: Any, error: Any) -> Fault:
    from optimizer.host.yaml_files import line_of

    inside = [str(part) for part in error["loc"][1:]] if error["loc"][0] == "settings" else []
    detail = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        detail = f"there is no field {inside[-1]!r}; known: {', '.join(keys_at(ModelSettings, inside[:-1]))}"
    elif error["loc"][0] == "name":
        detail = f"{name!r} is no usable name; letters, digits and . _ : / - are"
    elif "input" in error and error["type"] != "value_error":
        detail = f"{detail} (got {shown(error['input'])})"
    return Fault(
        pointer=pointer_of([name, *inside]), detail=detail, line=line_of(entries, name, *inside), file=str(path)
    )
