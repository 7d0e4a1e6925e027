"""What a content pipeline sends of one item it has dealt with, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, get_args

from optimizer.content.core.records.fields import OTHER_NAMES
from optimizer.core.base.errors import Fault, InvalidInput, first_alike, pointer_of
from optimizer.core.feedback.pipeline_record import PipelineRecord, ProcessingType

PROCESSING_TYPES: tuple[ProcessingType, ...] = get_args(ProcessingType)
UNNAMED = "unknown"  # a content type that a record does not name; a checkpoint or a reason that an exit does not
MAX_NAME_CHARS = 100  # content types, checkpoints
MAX_REASON_CHARS = 500
MAX_TIME_S = 1e8  # three years
# Which configuration dealt with the item, also as the pipelines' own setting is spelt, or a variant's id.
VERSIONS = ("config_version", "CONFIG_VERSION", "variant")


def read_record(values: Mapping[str, Any], *, id: str, received_at: datetime) -> PipelineRecord:
    """A record from a pipeline's JSON values, or from the texts of a query, in which an empty one means none.

    An item that was processed in full and says nothing of time saved has saved none; one that names no content type
    counts as ``unknown``; ``post_initial_analysis`` is ``post_analysis``; ``variant`` and
    ``CONFIG_VERSION`` are other names of ``config_version``.

    Raises:
        InvalidInput: names every fault under the member's name.
    """
    faults, unknown, read = list[Fault](), list[str](), dict[str, Any]()
    for name, value in values.items():
        if name not in _READ:
            unknown.append(name)
        elif value is not None and value != "":
            try:
                read[name] = _READ[name](value)
            except ValueError as error:
                faults.append(Fault(pointer=f"/{name}", detail=str(error)))
    versions = [name for name in VERSIONS if name in read]
    for name in versions[1:]:
        if read[name] != read[versions[0]]:
            faults.append(Fault(pointer=f"/{name}", detail=f"names another configuration than {versions[0]}"))
    if values.get("processing_type") in (None, ""):
        faults.append(Fault(pointer="/processing_type", detail="is missing; every record needs it"))
    known = f"is no member of a record; it has {', '.join(_READ)}"
    faults += first_alike(
        unknown, lambda name: Fault(pointer=pointer_of([name]), detail=known), "are no members of a record"
    )
    if faults:
        listed = "; ".join(f"{fault.pointer[1:]} {fault.detail}".strip() for fault in faults)
        raise InvalidInput(f"The record was not taken: {listed}. Correct this and send it again.", faults)
    saved = read.get("time_saved_pct", 0.0 if read["processing_type"] == "full" else None)
    checkpoint = read.get("exit_checkpoint", "")
    return PipelineRecord(
        id=id,
        received_at=received_at,
        processing_type=read["processing_type"],
        content_type=read.get("content_type", UNNAMED),
        quality_score=read.get("quality_score"),
        processing_time_s=read.get("processing_time"),
        exit_checkpoint=OTHER_NAMES.get(checkpoint, checkpoint),
        exit_reason=read.get("exit_reason", ""),
        exit_confidence=read.get("exit_confidence"),
        time_saved_share=saved,
        config_version=read[versions[0]] if versions else "",
        satisfaction=read.get("satisfaction"),
        failed=read.get("failed"),
    )


def _processing_type(value: Any) -> ProcessingType:
    if value not in PROCESSING_TYPES:
        raise ValueError(f"is one of {', '.join(PROCESSING_TYPES)}, not {value!r:.100}")
    processing: ProcessingType = value
    return processing


def _text(longest: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if not 0 < len(text) <= longest or not text.isprintable():
            raise ValueError(f"must be a text of 1 to {longest} printable characters")
        return text

    return read


def _number(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        raise ValueError(f"must be a number, not {value!r:.100}")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"lies from 0 to 1, and {number:g} does not; 65 % is 0.65")
    return number


def _flag(value: Any) -> bool:
    known = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(known, bool):
        raise ValueError(f"is true or false, not {value!r:.100}")
    return known


def _time(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= MAX_TIME_S:
        raise ValueError(f"is a number of seconds from 0 to {MAX_TIME_S:g}, and {number:g} is not")
    return number


_READ: Mapping[str, Callable[[Any], Any]] = {
    "processing_type": _processing_type,
    "content_type": _text(MAX_NAME_CHARS),
    "quality_score": _share,
    "processing_time": _time,
    "exit_checkpoint": _text(MAX_NAME_CHARS),
    "exit_reason": _text(MAX_REASON_CHARS),
    "exit_confidence": _share,
    "time_saved_pct": _share,
    "satisfaction": _share,
    "failed": _flag,
    **dict.fromkeys(VERSIONS, _text(MAX_NAME_CHARS)),
}
