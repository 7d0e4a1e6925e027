"""``import_rows`` from every source: what is taken, what is not and why,
and that doing it twice equals doing it once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.clock import SystemClock
from optimizer.adapters.files.sources import column_mapping, format_of, open_source, read_sheet
from optimizer.adapters.files.table_files import NUL
from optimizer.adapters.store import Database
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.dataset.examples import class_of, split_of
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.jobs.dataset.import_examples import ImportReport, TextsWithoutGroup, import_rows
from tests.cases import named
from tests.unit.policies.test_policy_studies import pipeline_family


def family(**changes: Any) -> Family:
    content = [{"role": "user", "content": "Topic of {{document}}:"}]
    values: dict[str, Any] = {
        "name": "topics",
        "inputs": {"document": {"type": "text"}},
        "output": {"field": "topic", "parser": "label", "labels": ["tree", "fish"]},
        "prompt": {"current": "1", "versions": {"1": {"content": content}}},
    }
    return parse_family({**values, **changes})


def take(
    store: Database,
    path: Path | str,
    declared: Family | None = None,
    columns: dict[str, str] | None = None,
    *,
    curated: bool | None = None,
) -> ImportReport:
    declared = declared or family()
    source = open_source(str(path), declared, columns)
    assert source.rows is not None
    texts = TextsWithoutGroup(declared)
    report = import_rows(
        texts.passing(source.rows),
        family=declared,
        store=store,
        clock=SystemClock(),
        actor="local:tester",
        curated=source.curated if curated is None else curated,
    )
    return texts.with_look_alikes(report)


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return path


def row(text: str, topic: str = "tree", **more: Any) -> dict[str, Any]:
    return {"input": {"document": text}, "expected": {"topic": topic}, **more}


def test_good_rows_are_taken_and_every_other_one_is_counted_with_its_reason(store: Database, tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "rows.jsonl",
        row("An oak grows."),
        row("A trout swims.", "fish"),
        "not json",
        row(""),
        row("A stone lies.", "stone"),
        {"input": {"text": "other field"}, "expected": {"topic": "tree"}},
        {"input": {"document": "no expected"}, "expected": {}},
        {"input": "flat", "expected": "flat"},
    )
    report = take(store, path)
    assert (report.n_read, report.n_accepted, report.n_duplicate, report.n_rejected) == (8, 2, 0, 6)
    assert sum(report.reasons.values()) == 6
    assert any("no label of the family" in reason for reason in report.reasons)
    assert report.cases["no JSON object in one line"] == ["line 3"]


def test_labels_are_counted_and_kept_as_the_family_spells_them_and_a_second_import_adds_nothing(
    store: Database, tmp_path: Path
) -> None:
    path = tmp_path / "sheet.csv"
    train = next(name for name in "abcdefgh" if split_of(name) == "train")
    rows = ("An oak.,Tree", "A pike swims., fish ", "A birch in the wind.,tree")
    path.write_text("\n".join(["document,topic,group", *(f"{row},{train}" for row in rows)]))
    first, second = take(store, path), take(store, path)
    assert (first.n_accepted, second.n_accepted, second.n_duplicate) == (3, 0, 3)
    assert first.labels == {"tree": 2, "fish": 1}
    with store.read() as tx:
        examples = store.examples.of_split(tx, "topics", split="train")
    assert sorted(class_of(e.expected, "topic") or "" for e in examples) == ["fish", "tree", "tree"]


def outputs(store: Database) -> list[Any]:
    with store.read() as tx:
        return [e.expected for name in ("train", "dev") for e in store.examples.of_split(tx, "topics", split=name)]


@pytest.mark.parametrize("labels", [["Tree", "Fish"], ["Tree ", "fish"]])
def test_rows_that_are_stored_in_another_spelling_than_the_familys_are_there_already_and_can_be_released(
    store: Database, tmp_path: Path, labels: list[str]
) -> None:
    path = write_lines(tmp_path / "rows.jsonl", row("An oak.", "TREE"), row("A pike.", "fish"), row("An elm.", "tree"))
    other = family(output={"field": "topic", "parser": "label", "labels": labels})
    before = take(store, path, other)
    as_stored = outputs(store)
    again = take(store, path, curated=True)
    assert (before.n_accepted, again.n_duplicate, again.n_rejected, again.n_released) == (3, 3, 0, 3)
    assert outputs(store) == as_stored
    changed = write_lines(tmp_path / "changed.jsonl", row("An oak.", "fish"), row("A pike.", "fish", group="g"))
    assert take(store, changed).n_rejected == 2, "another label, and another group"


def test_a_csv_takes_columns_by_name_or_mapping_and_a_missing_one_is_named(store: Database, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text(
        'Body,Kind,id\n"A tall, old oak.",tree,r1\nA quick trout.,fish,r2\nshort,row,r3,too,many\n', encoding="utf-8"
    )
    with pytest.raises(InvalidInput, match="--input document=COLUMN"):
        open_source(str(path), family())
    report = take(store, path, columns={"document": "Body", "topic": "Kind"})
    assert (report.n_accepted, report.n_rejected) == (2, 1)
    assert column_mapping(["document", "topic"], ["document"], "topic", {}) == {
        "document": "document",
        "topic": "topic",
    }


def test_cells_of_number_inputs_become_numbers(store: Database, tmp_path: Path) -> None:
    declared = family(inputs={"document": {"type": "text"}, "length": {"type": "number"}})
    path = tmp_path / "sheet.csv"
    path.write_text("document,length,topic\nAn oak.,12,tree\n", encoding="utf-8")
    source = open_source(str(path), declared)
    assert source.rows is not None
    assert next(source.rows).input == {"document": "An oak.", "length": 12}


def test_masking_happens_before_the_first_write(store: Database, tmp_path: Path) -> None:
    declared = family(privacy={"mask": ["email"]})
    take(
        store,
        write_lines(tmp_path / "rows.jsonl", *(row(f"Oak {n}, ask ann@example.org.") for n in range(20))),
        declared,
    )
    with store.read() as tx:
        kept = store.examples.of_split(tx, "topics", split="train")
    assert kept
    assert all("ann@example.org" not in e.input["document"] and "[email]" in e.input["document"] for e in kept)


def test_an_id_or_group_that_names_a_person_is_kept_as_its_hash_and_still_holds_the_group_together(
    store: Database, tmp_path: Path
) -> None:
    declared = family(privacy={"mask": ["email"]})
    rows = [row(f"Oak {n}.", id=f"ann{n}@example.org", group=f"p{n % 4}@example.org") for n in range(20)]
    take(store, write_lines(tmp_path / "rows.jsonl", *rows), declared)
    with store.read() as tx:
        kept = [e for split in ("train", "dev") for e in store.examples.of_split(tx, "topics", split=split)]
    assert kept
    assert not any("@" in e.id + e.group for e in kept)
    assert len({e.group for e in kept}) <= 4
    assert all(len({e.split for e in kept if e.group == group}) == 1 for group in {e.group for e in kept})


def test_a_file_is_not_released_for_prompts_and_installed_docs_are(store: Database, tmp_path: Path) -> None:
    take(store, write_lines(tmp_path / "rows.jsonl", *(row(f"Oak {n}.") for n in range(20))))
    with store.read() as tx:
        assert store.examples.of_split(tx, "topics", split="train")
        assert store.examples.of_split(tx, "topics", split="train", released_only=True) == []
    assert open_source("installed-docs", family()).curated


def test_installed_docs_give_enough_holdout_examples_for_the_gates(store: Database) -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    declared = family(name="summaries", output={"field": "summary", "parser": "text"})
    report = take(store, "installed-docs", declared)
    assert report.n_holdout >= report.n_gate == 100
    assert report.n_read == report.n_accepted + report.n_duplicate + report.n_rejected
    with store.read() as tx:
        assert all(e.released and e.origin == "curated" for e in store.examples.of_split(tx, "summaries", split="dev"))


def test_the_report_says_how_many_holdout_examples_exist_and_how_many_the_gates_ask_for(
    store: Database, tmp_path: Path
) -> None:
    report = take(store, write_lines(tmp_path / "rows.jsonl", *(row(f"Oak {n}.") for n in range(20))))
    last = report.sentences()[-1]
    assert f"there are {report.n_holdout}" in last
    assert f"about {round((100 - report.n_holdout) / 0.18)} more examples" in last
    assert "forced" in last


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        pytest.param(row("An oak."), "examples", id="input and expected"),
        pytest.param({"id": "e1", "unit": "u", "family": "topics", "score": 0.5}, "feedback", id="a score"),
        pytest.param({"interaction": "in_1", "expected": {"topic": "tree"}}, "feedback", id="a correction"),
        pytest.param({"dialog_id": "d1", "prompts": []}, "dialogs", id="a dialog"),
    ],
)
def test_what_a_file_holds_is_told_by_its_first_line(tmp_path: Path, first: dict[str, Any], expected: str) -> None:
    assert format_of(write_lines(tmp_path / "file.jsonl", first)) == expected


def test_an_unknown_shape_a_missing_file_and_other_dialogs_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Examples look like"):
        open_source(str(write_lines(tmp_path / "x.jsonl", {"a": 1})), family())
    with pytest.raises(NotFound, match="installed-docs"):
        open_source(str(tmp_path / "none.jsonl"), family())
    with pytest.raises(InvalidInput, match="of a form that is not read"):
        open_source(str(write_lines(tmp_path / "d.jsonl", {"id": "d", "messages": []})), family())


def test_a_row_with_a_nul_is_rejected_alone_as_in_a_table(store: Database, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", row("An oak."), row("A\0 trout."), row(r"A path: C:\u0000."))
    report = take(store, path)
    assert (report.n_accepted, report.reasons, report.cases) == (2, {NUL: 1}, {NUL: ["line 2"]})


@pytest.mark.parametrize("wrong", [{"input": "hello", "expected": "x"}, {"input": ["hello"]}, {"input": "a", "b": "c"}])
def test_a_sheet_of_examples_that_are_no_objects_is_refused_with_its_line(tmp_path: Path, wrong: Any) -> None:
    path = write_lines(tmp_path / "rows.jsonl", row("An oak."), wrong)
    with pytest.raises(InvalidInput, match=r"rows\.jsonl, line 2: \"input\" and \"expected\" have to be objects"):
        read_sheet(path)


@pytest.mark.parametrize(
    "twice",
    [
        {"input": {"text": "teh"}, "expected": {"text": "the"}},
        {"id": "a", "input": {"text": "x", "id": "b"}, "expected": {"topic": "tree"}},
        {"topic": "fish", "input": {"text": "x"}, "expected": {"topic": "tree"}},
    ],
    ids=["input and expected", "id and input", "member and expected"],
)
def test_a_sheet_of_examples_with_two_values_of_one_name_is_refused_with_its_line(tmp_path: Path, twice: Any) -> None:
    with pytest.raises(InvalidInput, match=r"rows\.jsonl, line 1, .* names '\w+' more than once"):
        read_sheet(write_lines(tmp_path / "rows.jsonl", twice))


def test_a_sheet_with_two_columns_of_one_name_is_refused_as_by_an_import(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label,label\nx,a,b\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="The first line names 'label' more than once"):
        read_sheet(tmp_path / "rows.csv")


def test_an_input_of_a_sheet_may_be_named_input(tmp_path: Path) -> None:
    sheet = read_sheet(write_lines(tmp_path / "rows.jsonl", {"input": {"input": "x"}, "expected": {"topic": "tree"}}))
    assert (sheet.columns, sheet.rows[0][1]) == (("input", "topic"), {"input": "x", "topic": "tree"})


PIPELINE = "content_type,word_count,coherence_score,note,quality\n"


def imported_items(store: Database, tmp_path: Path, text: str, columns: dict[str, str] | None = None) -> ImportReport:
    path = tmp_path / "items.csv"
    path.write_text(text, encoding="utf-8")
    return take(store, path, pipeline_family(), columns)


def items_of(store: Database) -> list[dict[str, Any]]:
    with store.read() as tx:
        return [
            dict(e.input)
            for split in ("train", "dev")
            for e in store.examples.of_split(tx, "content_pipeline", split=split)
        ]  # type: ignore[arg-type]


def test_a_table_of_items_needs_only_what_was_measured_and_an_empty_cell_was_not(
    store: Database, tmp_path: Path
) -> None:
    rows = "".join(f"news,{100 + n},{'' if n % 2 else 0.5},,0.{n % 10}\n" for n in range(30))
    assert imported_items(store, tmp_path, PIPELINE + rows).n_accepted == 30
    found = items_of(store)
    assert {frozenset(item) for item in found} == {
        frozenset({"content_type", "word_count"}),
        frozenset({"content_type", "word_count", "coherence_score"}),
    }
    assert all(isinstance(item["word_count"], int) for item in found)


def test_rows_of_a_table_that_are_not_taken_are_named_by_the_number_a_table_shows(
    store: Database, tmp_path: Path
) -> None:
    rows = [
        'news,700,0.7,"two\nlines",0.8',
        "",
        "news,n/a,0.5,,0.4",
        'news,"1,200",0.5,,0.4',
        "news,500,0.5,,",
        "news,500,7,,0.5",
        ",,,,0.5",
        "news,300",
        "news,1,1,1,1,1",
    ]
    report = imported_items(store, tmp_path, PIPELINE + "\n".join(rows) + "\n")
    assert (report.n_read, report.n_accepted) == (8, 1)
    assert report.cases == {
        "of another kind than declared: word_count": ["row 4", "row 5"],
        "expected has no 'quality' from 0 to 1": ["row 6", "row 9"],
        "out of range: coherence_score lies from 0 to 1": ["row 7"],
        "nothing was measured of the item": ["row 8"],
        "more cells than the first line names; a delimiter inside a cell wants quotes around it": ["row 10"],
    }
    assert any("row 4, row 5" in sentence for sentence in report.sentences())


def test_columns_that_are_read_and_that_are_not_are_known_beforehand(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,kind,words,note,quality\na,news,5,x,0.5\n", encoding="utf-8")
    source = open_source(str(path), pipeline_family(), {"content_type": "kind", "word_count": "words"})
    assert source.columns == {"content_type": "kind", "word_count": "words", "quality": "quality"}
    assert list(source.not_read) == ["note"]


@named(
    ("first", "columns", "says"),
    {
        "no input": ("kind,words,quality", {}, "None of the file's columns is an input of the family"),
        "no output": ("content_type,words", {}, "no column 'quality'.*--output quality=COLUMN"),
        "a mistyped column": (
            "content_type,quality",
            {"word_count": "words"},
            "no column 'words'.*--input word_count=COLUMN",
        ),
        "a name twice": ("content_type,quality,quality", {}, "names 'quality' more than once"),
    },
)
def test_a_table_that_cannot_be_read_says_which_column_is_wanted(
    tmp_path: Path, first: str, columns: dict[str, str], says: str
) -> None:
    path = tmp_path / "items.csv"
    path.write_text(first + "\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=says):
        open_source(str(path), pipeline_family(), columns)


def test_a_curated_import_releases_the_rows_that_a_plain_one_brought(store: Database, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", *(row(f"Tree number {n} is tall.") for n in range(30)))
    take(store, path)
    with store.read() as tx:
        assert store.examples.of_split(tx, "topics", split="train", released_only=True) == []
    again = take(store, path, curated=True)
    assert (again.n_accepted, again.n_duplicate, again.n_released) == (0, 30, 30)
    with store.read() as tx:
        train = store.examples.of_split(tx, "topics", split="train")
        assert store.examples.of_split(tx, "topics", split="train", released_only=True) == train != []
    assert take(store, path, curated=True).n_released == 0


def about(customer: int, call: int) -> str:
    return f"Customer {customer} calls again about the leaking pond of {customer} oaks, call {call}."


def test_rows_without_a_group_that_look_alike_are_asked_about(store: Database, tmp_path: Path) -> None:
    texts = [about(customer, call) for customer in range(20, 30) for call in range(5)]
    report = take(store, write_lines(tmp_path / "rows.jsonl", *map(row, texts)))
    assert report.near_duplicates is not None
    assert report.near_duplicates.n_rows == 50
    assert any("50 of 50 rows without a group look alike" in s and "`group`" in s for s in report.sentences())


def test_rows_of_named_groups_and_rows_that_differ_are_asked_nothing(store: Database, tmp_path: Path) -> None:
    named = [row(about(7, call), group="customer-7") for call in range(50)]
    words = [f"w{n * 7919 % 1009}" for n in range(600)]
    unlike = [row(" ".join(words[n : n + 12])) for n in range(0, 600, 12)]
    report = take(store, write_lines(tmp_path / "rows.jsonl", *named, *unlike))
    assert (report.n_accepted, report.near_duplicates) == (100, None)


def test_a_folder_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="it is a folder"):
        format_of(tmp_path)
    with pytest.raises(InvalidInput, match=r"'nothing.jsonl' is empty"):
        format_of(write_lines(tmp_path / "nothing.jsonl"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_lines_of_json_in_another_encoding_than_utf_8_are_refused(
    store: Database, tmp_path: Path, encoding: str
) -> None:
    path = write_lines(tmp_path / "rows.jsonl", row("An oak."), row("A birch."))
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    with pytest.raises(InvalidInput, match=r"'rows.jsonl' is UTF-(16|32) text\. Save its lines of JSON as UTF-8\."):
        take(store, path)


def test_lines_of_json_may_begin_with_the_mark_of_utf_8(store: Database, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", row("An oak."), row("A birch."))
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-8-sig"))
    assert take(store, path).n_accepted == 2
