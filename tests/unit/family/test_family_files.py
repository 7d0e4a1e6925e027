from __future__ import annotations

import os
import shutil
import textwrap
from pathlib import Path

import pytest

from optimizer.adapters.files.family_files import FamilyFiles, parse_family_text
from optimizer.core.base.errors import InvalidFamily
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.jobs.families.family_folders import Folders

GOOD = textwrap.dedent("""\
    name: triage
    inputs: {ticket: {type: text, max_chars: 400}}
    output: {field: team, parser: label, labels: [billing, support, no]}
    prompt:
      current: "1"
      versions:
        "1":
          created_at: 2026-11-20
          content:
            - {role: user, content: "Ticket: {{ticket}}\\nTeam:"}
    """)


def write(folder: Path, text: str, name: str = "triage") -> Path:
    file = folder / name / "family.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".tmp")  # as editors do: a new file takes the old one's place
    fresh.write_bytes(text.encode())
    os.replace(fresh, file)
    return file


def loaded(folder: Path, **kwargs) -> FamilyFiles:
    files = FamilyFiles(folder, **kwargs)
    files.load()
    return files


def refused(text: str, **options) -> InvalidFamily:
    with pytest.raises(InvalidFamily) as error:
        parse_family_text(text, file="f", **options)
    return error.value


def places(error: InvalidFamily) -> list[tuple[int | None, str]]:
    assert {f.file for f in error.faults} == {"f"}
    return [(f.line, f.pointer) for f in error.faults]


def test_a_good_file_is_a_family_and_no_label_is_taken_for_a_boolean(tmp_path):
    write(tmp_path, GOOD)
    files = loaded(tmp_path)
    assert files.families["triage"].output.labels == ("billing", "support", "no")
    assert not files.problems


def test_every_fault_is_told_with_file_and_line():
    text = (
        GOOD.replace("max_chars: 400", "max_chars: 0").replace('current: "1"', 'current: "2"')
        + "rollout:\n  ladder: [0.5, 0.1]\n  gates:\n    n: none\n"
    )
    error = refused(text)
    assert places(error) == [
        (2, "/inputs/ticket/max_chars"),
        (5, "/prompt/current"),
        (12, "/rollout/ladder"),
        (14, "/rollout/gates/n"),
    ]
    assert "f:12 /rollout/ladder: " in error.detail


def test_a_missing_key_is_placed_at_what_should_hold_it():
    assert places(refused(GOOD.replace('  current: "1"\n', ""))) == [(4, "/prompt/current")]


def test_every_key_that_stands_twice_is_told_beside_the_other_faults():
    text = GOOD + "description: a\nmodel: {temperature: 9, temperature: 0}\ndescription: b\ntempo: 1\n"
    error = refused(text)
    assert places(error) == [(12, "/model/temperature"), (13, "/description"), (14, "/tempo")]
    assert "first in line 11" in error.faults[1].detail


@pytest.mark.parametrize("second", ["01", "1", "0x1"])
def test_two_versions_whose_numbers_make_one_name_are_a_key_that_stands_twice(second):
    error = refused(GOOD + f"    {second}: {{content: [{{role: user, content: a}}]}}\n")
    assert places(error) == [(11, "/prompt/versions/1")]
    assert "stands twice (first in line 7)" in error.detail


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("name: triage\ninputs: {ticket: \n", 3, id="an open brace"),
        pytest.param("name: triage\n\tkind: prompt\n", 2, id="a tab"),
        pytest.param("name: *nobody\n", 1, id="an unknown alias"),
        pytest.param("name: triage\n---\nname: other\n", 2, id="two documents"),
        pytest.param("name: triage\nkind: \x00\n", 2, id="a control character"),
        pytest.param("", 1, id="an empty file"),
        pytest.param("- name\n", 1, id="a list"),
        pytest.param("name: !!python/object:os.system x\n", 1, id="a tag that runs code"),
        pytest.param("output:\n  schema: &a\n    properties: *a\n", 3, id="a mapping that holds itself"),
    ],
)
def test_what_is_no_family_at_all_is_one_fault_with_its_line(text, line):
    assert refused(text).faults[0].line == line


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(tmp_path):
    golden = write(tmp_path, f"\ufeff{GOOD}").with_name("golden.jsonl")
    golden.write_text('\ufeff{"id": "a", "input": {"ticket": "A bill."}, "expected": {"team": "billing"}}\n', "utf-8")
    files = loaded(tmp_path)
    assert not files.problems
    assert [row.id for row in files.families["triage"].golden] == ["a"]


