"""Scorers of texts, on cases computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.evaluation.metrics import answers, characters, readability, support
from optimizer.core.evaluation.metrics.words import squad_words, words
from tests.unit.evaluation.test_scoring import TEXT, family


def rouge(name: str, wanted: Any, found: str) -> float | None:
    return build_scorer(family(TEXT, {name: 1.0})).score({"summary": wanted}, found).value


class TestWords:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            pytest.param("Don't stop_me: 3.5%!", ["don", "t", "stop", "me", "3", "5"], id="as ROUGE"),
            pytest.param("Où est l’été ?", ["où", "est", "l", "été"], id="accents"),
            pytest.param("Straße", ["strasse"], id="case folded"),
            pytest.param("слово, дело", ["слово", "дело"], id="Cyrillic"),
            pytest.param("हिन्दी में", ["हिन्दी", "में"], id="marks belong to their letter"),
            pytest.param("東京 2020年", ["東", "京", "2020", "年"], id="characters of a script without spaces"),
            pytest.param("🙂 — !", [], id="no word"),
        ],
    )
    def test_are_kept_in_every_script(self, text, found):
        assert words(text) == found

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            pytest.param("The cat's an A-list star.", ["cats", "alist", "star"], id="as SQuAD"),
            pytest.param("«Été»", ["été"], id="other punctuation"),
            pytest.param("東京、日本", ["東", "京", "日", "本"], id="characters"),
        ],
    )
    def test_of_answers(self, text, found):
        assert squad_words(text) == found


class TestRouge:
    @pytest.mark.parametrize(
        ("name", "wanted", "found", "score"),
        [
            pytest.param("rouge_1", "слово и дело", "слово и тело", 2 / 3, id="Cyrillic words"),
            pytest.param("rouge_2", "слово и дело", "слово и тело", 1 / 2, id="Cyrillic pairs"),
            pytest.param("rouge_l", "日本語", "日語本", 2 / 3, id="Japanese characters"),
            pytest.param("rouge_1", "café noir", "caf noir", 1 / 2, id="an accent is no end of a word"),
            pytest.param("rouge_2", "Cancelled", "cancelled", 1.0, id="one word makes no pair and is itself"),
            pytest.param("rouge_2", "Cancelled", "cancelled it", 0.0, id="one word in two"),
            pytest.param("rouge_1", ["...", "runs"], "run", None, id="an expected text without a word"),
            pytest.param("rouge_1", [], "run", None, id="no expected text"),
        ],
    )
    def test_every_script_is_measured_and_what_has_no_words_refused(self, name, wanted, found, score):
        measured = rouge(name, wanted, found)
        assert measured == (score if score is None else pytest.approx(score))


class TestAnswers:
    @pytest.mark.parametrize(
        ("wanted", "found", "match", "f1", "precision", "recall"),
        [
            pytest.param("The Vikings", "vikings!", 1, 1, 1, 1, id="normalised"),
            pytest.param(["steroid hormone calcitriol", "calcitriol"], "Calcitriol", 1, 1, 1, 1, id="the best of two"),
            pytest.param("calcitriol", "the hormone calcitriol", 0, 2 / 3, 1 / 2, 1, id="too much"),
            pytest.param("steroid hormone calcitriol", "calcitriol", 0, 1 / 2, 1, 1 / 3, id="too little"),
            pytest.param("the", "a", 1, 1, 1, 1, id="no word on either side"),
            pytest.param("the", "cat", 0, 0, 0, 0, id="no word on one side"),
            pytest.param([], "", 1, 1, 1, 1, id="no answer"),
            pytest.param([], "Rollo", 0, 0, 0, 0, id="an answer where there is none"),
            pytest.param("東京都", "東京", 0, 4 / 5, 1, 2 / 3, id="characters"),
        ],
    )
    def test_after_squads_normalisation(self, wanted, found, match, f1, precision, recall):
        metrics = (
            answers.answer_match,
            answers.token_f1,
            answers.token_precision,
            answers.token_recall,
        )
        for metric, expected in zip(metrics, (match, f1, precision, recall), strict=True):
            assert metric(wanted, found) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("wanted", "found", "kept"),
        [
            pytest.param(["Rollo"], "It was Rollo, they say.", 1, id="stands there"),
            pytest.param(["king of France"], "the King of the France", 1, id="less articles"),
            pytest.param(["king of France"], "France had a king", 0, id="in another order"),
            pytest.param(["Rollo", "Hrolf"], "Hrolf", 1, id="either"),
            pytest.param(["Rollo"], "Rollos", 0, id="whole words"),
            pytest.param(["1919"], "Robinson (1919–1980)'s", 1, id="punctuation parts words"),
            pytest.param(["1500"], "1,500 works", 1, id="and joins them"),
        ],
    )
    def test_information_is_retained_where_an_answer_still_stands(self, wanted, found, kept):
        assert answers.information_retention(wanted, found) == kept

    def test_without_a_recorded_answer_retention_is_an_error(self):
        for wanted in ([], [""], "the"):
            with pytest.raises(ValueError, match="no recorded answer"):
                answers.information_retention(wanted, "a text")


class TestChrf:
    def test_by_hand(self):
        """'abc' beside 'abd': 2 of 3 characters, 1 of 2 pairs, 0 of 1 triple on either side; both means are 7/18."""
        assert characters.chrf("abc", "abd") == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)

    def test_recall_weighs_more_than_precision(self):
        """'ab' beside 'abcd': precision (1/2 + 1/3) / 2, recall 1, F2; the other way round they change places."""
        precision = 5 / 12
        assert characters.chrf("ab", "abcd") == pytest.approx(5 * precision / (4 * precision + 1))
        assert characters.chrf("abcd", "ab") == pytest.approx(5 * precision / (4 + precision))

    @pytest.mark.parametrize(("one", "other", "score"), [("", "", 1), ("", "a", 0), ("a", "", 0), ("a b", "ab", 1)])
    def test_edges(self, one, other, score):
        assert characters.chrf(one, other) == score

    def test_the_best_expected_text_counts_or_the_named_input(self):
        assert characters.semantic_preservation(["x", "same"], "same", {}) == 1
        assert characters.semantic_preservation("x", "same", {"question": "same"}, input="question") == 1
        for wanted, named in (([], None), ("x", "question")):
            with pytest.raises(ValueError, match=r"no expected text|no input"):
                characters.semantic_preservation(wanted, "same", {}, input=named)


class TestReadability:
    def test_the_index_by_hand(self):
        """Six words of 3, 3, 3, 2, 3 and 3 letters in one sentence."""
        assert readability.reading_grade("The cat sat on the mat.") == pytest.approx(4.71 * 17 / 6 + 0.5 * 6 - 21.43)

    def test_sentences_are_counted_and_points_inside_words_are_not(self):
        """3.50 ends no sentence; that it counts as two words of one and two digits is of no weight."""
        assert readability.reading_grade("He paid 3.50 for it") == pytest.approx(4.71 * 14 / 6 + 0.5 * 6 - 21.43)
        assert readability.reading_grade("He paid. It was much.") == pytest.approx(4.71 * 15 / 5 + 0.5 * 5 / 2 - 21.43)

    def test_between_easy_and_hard_the_score_is_a_line(self):
        text = "Considerable institutional arrangements determine " * 3
        grade = readability.reading_grade(text)
        assert readability.readability(None, text, easy_grade=grade - 3, hard_grade=grade + 1) == pytest.approx(1 / 4)
        assert readability.readability(None, "The cat sat.") == 1
        assert readability.readability(None, text) == 0

    @pytest.mark.parametrize("text", ["", "...", "日本語の文です。", "ภาษาไทย"])
    def test_a_text_whose_words_cannot_be_told_is_an_error(self, text):
        with pytest.raises(ValueError, match=r"no word|script"):
            readability.readability(None, text)

    def test_an_easy_grade_above_the_hard_one_is_an_error(self):
        with pytest.raises(ValueError, match="easy_grade"):
            readability.readability(None, "The cat sat.", easy_grade=9, hard_grade=9)


OPENED = "Ana Lima opened the Tagus Museum in Lisbon, with twenty-five rooms and 1,500 works."
SOURCE: dict[str, Any] = {"text": OPENED, "year": 1987}


class TestSupport:
    @pytest.mark.parametrize(
        ("said", "share"),
        [
            pytest.param("The museum was opened by Ana Lima.", 1, id="supported"),
            pytest.param("It was opened by Ana Costa in Porto and Lisbon.", 1 / 3, id="one of three"),
            pytest.param("Visitors came.", 1, id="the first word of a sentence is no evidence"),
            pytest.param("NASA came. UNESCO's list names Lisbon.", 1 / 3, id="but one with another capital is"),
            pytest.param("no name at all", 1, id="none"),
            pytest.param("By ALO, the ALOs and TTM but not AL.", 3 / 4, id="initials of three words or more"),
            pytest.param("Of Museums and the Work.", 1, id="singular and plural"),
            pytest.param("It is Alo.", 0, id="initials are capitals"),
            pytest.param("They saw The Tagus.", 1, id="less function words"),
            pytest.param([{"text": "Tagus Museum"}, {"text": "Museum Tagus"}, "Ana", {}], 2 / 4, id="word after word"),
            pytest.param({"entities": [{"text": "Porto"}]}, 0, id="an object"),
            pytest.param({"people": []}, 0, id="another form"),
        ],
    )
    def test_names(self, said, share):
        assert support.supported_entities(None, said, SOURCE) == pytest.approx(share)

    @pytest.mark.parametrize(
        ("said", "share"),
        [
            pytest.param("It has 25 rooms and 1500 works since 1987.", 1, id="supported"),
            pytest.param("It has 25.0 rooms and 1,600 works.", 1 / 2, id="one of two"),
            pytest.param("It has 20 rooms, or 5.", 1, id="the words by themselves"),
            pytest.param("It has many rooms and a T4.", 1, id="none"),
        ],
    )
    def test_numbers(self, said, share):
        assert support.supported_numbers(None, said, SOURCE) == pytest.approx(share)

    def test_only_named_sources_support(self):
        assert support.supported_numbers(None, "in 1987", SOURCE, sources=["text"]) == 0

    def test_what_cannot_be_told_is_an_error(self):
        with pytest.raises(ValueError, match="without capitals"):
            support.supported_entities(None, "東京の美術館", SOURCE)
        with pytest.raises(ValueError, match="no input"):
            support.supported_numbers(None, "1", SOURCE, sources=["page"])
        with pytest.raises(ValueError, match="no input"):
            support.supported_numbers(None, "1", {})
