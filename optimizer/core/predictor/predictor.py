"""A predictor of confidence or quality that is data: read from JSON, checked, and evaluated in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.predictor.data import Calibration, DataReader, Part, read_calibration, read_features, read_parts
from optimizer.core.predictor.parts import GramsPart, Isotonic, Platt, logistic

FORMAT = "detent-predictor-1"
_KEYS = ("format", "answers", "features", "parts", "calibration", "trained_on", "hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """Adds up the margins of its parts and calibrates the sum.

    ``answers`` "probability": the sum is a logit and the answer lies in [0, 1]; "score": the answer is the sum itself.
    ``features``: the numbers that linear parts and trees read, in their order. ``trained_on``: which rows, how many,
    how well. ``hash``: SHA-256 of the content as canonical JSON, so the same before and after a Variant keeps its
    numbers to 6 decimals.
    """

    answers: str
    features: Sequence[str]
    parts: Sequence[Part]
    calibration: Calibration | None
    trained_on: Mapping[str, Any]
    hash: str
    data: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_data(cls, data: Any) -> Predictor:
        """Reads what ``to_data`` writes; a missing hash is computed.

        Raises InvalidInput that carries every fault with its place.
        """
        read = DataReader()
        content = read.mapping(data, [], _KEYS)
        read.one_of(content.get("format"), ["format"], (FORMAT,))
        answers = read.one_of(content.get("answers"), ["answers"], ("probability", "score"))
        features = read_features(read, content.get("features"))
        parts = read_parts(read, content.get("parts"), len(features))
        calibration = read_calibration(read, content.get("calibration"), answers)
        if isinstance(calibration, Platt) and answers == "score":
            read.wrong(
                ["calibration", "kind"],
                "platt calibrates probabilities, and this predictor answers a score; use isotonic or none",
            )
        trained_on = content.get("trained_on", {})
        if not isinstance(trained_on, Mapping):
            read.wrong(
                ["trained_on"], f"a mapping is needed that says what it was trained on, not {type(trained_on).__name__}"
            )
        actual_hash = None
        if not read.faults:
            try:
                actual_hash = content_hash(content)
            except ValueError as error:  # NaN in trained_on, a text that is no Unicode
                read.wrong([], f"this cannot be written as JSON: {error}")
        if actual_hash is not None and content.get("hash", actual_hash) != actual_hash:
            read.wrong(
                ["hash"],
                f"the content has the hash {actual_hash}, not {content['hash']!r:.80}: it was changed; restore it, or"
                " drop the hash",
            )
        if actual_hash is None or read.faults:
            shown = "; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in read.faults[:3])
            raise InvalidInput(
                f"This predictor cannot be used: {shown}. Export it again, or mend the places named.", read.faults
            )
        return cls(
            answers=answers,
            features=features,
            parts=parts,
            calibration=calibration,
            trained_on=trained_on,
            hash=actual_hash,
            data={key: value for key, value in content.items() if key != "hash"},
        )

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values, hash included."""
        return {**self.data, "hash": self.hash}

    def margin(self, numbers: Mapping[str, float | None], texts: Mapping[str, str] | None = None) -> float:
        """The sum before calibration.

        A feature that is not in ``numbers`` counts as not measured, a text not in ``texts`` as not given.
        """
        ordered = [numbers.get(name) for name in self.features]
        known_texts = texts or {}
        return sum(
            part.share * (part.margin(known_texts) if isinstance(part, GramsPart) else part.margin(ordered))
            for part in self.parts
        )

    def predict(self, numbers: Mapping[str, float | None], texts: Mapping[str, str] | None = None) -> float:
        """Confidence in [0, 1], or a score."""
        margin = self.margin(numbers, texts)
        if isinstance(self.calibration, Platt):
            margin = self.calibration.slope * margin + self.calibration.intercept
        answer = logistic(margin) if self.answers == "probability" else margin
        return self.calibration.at(answer) if isinstance(self.calibration, Isotonic) else answer


def content_hash(data: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the hash itself."""
    return digest(canonical_json({key: value for key, value in data.items() if key != "hash"}))
