"""The kinds of families: each answers everything, and the product asks them instead of comparing their names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from optimizer.core.family.family import KINDS, FamilyKind, declared_kind, kind_of
from optimizer.jobs.studies.kinds.kind import STUDY_KINDS, StudyKind, study_kind
from tests.worlds.study_world import topic_family

ROOT = Path(__file__).parents[3]


def compared_names(source: str) -> list[int]:
    """Lines that compare something with the name of a kind; ``"prompt" in data`` looks for a key and compares none."""
    found, kinds = [], KINDS.names
    if not any(f'"{kind}"' in source for kind in kinds):  # as ruff quotes it
        return []  # most files need no parsing
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            is_a_key = isinstance(node.ops[0], ast.In | ast.NotIn) and isinstance(node.left, ast.Constant)
            named = [
                one for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant) and one.value in kinds
            ]
            called = {id(arg) for one in ast.walk(node) if isinstance(one, ast.Call) for arg in one.args}
            if not is_a_key and any(id(one) not in called for one in named):
                found.append(node.lineno)
    return found


def test_nothing_in_the_product_compares_the_name_of_a_kind() -> None:
    files = [file for package in ("optimizer", "api") for file in (ROOT / package).rglob("*.py")]
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in compared_names(file.read_text(encoding="utf-8"))
    ]
    assert len(files) > 500
    assert found == []


@pytest.mark.parametrize(
    "source", ['f.kind == "policy"', 'd.get("kind", "prompt") != "prompt"', 'f.kind in ("prompt", "policy")']
)
def test_a_comparison_would_be_found(source: str) -> None:
    assert compared_names(source) == [1]
    assert compared_names('"prompt" not in data') == compared_names('data["kind"] == name') == []


def questions(protocol: type) -> set[str]:
    return {
        *getattr(protocol, "__annotations__", {}),
        *(member for member in vars(protocol) if not member.startswith("_")),
    }


@pytest.mark.parametrize("name", KINDS.names)
def test_each_kind_of_the_tables_answers_everything(name: str) -> None:
    family = topic_family().model_copy(update={"kind": name})
    kinds = {FamilyKind: kind_of(family), StudyKind: study_kind(family)}
    for protocol, kind in kinds.items():
        assert len(questions(protocol)) >= 4
        assert [one for one in sorted(questions(protocol)) if not hasattr(kind, one)] == []
    assert KINDS.names == STUDY_KINDS.names == ("prompt", "policy")


def test_a_name_that_is_no_kind_has_none_and_a_family_without_one_is_a_prompt() -> None:
    assert declared_kind({"kind": "nonsense"}) is None
    assert declared_kind({"kind": ["policy"]}) is None
    assert declared_kind({}) is declared_kind({"kind": "prompt"})
