"""What is built in is found by standing in a room, and the core names nothing above."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from optimizer.core.base.registry import declares, record_of
from optimizer.core.family.metrics import METRICS, MetricRecord, metric
from optimizer.runtime import rooms

ROOT = Path(__file__).parents[3]


def places_above(source: str, own: str) -> list[str]:
    """Texts that name a module of the product which does not stand in ``own``."""
    if not re.search(r"""["'](?:optimizer|api)\.""", source):
        return []  # most files need no parsing
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    named = (text for text in texts if isinstance(text, str) and " " not in text)
    return [text for text in named if text.startswith(("optimizer.", "api.")) and not text.startswith(own)]


def test_the_core_names_no_module_above_it_by_a_text() -> None:
    files = list((ROOT / "optimizer" / "core").rglob("*.py"))
    assert len(files) > 150
    assert [(str(f), n) for f in files for n in places_above(f.read_text(encoding="utf-8"), "optimizer.core.")] == []


def test_such_a_text_would_be_found() -> None:
    assert places_above('PLACE = "optimizer.jobs.studies.kinds.prompt:PROMPT"', "optimizer.core.") != []


def test_two_of_one_name_are_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text(
            "from optimizer.core.family.metrics import metric\n@metric(name='same')\ndef f(example, output): ...\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(rooms.ROOMS, "detent.twins", ("one", "other"))
    with pytest.raises(ValueError, match="one:f and other:f declare the same name, same"):
        rooms.declared_in("detent.twins")


def test_a_decorator_leaves_the_function_as_it_is_and_is_not_inherited() -> None:
    @metric(parsers=("text",))
    def half(example: object, output: object) -> float:
        return 0.5

    assert half({}, "x") == 0.5
    assert record_of(half) == MetricRecord(half, parsers=("text",))
    assert METRICS["rouge_l"].name == "rouge_l"

    @declares(MetricRecord)(name="above")
    class Above:
        pass

    class Below(Above):
        pass

    assert record_of(Above).name == "above"
    assert record_of(Below) is None
