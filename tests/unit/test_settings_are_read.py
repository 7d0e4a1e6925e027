"""A setting that can be written and is read by nothing is a promise that nobody keeps:
every field of families and profiles is read by code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from optimizer.core.family.family import Family
from optimizer.host.config import Settings

ROOT = Path(__file__).parents[2]


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


@cache
def read() -> frozenset[str]:
    """Every name that code takes from a value: as an attribute, or by key where the settings are a mapping."""
    files = [file for folder in ("optimizer", "api") for file in (ROOT / folder).rglob("*.py")]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return frozenset(name for node in nodes for name in _taken(node))


def _taken(node: ast.AST) -> Iterator[str]:
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
    declared = [model for root in (Family, Settings) for model in models(root)]
    names = {(model.__name__, name) for model in declared for name in model.model_fields}
    assert len(names) > 150
    assert sorted(f"{model}.{name}" for model, name in names if name not in read()) == [], "nothing reads them"
