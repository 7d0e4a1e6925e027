"""A playbook: what becomes of its entries, how it is rendered, and what its curator does without asking anybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.dataset.examples import make_example
from optimizer.core.family.settings import Output
from optimizer.core.family.variant import Variant
from optimizer.core.search.playbook.clusters import AnsweredExample, cluster_failures
from optimizer.core.search.playbook.entries import (
    Add,
    Count,
    Entries,
    Merge,
    Restore,
    Retire,
    Support,
    active,
    apply_edits,
    clean_text,
    id_of,
    section,
    with_section,
    without_section,
)
from optimizer.core.search.playbook.reflection import (
    MOST_LESSONS,
    CurationProposal,
    Lesson,
    Limits,
    curate,
    read_curation,
    read_lessons,
)
from tests.worlds.study_world import START

SHORT, LABEL, DATES = "Answer with one word.", "Use only the labels you were given.", "Read dates as day, month, year."
ONE_WORD = Lesson(kind="directive", text=SHORT, evidence=("e1", "e2"))


def book(*texts: str, **edits: tuple[int, int]) -> Entries:
    """Active lessons; by keyword ``helpful, harmful`` of the entry with that number."""
    counts = [Count(id=id_of(texts[int(n[1:])]), helpful=h, harmful=b) for n, (h, b) in edits.items()]
    return apply_edits({}, [*(Add(kind="lesson", text=text) for text in texts), *counts])


def states(entries: Entries) -> dict[str, str]:
    return {entry.text: entry.state for entry in entries.values()}


def test_an_entry_is_added_supported_counted_merged_retired_and_restored_and_never_lost() -> None:
    entries = apply_edits(
        {}, [Add(kind="directive", text=SHORT, evidence=("e1",))], study="st_1", at=START, by="study:st_1"
    )
    (entry,) = entries.values()
    assert (entry.position, entry.state, entry.study, entry.created_at, entry.changed_by) == (
        1,
        "active",
        "st_1",
        START,
        "study:st_1",
    )
    entries = apply_edits(entries, [Add(kind="lesson", text=SHORT.upper(), evidence=("e2", "e1"))])
    assert [(e.kind, e.text, e.evidence) for e in entries.values()] == [("directive", SHORT, ("e1", "e2"))]
    entries = apply_edits(entries, [Add(kind="lesson", text=LABEL), Support(id=id_of(LABEL), evidence=("e3",))])
    entries = apply_edits(
        entries, [Count(id=entry.id, helpful=3, harmful=1), Count(id=id_of(LABEL), helpful=1, harmful=0)]
    )
    entries = apply_edits(entries, [Merge(id=entry.id, into=id_of(LABEL), reason="alike")])
    merged, heir = entries.values()
    assert (merged.state, merged.merged_into, merged.reason) == ("merged", heir.id, "alike")
    assert (heir.helpful, heir.harmful, heir.evidence) == (4, 1, ("e3", "e1", "e2"))
    entries = apply_edits(entries, [Retire(id=heir.id, reason="of no use"), Restore(id=merged.id)])
    merged, heir = entries.values()
    assert (merged.state, merged.merged_into, merged.reason, merged.helpful) == ("active", None, "", 3)
    assert (heir.state, heir.reason, heir.helpful, heir.harmful) == ("retired", "of no use", 1, 0)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(Count(id="pb_none", helpful=1, harmful=0), id="counted, gone"),
        pytest.param(Retire(id="pb_none", reason="x"), id="retired, gone"),
        pytest.param(Retire(id=id_of(SHORT), reason="again"), id="retired twice"),
        pytest.param(Merge(id=id_of(SHORT), into=id_of(LABEL), reason="x"), id="merged, retired meanwhile"),
        pytest.param(Merge(id=id_of(LABEL), into=id_of(SHORT), reason="x"), id="merged into a retired one"),
        pytest.param(Merge(id=id_of(LABEL), into=id_of(LABEL), reason="x"), id="merged into itself"),
        pytest.param(Restore(id=id_of(LABEL)), id="restored, active"),
        pytest.param(Support(id=id_of(LABEL), evidence=()), id="supported by nothing"),
    ],
)
def test_an_edit_that_no_longer_fits_changes_nothing(edit) -> None:
    entries = apply_edits(book(SHORT, LABEL), [Retire(id=id_of(SHORT), reason="a person said so")])
    assert apply_edits(entries, [edit], at=START, by="study:st_1") == entries


def test_a_study_does_not_restore_what_a_person_retired() -> None:
    entries = apply_edits(book(SHORT), [Retire(id=id_of(SHORT), reason="no")], by="local:anna")
    assert states(apply_edits(entries, [Restore(id=id_of(SHORT))], by="study:st_1")) == {SHORT: "retired"}
    assert states(apply_edits(entries, [Restore(id=id_of(SHORT))], by="local:bob")) == {SHORT: "active"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(" \n ", "it is empty", id="empty"),
        pytest.param("x" * 301, "it has 301 characters, and an entry has at most 300", id="long"),
        pytest.param("Read {{document}}.", "it contains a {{variable}}", id="a variable"),
        pytest.param("half \ud800", "it holds half a surrogate pair", id="no text"),
    ],
)
def test_a_text_that_can_be_no_entry_says_why(text, why) -> None:
    with pytest.raises(ValueError, match="^" + why.replace("{", r"\{")):
        clean_text(text)


def test_an_entry_stands_on_one_line() -> None:
    assert clean_text("- Answer\n   with one word. ") == SHORT


# the section


def variant(instruction: str | None) -> Variant:
    system = [] if instruction is None else [{"role": "system", "content": instruction}]
    return Variant(messages=(*system, {"role": "user", "content": "{{document}}"}))


def told(made: Variant) -> str:
    return str(made.messages[0]["content"])


SECTION = f"## Playbook\nDirectives:\n- {SHORT}\nLessons:\n- {LABEL}\n- {DATES}"


def three() -> Entries:
    return apply_edits(book(LABEL, DATES), [Add(kind="directive", text=SHORT)])


def test_a_section_lists_active_entries_by_kind_and_then_by_position() -> None:
    assert section(three().values()) == SECTION
    assert section(reversed(list(three().values()))) == SECTION
    assert section(apply_edits(three(), [Retire(id=id_of(LABEL), reason="x")]).values()) == SECTION.replace(
        f"- {LABEL}\n", ""
    )
    assert section([]) == ""


def test_the_section_is_the_end_of_the_instruction_and_replaces_the_one_before() -> None:
    made = with_section(variant("Name the topic."), three().values())
    assert told(made) == f"Name the topic.\n\n{SECTION}"
    assert with_section(made, three().values()) == made
    retired = apply_edits(three(), [Retire(id=id, reason="x") for id in three()])
    assert with_section(made, retired.values()) == variant("Name the topic.")


def test_a_prompt_without_instruction_gets_the_section_in_front() -> None:
    assert told(with_section(variant(None), three().values())) == SECTION


def test_lines_that_a_person_wrote_into_the_section_stay() -> None:
    by_hand = f"Name the topic.\n\n{SECTION}\n- Be kind.\nSign with your name."
    assert without_section(by_hand, {SHORT, LABEL, DATES}) == "Name the topic.\n\n- Be kind.\nSign with your name."


# the curator


def kept(entries: Entries, lessons, proposed: CurationProposal | None = None, limits: Limits | None = None) -> Entries:
    return apply_edits(entries, curate(entries, lessons, proposed or CurationProposal(), limits or Limits()))


@pytest.mark.parametrize("said", [SHORT, "answer  with ONE word.", "Answer with one word!"])
def test_a_lesson_that_is_there_already_supports_it(said) -> None:
    entries = kept(book(SHORT, DATES), [replace(ONE_WORD, text=said)])
    assert [entry.evidence for entry in entries.values()] == [("e1", "e2"), ()]


def test_a_lesson_that_was_merged_supports_the_entry_that_says_it_now() -> None:
    entries = apply_edits(book(SHORT, DATES), [Merge(id=id_of(SHORT), into=id_of(DATES), reason="x")])
    entries = kept(entries, [ONE_WORD])
    assert entries[id_of(DATES)].evidence == ("e1", "e2")
    assert states(entries) == {SHORT: "merged", DATES: "active"}


@pytest.mark.parametrize("said", [SHORT, "Answer with one word!"])
def test_a_lesson_that_was_tried_and_retired_is_not_taken_up_again(said) -> None:
    entries = apply_edits(book(SHORT, DATES), [Retire(id=id_of(SHORT), reason="no better")])
    assert curate(entries, [replace(ONE_WORD, text=said)], CurationProposal(), Limits()) == []


def test_the_model_may_merge_entries_and_retire_those_that_did_not_help() -> None:
    entries = book(SHORT, LABEL, DATES, _0=(2, 0), _2=(1, 3))
    both = "Answer with one of the given labels alone."
    proposed = CurationProposal(
        merges=[((id_of(SHORT), id_of(LABEL), "pb_made_up"), both)], retirements={id_of(DATES): "it confuses"}
    )
    entries = kept(entries, [], proposed)
    assert states(entries) == {SHORT: "merged", LABEL: "merged", DATES: "retired", both: "active"}
    assert (entries[id_of(both)].helpful, entries[id_of(DATES)].reason) == (2, "it confuses")


def test_the_model_may_not_retire_what_has_helped_nor_merge_what_is_not_there() -> None:
    entries = book(SHORT, LABEL, _0=(2, 1))
    proposed = CurationProposal(
        merges=[((id_of(SHORT), "pb_none"), "One text.")], retirements={id_of(SHORT): "", "pb_none": ""}
    )
    assert curate(entries, [], proposed, Limits()) == []


def test_over_the_limit_the_most_alike_are_merged_and_else_the_least_worth_is_retired_with_the_reason() -> None:
    nearly = "Use the labels you were given."
    entries = book(SHORT, LABEL, DATES, nearly, _0=(3, 0), _1=(1, 0), _2=(0, 2))
    now = kept(entries, [], limits=Limits(n_entries=3))
    assert states(now) == {SHORT: "active", LABEL: "active", DATES: "active", nearly: "merged"}
    assert now[id_of(nearly)].reason == (
        f"it is like {id_of(LABEL)}, and the playbook may have 3 entries and 2000 characters"
    )
    now = kept(entries, [], limits=Limits(n_entries=2))
    assert states(now)[DATES] == "retired"
    assert now[id_of(DATES)].reason == (
        "of all entries the least worth (0 helped, 2 harmed), and the playbook may have 2 entries and 2000 characters"
    )


def test_what_is_new_makes_room_last() -> None:
    now = kept(book(SHORT, DATES), [Lesson(kind="lesson", text=LABEL, evidence=())], limits=Limits(n_entries=2))
    assert states(now) == {SHORT: "retired", DATES: "active", LABEL: "active"}


def test_the_limit_of_characters_is_that_of_the_section() -> None:
    entries = three()
    for n_chars in range(len(SECTION) + 2):
        now = kept(entries, [], limits=Limits(n_chars=n_chars))
        assert len(section(now.values())) <= n_chars
        assert len(now) == 3
    assert len(active(now)) == 3


# the reflector


def answered(id: str, said: str, wanted: object, score: float | None = 0.0, text: str = "a text") -> AnsweredExample:
    example = make_example(
        family="f", id=id, input={"document": text}, expected={"out": wanted}, created_at=START, origin="curated"
    )
    return AnsweredExample(example=example, text=said, score=score)


def names(found) -> dict[str, list[str]]:
    return {cluster.name: [one.example.id for one in cluster.failures] for cluster in found}


LABELS = Output(field="out", parser="label", labels=["a", "b", "c"])


def test_failures_are_sorted_by_the_wrong_label_and_what_went_well_or_was_not_measured_is_left_out() -> None:
    found = cluster_failures(
        [
            answered("1", "b", "a"),
            answered("2", "b", "a"),
            answered("3", "a", "b"),
            answered("4", "I do not know", "a"),
            answered("5", "I do not know", "a"),
            answered("6", "nor do I", "c"),
            answered("7", "a", "a", 1.0),
            answered("8", "", "a", None),
        ],
        LABELS,
    )
    assert names(found) == {
        "answers that cannot be read": ["4", "5", "6"],
        "expected a, answered b": ["1", "2"],
        "expected b, answered a": ["3"],
    }
    assert [cluster.lost for cluster in found] == [3.0, 2.0, 1.0]


def test_objects_are_sorted_by_what_they_lack() -> None:
    output = Output(field="out", parser="json", schema={"type": "object"})
    wanted = {"people": ["Ada"], "places": ["Rome"]}
    found = cluster_failures(
        [
            answered("1", '{"people": ["Ada"]}', wanted, 0.5),
            answered("2", '{"people": [], "places": ["Rome"]}', wanted, 0.6),
            answered("3", '{"people": ["Bob"], "places": ["Rome"]}', wanted, 0.7),
        ],
        output,
    )
    assert names(found) == {
        "answers without places": ["1"],
        "answers with nothing in people": ["2"],
        "answers with another people": ["3"],
    }


def test_texts_are_sorted_by_the_likeness_of_their_inputs() -> None:
    output = Output(field="out", parser="text")
    rows = [("invoice", 3), ("refund", 2), ("weather", 2)]
    failures = [
        answered(f"{word}{n}", "x", "y", 0.5, text=f"a long {word} about {word} number {n}")
        for word, many in rows
        for n in range(many)
    ]
    found = cluster_failures(failures, output)
    assert sorted(names(found).values()) == [
        ["invoice0", "invoice1", "invoice2"],
        ["refund0", "refund1"],
        ["weather0", "weather1"],
    ]
    assert cluster_failures([], output) == []


def test_a_reflector_s_answer_gives_lessons_with_the_examples_they_come_from() -> None:
    clusters = cluster_failures([answered("1", "b", "a"), answered("2", "b", "a"), answered("3", "a", "b")], LABELS)
    lessons, faults = read_lessons(
        'Sure! ```json\n{"lessons": [{"kind": "Directive", "text": "Say a.", "clusters": [1]},'
        ' {"kind": "?", "text": "Think.\\nTwice.", "clusters": [7]}, {"text": ""},'
        ' {"kind": "lesson", "text": "Over."}]}\n```',
        clusters,
    )
    assert lessons == [
        Lesson(kind="directive", text="Say a.", evidence=("1", "2")),
        Lesson(kind="lesson", text="Think. Twice.", evidence=("1", "2", "3")),
    ]
    assert faults == ["it is empty"]
    assert MOST_LESSONS == 3


@pytest.mark.parametrize("text", ["", "no JSON", "{broken", '{"lessons": [}'])
def test_an_answer_that_holds_no_json_says_so(text) -> None:
    for read in (lambda: read_lessons(text, []), lambda: read_curation(text)):
        with pytest.raises(ValueError, match=r"^the answer (holds no JSON object|is no JSON: )"):
            read()


def test_of_a_curator_s_answer_only_what_can_be_read_is_taken() -> None:
    found = read_curation(
        '{"merge": [{"ids": ["pb_1", "pb_2"], "text": "Both."}, {"ids": "pb_1"}, 3, {"ids": ["pb_1"], "text": ""}],'
        ' "retire": [{"id": "pb_3", "why": "old\\nnews"}, "pb_4"]}'
    )
    assert found == CurationProposal(merges=((("pb_1", "pb_2"), "Both."),), retirements={"pb_3": "old news"})
    assert read_curation("{}") == CurationProposal(retirements={})
