"""A setting that can be written and is read by nothing is a promise that nobody keeps:
every field of families and profiles is read by code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from optimizer.core.family.family import Family
from optimizer.host.config import Settings

ROOT = Path(__file__).parents[3]


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and those that its fields hold."""
    found: list[type[BaseModel]] = [root]
    for model in found:
        for field in model.model_fields.values():
            found += [inner for inner in _models_in(field.annotation) if inner not in found]
    return found


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _taken(node: ast.AST) -> Iterator[str]:
    """A name that code takes from a value: as an attribute, or by key where the settings are a mapping."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
        return
    key: ast.expr | None = None
    if isinstance(node, ast.Subscript):
        key = node.slice
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "pop")
        and node.args
    ):
        key = node.args[0]
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield key.value


def test_every_setting_is_read() -> None:
    fields = {(m.__name__, name) for root in (Family, Settings) for m in models(root) for name in m.model_fields}
    assert len(fields) > 150
    unread = {name for _, name in fields}
    for file in (file for folder in ("optimizer", "api") for file in (ROOT / folder).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if not unread.isdisjoint(re.findall(r"\w+", source)):  # others need no parsing
            unread.difference_update(*(_taken(node) for node in ast.walk(ast.parse(source))))
    assert sorted(field for field in fields if field[1] in unread) == [], "they can be set, and nothing reads them"
