"""Names of classes: each stands once, and is a noun of the field; no bare participle, no figure of speech."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable

from tests.unit.test_product_imports import ROOT

FIGURES_OF_SPEECH = set(
    [
        "Crown",
        "Doubt",
        "Duel",
        "Fates",
        "Heat",
        "Left",
        "Lost",
        "Made",
        "Opinion",
        "Reign",
        "Sent",
        "Slump",
        "Taken",
        "Told",
        "Way",
        "Ways",
    ]
)
NOUNS = {"Refused"}  # of errors: each says what became of a request


def class_names() -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for package in ("optimizer", "api"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(file.relative_to(ROOT)))
    return places


def no_nouns(names: Iterable[str]) -> list[str]:
    plain = [name.strip("_") for name in names]
    return sorted(
        name
        for name in plain
        if name in FIGURES_OF_SPEECH or (re.fullmatch(r"[A-Z][a-z]+ed", name) and name not in {*NOUNS, "Need"})
    )


def test_no_class_name_stands_twice() -> None:
    places = class_names()
    assert len(places) > 1000
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_class_is_named_by_a_noun() -> None:
    assert no_nouns(class_names()) == []


def test_another_name_would_be_found() -> None:
    assert no_nouns(["_Asked", "Heat", "Request", "Need", "KeyedRequest"]) == ["Asked", "Heat"]
