"""How long the demo takes is said in one way, wherever it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optimizer.demo.command import HELP
from optimizer.demo.plain import LENGTH

ROOT = Path(__file__).resolve().parents[2]
SAYS_IT = ("README.md", "Makefile")
PAGES = (
    *SAYS_IT,
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "optimizer/cli/app.py",
    "optimizer/demo/story.py",
)
DEMO = re.compile(r"(make|detent) demo\b|^demo:")


def lengths(text: str) -> list[str]:
    """What is said in minutes in a sentence that names the command, or in the one after it."""
    found = []
    for block in re.split(r"\n\s*\n|\n(?=[a-z-]+:)|\n- ", text):  # paragraphs, targets of the Makefile, items of a list
        sentences = re.split(r"(?<=[.?!])\s+", " ".join(block.split()))
        for before, sentence in zip(["", *sentences], sentences, strict=False):
            if DEMO.search(before) or DEMO.search(sentence):
                found += re.findall(r"(?:\w+ )?\w+ minutes?\b(?: on \w+ cores?)?", sentence)
    return found


def all_pages() -> list[Path]:
    return [ROOT / name for name in PAGES] + [*(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_whatever_says_how_long_the_demo_takes_says_it_as_the_demo_does(page: Path) -> None:
    assert {length.lower() for length in lengths(page.read_text(encoding="utf-8"))} <= {LENGTH}


@pytest.mark.parametrize("name", SAYS_IT)
def test_the_length_is_said_where_a_reader_looks_for_it(name: str) -> None:
    assert lengths((ROOT / name).read_text(encoding="utf-8"))


def test_the_help_of_the_command_says_the_length() -> None:
    assert LENGTH in HELP


@pytest.mark.parametrize(
    "text",
    [
        "`make demo` runs for ten minutes.",
        "demo: .venv ## all at once (under ten minutes)",
        "`detent demo`: the loop. Ten minutes.",
    ],
)
def test_another_length_would_be_seen(text: str) -> None:
    assert lengths(text)
