"""Rules of the ``judge`` block of a family, and of the metric that rests on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.family.judge_settings import DIMENSIONS, SCORER

MIN_COMMITTEE = 2


def judge_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of plain data; parts of a wrong type are passed over, since that has been found fault with already."""
    scorer, judge = data.get("scorer"), data.get("judge")
    if isinstance(scorer, Mapping) and SCORER in scorer and judge is None:
        yield Fault(
            pointer=pointer_of(["scorer", SCORER]),
            detail="the metric 'judge' needs a model that judges; name one: judge: {model: ...}",
        )
    if isinstance(judge, Mapping):
        yield from _members(judge)
        yield from _rubric(judge)


def _members(judge: Mapping[str, Any]) -> Iterator[Fault]:
    model, committee = judge.get("model"), judge.get("committee")
    if model is None and not committee:
        yield Fault(
            pointer="/judge/model",
            detail="no model judges; name one of config/models.yaml: model: ..., or several: committee: [..., ...]",
        )
    if not _is_list(committee) or not committee:
        return
    if len(set(map(str, committee))) < len(committee):
        yield Fault(pointer="/judge/committee", detail="a model is named twice; each member of a committee judges once")
    elif len({*map(str, committee), *([str(model)] if model is not None else [])}) < MIN_COMMITTEE:
        yield Fault(
            pointer="/judge/committee",
            detail="a committee of one is a judge; name a second model, or write model: ... alone",
        )


def _rubric(judge: Mapping[str, Any]) -> Iterator[Fault]:
    dimensions, weights = judge.get("dimensions", DIMENSIONS), judge.get("weights")
    if _is_list(dimensions):
        for name in (name for name in dimensions if isinstance(name, str) and name not in DIMENSIONS):
            yield Fault(
                pointer="/judge/dimensions",
                detail=(
                    f"{name!r} has no description here, so a model would guess what is meant; describe it: dimensions:"
                    f" {{{name}: what a good answer does}} (known without one: {', '.join(DIMENSIONS)})"
                ),
            )
        if len(set(map(str, dimensions))) < len(dimensions):
            yield Fault(pointer="/judge/dimensions", detail="a dimension is named twice; each is scored once")
    elif isinstance(dimensions, Mapping):
        for name, meaning in dimensions.items():
            if isinstance(meaning, str) and not meaning.strip():
                detail = "say in a sentence what a good answer does; the model reads nothing else of this dimension"
                yield Fault(pointer=pointer_of(["judge", "dimensions", name]), detail=detail)
    else:
        return
    if not dimensions:
        yield Fault(pointer="/judge/dimensions", detail="there is no dimension to score; name one, or leave this out")
    if isinstance(weights, Mapping) and weights:
        for name in (name for name in weights if name not in dimensions):
            known = ", ".join(map(str, dimensions))
            yield Fault(
                pointer=pointer_of(["judge", "weights", name]),
                detail=f"there is no dimension {name!r}; weigh those of this rubric: {known}",
            )
        for name in (name for name in dimensions if name not in weights):
            yield Fault(
                pointer="/judge/weights",
                detail=f"the dimension {name!r} has no weight; give one above 0, or leave all weights out",
            )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
