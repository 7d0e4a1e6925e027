"""Sets of few-shot examples: what each way of making one promises, the steps between sets,
and what examples are found to add.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example, make_example, similarities, vectors
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.rendering import few_shot
from optimizer.core.family.variant import FewShot
from optimizer.core.search.examples.sets import (
    Pool,
    alternating,
    central,
    covering,
    made_sets,
    make_pool,
    near_last,
    neighbours,
    per_label,
    typical,
    usable,
)
from optimizer.core.search.proposers.examples import ExampleEffects, SetScore

ANIMALS = ("the cat sleeps", "the cat eats", "a cat and a dog", "my dog barks")
MONEY = ("the bank lends money", "money in the bank", "a bank account")
ODD = ("quartz vibrates",)
TEXTS = (*ANIMALS, *MONEY, *ODD)
LABELS = ("animals",) * 4 + ("money",) * 3 + ("odd",)


def shots(texts=TEXTS, labels=LABELS) -> list[FewShot]:
    pairs = enumerate(zip(texts, labels, strict=True))
    return [FewShot(id=f"e{i}", input={"text": t}, output=label) for i, (t, label) in pairs]


def scored(*sets: tuple[tuple[int, ...], float]) -> list[SetScore]:
    return [SetScore(chosen=chosen, score=score) for chosen, score in sets]


def pool(requests=("the cat sleeps well",), scores=(None,), *, has_labels=True) -> Pool:
    return make_pool(shots(), requests, scores, labels=LABELS if has_labels else None)


def test_likeness_is_one_for_the_same_words_and_none_without_a_common_one():
    (row,) = similarities(vectors(["the cat", "the cat", "42", ""])[:1], vectors(["the cat", "the cat", "42", ""]))
    assert row == pytest.approx([1.0, 1.0, 0.0, 0.0])


def test_forms_of_a_word_are_alike_and_rare_words_count_more_than_frequent_ones():
    found = vectors(["a refund", "they refunded", "a parcel", "a house"])
    refund, parcel = similarities(found[:1], found)[0][1:3]
    assert refund > 2 * parcel > 0


def test_typical_ones_speak_for_every_group_before_any_speaks_twice():
    here = pool()
    two = typical(here, 2, range(len(TEXTS)))
    assert {LABELS[i] for i in two} == {"animals", "money"}
    assert typical(here, 2, [0, 1]) in [(0, 1), (1, 0)]


def test_central_ones_are_those_with_most_in_common_whoever_they_are():
    assert {LABELS[i] for i in central(pool(), 2)} == {"money"}
    assert LABELS[central(pool(), len(TEXTS))[-1]] == "odd"


def test_covering_takes_in_the_odd_one_at_once():
    assert {LABELS[i] for i in covering(pool(), 3)} == set(LABELS)
    assert "odd" not in {LABELS[i] for i in typical(pool(), 3, range(len(TEXTS)))}


def test_one_for_each_label_the_most_frequent_first_and_then_again():
    assert [LABELS[i] for i in per_label(pool(), 5)] == ["animals", "money", "odd", "animals", "money"]
    assert [LABELS[i] for i in per_label(pool(), 2)] == ["animals", "money"]


def test_what_is_like_the_requests_that_went_wrong_is_hard():
    here = pool(("a loan from the bank", "the cat sleeps"), (0.0, 1.0))
    assert min(here.hardness[4:7]) > max(here.hardness[:2])
    assert here.hardness[7] == pytest.approx(0.5)  # like none of them: the mean


@pytest.mark.parametrize("scores", [(None, None), (1.0, 1.0), (0.0, 0.0)])
def test_without_a_difference_between_requests_nothing_is_hard(scores):
    here = pool(("a bank", "a cat"), scores)
    assert here.hardness is None
    assert not {"hard", "easy", "mixed"} & {made.name for made in made_sets(here, 2, seed=1)}


def test_the_hard_set_is_near_the_faults_and_the_easy_one_is_not():
    here = pool(("a loan from the bank", "the cat sleeps"), (0.0, 1.0))
    made = {m.name: m.chosen for m in made_sets(here, 2, seed=1)}
    assert {LABELS[i] for i in made["hard"]} <= {"money"}
    assert "money" not in {LABELS[i] for i in made["easy"]}


def test_those_near_the_requests_stand_last_and_labels_alternate():
    here = pool(("the cat sleeps",))
    assert near_last(here, [0, 7, 4])[-1] == 0
    assert [LABELS[i] for i in alternating(here, [0, 1, 4, 5])] == ["animals", "money", "animals", "money"]
    assert alternating(pool(has_labels=False), [1, 0, 1]) == (1, 0)


@given(n=st.integers(0, 20), k=st.integers(0, 6), seed=st.integers(0, 5), has_labels=st.booleans())
def test_made_sets_differ_repeat_nobody_and_are_the_same_again(n, k, seed, has_labels):
    draw = random.Random(n)
    texts = [" ".join(draw.choices(["red", "green", "blue", "one", "two", "three", "four"], k=3)) for _ in range(n)]
    labels = [draw.choice("abc") for _ in range(n)]

    def made():
        requests, of_labels = ["red one", "blue two"], labels if has_labels else None
        return made_sets(make_pool(shots(texts, labels), requests, [0.0, 1.0], labels=of_labels), k, seed=seed)

    found = made()
    assert found == made()
    assert len({m.chosen for m in found}) == len(found)
    assert bool(found) == (n > 0 and k > 0)
    for m in found:
        assert 1 <= len(m.chosen) <= min(n, k)
        assert len(set(m.chosen)) == len(m.chosen)
        assert all(0 <= i < n for i in m.chosen)


def test_neighbours_are_one_step_away_and_never_too_large():
    found = set(neighbours((0, 1), 4, 3))
    assert {(0,), (1,), (0, 2), (2, 1), (0, 1, 3), (3, 0, 1), (1, 0)} <= found
    assert (0, 1) not in found
    assert all(len(chosen) <= 3 and len(set(chosen)) == len(chosen) for chosen in found)
    assert all(len(set(chosen) ^ {0, 1}) <= 2 for chosen in found)
    assert max(map(len, neighbours((0, 1), 4, 2))) == 2
    assert set(neighbours((), 2, 4)) == {(0,), (1,)}
    assert (4, 3, 2, 1, 0) in set(neighbours((0, 1, 2, 3, 4), 5, 5))


IDENTITY = [[float(i == j) for j in range(6)] for i in range(6)]


def test_an_example_that_stood_in_good_sets_is_expected_to_help_elsewhere():
    tried = scored(((), 0.3), ((0, 1), 0.7), ((0, 2), 0.7), ((1, 2), 0.3), ((3, 4), 0.3))
    effects = ExampleEffects(IDENTITY, tried, noise=0.02)

    def expected(*chosen: int) -> float:
        return effects.reach(chosen, spread=0.0)

    assert expected(0, 3) > expected(1, 3) > expected(3, 4) - 0.1
    assert expected(0, 1) == pytest.approx(0.7, abs=0.08)
    assert expected(0, 1) != expected(1, 0)  # the last one counts more


def test_what_is_like_a_good_example_is_expected_to_be_good():
    similarity = [row[:] for row in IDENTITY]
    similarity[0][5] = similarity[5][0] = 0.9
    effects = ExampleEffects(similarity, scored(((0,), 0.8), ((1,), 0.2)), noise=0.02)
    assert effects.reach((5,), spread=0.0) > effects.reach((4,), spread=0.0) + 0.05


def test_what_is_unknown_may_reach_more_than_what_was_tried_and_scored_the_same():
    effects = ExampleEffects(IDENTITY, scored(((0,), 0.5), ((1,), 0.5)), noise=0.01)
    assert effects.reach((2,)) > effects.reach((0,))


def test_the_posterior_is_the_textbooks():
    """Against the same Gaussian process written with numpy's solver (Rasmussen and Williams 2006, equations 2.25
    and 2.26).
    """
    import numpy as np

    from optimizer.core.search.proposers import examples as module

    draw = random.Random(3)
    features = np.array([[draw.random() for _ in range(4)] for _ in range(6)])
    similarity = (features @ features.T / 4).tolist()
    sets = [(0, 1), (2,), (3, 4, 1), (5, 0)]
    scores = np.array([0.2, 0.5, 0.4, 0.9])

    def weights(chosen):
        row = np.zeros(6)
        row[list(chosen)] = 1.0
        row[chosen[-1]] = module.LAST
        return row

    rows, new = np.array([weights(s) for s in sets]), weights((4, 2))
    covariance = np.array(similarity) + module.ALIKE
    unit = max(scores.std(), module.LEAST_SPREAD) ** 2 / max(1.0, np.diag(rows @ covariance @ rows.T).max())
    bare = module.LEAST_SPREAD**2
    k = unit * rows @ covariance @ rows.T + bare + 0.03**2 * np.eye(4)
    cross, own = unit * rows @ covariance @ new + bare, unit * new @ covariance @ new + bare
    mean = scores.mean() + cross @ np.linalg.solve(k, scores - scores.mean())
    spread = np.sqrt(own - cross @ np.linalg.solve(k, cross))
    effects = ExampleEffects(similarity, scored(*zip(sets, scores.tolist(), strict=True)), noise=0.03)
    assert effects.reach((4, 2), spread=0.0) == pytest.approx(mean)
    assert effects.reach((4, 2), spread=2.0) == pytest.approx(mean + 2 * spread)


def test_an_example_without_an_answer_to_show_is_usable_only_where_a_model_answers_it_first():
    def example(id: str, **expected: str) -> Example:
        given = {"family": "search", "created_at": datetime(2026, 11, 22, tzinfo=UTC), "origin": "curated"}
        return make_example(id=id, input={"x": id}, expected={"passage_id": "p-1", **expected}, **given)

    prompt = {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{x}}"}]}}}
    output = {"field": "passage_id", "shown": "query"}
    family = parse_family({"name": "search", "inputs": {"x": {}}, "output": output, "prompt": prompt})
    train = [example("told", query="deep well"), example("untold"), example("empty", query="")]
    assert [e.id for e in usable(train, family, family.variant())] == ["told"]
    assert usable(train, family, family.variant(), to_be_answered=True) == train
    assert few_shot(family, train[0]).output == "deep well"
    with pytest.raises(InvalidInput, match=r"'query', which output\.shown names"):
        few_shot(family, train[1])