def test_an_anchor_may_be_used_again_elsewhere():
    text = (
        GOOD.replace('content: "Ticket: {{ticket}}\\nTeam:"', 'content: &text "Ticket: {{ticket}}\\nTeam:"')
        + "description: *text\n"
    )
    assert parse_family_text(text, file="f").description == "Ticket: {{ticket}}\nTeam:"


@pytest.mark.parametrize(
    ("key", "place"),
    [
        pytest.param("tools: [{function: {default: 2026-01-01}}]", "tools/0/function/default", id="a date"),
        pytest.param("response_format: {type: {x: .nan}}", "response_format/type/x", id="no number"),
        pytest.param("response_format: {x: {1: a}}", "response_format/x/1", id="a key that is a number"),
        pytest.param("policy: {deadline_s: 5, more: {at: 2026-01-01}}", "policy/more/at", id="a date in a policy"),
    ],
)
def test_what_no_request_can_hold_is_a_fault_of_its_file_alone(tmp_path, key, place):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("name: triage", "name: other") + f"      {key}\n", name="other")
    files = loaded(tmp_path)
    faults = {(fault.pointer, fault.line) for fault in files.problems["other"].faults}
    assert (f"/prompt/versions/1/{place}", 11) in faults
    assert [family.variant().id[:2] for family in files.families.values()] == ["v_"]


def test_a_schema_may_bound_an_unsigned_number_of_64_bits():
    text = GOOD.replace("label, labels: [billing, support, no]", f"json, schema: {{maximum: {2**64 - 1}}}")
    assert parse_family_text(text, file="f").output.json_schema == {"maximum": 2**64 - 1}


def test_an_emoji_that_json_escapes_as_two_halves_is_read_as_its_character():
    assert parse_family_text(GOOD + r'description: "\ud83d\ude00"' + "\n", file="f").description == "😀"


@pytest.mark.parametrize(
    ("line", "place", "says"),
    [
        pytest.param(r'description: "\ud83d"', "description", "half of a surrogate pair", id="half a pair"),
        pytest.param(r'description: "a\0b"', "description", "U+0000", id="a NUL"),
        pytest.param(f"rollout: {{max_days: {'9' * 400}}}", "rollout/max_days", "64 bits", id="a long number"),
        pytest.param(f"rollout: {{max_days: {'9' * 5000}}}", "rollout/max_days", "digits", id="a very long number"),
        pytest.param(f"cache: {{ttl_s: 0x{'9' * 5000}}}", "cache/ttl_s", "64 bits", id="a long hex number"),
        pytest.param("schedule: {cron: !!binary aGVsbG8=}", "schedule/cron", "bytes", id="bytes"),
        pytest.param("space: !!set {a, b}", "space", "a set", id="a set"),
        pytest.param("schedule: {cron: 2026-13-01}", "schedule/cron", "month must be", id="a month 13"),
        pytest.param("schedule: {cron: !!bool perhaps}", "schedule/cron", "'perhaps'", id="no boolean"),
        pytest.param(
            f"space: {'{a: ' * 70}1{'}' * 70}", "space" + "/a" * 63, "more than 64 levels", id="70 levels of mappings"
        ),
    ],
)
def test_what_json_cannot_hold_is_a_fault_of_its_line_beside_the_others(tmp_path, line, place, says):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("name: triage", "name: other") + f"{line}\ntempo: 1\n", name="other")
    files = loaded(tmp_path)
    assert set(files.families) == {"triage"}
    faults = {(fault.pointer, fault.line): fault.detail for fault in files.problems["other"].faults}
    assert says in faults[f"/{place}", 11]
    assert ("/tempo", 12) in faults


