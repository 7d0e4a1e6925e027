"""Reviews in one go: a screen for each, one key, and the last answer can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from optimizer.cli.review.screens import Summary, ask_each, choices_of
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.feedback.reported import typed_value
from tests.worlds.rated_world import judged_family
from tests.worlds.study_world import topic_family

LABELS = topic_family()
TEXTS = judged_family()


def review(id: str, kind: str = "rate_answer", family: str = "topics", **texts: Any) -> dict[str, Any]:
    shown = {"why": "", **dict.fromkeys(("input", "output", "expected")), **texts}
    return {"id": id, "kind": kind, "family": family, **shown}


def keys(pressed: Iterable[str]) -> Callable[[], str]:
    """Each once; then the terminal is gone."""
    left = iter(pressed)

    def read() -> str:
        for key in left:
            if key == "^C":
                raise KeyboardInterrupt
            return key
        raise EOFError

    return read


def answered(
    rows: list[dict[str, Any]], pressed: Iterable[str], refused: str = ""
) -> tuple[Summary, list[tuple[str, Any]]]:
    sent: list[tuple[str, Any]] = []

    def send(review: str, answer: str, *, expected: Any, as_answered: bool) -> dict[str, Any]:
        if review == refused:
            raise Conflict("It was answered differently before.")
        sent.append((review, expected or ("as answered" if as_answered else answer)))
        return {}

    ended = ask_each(rows, {"topics": LABELS, TEXTS.name: TEXTS}, send=send, read_key=keys(pressed))
    return ended, sent


THREE = [review("a"), review("b"), review("c")]


@pytest.mark.parametrize(
    ("pressed", "sent"),
    [
        pytest.param("135.", [("a", "0"), ("b", "0.5"), ("c", "1")], id="one key each"),
        pytest.param("1s5.", [("a", "0"), ("c", "1")], id="a skip stays open"),
        pytest.param("1z2u4.", [("a", "0.25"), ("b", "unrated"), ("c", "0.75")], id="the last answer is taken back"),
        pytest.param("1sz25.", [("a", "0"), ("b", "0.25"), ("c", "1")], id="a skip is taken back"),
        pytest.param("1ssz5.", [("a", "0"), ("c", "1")], id="one of two skips is taken back"),
        pytest.param("12z3z42.", [("a", "0"), ("b", "0.75"), ("c", "0.25")], id="the same answer twice"),
        pytest.param("123z4.", [("a", "0"), ("b", "0.25"), ("c", "0.75")], id="at the end, too"),
        pytest.param("1q", [("a", "0")], id="stop sends what was answered"),
        pytest.param(["1", "^C"], [("a", "0")], id="Ctrl-C sends what was answered"),
        pytest.param(["2"], [("a", "0.25")], id="and so does a terminal that went away"),
        pytest.param("z9x1q", [("a", "0")], id="other keys stand for nothing"),
        pytest.param("sss", [], id="nothing but skips"),
    ],
)
def test_an_answer_is_sent_once_the_next_is_given(pressed, sent):
    assert answered(THREE, pressed)[1] == sent


def test_what_is_refused_stays_open_is_told_and_the_others_go_on(capsys):
    ended, sent = answered(THREE, "111.", refused="a")
    assert (sent, ended.n_refused) == ([("b", "0"), ("c", "0")], 1)
    assert [one["id"] for one in ended.answered] == ["b", "c"]
    assert "a stays open: It was answered differently before." in capsys.readouterr().err


def test_an_answer_in_doubt_of_a_family_of_labels_has_a_key_for_each_label():
    rows = [review(id, "label_interaction") for id in "abc"]
    assert answered(rows, "a2k.")[1] == [("a", "as answered"), ("b", "physics"), ("c", "keep_back")]


def test_an_answer_in_doubt_of_a_family_of_texts_has_a_key_to_type_what_is_right(monkeypatch):
    assert set(choices_of("label_interaction", TEXTS)) == {"a", "e", "k"}
    monkeypatch.setattr("optimizer.cli.review.screens.typer.prompt", lambda *words, **more: "A short text.")
    assert answered([review("a", "label_interaction", TEXTS.name)], "e.")[1] == [("a", "A short text.")]


def test_a_text_from_production_is_released_or_kept_back():
    rows = [review(id, "release_example") for id in "ab"]
    assert answered(rows, "rk.")[1] == [("a", "release"), ("b", "keep_back")]


def test_a_screen_shows_the_texts_and_every_key(capsys):
    shown = review("a", input={"document": "It rained."}, output="Rain", why="drawn at random", expected=None)
    answered([shown], "q")
    said = capsys.readouterr().err
    for text in ("1 of 1", "It rained.", "Rain", "drawn at random", "[1] useless", "[s] skip", "[z] undo", "[q] stop"):
        assert text in said
    assert "Expected" not in said


def test_what_a_person_types_is_json_where_the_output_is() -> None:
    assert (typed_value("label", "[1]"), typed_value("list", "[1]")) == ("[1]", [1])
    with pytest.raises(InvalidInput, match=r"What was expected is no JSON .* read as json"):
        typed_value("json", "{")
