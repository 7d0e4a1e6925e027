"""Records of a content pipeline that are made up, and policies around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.pipeline import ItemDecision, parse_pipeline
from optimizer.content.core.policy.route import CONTENT_TYPES, MODES
from optimizer.content.core.records.fields import CHECKPOINTS, FIELDS

GOOD: dict[str, Any] = {
    **{"content_type": "news", "duration_seconds": 900, "word_count": 1200, "sentence_count": 60},
    **{"length_score": 0.9, "structure_score": 0.8, "coherence_score": 0.8, "topic_clarity_score": 0.7},
    "language_score": 0.9,
}


def decide(policy: Mapping[str, Any], record: Mapping[str, Any]) -> ItemDecision:
    return parse_pipeline(policy).decide(record)


TYPES = [*CONTENT_TYPES, "podcast", "x-1"]
CONDITIONS = {
    "post_download": [
        "duration_seconds < 60",
        "duration > 5000 or content_type == 'news'",
        "not title_spam_score < 0.5",
    ],
    "post_transcription": [
        "word_count < 20",
        "language in ['en', 'de'] and word_count < 300",
        "repetition_ratio > 0.7",
    ],
    "post_quality_filtering": ["overall_quality < 0.3", "coherence_score != 0.5 and completeness_score < 0.2"],
    "post_analysis": ["analysis_confidence < 0.4", "sentiment_score < -0.5"],
}


def values_of_field(kind: str) -> st.SearchStrategy[Any]:
    if kind == "text":
        return st.sampled_from(["en", "fr", *TYPES])
    if kind == "number":
        return st.one_of(st.integers(0, 3000), st.floats(0, 6000))
    return st.floats(0 if kind == "share" else -1, 1)


def records() -> st.SearchStrategy[dict[str, Any]]:
    """Any field may be missing, or None."""
    return st.fixed_dictionaries({}, optional={f.name: st.none() | values_of_field(f.kind) for f in FIELDS})


shares = st.floats(0, 1)


@st.composite
def policies(draw: Any) -> dict[str, Any]:
    """Any mixture of knobs, some of single content types."""
    policy: dict[str, Any] = {}

    def maybe(knob: str, values: st.SearchStrategy[Any]) -> None:
        for name in (knob, f"{knob}.{draw(st.sampled_from(TYPES))}"):
            if draw(st.booleans()):
                policy[name] = draw(values)

    for knob in filter.FIELD_OF:
        maybe(f"filter.{knob}", st.integers(0, 2000) if knob in ("min_words", "min_sentences") else shares)
    maybe("filter.checks_needed", st.integers(0, 4))
    for switch in ("filter.enabled", "route.enabled", "exit.enabled"):
        if draw(st.integers(0, 4)) == 0:
            policy[switch] = draw(st.booleans())
    for name in draw(st.lists(st.sampled_from([*TYPES, "default"]), unique=True)):
        policy[f"route.{name}"] = draw(st.sampled_from(MODES))
    maybe("exit.min_confidence", shares)
    for checkpoint in CHECKPOINTS:
        texts = st.sampled_from(CONDITIONS[checkpoint])
        entry = texts | st.fixed_dictionaries(
            {"condition": texts},
            optional={"confidence": shares, "enabled": st.booleans(), "name": st.just("n"), "reason": st.just("r")},
        )
        maybe(f"exit.{checkpoint}.conditions", st.lists(entry, max_size=3))
        maybe(f"exit.{checkpoint}.min_confidence", shares)
        maybe(f"exit.{checkpoint}.enabled", st.booleans())
    if draw(st.booleans()):
        policy["route.podcast.priority"] = "low"
    return policy
