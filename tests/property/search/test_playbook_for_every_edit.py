"""Whatever is done to a playbook: no entry is lost, none says something else, and its limits are kept."""

from __future__ import annotations

from hypothesis import given, strategies as st

from optimizer.core.search.playbook.entries import (
    KINDS,
    Add,
    Count,
    Edit,
    Entries,
    Merge,
    Restore,
    Retire,
    Support,
    active,
    apply_edits,
    id_of,
    section,
    section_texts,
)
from optimizer.core.search.playbook.reflection import CurationProposal, Lesson, Limits, curate

WORDS = ("answer", "with", "one", "word", "read", "dates", "names", "exactly", "never", "guess")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
ids = texts.map(id_of)
evidence = st.lists(st.sampled_from(["e1", "e2", "e3"]), max_size=3).map(tuple)
counts = st.integers(0, 5)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(Add, kind=st.sampled_from(KINDS), text=texts, evidence=evidence),
    st.builds(Support, id=ids, evidence=evidence),
    st.builds(Count, id=ids, helpful=counts, harmful=counts),
    st.builds(Merge, id=ids, into=ids, reason=st.just("alike")),
    st.builds(Retire, id=ids, reason=st.just("of no use")),
    st.builds(Restore, id=ids),
)
lessons = st.builds(Lesson, kind=st.sampled_from(KINDS), text=texts, evidence=evidence)


@st.composite
def playbooks(draw: st.DrawFn) -> Entries:
    """Texts that occur often, so that most edits meet an entry."""
    added = [Add(kind="lesson", text=text) for text in draw(st.lists(texts, max_size=8))]
    return apply_edits({}, [*added, *draw(st.lists(edits, max_size=8))])


def assert_kept(before: Entries, after: Entries) -> None:
    assert list(after)[: len(before)] == list(before)
    for id, entry in before.items():
        now = after[id]
        assert (now.kind, now.text, now.position, now.study) == (entry.kind, entry.text, entry.position, entry.study)
        assert set(entry.evidence) <= set(now.evidence)
    positions = [entry.position for entry in after.values()]
    assert positions == list(range(1, len(after) + 1))
    for entry in after.values():
        assert (entry.state == "active") == (entry.reason == "" and entry.merged_into is None)
        assert (entry.merged_into is not None) == (entry.state == "merged")
        assert entry.merged_into is None or entry.merged_into in after


@given(playbooks(), st.lists(edits, max_size=20))
def test_no_entry_is_lost_or_rewritten(before: Entries, done: list[Edit]) -> None:
    assert_kept(before, apply_edits(before, done))


@given(playbooks(), st.lists(edits, max_size=8))
def test_edits_one_by_one_are_edits_together(before: Entries, done: list[Edit]) -> None:
    now = before
    for edit in done:
        now = apply_edits(now, [edit])
    assert now == apply_edits(before, done)


@given(
    playbooks(),
    st.lists(lessons, max_size=3),
    st.lists(st.tuples(st.lists(ids, max_size=3).map(tuple), texts), max_size=2),
    st.dictionaries(ids, st.just("")),
    st.integers(0, 6),
    st.integers(0, 200),
)
def test_the_curator_keeps_the_limits_and_every_entry(before, new, merges, retired, n_entries, n_chars):
    limits = Limits(n_entries=n_entries, n_chars=n_chars)
    proposed = CurationProposal(merges=merges, retirements=retired)
    done = curate(before, new, proposed, limits)
    after = apply_edits(before, done)
    assert_kept(before, after)
    assert limits.holds(after)
    assert done == curate(before, new, proposed, limits)


@given(playbooks())
def test_a_section_shows_the_active_entries_and_nothing_else(entries: Entries) -> None:
    shown = section_texts("Name the topic.\n\n" + section(entries.values()))
    assert sorted(shown) == sorted(entry.text for entry in active(entries))
