"""Reads a family's YAML as plain data, and remembers in which line each key stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.host.yaml_files import ENDLESS, YamlTooLarge, check_aliases, safe_yaml

COLON_IN_TEXT = "mapping values are not allowed here"  # the reader's own words


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """``data`` is None when the text is no YAML; ``faults`` then says why. Lines count from 1."""

    data: Any
    lines: Mapping[str, int]  # JSON pointer -> line
    faults: tuple[Fault, ...] = ()

    def line_of(self, pointer: str) -> int:
        """The line of the place, or of the nearest one around it in the file."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 1)


def read_yaml(text: str) -> SourceFile:
    """YAML 1.2 as plain data. Duplicate keys, broken syntax and too many aliases become faults with their line."""
    lines: dict[str, int] = {"": 1}
    faults: list[Fault] = []
    try:
        yaml = safe_yaml(pure=True)  # pure: the C reader knows YAML 1.1 only, where `no` is a boolean
        yaml.allow_duplicate_keys = True  # found below, all of them and not only the first
        reader = yaml
        root = reader.compose(text)
        if root is not None:
            _walk(root, [], lines, faults, {})
        if any(f.detail == ENDLESS for f in faults):
            return SourceFile(data=None, lines=lines, faults=tuple(faults))
        check_aliases(root)
        data = reader.constructor.construct_document(root) if root is not None else None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        quotes = "; a text that holds a colon and a space wants quotes" if message == COLON_IN_TEXT else ""
        detail = f"this is no YAML: {message}{quotes}; correct the text there, or a line or two above it"
        return SourceFile(
            data=None, lines={}, faults=(Fault(pointer="", detail=detail, line=mark.line + 1 if mark else None),)
        )
    except YamlTooLarge as error:
        return SourceFile(data=None, lines={}, faults=(Fault(pointer="", detail=str(error), line=1),))
    except (YAMLError, ValueError, RecursionError) as error:
        return SourceFile(
            data=None,
            lines={},
            faults=(Fault(pointer="", detail=f"this is no YAML: {error}; correct the text", line=1),),
        )
    return SourceFile(data=data, lines=lines, faults=tuple(faults))


def _walk(node: Node, path: list[Any], lines: dict[str, int], faults: list[Fault], seen: dict[int, bool]) -> None:
    if id(node) in seen:  # an alias: its content has been read where it is anchored, or is being read around this place
        if not seen[id(node)]:
            faults.append(Fault(pointer=pointer_of(path), detail=ENDLESS, line=lines[pointer_of(path)]))
        return
    seen[id(node)] = False
    if isinstance(node, MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            place = [*path, name]
            if name in first and name != "<<":
                detail = (
                    f"the key {name!r} stands twice (first in line {first[name]}), and only one can count; remove one"
                )
                faults.append(Fault(pointer=pointer_of(place), detail=detail, line=line))
            first.setdefault(name, line)
            lines[pointer_of(place)] = line
            _walk(value, place, lines, faults, seen)
    elif isinstance(node, SequenceNode):
        for i, item in enumerate(node.value):
            lines[pointer_of([*path, i])] = item.start_mark.line + 1
            _walk(item, [*path, i], lines, faults, seen)
    seen[id(node)] = True
