"""Three initial settings: what each pair of numbers is, and what it is expected to do, is said only here.

The pair is ``filter.min_overall`` / ``exit.min_confidence``. Raising either makes the pipeline stricter, in opposite
directions: a higher min_overall lets fewer items through the filter (more are bypassed, and what is left is better), a
higher min_confidence lets fewer conditions count (fewer items end early, so fewer are bypassed). The presets raise both
or lower both, so their effect on the time saved depends on the items. Some advice on these numbers contradicts itself:
that a LOWER min_overall bypasses more ("aggressive") and that one should RAISE it against falling quality. Only the
second follows from the definition. The bypass rates and qualities below are hopes, never a measurement: measure yours
with ``sensitivity.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.content.core.policy.route import CONTENT_TYPES

CONDITIONS: Mapping[str, list[Mapping[str, Any]]] = {
    "post_download": [
        {
            "name": "too_short",
            "condition": "duration_seconds < 60",
            "confidence": 0.95,
            "reason": "too short to analyse",
        },
        {
            "name": "spam",
            "condition": "title_spam_score > 0.8",
            "confidence": 0.85,
            "reason": "title and description look like spam",
        },
        {
            "name": "too_long",
            "condition": "duration_seconds > 14400",
            "confidence": 0.80,
            "reason": "longer than four hours",
        },
    ],
    "post_transcription": [
        {
            "name": "no_transcript",
            "condition": "word_count < 20",
            "confidence": 0.95,
            "reason": "hardly a word was found",
        },
        {
            "name": "unintelligible",
            "condition": "transcription_confidence < 0.4 or word_error_rate > 0.6",
            "confidence": 0.85,
            "reason": "the transcript cannot be trusted",
        },
        {
            "name": "repetitive",
            "condition": "repetition_ratio > 0.7",
            "confidence": 0.80,
            "reason": "it says the same again and again",
        },
    ],
    "post_quality_filtering": [
        {
            "name": "very_low_quality",
            "condition": "overall_quality < 0.30",
            "confidence": 0.95,
            "reason": "far below every threshold",
        },
        {
            "name": "surely_low_quality",
            "condition": "overall_quality < 0.50 and assessment_confidence > 0.85",
            "confidence": 0.90,
            "reason": "low quality, and the assessment is sure of it",
        },
        {
            "name": "incoherent",
            "condition": "coherence_score < 0.35",
            "confidence": 0.80,
            "reason": "it does not hang together",
        },
        {"name": "low_quality", "condition": "overall_quality < 0.50", "confidence": 0.75, "reason": "low quality"},
    ],
    "post_analysis": [
        {
            "name": "off_topic",
            "condition": "topic_relevance_score < 0.20",
            "confidence": 0.80,
            "reason": "about something else",
        },
        {
            "name": "unsure_analysis",
            "condition": "analysis_confidence < 0.40",
            "confidence": 0.75,
            "reason": "the analysis is unsure",
        },
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPreset:
    """``expected_bypass_share`` and ``expected_quality`` are what its authors hope for, not measured."""

    min_overall: float
    min_exit_confidence: float
    expected_bypass_share: float
    expected_quality: float
    meaning: str

    @property
    def policy(self) -> dict[str, Any]:
        """The whole flat policy: the pair, the routes, each type's own thresholds and the conditions."""
        return {
            "filter.min_overall": self.min_overall,
            "exit.min_confidence": self.min_exit_confidence,
            "filter.min_coherence": 0.60,
            "filter.min_words": 500,
            "filter.min_sentences": 10,
            "filter.checks_needed": 3,
            "route.default": "quality_check",
            **{f"route.{name}": known.mode for name, known in CONTENT_TYPES.items()},
            **{f"route.{name}.priority": known.priority for name, known in CONTENT_TYPES.items()},
            **{
                f"filter.{knob}.{name}": value
                for name, known in CONTENT_TYPES.items()
                for knob, value in known.thresholds.items()
            },
            **{
                f"exit.{checkpoint}.conditions": [dict(rule) for rule in listed]
                for checkpoint, listed in CONDITIONS.items()
            },
        }


PRESETS: Mapping[str, ContentPreset] = {
    "conservative": ContentPreset(
        min_overall=0.70,
        min_exit_confidence=0.85,
        expected_bypass_share=0.50,
        expected_quality=0.80,
        meaning="a strict filter, and only conditions that are declared at .85 or more end an item early",
    ),
    "balanced": ContentPreset(
        min_overall=0.65,
        min_exit_confidence=0.80,
        expected_bypass_share=0.60,
        expected_quality=0.75,
        meaning="the filter's default, and conditions that are declared at .80 or more",
    ),
    "aggressive": ContentPreset(
        min_overall=0.60,
        min_exit_confidence=0.75,
        expected_bypass_share=0.70,
        expected_quality=0.70,
        meaning="a looser filter, and conditions that are declared at .75 or more: more items end early",
    ),
}
