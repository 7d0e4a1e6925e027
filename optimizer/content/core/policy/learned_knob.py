"""The knob ``score: {kind: learned, types: {TYPE: {predictor, full_from}}}`` of a content pipeline.

One predictor for each content type, since quality means something else in each, and its threshold for full processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from optimizer.content.core.policy.text_statistics import READ_CHARS, text_statistics
from optimizer.core.base.canonical import rounded
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import is_number
from optimizer.core.predictor.predictor import Predictor

SCORE = "score"  # the knob
LEARNED = "learned"  # its kind
READ_BY_SCORE = ("title", "text")  # the fields of a record that it reads beside the content type
TEXT = "text"  # the name of the text that a predictor's grams read


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeScore:
    """``full_from``: the score from which an item of the type is processed fully;
    raising it saves more time and loses more good items.
    """

    predictor: Predictor
    full_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentScore:
    """Scores rank items within their type; scores of two types are not to be compared."""

    types: Mapping[str, TypeScore]

    @classmethod
    def from_data(cls, data: Any) -> ContentScore:
        """Reads ``{type: {"predictor": ..., "full_from": ...}}``;
        raises InvalidInput with every fault of every predictor.
        """
        if not isinstance(data, Mapping) or not data:
            raise InvalidInput(
                "A content score is a mapping from content type to predictor and full_from, with at least one type;"
                " give one."
            )
        types, faults = {}, []
        for name, entry in data.items():
            if (
                not isinstance(entry, Mapping)
                or set(entry) != {"predictor", "full_from"}
                or not is_number(entry["full_from"])
            ):
                faults.append(
                    Fault(
                        pointer=pointer_of([name]),
                        detail="a predictor and full_from, a number, are needed; nothing else",
                    )
                )
                continue
            try:
                predictor = Predictor.from_data(entry["predictor"])
            except InvalidInput as error:
                place = pointer_of([name, "predictor"])
                faults += [Fault(pointer=place + fault.pointer, detail=fault.detail) for fault in error.faults]
                continue
            types[str(name)] = TypeScore(predictor=predictor, full_from=float(entry["full_from"]))
        if faults:
            raise InvalidInput(
                f"This content score cannot be used: {faults[0].pointer}: {faults[0].detail}. Mend the places named.",
                faults,
            )
        return cls(types=types)

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values; numbers with 6 decimals, as a Variant keeps them."""
        data = {
            name: {"predictor": each.predictor.to_data(), "full_from": each.full_from}
            for name, each in self.types.items()
        }
        return {name: rounded(entry) for name, entry in data.items()}

    def score(self, content_type: str, text: str, title: str = "") -> float | None:
        """The score of one item; None for a type that was not trained: a score does not carry over to it."""
        known = self.types.get(content_type)
        return None if known is None else known.predictor.predict(*read_text(text, title))


def read_text(text: str, title: str = "") -> tuple[dict[str, float], dict[str, str]]:
    """What a predictor reads of an item, the same where it is trained and where it serves:
    numbers by name, and the text's beginning.
    """
    beginning = text[:READ_CHARS]
    return text_statistics(beginning, title), {TEXT: beginning}


def read_score(value: Any, faults: list[Fault]) -> ContentScore | None:
    """The knob as a score; what is wrong goes to ``faults``, each at its place inside the knob."""
    at = pointer_of([SCORE])
    if not isinstance(value, Mapping) or value.get("kind") != LEARNED or set(value) - {"kind", "types"}:
        faults.append(Fault(pointer=at, detail="a score is {kind: learned, types: {TYPE: {predictor, full_from}}}"))
        return None
    if not value.get("types"):
        detail = (
            "a learned score that serves has types, each with predictor and full_from; a study trains it: detent study"
            " run FAMILY --keep-saved 0.65"
        )
        faults.append(Fault(pointer=at, detail=detail))
        return None
    try:
        return ContentScore.from_data(value["types"])
    except InvalidInput as error:
        own = error.faults or (Fault(pointer="", detail=error.detail),)
        faults += [replace(fault, pointer=f"{at}/types{fault.pointer}") for fault in own]
        return None
