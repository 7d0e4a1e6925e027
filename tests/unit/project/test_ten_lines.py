"""How much of an application changes for a canary: counted in its two forms under examples/ten_lines."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "ten_lines"
PAGE = (ROOT / "docs" / "how-to" / "ten-lines.md").read_text(encoding="utf-8")
MAX_LINES = 10


def lines(application: str, form: str) -> list[str]:
    return (EXAMPLES / f"{application}_{form}.py").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("application", ["fastapi", "langchain"])
def test_an_application_goes_from_a_hard_coded_prompt_to_a_canary_in_ten_lines(application: str) -> None:
    before, after = lines(application, "before"), lines(application, "after")
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    n_changed = sum(max(to_a - from_a, to_b - from_b) for tag, from_a, to_a, from_b, to_b in blocks if tag != "equal")
    assert 0 < n_changed <= MAX_LINES
    diff = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if not line.startswith("@@")][2:]
    assert sum(line.startswith("+") for line in diff) <= MAX_LINES
    assert "```diff\n" + "\n".join(diff) + "\n```\n" in PAGE, "the page shows another diff"
