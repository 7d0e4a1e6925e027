"""ARCHITECTURE.md leads to files that are there, and the folders are of a size that a reader takes in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MOST_MODULES = 20


def test_every_file_and_room_that_the_page_names_is_there() -> None:
    paths = re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", PAGE)
    assert len(paths) > 60
    for path in set(paths) - {"var/"}:  # which a service makes when it runs
        places = [ROOT / path, ROOT / "optimizer" / "core" / path, ROOT / "optimizer" / "jobs" / path]
        assert any(place.exists() for place in places), path


@pytest.mark.parametrize("package", ["api", "optimizer"])
def test_no_folder_of_the_product_holds_more_than_twenty_modules_and_each_says_what_lives_there(package: str) -> None:
    for folder in {file.parent for file in (ROOT / package).rglob("*.py")}:
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        if "versions" in folder.parts:
            continue  # the steps of the store's schema, one after the other: nobody looks for a name among them
        assert len(modules) <= MOST_MODULES, f"{folder.relative_to(ROOT)}: {len(modules)}"
        if modules:
            assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), folder.relative_to(ROOT)


def test_one_event_is_followed_from_its_post_to_a_promotion_in_at_most_twelve_files() -> None:
    section = PAGE.split("## One event, from its post to a promotion")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. \[`([^`]+)`\]\(\1\)", section, re.MULTILINE)
    assert 6 <= len(files) <= 12
    assert [file for file in files if not (ROOT / file).is_file()] == []
