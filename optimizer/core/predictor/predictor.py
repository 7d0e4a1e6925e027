"""A predictor of confidence or quality that is data: read from JSON, checked, and evaluated in plain Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.values import on_lines
from optimizer.core.predictor.parts import (
    LEAF,
    GramsPart,
    Isotonic,
    LinearPart,
    PartData,
    Platt,
    Tree,
    TreesPart,
    logistic,
)

FORMAT = "detent-predictor-1"
MOST_NODES, MOST_RUN = 200_000, 8
Part = Annotated[LinearPart | TreesPart | GramsPart, Field(discriminator="kind")]
Calibration = Annotated[Platt | Isotonic, Field(discriminator="kind")]


class PredictorData(PartData):
    """A predictor as its JSON has it. Nothing of it is executed, so a file from elsewhere is safe to read."""

    format: Literal["detent-predictor-1"]
    answers: Literal["probability", "score"]
    features: tuple[Annotated[str, Field(min_length=1)], ...]
    parts: tuple[Part, ...]
    calibration: Calibration | None = None
    trained_on: dict[str, Any] = Field(default_factory=dict)
    hash: str | None = None


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
        try:
            content = PredictorData.model_validate(data)
        except ValidationError as error:
            raise _unusable([_fault(entry) for entry in error.errors(include_url=False)]) from None
        faults = list(_misfits(content))
        own = {key: value for key, value in data.items() if key != "hash"}
        try:
            hash = digest(canonical_json(own))
        except ValueError as error:  # NaN in trained_on, a text that is no Unicode
            raise _unusable([*faults, Fault(pointer="", detail=f"this cannot be written as JSON: {error}")]) from error
        if "hash" in data and content.hash != hash:
            changed = f"the content has the hash {hash}, not {content.hash!r:.80}: it was changed"
            faults.append(Fault(pointer="/hash", detail=f"{changed}; restore it, or drop the hash"))
        if faults:
            raise _unusable(faults)
        return cls(
            answers=content.answers,
            features=content.features,
            parts=content.parts,
            calibration=content.calibration,
            trained_on=content.trained_on,
            hash=hash,
            data=own,
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
        if isinstance(self.calibration, Isotonic):
            return on_lines(self.calibration.x, self.calibration.y, answer)
        return answer


def _fault(entry: ErrorDetails) -> Fault:
    """pydantic's finding at its place; it also names the kind of a part and of a calibration, which is no key."""
    path = list(entry["loc"])
    at = {"parts": 2, "calibration": 1}.get(str(path[0])) if path else None
    if at is not None:
        path[at : at + 1] = ["kind"] if entry["type"].startswith("union_tag") else []
    return Fault(pointer=pointer_of(path), detail=f"{entry['msg']}, not {entry['input']!r:.60}")


def _misfits(content: PredictorData) -> Iterator[Fault]:
    """How values of the right form do not fit together."""
    n = len(content.features)
    for i, name in enumerate(content.features):
        if name in content.features[:i]:
            yield Fault(pointer=f"/features/{i}", detail=f"{name!r} is listed twice; a feature has one place")
    if not content.parts:
        yield Fault(pointer="/parts", detail="at least one part is needed: linear, trees or grams")
    for i, part in enumerate(content.parts):
        if isinstance(part, LinearPart):
            for column in ("centre", "scale", "weights"):
                if len(getattr(part, column)) != n:
                    detail = f"{n} numbers are needed, one for each place, and {len(getattr(part, column))} are given"
                    yield Fault(pointer=f"/parts/{i}/{column}", detail=detail)
        elif isinstance(part, GramsPart) and not 1 <= part.low <= part.high <= MOST_RUN:
            detail = f"runs have 1 to {MOST_RUN} pieces, low <= high; given: {part.low} to {part.high}"
            yield Fault(pointer=f"/parts/{i}/low", detail=detail)
        elif isinstance(part, TreesPart):
            n_nodes = sum(len(tree.value) for tree in part.trees)
            if n_nodes > MOST_NODES:
                detail = f"the trees have {n_nodes} nodes, and a predictor may have {MOST_NODES}"
                yield Fault(pointer=f"/parts/{i}/trees", detail=f"{detail}; train fewer or smaller ones")
                continue
            for at, tree in enumerate(part.trees):
                yield from _misfits_of_tree(tree, f"/parts/{i}/trees/{at}", n)
    calibration = content.calibration
    if isinstance(calibration, Platt) and content.answers == "score":
        detail = "platt calibrates probabilities, and this predictor answers a score; use isotonic or none"
        yield Fault(pointer="/calibration/kind", detail=detail)
    if isinstance(calibration, Isotonic):
        x, y = calibration.x, calibration.y
        if len(y) != len(x):
            yield Fault(
                pointer="/calibration/y", detail=f"{len(x)} numbers are needed, one for each knot, not {len(y)}"
            )
        if not x or any(b <= a for a, b in pairwise(x)):
            detail = "the knots rise from one to the next, and there is at least one"
            yield Fault(pointer="/calibration/x", detail=detail)
        if any(b < a for a, b in pairwise(y)):
            yield Fault(pointer="/calibration/y", detail="the calibrated values never fall from one knot to the next")
        if content.answers == "probability" and any(not 0 <= each <= 1 for each in y):
            yield Fault(pointer="/calibration/y", detail="calibrated probabilities lie from 0 to 1")


def _misfits_of_tree(tree: Tree, at: str, n_features: int) -> Iterator[Fault]:
    columns = [getattr(tree, name) for name in Tree.model_fields]
    n = len(tree.value)
    if n == 0 or any(len(column) != n for column in columns):
        known = ", ".join(Tree.model_fields)
        yield Fault(pointer=at, detail=f"a tree has one entry for each node in each of {known}, and at least one node")
        return
    for i, feature in enumerate(tree.feature):
        if not LEAF <= feature < n_features:
            detail = f"{LEAF} for a leaf or the place of one of {n_features} features is needed, not {feature}"
            yield Fault(pointer=f"{at}/feature/{i}", detail=detail)
        elif feature != LEAF:
            for side, child in (("left", tree.left[i]), ("right", tree.right[i])):
                if not i < child < n:
                    detail = f"a child comes after its parent: a place from {i + 1} to {n - 1} is needed, not {child}"
                    yield Fault(pointer=f"{at}/{side}/{i}", detail=detail)


def _unusable(faults: Sequence[Fault]) -> InvalidInput:
    shown = "; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults[:3])
    return InvalidInput(
        f"This predictor cannot be used: {shown}. Export it again, or mend the places named.", list(faults)
    )
