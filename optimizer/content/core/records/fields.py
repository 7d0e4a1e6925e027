"""What a record of the content pipeline may say about an item, and from which checkpoint on it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from sys import float_info
from typing import Any, Literal

from optimizer.core.base.errors import Fault, InvalidInput

CHECKPOINTS = ("post_download", "post_transcription", "post_quality_filtering", "post_analysis")
OTHER_NAMES: Mapping[str, str] = {"post_initial_analysis": "post_analysis"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value of a record. ``known_from`` is the first checkpoint at which a condition may name it."""

    name: str
    known_from: str
    kind: Literal["share", "signed", "number", "text"]
    meaning: str


def _fields(known_from: str, **declared: tuple[Literal["share", "signed", "number", "text"], str]) -> tuple[Field, ...]:
    return tuple(
        Field(name=name, known_from=known_from, kind=kind, meaning=meaning)
        for name, (kind, meaning) in declared.items()
    )


FIELDS: tuple[Field, ...] = (
    *_fields(
        "post_download",
        content_type=("text", "what kind of content it is, such as `news`"),
        duration_seconds=("number", "length of the recording; `duration` is another name of it"),
        duration=("number", "another name of `duration_seconds`"),
        view_count=("number", "how often it was seen"),
        age_days=("number", "days since it was published"),
        title=("text", "its title; a learned score reads it"),
        title_spam_score=("share", "how much title and description look like spam"),
    ),
    *_fields(
        "post_transcription",
        language=("text", "language of the transcript, such as `en`"),
        text=("text", "the transcript, or the text itself; a learned score reads its first 20,000 characters"),
        transcript_length=("number", "characters of the transcript"),
        word_count=("number", "words of the transcript"),
        sentence_count=("number", "sentences of the transcript"),
        transcription_confidence=("share", "how sure the transcription is of its words"),
        word_error_rate=("number", "estimated share of wrong words; it can exceed 1"),
        repetition_ratio=("share", "share of the text that repeats earlier text"),
        unique_word_ratio=("share", "different words per word"),
    ),
    *_fields(
        "post_quality_filtering",
        length_score=("share", "part of the overall quality"),
        structure_score=("share", "part of the overall quality"),
        coherence_score=("share", "part of the overall quality, and a check of its own"),
        topic_clarity_score=("share", "part of the overall quality"),
        language_score=("share", "part of the overall quality"),
        overall_quality=(
            "share",
            "weighted sum of the five parts where all of them are there, else as the record has it",
        ),
        completeness_score=("share", "whether something is missing; part of no formula"),
        informativeness_score=("share", "how much there is to learn; part of no formula"),
        assessment_confidence=("share", "how sure the assessment of quality is"),
        predicted_quality=("share", "quality as a predictor of your own expects it"),
    ),
    *_fields(
        "post_analysis",
        sentiment_score=("signed", "from -1 (negative) to 1 (positive)"),
        topic_relevance_score=("share", "how well the topic fits"),
        analysis_confidence=("share", "how sure the first analysis is"),
    ),
)
BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}
_BOUNDS: Mapping[str, tuple[float, float | None]] = {"share": (0.0, 1.0), "signed": (-1.0, 1.0), "number": (0.0, None)}


def known_at(checkpoint: str) -> frozenset[str]:
    """Names of the fields that a condition of this checkpoint may use."""
    last = CHECKPOINTS.index(checkpoint)
    return frozenset(field.name for field in FIELDS if CHECKPOINTS.index(field.known_from) <= last)


def values_of(record: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Every field as conditions and the filter read it: numbers as floats, NaN if not measured, None for a missing
    text.

    Keys that are no field are ignored. ``at`` is the JSON pointer of the record, for faults.

    Raises:
        InvalidInput: names every value that is no number, or lies outside its range.
    """
    values: dict[str, Any] = {}
    faults = []
    for field in FIELDS:
        value = record.get(field.name)
        problem = _problem(field, value)
        if problem:
            faults.append(Fault(pointer=f"{at}/{field.name}", detail=problem))
        elif field.kind == "text":
            values[field.name] = value or None
        else:
            values[field.name] = nan if value is None else float(value)
    if faults:
        raise InvalidInput("This record cannot be judged: " + "; ".join(f.detail for f in faults) + ".", faults)
    if record.get("duration_seconds") is None:
        values["duration_seconds"] = values["duration"]
    values["duration"] = values["duration_seconds"]
    return values


def is_of_kind(field: Field, value: Any) -> bool:
    """Whether a value that was measured is a text or a number as declared; a number may still be out of range."""
    return (
        isinstance(value, str)
        if field.kind == "text"
        else isinstance(value, int | float) and not isinstance(value, bool)
    )


def range_of(field: Field) -> str:
    """The range of a number, as the end of a sentence: ``from 0 to 1``."""
    low, high = _BOUNDS[field.kind]
    return f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"


def _problem(field: Field, value: Any) -> str | None:
    if value is None:
        return None
    if not is_of_kind(field, value):
        if field.kind == "text":
            return f"{field.name} is a text, not {value!r}"
        return f"{field.name} is a number, not {value!r}; leave it out where it was not measured"
    if field.kind == "text":
        return None
    low, high = _BOUNDS[field.kind]
    if not abs(value) <= float_info.max or value < low or (high is not None and value > high):
        return f"{field.name} lies {range_of(field)}, and {value!r} does not; leave it out where it was not measured"
    return None
