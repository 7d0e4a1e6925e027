"""Whatever mix of examples a predictor is trained on: it holds no word of one that nobody released."""

from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings, strategies as st

from optimizer.adapters.predictors.learning import learn_confidence
from optimizer.core.base.canonical import canonical_json
from optimizer.core.dataset.examples import Example
from optimizer.core.models.language import ModelAnswer
from optimizer.core.predictor.attach import read_answer
from optimizer.core.search.cascade.learned import training_row
from tests.examples import n_examples
from tests.worlds.study_world import START

SECRETS = ("zanzibar", "okapi", "quokka", "axolotl")
SHARED = ("invoice", "delivery", "refund", "because")


def answered(i: int, text: str, said: str, *, released: bool, right: bool) -> tuple[Example, dict[str, object]]:
    """The i-th training example, and what was measured of its answer."""
    of = {"family": "f", "expected": {"topic": "x"}, "split": "train", "origin": "interaction", "created_at": START}
    example = Example(id=f"e{i}", input={"message": text}, group=f"g{i}", released=released, **of)
    answer = ModelAnswer(text=said, input_tokens=1, output_tokens=1, cost_usd=0.0, latency_ms=1.0)
    read = read_answer(example.input, answer, other=None, issues={})
    return example, {"read": read, "score": float(right), "confidence": None}


@st.composite
def examples(draw: st.DrawFn) -> list[tuple[Example, dict[str, object]]]:
    """60 answers; a released example says shared words, one that nobody released says secret ones,
    often enough to be learned from.
    """
    rows = []
    for i in range(60):
        released = draw(st.booleans())
        words = draw(st.lists(st.sampled_from(SHARED if released else SECRETS), min_size=1, max_size=4))
        text = " ".join(words)
        right = i % 2 == 0 if i < 40 else draw(st.booleans())  # enough of both kinds to be trained on
        rows.append(answered(i, text, words[0], released=released, right=right))
    return rows


@settings(
    max_examples=n_examples(2), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(examples())
def test_no_unreleased_word_stands_in_a_predictor(rows: list[tuple[Example, dict[str, object]]]) -> None:
    answers = [training_row(*row) for row in rows]
    found = learn_confidence(answers, has_labels=True, trained_on={}, seed=0)
    held = canonical_json({"after": found.predictor, "before": found.before}).decode()
    assert not re.search("|".join(SECRETS), held)


def test_words_are_learned_at_all_where_they_are_released() -> None:
    """Else the test above could not fail."""
    rows = []
    for i in range(60):
        text = f"{SHARED[i % 4]} {SHARED[(i * 7) % 4]}"
        rows.append(answered(i, text, SHARED[i % 4], released=True, right="refund" in text))
    found = learn_confidence([training_row(*row) for row in rows], has_labels=True, trained_on={}, seed=0)
    assert "refund" in canonical_json(found.predictor).decode()
