"""Which examples a request is shown where a policy shows the nearest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.dataset.near_duplicates import are_near_duplicates, shingles_of
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.family.rendering import input_text, render
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.models.budget import TOKENS_PER_MESSAGE
from optimizer.core.policy.nearest import NearestExamples, ShownExamples, nearest_of, with_nearest
from optimizer.core.policy.policy import messages_of_fewer, parse_policy
from optimizer.core.predictor.example_index import MOST_EXAMPLES, ExampleIndex, IndexedExample
from optimizer.core.search.answer_bounds import longest_of

AT = datetime(2026, 11, 26, tzinfo=UTC)
MESSAGES = ({"role": "system", "content": "Name it."}, {"role": "user", "content": "Text: {{text}}"})
FIXED = FewShot(id="fixed", input={"text": "whatever"}, output="other")
VARIANT = Variant(messages=MESSAGES, examples=(FIXED,), policy={"examples": {"nearest": 2}, "examples.index": "xi_1"})


def index_of(*texts: str | Mapping[str, str]) -> ExampleIndex:
    inputs = [{"text": text} if isinstance(text, str) else dict(text) for text in texts]
    shots = [FewShot(id=f"ex{at:05}", input=input, output=f"answer {at}") for at, input in enumerate(inputs)]
    return ExampleIndex(examples=tuple(IndexedExample(group=f"g{at}", shot=shot) for at, shot in enumerate(shots)))


def asking(text: str, **given: Any) -> Example:
    return make_example(
        family="f", input={"text": text}, expected={"label": "x"}, created_at=AT, origin="import", **given
    )


def shown_for(index: ExampleIndex, text: str, variant: Variant = VARIANT, **given: Any) -> ShownExamples:
    nearest = nearest_of(variant.policy)
    return with_nearest(variant, nearest, index.ranked({"text": text}, scope=nearest.scope, **given))


def ids(shown: ShownExamples) -> list[str]:
    return [example.id for example in shown.variant.examples]


def test_the_examples_most_like_the_request_are_shown_and_the_nearest_one_last() -> None:
    index = index_of("pay my bill", "play some music", "pay the phone bill today", "book a table")
    shown = shown_for(index, "how do I pay the phone bill")
    assert ids(shown) == ["ex00000", "ex00002"]
    assert shown.kind == "nearest"
    last = render(shown.variant, {"text": "how do I pay the phone bill"})[-3:]
    texts = [message["content"] for message in last]
    assert texts == ["Text: pay the phone bill today", "answer 2", "Text: how do I pay the phone bill"]


def test_of_examples_equally_near_the_one_with_the_first_id_is_the_nearest() -> None:
    index = index_of("red apple", "red apple", "red apple", "green pear")
    assert [shot.id for shot in index.ranked({"text": "red apple"})] == ["ex00000", "ex00001", "ex00002"]
    turned = ExampleIndex(examples=index.examples[::-1])
    assert turned.hash == index.hash
    assert [shot.id for shot in turned.ranked({"text": "red apple"})] == ["ex00000", "ex00001", "ex00002"]


def test_where_nothing_is_like_the_request_the_fixed_examples_are_shown() -> None:
    shown = shown_for(index_of("pay my bill"), "wholly unknown")
    assert shown.variant is VARIANT
    assert shown.kind == "fixed"
    assert not shown.is_missing


def test_what_is_farther_goes_first_where_the_tokens_do_not_suffice() -> None:
    index = index_of("bill " * 30 + "long", "bill short")
    assert ids(shown_for(index, "bill short long")) == ["ex00000", "ex00001"]
    limited = Variant(messages=MESSAGES, policy={**VARIANT.policy, "examples.max_tokens": 10})
    assert ids(shown_for(index, "bill short long", limited)) == ["ex00001"]


def test_an_example_that_the_prompt_cannot_show_is_passed_over() -> None:
    index = index_of({"note": "pay my bill"}, {"text": "pay"}, {"text": "pay {{text"})
    asked = Variant(messages=({"role": "user", "content": "{{text}}}}"},), policy=VARIANT.policy)
    assert ids(shown_for(index, "pay my bill", asked)) == ["ex00001"]


def test_in_a_scope_only_examples_with_the_request_s_own_value_are_found() -> None:
    index = index_of({"text": "pay my bill", "customer": "a"}, {"text": "pay my bill", "customer": "b"})
    found = index.ranked({"text": "pay my bill", "customer": "b"}, scope="customer")
    assert [shot.id for shot in found] == ["ex00001"]
    assert list(index.ranked({"text": "pay my bill"}, scope="customer")) == []


TEXTS = st.lists(st.sampled_from(["pay", "my", "bill", "now", "play", "some", "music"]), min_size=1, max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=12), st.integers(0, 11), TEXTS)
def test_an_example_that_asks_is_never_shown_itself_its_group_or_a_near_duplicate(texts, own, other):
    index = index_of(*(" ".join(text) for text in texts))
    own %= len(texts)
    asks = asking(" ".join(texts[own]), id=f"ex{own:05}", group=f"g{(own + 1) % len(texts)}")
    for example in (asks, asking(" ".join(other))):
        for shot in index.ranked(example.input, apart=example):
            group = next(e.group for e in index.examples if e.shot.id == shot.id)
            assert shot.id != example.id
            assert group != example.group
            assert not are_near_duplicates(shingles_of(shot.input), shingles_of(example.input))


def test_a_short_text_in_another_spelling_is_the_same_request() -> None:
    index = index_of("Stop it", "stop  IT", "stop it now")
    asks = asking("stop it", group="g9")
    assert [shot.id for shot in index.ranked(asks.input, apart=asks)] == ["ex00002"]


@pytest.mark.parametrize(("value", "other"), [(1, True), ("Anna", "anna"), ("1", 1), ([0], [False])])
def test_in_a_scope_no_value_is_another_ones_equal(value: Any, other: Any) -> None:
    index = index_of({"text": "pay my bill", "customer": value}, {"text": "pay my bill", "customer": other})
    asked = [index.ranked({"text": "bill", "customer": one}, scope="customer") for one in (value, other)]
    assert [[shot.id for shot in found] for found in asked] == [["ex00000"], ["ex00001"]]
    assert not list(index.ranked({"text": "bill"}, scope="customer"))


@given(st.lists(TEXTS, min_size=2, max_size=20), TEXTS)
def test_the_order_is_that_of_bm25s(texts: Sequence[Sequence[str]], query: Sequence[str]) -> None:
    import bm25s

    index = index_of(*(" ".join(text) for text in texts))
    theirs = bm25s.BM25()
    theirs.index([words(input_text(e.shot.input)) for e in index.examples], show_progress=False)
    scores = {e.shot.id: float(s) for e, s in zip(index.examples, theirs.get_scores(list(query)), strict=True)}
    ranked = [shot.id for shot in index.ranked({"text": " ".join(query)})]
    assert set(ranked) == {id for id, score in scores.items() if score > 0}
    assert all(scores[one] >= scores[two] - 1e-5 for one, two in pairwise(ranked))


def test_an_index_has_the_hash_of_its_examples_and_comes_back_from_its_data() -> None:
    index = index_of("pay my bill", "play some music")
    assert ExampleIndex.from_data(index.to_data()).hash == index.hash
    assert index.hash.startswith("xi_")
    assert index_of("pay my bill", "play a song").hash != index.hash
    many = ExampleIndex.of(index.examples[0] for _ in range(MOST_EXAMPLES + 1))
    assert len(many.examples) == MOST_EXAMPLES


def test_models_named_beside_nearest_are_shown_the_nearest_of_them() -> None:
    policy = parse_policy({"examples": {"nearest": 3, "small": 1}, "examples.index": "xi_1"})
    assert policy.nearest == NearestExamples(k=3, index="xi_1")
    index = index_of("pay my bill", "pay bill", "pay")
    shown = with_nearest(VARIANT, policy.nearest, index.ranked({"text": "pay my bill"}))
    fewer = messages_of_fewer(policy.examples, shown, lambda variant: render(variant, {"text": "x"}))
    assert [m["content"] for m in fewer["small"][1:3]] == ["Text: pay my bill", "answer 0"]
    fixed = ShownExamples(variant=VARIANT)
    assert messages_of_fewer({"small": 1}, fixed, lambda variant: render(variant, {"text": "x"})) == {}


def test_nearest_examples_alone_leave_a_request_one_call() -> None:
    assert parse_policy(VARIANT.policy).is_plain


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"examples": {"nearest": 0}, "examples.index": "xi_1"}, "1 to 32 are shown"),
        ({"examples": {"nearest": True}, "examples.index": "xi_1"}, "1 to 32 are shown"),
        ({"examples": {"nearest": 2}}, "need examples.index"),
        ({"examples.index": "xi_1"}, "leave it out"),
        ({"examples.scope": "customer"}, "leave it out"),
        ({"examples": {"nearest": 2}, "examples.index": "xi_1", "examples.max_tokens": 0}, "at least|lies from"),
    ],
)
def test_a_policy_that_says_too_little_of_them_is_refused(policy: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_policy(policy)


@given(st.integers(1, 6), st.integers(1, 200), st.lists(TEXTS, min_size=1, max_size=8))
def test_no_request_is_longer_than_the_bound_by_which_money_is_reserved(k, max_tokens, texts):
    policy = {"examples": {"nearest": k}, "examples.index": "xi_1", "examples.max_tokens": max_tokens}
    variant = Variant(messages=MESSAGES, examples=(FIXED,), model={"name": "m", "max_tokens": 8}, policy=policy)
    index = index_of(*(" ".join(text) for text in texts))
    longest = {"text": max((" ".join(text) for text in texts), key=len)}
    for text in texts:
        input = {"text": " ".join(text)}
        messages = render(shown_for(index, input["text"], variant).variant, input)
        n_bytes = sum(len(str(m["content"]).encode()) + TOKENS_PER_MESSAGE for m in messages)
        assert n_bytes <= longest_of(variant, longest)


def test_a_request_of_many_words_is_looked_up_by_its_rarest() -> None:
    index = index_of(*("the and of to in" for _ in range(50)), "quaestor")
    text = " ".join(["the and of to in"] * 20 + [f"w{i}" for i in range(200)] + ["quaestor"])
    assert next(islice(index.ranked({"text": text}), 1)).id == "ex00050"


def test_a_search_for_fixed_examples_starts_without_the_nearest_ones() -> None:
    policy = {"accept": 0.5, "examples": {"nearest": 2, "small": 1}, "examples.index": "xi_1", "examples.scope": "text"}
    variant = Variant(messages=MESSAGES, policy=policy)
    without = {"accept": 0.5, "examples": {"small": 1}}
    assert variant.showing([FIXED]) == Variant(messages=MESSAGES, examples=(FIXED,), policy=without)
    assert VARIANT.showing(()).policy == {}
