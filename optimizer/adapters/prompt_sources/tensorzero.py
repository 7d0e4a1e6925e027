"""``tensorzero:tensorzero.toml``: a variant of a function, with its templates in both spellings.

``#function`` or ``#function/variant`` behind it names one of several; without it the variant of the largest weight.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.core.base.canonical import table_of
from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of

ROLES = ("system", "user", "assistant")
SENT = ("system", "user")  # an assistant's template renders earlier answers, which a prompt has none of
OF_TEMPLATES = ("templates", "input_wrappers", *(f"{role}_template" for role in ROLES))
SPELLED = {"stop_sequences": "stop"}
MESSAGE = "message"  # the input of a function whose user messages are sent as they come


@prompt_source()
def tensorzero(reference: str) -> ForeignPrompt:
    file, _, named = reference.partition("#")
    function, _, variant = named.partition("/")
    path = Path(file)
    if path.is_dir():
        path = path / "tensorzero.toml"
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as a configuration of TensorZero: {error}.") from None
    functions = _tables(config.get("functions"))
    function, declared = _chosen(functions, function, "function", str(path))
    variants = _tables(declared.get("variants"))
    weights = {name: weight for name, each in variants.items() if isinstance(weight := each.get("weight"), int | float)}
    heaviest = max(variants, key=lambda name: weights.get(name, 0), default="")
    variant, setting = _chosen(variants, variant or heaviest, "variant", f"function {function}")
    if setting.get("type", "chat_completion") != "chat_completion":
        raise InvalidInput(
            f"Variant {variant} of function {function} is of type {setting['type']}, which is more than one prompt."
            f" Name another: tensorzero:{file}#{function}/VARIANT."
        )
    not_carried = [f"variant {other}" for other in variants if other != variant]
    not_carried += [f"function {other}" for other in functions if other != function]
    not_carried += [f"{function}.{name}" for name in declared if name not in ("type", "variants", "description")]
    not_carried += [f"metric {name} (its feedback: detent import)" for name in _tables(config.get("metrics"))]
    settings = {
        SPELLED.get(name, name): value
        for name, value in setting.items()
        if name not in (*OF_TEMPLATES, "type", "weight")
    }
    # templates.NAME.path is the newer spelling; NAME_template the older, also in input_wrappers.
    files: dict[str, Any] = {}
    for table in (setting, table_of(setting.get("input_wrappers"))):
        files |= {role: table[key] for role in ROLES if (key := f"{role}_template") in table}
        files |= {role: table[role] for role in ROLES if table is not setting and role in table}
    templates = _tables(setting.get("templates"))
    files |= {role: templates[role] for role in ROLES if role in templates}
    not_carried += [f"template {name}" for name in {**files, **templates} if name not in SENT]
    texts = {
        role: plain_template(_text(file, path.parent), f"of {role}") for role, file in files.items() if role in SENT
    }
    messages = [{"role": role, "content": texts[role]} for role in SENT if role in texts]
    if "user" not in texts:
        messages.append({"role": "user", "content": f"{{{{{MESSAGE}}}}}"})
    return ForeignPrompt(
        messages=messages,
        model=settings_of(settings, not_carried),
        description=str(declared.get("description") or ""),
        not_carried=not_carried,
    )


def _text(file: Any, folder: Path) -> str:
    name = file.get("path") if isinstance(file, Mapping) else file
    if not isinstance(name, str):
        raise InvalidInput(f"A template names no file: {file!r:.80}.")
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InvalidInput(
                f"The template {name!r:.200} is not in {folder}, and a configuration names no file outside its own"
                " folder. Copy the file into it."
            )
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError
        raise InvalidInput(f"The template {folder / name} cannot be read: {error}.") from None


def _chosen(tables: Mapping[str, Any], name: str, what: str, where: str) -> tuple[str, Mapping[str, Any]]:
    if not name and len(tables) == 1:
        name = next(iter(tables))
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise InvalidInput(f"Name the {what} of {where}: it has {known}. Such as tensorzero:PATH#FUNCTION/VARIANT.")
    return name, tables[name]


def _tables(value: Any) -> dict[str, Mapping[str, Any]]:
    return {str(name): table for name, table in table_of(value).items() if isinstance(table, Mapping)}
