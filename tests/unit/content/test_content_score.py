"""The knob ``score``: a learned score decides alike in render and replay,
and says nothing about content types it was not trained on.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from optimizer.content.core.declared import slot_faults
from optimizer.content.core.policy.files import read_files, write_optimal
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.replay import read_rows, ways
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.policy_text import shown_policy

LINE = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}
LENGTH = {"format": "detent-predictor-1", "answers": "score", "features": ["text.log_words"], "parts": [LINE]}
SCORE = {
    "kind": "learned",
    "types": {"news": {"predictor": LENGTH, "full_from": 1.5}, "story": {"predictor": LENGTH, "full_from": 3.0}},
}
ROUTES = {"route.talk": "full", "route.entertainment": "lightweight"}
POLICY = {"score": SCORE, "filter.min_words": 5, "filter.checks_needed": 4, **ROUTES}
SHORT, LONG = "two words", "four words are here"

ROWS: list[dict[str, Any]] = [
    {"content_type": "news", "text": LONG},
    {"content_type": "news", "text": SHORT},
    {"content_type": "story", "text": LONG},
    {"content_type": "news", "text": SHORT, "word_count": 900},
    {"content_type": "news", "word_count": 2},
    {"content_type": "news", "word_count": 900},
    {"content_type": "poem", "text": LONG, "word_count": 2},
    {"content_type": "poem", "text": LONG},
    {"content_type": "talk", "text": SHORT},
    {"content_type": "entertainment", "text": LONG},
    {"text": LONG, "word_count": 2},
]


def test_the_score_decides_about_the_types_it_knows_and_the_filter_about_the_others() -> None:
    decided = [parse_pipeline(POLICY).decide(row) for row in ROWS]
    assert [at for at, one in enumerate(decided) if one.processing_type == "full"] == [0, 5, 7, 8]
    assert decided[0].reason == "score 1.6094 >= 1.5000 of news"
    assert decided[1].reason == "score 1.0986 < 1.5000 of news"
    assert "no text to score" in decided[4].reason
    assert decided[6].reason.startswith("the score was not trained on poem, so the filter decides: ")
    assert [one.score is None for one in decided] == [False] * 4 + [True] * 7


@pytest.mark.parametrize("changes", [{}, {"filter.enabled": False}, {"route.news": "full"}, {"route.enabled": False}])
def test_replay_decides_as_render_does(changes: dict[str, Any]) -> None:
    pipeline = parse_pipeline({**POLICY, **changes})
    full = ways(read_rows(ROWS), pipeline).full
    assert full.tolist() == [pipeline.decide(row).processing_type == "full" for row in ROWS]


def test_every_fault_of_a_score_is_named_at_its_place() -> None:
    def faults(types: dict[str, Any], **policy: Any) -> set[str]:
        with pytest.raises(InvalidInput) as refused:
            parse_pipeline({"score": {"kind": "learned", "types": types}, **policy})
        return {fault.pointer for fault in refused.value.faults}

    odd = {**LENGTH, "format": "x"}
    several = {"news": {"predictor": odd, "full_from": "much"}, "story": {"predictor": {}}}
    assert faults(several, **{"filter.min_words": -1}) == {
        *("/score/types/news", "/score/types/story", "/filter.min_words")
    }
    assert faults({"news": {"predictor": odd, "full_from": 1}}) == {"/score/types/news/predictor/format"}


@pytest.mark.parametrize(
    "value", ["learned", {}, {"kind": "guessed"}, {"kind": "learned", "threshold": 1}, {"kind": "learned"}]
)
def test_what_is_no_score_is_refused_with_what_one_is(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"types"):
        parse_pipeline({"score": value})


def test_a_space_may_ask_for_a_score_that_is_to_be_learned_and_for_no_broken_one() -> None:
    assert list(slot_faults("policy.score", {"choices": [{"kind": "learned"}, SCORE]})) == []
    assert list(slot_faults("policy.score", {"choices": [{"kind": "guessed"}]}))


def test_a_score_survives_the_pipelines_own_files() -> None:
    written = json.dumps(write_optimal(POLICY, {}))
    assert read_files({"optimal_config.yaml": json.loads(written)}).policy == POLICY


def test_people_are_shown_hash_and_threshold_and_not_the_predictors_numbers() -> None:
    trained = {**LENGTH, "hash": "abc", "trained_on": {"rows": 12}}
    shown = shown_policy({"score": {"kind": "learned", "types": {"news": {"predictor": trained, "full_from": 1.5}}}})
    of_news = {"predictor": {"hash": "abc", "trained_on": {"rows": 12}}, "full_from": 1.5}
    assert shown["score"]["types"] == {"news": of_news}
