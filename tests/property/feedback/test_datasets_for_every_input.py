from __future__ import annotations

import math
import unicodedata
from collections import Counter

from hypothesis import given, settings, strategies as st

from optimizer.core.dataset.examples import class_of, group_of, normalise, select, split_of
from tests.examples import n_examples
from tests.strategies import examples, json_values, texts

labelled_ids = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=6), st.none() | st.sampled_from("xyz"), max_size=40
).map(lambda found: list(found.items()))


@given(
    texts,
    st.sampled_from(
        [
            str.upper,
            str.title,
            lambda t: f"  {t}\t",
            lambda t: t.replace(" ", "\n "),
            lambda t: unicodedata.normalize("NFD", t),
        ]
    ),
)
def test_inputs_that_differ_in_form_only_stand_in_one_split(text, change):
    changed = change(text)
    if normalise(text) == normalise(
        changed
    ):  # upper case of some letters, such as ß, is another word by Unicode's own rules
        assert group_of({"document": text}, None) == group_of({"document": changed}, None)
    assert normalise(normalise(text)) == normalise(text)


@given(st.text("abc äöü éñ", max_size=30))
def test_case_and_white_space_never_make_a_second_group(text):
    for changed in (text.upper(), f" {text}  ", text.replace(" ", "  "), unicodedata.normalize("NFD", text)):
        assert group_of({"document": changed}, None) == group_of({"document": text}, None)


@given(st.lists(examples(), max_size=30))
def test_no_group_stands_in_two_splits(many):
    splits: dict[str, set[str]] = {}
    for example in many:
        splits.setdefault(example.group, set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values())


@given(json_values, st.none() | texts)
def test_group_and_split_are_the_same_at_every_call(value, group):
    assert split_of(group_of({"value": value}, group)) == split_of(group_of({"value": value}, group))


@settings(max_examples=n_examples(15))
@given(st.integers(0, 10_000))
def test_splits_are_60_20_20_within_binomial_error(start):
    n = 4000
    found = Counter(split_of(f"group {i}") for i in range(start * n, start * n + n))
    for split, share in (("train", 0.6), ("dev", 0.2), ("holdout", 0.2)):
        assert abs(found[split] - n * share) < 6 * math.sqrt(n * share * (1 - share))


@given(labelled_ids, st.integers(0, 50), st.booleans(), texts, st.randoms())
def test_a_selection_does_not_depend_on_the_order_given(ids, n, balance, seed_text, random):
    chosen = select(ids, n, balance=balance, seed_text=seed_text)
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert select(shuffled, n, balance=balance, seed_text=seed_text) == chosen
    assert len(chosen) == len(set(chosen)) == min(n, len(ids))


@given(labelled_ids, st.integers(0, 20), st.integers(0, 20), st.booleans(), texts)
def test_a_larger_selection_begins_with_the_smaller_one(ids, n, more, balance, seed_text):
    small = select(ids, n, balance=balance, seed_text=seed_text)
    assert select(ids, n + more, balance=balance, seed_text=seed_text)[: len(small)] == small


@given(labelled_ids, st.integers(0, 40), texts)
def test_balanced_classes_differ_by_one_at_most_unless_one_has_run_out(ids, n, seed_text):
    labels = dict(ids)
    sizes = Counter(labels.values())
    taken = Counter(labels[id] for id in select(ids, n, balance=True, seed_text=seed_text))
    most = max(taken.values(), default=0)
    for label, size in sizes.items():
        assert taken[label] >= min(size, most - 1)


@given(st.dictionaries(texts, json_values, max_size=4), texts.filter(bool))
def test_a_class_is_a_text_or_absent(expected, field):
    found = class_of(expected, field)
    assert (found is None) == (expected.get(field) is None)
    assert class_of(expected, None) is None