def test_a_family_that_ends_in_an_error_of_our_own_is_a_problem_of_its_name_alone(tmp_path, monkeypatch):
    """A package's kind may raise anything."""
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("name: triage", "name: other"), name="other")

    def variant(family: Family, version: str | None = None) -> Variant:
        if family.name == "other":
            raise RecursionError("too deep")
        return of_kind(family, version)

    of_kind = Family.variant
    monkeypatch.setattr(Family, "variant", variant)
    files = loaded(tmp_path, last_good_dir=tmp_path / "var")
    assert set(files.families) == {"triage"}
    assert "RecursionError: too deep" in files.problems["other"].detail


def test_the_folder_and_the_family_have_one_name(tmp_path):
    write(tmp_path, GOOD, name="other")
    write(tmp_path, GOOD)
    files = loaded(tmp_path)
    assert [(f.pointer, f.line) for f in files.problems["other"].faults] == [("/name", 1)]
    assert files.families["triage"].name == "triage"


def test_a_file_that_is_not_utf_8_is_an_invalid_family(tmp_path):
    write(tmp_path, GOOD).write_bytes(b"name: \xff\n")
    assert "not UTF-8" in loaded(tmp_path).problems["triage"].detail


def test_an_edit_is_noticed_without_opening_a_file_and_read_by_load(tmp_path):
    write(tmp_path, GOOD)
    files = loaded(tmp_path)
    assert not files.changed()
    write(tmp_path, GOOD.replace("400", "500"))
    assert files.changed()
    files.load()
    assert files.families["triage"].inputs["ticket"].max_chars == 500
    assert not files.changed()


def test_an_unchanged_family_stays_the_same_object(tmp_path):
    write(tmp_path, GOOD)
    files = loaded(tmp_path)
    before = files.families["triage"]
    write(tmp_path, GOOD.replace("triage", "other"), name="other")
    files.load()
    assert files.families["triage"] is before
    assert set(files.families) == {"triage", "other"}


def test_the_last_good_version_of_a_file_that_is_gone_is_left_across_a_restart_too(tmp_path):
    kept = tmp_path / "var" / "families"
    file = write(tmp_path / "families", GOOD)
    loaded(tmp_path / "families", last_good_dir=kept)
    file.unlink()
    restarted = loaded(tmp_path / "families", last_good_dir=kept)
    assert restarted.families["triage"].inputs["ticket"].max_chars == 400
    assert "triage" in restarted.problems
    assert "triage" not in loaded(tmp_path / "families").families


def test_a_file_that_is_gone_is_a_problem_and_a_folder_that_is_gone_is_a_family_less(tmp_path):
    kept = tmp_path / "var"
    file = write(tmp_path / "families", GOOD)
    files = loaded(tmp_path / "families", last_good_dir=kept)
    file.unlink()
    assert files.changed()
    files.load()
    assert "triage" in files.families
    assert "no such file" in files.problems["triage"].detail
    file.parent.rmdir()
    assert files.changed()
    files.load()
    assert not files.families
    assert not files.problems
    assert not list(kept.iterdir())


@pytest.mark.parametrize("restart", [False, True], ids=["while it runs", "at a restart"])
def test_a_families_folder_that_is_not_there_removes_no_family(tmp_path, restart):
    kept = tmp_path / "var"
    write(tmp_path / "families", GOOD)
    files = loaded(tmp_path / "families", last_good_dir=kept)
    (tmp_path / "families").rename(tmp_path / "elsewhere")
    if restart:
        files = FamilyFiles(tmp_path / "families", last_good_dir=kept)
    assert files.changed()
    files.load()
    assert "triage" in files.families
    assert "triage" in files.problems
    (tmp_path / "elsewhere").rename(tmp_path / "families")
    files.load()
    assert not files.problems


