"""The pipeline's own configuration files as plain mappings, read into a flat policy; and optimal_config.yaml of one.

Keys that say nothing about a decision (what to store after an exit, what to log) are named and not read. A key that
looks like a mistyped one is a fault. ``optimizer/content/adapters/content_files.py`` reads and writes the YAML.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.content.core.policy.file_reading import FILES, LAYOUTS, OPTIMAL, KnobReader, place_of
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.feedback.pipeline_record import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFiles:
    """What the files say: the flat policy, and alert levels by figure.

    ``without_knob``: by file, the dotted keys that decide nothing; monitoring.yaml, which never does, aside.
    """

    policy: Mapping[str, Any] = field(default_factory=dict)
    monitoring: Mapping[str, Target] = field(default_factory=dict)
    without_knob: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def idle(self) -> Sequence[str]:
        """The files of which no key decides anything."""
        deciding = {place_of(knob, value)[0] for knob, value in self.policy.items()}
        return [name for name in self.without_knob if name not in deciding]


def read_files(files: Mapping[str, Any]) -> PipelineFiles:
    """What the parsed files say; any of the five may be missing.

    Args:
        files: by file name, the plain data of its YAML.
    Raises:
        InvalidInput: every fault of every file at once, with file and JSON pointer; a condition's with its position.
    """
    reader = KnobReader()
    for name, data in files.items():
        if name not in FILES:
            close = difflib.get_close_matches(name, FILES, n=1)
            reader.fault(
                name,
                (),
                "this is none of the pipeline's files; "
                + (f"did you mean {close[0]}?" if close else f"they are {', '.join(FILES)}"),
            )
        else:
            reader.file(name, (), name, data)
    for name in [name for name in LAYOUTS if name in files and OPTIMAL in files]:
        reader.fault(name, (), f"{OPTIMAL} stands beside it and holds the same settings; import one of the two")
    reader.check_policy()
    if reader.faults:
        raise invalid_files(reader.faults)
    return PipelineFiles(
        policy=reader.policy,
        monitoring=reader.monitoring,
        without_knob={name: list(keys) for name, keys in reader.without_knob.items()},
    )


def write_optimal(policy: Mapping[str, Any], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data of optimal_config.yaml: the first three files under their names, and the evidence.

    ``read_files`` gives the policy again.
    """
    files: dict[str, Any] = {name: {} for name in LAYOUTS}
    for knob, value in policy.items():
        name, (*above, key) = place_of(knob, value)
        target = files[name]
        for part in above:
            target = target.setdefault(part, {})
        target[key] = list(value) if isinstance(value, tuple) else copy.deepcopy(value)
    return {**files, "evidence": copy.deepcopy(dict(evidence))}


def invalid_files(faults: Sequence[Fault]) -> InvalidInput:
    """One error for all faults, each in a line of its own with its file."""
    lines = [
        f"  {':'.join(str(p) for p in (f.file, f.line) if p is not None)} {f.pointer or '/'}: {f.detail}"
        for f in faults
    ]
    many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InvalidInput(f"Cannot import the pipeline's files, because they have {many}:\n" + "\n".join(lines), faults)
