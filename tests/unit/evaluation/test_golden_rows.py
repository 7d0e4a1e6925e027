"""golden.jsonl: what a row may say, what is wrong with one, and what its last good version is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.core.evaluation.suite import GOLDEN, suite_id, suites_of
from optimizer.core.family.golden import golden_digest, read_golden, scoring_of
from tests.cases import named
from tests.worlds.study_world import TOPIC_FAMILY, topic_family

ROW: dict[str, Any] = {"id": "g1", "input": {"document": "Notes on music."}, "expected": {"topic": "music"}}


def read(*rows: Any, **family: Any) -> tuple[Any, list[tuple[int | None, str]]]:
    found, faults = read_golden(enumerate(rows, start=1), topic_family(**family))
    return found, [(fault.line, fault.detail) for fault in faults]


def test_a_row_is_a_scenario_of_its_own_or_belongs_to_one() -> None:
    other = {**ROW, "id": "g2", "scenario": "music", "input": {"document": "More on music."}, "tags": {"kind": "hard"}}
    (first, second), faults = read(ROW, other)
    assert faults == []
    assert (first.scenario, second.scenario, second.counts) == ("g1", "music", ())


@named(
    ("row", "says"),
    {
        "no JSON": (None, "no JSON object in one line"),
        "long id": ({**ROW, "id": "x" * 101}, "id is missing, or no text of 1 to 100"),
        "no input": ({"id": "a", "expected": {"topic": "music"}}, "input is missing"),
        "no expected output": ({"id": "a", "input": {"document": "x"}}, "expected is missing"),
        "mistyped key": ({**ROW, "scenari": "a"}, "unknown key 'scenari'; did you mean 'scenario'?"),
        "counts is a text": ({**ROW, "counts": "label_match"}, "counts is no list"),
        "another metric": ({**ROW, "counts": ["rouge_l"]}, "'rouge_l'; this family's score has label_match"),
        "another input": ({**ROW, "input": {"text": "x"}}, "the input 'document' is missing"),
        "no label": ({**ROW, "expected": {"topic": "cooking"}}, "expected has as 'topic' no label of the family"),
    },
)
def test_what_is_wrong_with_a_row_is_said_with_its_line(row: Any, says: str) -> None:
    _, ((line, detail),) = read(ROW, row)
    assert line == 2
    assert says in detail


def test_ids_and_inputs_stand_once() -> None:
    _, faults = read(ROW, {**ROW, "input": {"document": "NOTES  on Music."}})
    assert faults == [(2, f"line 1 has the same {what}; give each row its own") for what in ("id", "input")]


def test_a_family_whose_answers_no_model_makes_has_none() -> None:
    policy = {"current": "1", "versions": {"1": {"policy": {"filter.min_overall": 0.65}}}}
    plain = {"kind": "policy", "prompt": policy, "space": {}, "sample": {}, "scorer": {}}
    _, faults = read(ROW, **plain)
    assert [line for line, _ in faults] == [1]
    assert "asks none" in faults[0][1]


def test_what_counts_for_a_row_scores_it() -> None:
    two = topic_family(scorer={"label_match": 1.0, "exact_match": 3.0})
    (row,), faults = read_golden([(1, {**ROW, "counts": ["exact_match"]})], two)
    assert faults == []
    assert scoring_of(two, row).metrics == {"exact_match": 3.0}
    (plain,), _ = read_golden([(1, ROW)], two)
    assert scoring_of(two, plain).metrics == two.metrics


def test_another_scenario_asks_for_another_evaluation_and_another_order_does_not() -> None:
    family = topic_family()
    rows, _ = read(ROW, {**ROW, "id": "g2", "input": {"document": "More on music."}})
    assert golden_digest(rows) == golden_digest(reversed(rows)) != golden_digest(rows[:1])
    both, one = family.with_golden(rows), family.with_golden(rows[:1])
    ids = {suite_id(it, "v_0", suites_of(it)[GOLDEN]) for it in (both, one)}
    ids.add(suite_id(both, "v_9", suites_of(both)[GOLDEN]))
    assert len(ids) == 3


class Folder:
    """A family's folder with a golden file."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "families" / "topics"
        self.place.mkdir(parents=True)
        with (self.place / "family.yaml").open("w") as file:
            YAML().dump(json.loads(json.dumps(TOPIC_FAMILY)), file)
        self.golden = self.place / "golden.jsonl"
        self.last_good = folder / "last_good"

    def write(self, *rows: Any) -> None:
        self.golden.write_text("\n".join(json.dumps(row) for row in rows))

    def files(self) -> FamilyFiles:
        files = FamilyFiles(self.place.parent, self.last_good)
        files.load()
        return files


def test_a_scenario_may_hold_each_line_end_that_json_lets_a_text_hold(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    row = {**ROW, "input": {"document": "Notes\u2028on\u0085music."}}
    folder.golden.write_text(f"{json.dumps(row, ensure_ascii=False)}\r\n", encoding="utf-8")
    ((family,), problems) = (files := folder.files()).families.values(), files.problems
    assert ([one.id for one in family.golden], dict(problems)) == ([ROW["id"]], {})


def test_the_scenarios_beside_a_file_are_the_familys_and_are_read_again_when_they_change(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(ROW)
    files = folder.files()
    assert [row.id for row in files.families["topics"].golden] == ["g1"]
    assert "golden" not in files.families["topics"].model_dump()
    folder.write(ROW, {**ROW, "id": "g2", "input": {"document": "More."}})
    assert files.changed()
    files.load()
    assert [row.id for row in files.families["topics"].golden] == ["g1", "g2"]


def test_a_broken_golden_file_is_a_fault_of_the_family_and_leaves_its_last_good_scenarios(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(ROW)
    folder.files()
    folder.write(ROW, {**ROW, "id": "g2"})
    after_a_restart = folder.files()
    (fault,) = after_a_restart.problems["topics"].faults
    assert (fault.line, (fault.file or "").endswith("golden.jsonl")) == (2, True)
    assert [row.id for row in after_a_restart.families["topics"].golden] == ["g1"], "else its gate would be open"


def test_a_golden_file_that_is_gone_takes_its_scenarios_with_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(ROW)
    files = folder.files()
    folder.golden.unlink()
    files.load()
    assert files.families["topics"].golden == ()
    (folder.place / "family.yaml").write_text("name: [")
    assert folder.files().families["topics"].golden == (), "they are not kept as the last good ones either"
