"""docs/how-to/when-a-rollout-stops.md says what to do about every alert that the code opens,
and about every outcome.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import get_args

from optimizer.core.serving.rollout import RolloutOutcome

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "when-a-rollout-stops.md").read_text(encoding="utf-8")
HEADINGS = set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE))


@cache
def alert_kinds() -> set[str]:
    """What stands for ``kind`` wherever an Alert is made."""
    found: set[str] = set()
    for folder in ("optimizer", "api"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "Alert(" not in text:
                continue
            tree = ast.parse(text)
            named = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
            keywords = [keyword for call in named if call.func.id == "Alert" for keyword in call.keywords]
            for value in (keyword.value for keyword in keywords if keyword.arg == "kind"):
                found |= _texts(value, tree, file)
    return found


def _texts(value: ast.expr, tree: ast.Module, file: Path) -> set[str]:
    """A literal, a constant of the module, or a variable that runs over one."""
    if isinstance(value, ast.Constant):
        return {str(value.value)}
    assert isinstance(value, ast.Name), f"{file}: the kind of an alert is neither a text nor a name"
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)]
    if of_it := [loop for loop in loops if loop.target.id == value.id]:
        return set().union(*(_texts(loop.iter, tree, file) for loop in of_it))
    module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    constant = getattr(module, value.id)
    return {constant} if isinstance(constant, str) else set(constant)


def test_every_alert_that_the_code_opens_is_on_the_page():
    kinds = alert_kinds()
    assert {"rollout_unwatched", "shared_incident", "process_restarted"} <= kinds  # a constant, a loop, a literal
    assert kinds - HEADINGS == set()


def test_every_outcome_is_on_the_page():
    assert set(get_args(RolloutOutcome)) - HEADINGS == set()


def test_the_page_explains_nothing_that_cannot_happen():
    assert HEADINGS - alert_kinds() - set(get_args(RolloutOutcome)) == set()


def test_the_alert_about_a_failing_duty_names_each_duty_of_the_worker():
    worker = (ROOT / "optimizer" / "runtime/worker.py").read_text(encoding="utf-8")
    duties = re.findall(r'self\._thread\(\s*"([a-z-]+)"', worker)
    said = re.search(r"One of the worker's duties failed \((.*?)\)", " ".join(PAGE.split()))
    assert sorted(re.findall(r"`([a-z-]+)`", said.group(1))) == sorted(duties)