def test_a_profiles_values_lie_over_the_files(tmp_path):
    write(tmp_path, GOOD + "rollout: {max_days: 3, gates: {n: 50}}\n")
    files = loaded(tmp_path, overrides={"rollout": {"min_labelled_per_stage": 40, "gates": {"confidence": 0.9}}})
    rollout = files.families["triage"].rollout
    assert (rollout.min_labelled_per_stage, rollout.max_days) == (40, 3)
    assert (rollout.gates.n, rollout.gates.confidence) == (50, 0.9)


BY_SIZE = (
    GOOD.replace('current: "1"', "by_size: {small: 1, medium: 1, large: 2}")
    + """\
    "2": {content: [{role: system, content: "Think."}, {role: user, content: "Ticket: {{ticket}}"}]}
"""
)


@pytest.mark.parametrize(
    ("sizes", "current"),
    [
        pytest.param({"embedded": "small"}, "1", id="the base for its size"),
        pytest.param({"embedded": "large"}, "2", id="another size, another base"),
        pytest.param({}, "1", id="medium where nothing is said of the model"),
    ],
)
def test_the_size_of_the_default_model_picks_the_base_prompt(sizes, current):
    family = parse_family_text(BY_SIZE, file="f", sizes=sizes)
    assert family.prompt.current == current
    assert [base.id for base in family.bases()] == [family.variant("1").id, family.variant("2").id]


def test_a_version_that_the_file_names_stands_above_the_bases():
    text = BY_SIZE.replace("  by_size:", '  current: "2"\n  by_size:')
    assert parse_family_text(text, file="f", sizes={"embedded": "small"}).prompt.current == "2"


def test_a_base_that_is_no_version_and_a_size_without_a_base_are_told():
    for text in (BY_SIZE.replace("large: 2", "large: 7"), BY_SIZE.replace(", large: 2", "")):
        assert places(refused(text)) == [(5, "/prompt/by_size/large")]


def test_a_missing_families_folder_holds_no_families(tmp_path):
    files = loaded(tmp_path / "none")
    assert not files.families
    assert not files.changed()


def test_families_of_several_folders_are_one_set_and_a_name_that_stands_twice_is_told(tmp_path):
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", GOOD.replace("name: triage", "name: other"), "other")
    files = FamilyFiles(tmp_path / "a", more=[tmp_path / "b"])
    files.load()
    assert sorted(files.families) == ["other", "triage"]
    second = write(tmp_path / "b", GOOD)
    assert files.changed()
    files.load()
    assert "is declared in" in files.problems["triage"].detail
    assert "triage" in files.families, "its last good version goes on"
    shutil.rmtree(second.parent)
    files.load()
    assert not files.problems


def test_where_names_the_folder_whose_file_is_named_first_where_a_name_stands_twice(tmp_path):
    home, one, two = (tmp_path / name for name in "hab")
    folders = Folders(home=home, others=(one, two), retired=tmp_path / "retired")
    assert folders.where("triage") == home / "triage", "there is no file yet"
    for place in (two, one, home):  # each comes before the one that was written last
        (place / "triage").mkdir(parents=True)
        before = folders.where("triage")
        file = write(place, GOOD)
        assert folders.where("triage") == file.parent != before
        problem = loaded(home, more=[one, two]).problems.get("triage")
        assert problem is None or problem.faults[0].file == str(file)


def test_the_families_of_this_repository_are_good():
    root = Path(__file__).parents[3]
    files = FamilyFiles(root / "families", more=[root / "demo" / "families"])
    files.load()
    assert not files.problems
    assert files.families["summarization"].variant().variables == ("document",)
    assert files.families["docstring_type"].inputs["parameter"].max_chars == 300


def test_a_prompt_with_a_colon_and_a_space_is_told_to_stand_in_quotes():
    told = refused(GOOD + "description: the team: billing or support\n").detail
    assert "a text that holds a colon and a space wants quotes" in told
