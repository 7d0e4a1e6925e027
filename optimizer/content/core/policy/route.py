"""Routing: what kind of processing a content type gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.core.base.knob import Knob

MODES = ("full", "lightweight", "quality_check")
TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
RESERVED = ("default", "enabled")  # no content type may be called so: these are knobs


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """One of the types that are known from the start: its mode, its own thresholds, and why."""

    mode: str
    priority: str
    thresholds: Mapping[str, float]
    why: str


CONTENT_TYPES: Mapping[str, ContentType] = {
    "discussion": ContentType(
        mode="full", priority="high", thresholds={"min_overall": 0.55}, why="worth the full analysis, however it is put"
    ),
    "entertainment": ContentType(
        mode="lightweight",
        priority="low",
        thresholds={"min_overall": 0.75},
        why="little is found in it that a short summary does not say",
    ),
    "news": ContentType(
        mode="quality_check",
        priority="medium",
        thresholds={"min_words": 250, "min_sentences": 8},
        why="good news items are short",
    ),
    "educational": ContentType(
        mode="quality_check",
        priority="high",
        thresholds={"min_coherence": 0.7},
        why="a lesson without order teaches nothing",
    ),
    "interview": ContentType(
        mode="quality_check",
        priority="medium",
        thresholds={"min_words": 800},
        why="a short one is a clip of a longer one",
    ),
    "qa_forum": ContentType(
        mode="quality_check",
        priority="medium",
        thresholds={"min_words": 60, "min_sentences": 4},
        why="good answers are short, so that length says little",
    ),
}

_MODE = (
    "`full`: always processed in full; `lightweight`: never; `quality_check`: as the filter finds. "
    "From lightweight over quality_check to full more is processed in full: slower, and less is missed."
)
KNOBS: tuple[Knob, ...] = (
    Knob(name="route.enabled", kind="flag", default=True, meaning="off: every content type gets `route.default`."),
    Knob(
        name="route.default",
        kind="text",
        default="quality_check",
        meaning=f"Mode of content types that have none of their own. {_MODE}",
    ),
    *(
        Knob(name=f"route.{name}", kind="text", default=known.mode, meaning=f"Mode of {name}: {known.why}. {_MODE}")
        for name, known in CONTENT_TYPES.items()
    ),
)


def is_type_name(name: str) -> bool:
    """Whether a content type may be called so: a letter first, then letters, digits, ``_`` and ``-``."""
    return TYPE_NAME.fullmatch(name) is not None and name not in RESERVED
