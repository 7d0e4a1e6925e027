"""Every page of a benchmark is made of its text and its stored results, and of nothing else."""

from __future__ import annotations

import pages
import pytest


@pytest.mark.parametrize("page", pages.PAGES)
def test_a_page_is_made_of_its_stored_results(page: str) -> None:
    assert (pages.DOCS / f"{page}.md").read_text(encoding="utf-8") == pages.rendered(page)


def test_a_section_that_has_nothing_to_show_is_left_out(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "TEXTS", tmp_path)
    (tmp_path / "one.txt").write_text(
        "# One\n\n## First\n\n{{ first }}\n\n## Second\n\n{{ second }}\n", encoding="utf-8"
    )
    assert pages.text_of("one", left_out=["Second"], first="1") == "# One\n\n## First\n\n1\n"
