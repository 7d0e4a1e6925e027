"""``detent family create`` and ``detent import`` on sheets as people have them:
nothing is read in another sense than it was meant.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from optimizer.cli.app import app, exit_code
from optimizer.core.base.errors import DetentError
from optimizer.core.declaration import draft
from optimizer.jobs.families import create_family as job
from tests.command_line import new_project

LABELS = ["card"] * 30 + ["refund"] * 20
ROWS = "".join(f"message {n},{label}\n" for n, label in enumerate(LABELS))
Detent = Callable[..., Result]


@pytest.fixture
def detent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detent:
    """Runs a command in a project of its own; its sheet and prompt stand beside it."""
    monkeypatch.setenv("DETENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    new_project(tmp_path / "home")
    (tmp_path / "prompt.txt").write_text("Sort the message.\n\nMessage: {{message}}\nLabel:")
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS)
    return run


def create(detent: Detent, *words: str) -> Result:
    return detent(
        "family", "create", "triage", "--from", "prompt.txt", "--examples", "sheet.csv", "--output", "label", *words
    )


def refusal(result: Result) -> str:
    assert isinstance(result.exception, DetentError)
    assert exit_code(result.exception) == 2
    return result.exception.detail


def made(tmp_path: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (tmp_path / "home" / "families" / "triage" / "examples.jsonl").read_text().splitlines()
    ]


def test_every_label_is_shown_with_its_rows(detent: Detent) -> None:
    assert "Labels, with their rows: card 30, refund 20." in create(detent).stderr


def test_the_sheet_is_read_as_a_family_once(detent: Detent, monkeypatch: pytest.MonkeyPatch) -> None:
    drafted: list[str] = []

    def counted(asked: draft.FamilyDraft, *, today: date) -> draft.NewFamily:
        drafted.append(asked.name)
        return draft_family(asked, today=today)

    draft_family = draft.draft_family
    for module in (draft, job):
        monkeypatch.setattr(module, "draft_family", counted)
    assert create(detent).exit_code == 0
    assert drafted == ["triage"]


def test_a_label_that_looks_like_another_is_a_question_before_anything_is_kept(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS + "one more,crad\nand one,card \n")
    said = refusal(create(detent))
    assert [
        part
        for part in ("'crad' (1) looks like 'card' (31)", "--merge 'crad=card'", "--keep-labels")
        if part not in said
    ] == []
    assert not (tmp_path / "home" / "families" / "triage").exists()
    merged = create(detent, "--merge", "crad=card").stderr
    assert "triage: 52 rows read, 52 taken" in merged


def test_labels_that_are_meant_stay(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS + "one more,crad\n")
    assert "card 30, refund 20, crad 1" in create(detent, "--keep-labels").stderr
    assert {e["expected"]["label"] for e in made(tmp_path)} == {"card", "crad", "refund"}


def test_a_merge_of_a_label_that_no_row_has_is_refused(detent: Detent, tmp_path: Path) -> None:
    assert "no row has that label" in refusal(create(detent, "--merge", "crda=card"))
    assert not (tmp_path / "home" / "families" / "triage").exists()


def test_a_brace_of_an_f_string_beside_a_column_is_a_question(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Sort the message.\n\nMessage: {message}\nLabel:")
    said = refusal(create(detent, "--input", "message"))
    assert [part for part in ("{message}", "--f-string", "--no-f-string", "{{message}}") if part not in said] == []
    assert not (tmp_path / "home" / "families" / "triage").exists()


def test_an_f_string_is_read_as_python_reads_it(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Answer as {{json}}.\n\nMessage: {message}\nLabel:")
    assert create(detent, "--f-string").exit_code == 0
    text = (tmp_path / "home" / "families" / "triage" / "family.yaml").read_text()
    assert "Answer as {json}." in text
    assert "Message: {{message}}" in text


def test_braces_that_are_meant_stay(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Write {message}.\n\n{{message}}")
    assert create(detent, "--no-f-string").exit_code == 0
    assert "Write {message}." in (tmp_path / "home" / "families" / "triage" / "family.yaml").read_text()


@pytest.mark.parametrize(
    ("before", "after"), [('f"""', '"""'), ("PROMPT = f'''", "'''"), ('f"', '"'), ('"""', '"""\n')]
)
def test_the_quotes_of_a_prompt_copied_from_python_are_no_part_of_it(
    detent: Detent, tmp_path: Path, before: str, after: str
) -> None:
    (tmp_path / "prompt.txt").write_text(f"{before}Sort the message.\n\nMessage: {{message}}\nLabel:{after}")
    assert "quotes" in refusal(create(detent, "--f-string"))
    assert not (tmp_path / "home" / "families" / "triage").exists()


def test_a_prompt_may_begin_and_end_with_quotes_of_its_own(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text('"Sort" the message.\n\nMessage: "{{message}}"')
    assert create(detent).exit_code == 0


def test_a_sheet_in_another_encoding_is_refused_and_then_read(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes(("message,label\n" + ROWS.replace("message 3", "Größe 3")).encode("latin-1"))
    assert "--encoding cp1252 reads 'Größe 3,card'" in refusal(create(detent))
    assert create(detent, "--encoding", "latin-1").exit_code == 0
    assert "Größe 3" in [e["input"]["message"] for e in made(tmp_path)]


def test_rows_that_were_left_out_are_named(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS + "no answer,\na,b,c\n")
    told = create(detent).stderr
    assert "Left out: 1 row without an input or an answer (row 52)." in told
    assert "Could not be read: 1 row (row 53: more cells" in told


def test_an_id_given_twice_is_refused_before_anything_is_written(detent: Detent, tmp_path: Path) -> None:
    rows = "".join(f"{n % 49},message {n},{label}\n" for n, label in enumerate(LABELS))
    (tmp_path / "sheet.csv").write_text("id,message,label\n" + rows)
    assert "'id' holds 1 values more than once, such as '0'" in refusal(create(detent))
    assert not (tmp_path / "home" / "families" / "triage").exists()


def test_a_family_made_again_after_its_undo_says_what_serves(detent: Detent, tmp_path: Path) -> None:
    assert "its prompt serves" in create(detent).stderr
    shutil.rmtree(tmp_path / "home" / "families" / "triage")
    (tmp_path / "prompt.txt").write_text("Another prompt.\n\n{{message}}")
    told = create(detent).stderr
    assert "its prompt does NOT serve" in told
    assert "detent family adopt triage --confirm triage" in told


def test_a_family_made_again_says_that_rows_of_before_stay_as_they_were(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS + "one more,crad\n")
    assert create(detent, "--keep-labels").exit_code == 0
    shutil.rmtree(tmp_path / "home" / "families" / "triage")
    told = create(detent, "--merge", "crad=card").stderr
    assert "1 row is in the store with another answer or id, from a family of this name whose folder is gone" in told
    assert "detent family delete triage --confirm triage" in told


def test_rows_that_clash_inside_the_sheet_are_told_as_that_and_not_as_of_before(detent: Detent, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("message,label\n" + ROWS + "message 3,refund\n")
    told = create(detent).stderr
    assert "stands in this source before, with another content: 1" in told
    assert "in the store" not in told
    assert "of this name" not in told


def test_an_import_says_which_labels_the_family_lacks_and_which_no_row_has(detent: Detent, tmp_path: Path) -> None:
    create(detent)
    (tmp_path / "more.csv").write_text("message,label\nlast,card\nnew,refnud\n")
    told = detent("import", "more.csv", "--family", "triage").stderr
    assert "no label of the family; did you mean 'refund'?" in " ".join(told.split())
    assert "refnud" not in told
    assert "no row of this source has the label 'refund' of family.yaml" in told


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [([], False), (["--judge", "embedded"], True), (["--judge", "other"], False)],
    ids=["no judge", "the one that answers", "another"],
)
def test_a_judge_of_its_own_answers_is_warned_of(
    detent: Detent, tmp_path: Path, options: list[str], is_warned: bool
) -> None:
    models = tmp_path / "home" / "config" / "models.yaml"
    models.write_text(models.read_text() + "\nother: {openai_compatible: 'http://127.0.0.1:9/v1', model: m}\n")
    told = create(detent, *options)
    assert told.exit_code == 0, told.exception
    assert (
        "embedded judges its own answers, and a model may prefer these (self-preference)" in told.stderr
    ) is is_warned


def test_labels_written_otherwise_are_offered_and_what_the_prompt_does_not_share_is_told(
    detent: Detent, tmp_path: Path
) -> None:
    rows = "".join(f"m {n},Account Access\nn {n},account_access\no {n},refund\n" for n in range(10))
    (tmp_path / "sheet.csv").write_text("message,label\n" + rows)
    (tmp_path / "prompt.txt").write_text("Is it account_access, refund or other?\n\n{{message}}")
    assert "--merge 'account_access=Account Access'" in refusal(create(detent))
    told = create(detent, "--merge", "Account Access=account_access").stderr
    assert "The prompt names 'other', and no row has it" in told
    assert "does not name" not in told
    (tmp_path / "prompt.txt").write_text("Sort the message.\n\n{{message}}")
    again = detent("family", "create", "second", "--from", "prompt.txt", "--examples", "sheet.csv", "--keep-labels")
    assert "The prompt does not name any label" in again.stderr
