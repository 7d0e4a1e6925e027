"""Reads a family's YAML as plain data, and remembers in which line each key stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from optimizer.core.base.canonical import MAX_DEPTH, is_unicode
from optimizer.core.base.errors import Fault, pointer_of, shorten
from optimizer.host.yaml_files import ENDLESS, YamlTooLarge, check_aliases, safe_yaml, yaml_fault

WHOLE_BELOW = 2**64  # schemas bound an unsigned number of 64 bits
_TAG = "tag:yaml.org,2002:"


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
    """YAML 1.2 as plain data that JSON can hold, apart from dates; a pair of surrogates becomes its character.

    Duplicate keys, values that JSON cannot hold, broken syntax and too many aliases become faults with their line.
    """
    lines: dict[str, int] = {"": 1}
    faults: list[Fault] = []
    try:
        yaml = safe_yaml(pure=True)  # pure: the C reader knows YAML 1.1 only, where `no` is a boolean
        yaml.allow_duplicate_keys = True  # found below, all of them and not only the first
        reader = yaml
        root = reader.compose(text)
        if root is not None:
            _Walk(reader.constructor, lines, faults).visit(root, [])
        if any(f.detail == ENDLESS for f in faults):
            return SourceFile(data=None, lines=lines, faults=tuple(faults))
        check_aliases(root)
        data = reader.constructor.construct_document(root) if root is not None else None
    except MarkedYAMLError as error:
        line, what = yaml_fault(error)
        detail = f"this is no YAML: {what}; correct the text there, or a line or two above it"
        return SourceFile(data=None, lines={}, faults=(Fault(pointer="", detail=detail, line=line),))
    except YamlTooLarge as error:
        return SourceFile(data=None, lines={}, faults=(Fault(pointer="", detail=str(error), line=1),))
    except ReaderError as error:
        line = 1 + text.count("\n", 0, error.position)
        detail = f"the character U+{ord(text[error.position]):04X} cannot stand in YAML; take it out"
        return SourceFile(data=None, lines={}, faults=(Fault(pointer="", detail=detail, line=line),))
    except (YAMLError, ValueError, RecursionError) as error:
        detail = f"this is no YAML: {error}; correct the text"
        return SourceFile(data=None, lines={}, faults=(Fault(pointer="", detail=detail, line=1),))
    return SourceFile(data=data, lines=lines, faults=tuple(faults))


class _Walk:
    """Visits each node once, and fills ``lines`` and ``faults``.

    Where a node is no value that JSON can hold, null or a plain mapping takes its place, so that the rest can be read.
    """

    def __init__(self, constructor: Any, lines: dict[str, int], faults: list[Fault]) -> None:
        self._constructor, self._lines, self._faults = constructor, lines, faults
        self._visited: dict[int, bool] = {}  # by the node's id: whether all that it holds has been visited

    def visit(self, node: Node, path: list[Any]) -> None:
        if id(node) in self._visited:  # an alias: its content has been read at the anchor, or is being read around here
            if not self._visited[id(node)]:
                self._fault(path, ENDLESS, self._lines[pointer_of(path)])
            return
        self._visited[id(node)] = False
        if isinstance(node, ScalarNode):
            self._scalar(node, path)
        elif len(path) >= MAX_DEPTH:
            self._fault(path, f"it is nested more than {MAX_DEPTH} levels deep; write it flatter", _line(node))
            node.value = []
        elif isinstance(node, MappingNode):
            self._mapping(node, path)
        elif isinstance(node, SequenceNode):
            for i, item in enumerate(node.value):
                self._lines[pointer_of([*path, i])] = _line(item)
                self.visit(item, [*path, i])
        self._visited[id(node)] = True

    def _mapping(self, node: MappingNode, path: list[Any]) -> None:
        if node.tag == f"{_TAG}set":
            self._fault(path, "a set is no value of JSON; write a list", _line(node))
            node.tag = f"{_TAG}map"
        first: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value != "<<":
                self._scalar(key, path)
            name, line = str(key.value), _line(key)
            if key.tag == f"{_TAG}int":  # 01, 0x1 and "1" name one version
                name = str(self._constructor.construct_non_recursive_object(key))
            place = [*path, name]
            if name in first and name != "<<":
                self._fault(
                    place,
                    f"the key {name!r} stands twice (first in line {first[name]}), and only one can count; remove one",
                    line,
                )
            first.setdefault(name, line)
            self._lines[pointer_of(place)] = line
            self.visit(value, place)

    def _scalar(self, node: ScalarNode, path: list[Any]) -> None:
        """Joins halves of surrogate pairs, as which JSON escapes an emoji."""
        if not is_unicode(node.value):
            node.value = node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if (detail := self._unfit(node)) is not None:
            self._fault(path, detail, _line(node))
            node.tag, node.value = f"{_TAG}null", "null"

    def _unfit(self, node: ScalarNode) -> str | None:
        """Why JSON cannot hold the scalar; None: it can, or it is a date."""
        if not is_unicode(node.value):
            return "the text holds half of a surrogate pair, which is no character; write the character itself"
        if "\0" in node.value:
            return "the text holds the character U+0000, which cannot be stored; take it out"
        try:
            value = self._constructor.construct_non_recursive_object(node)
        except (ValueError, LookupError, OverflowError) as error:
            return f"{shorten(node.value, 60)!r} cannot be read as a value: {error}; correct it, or put it in quotes"
        if isinstance(value, int) and not -WHOLE_BELOW < value < WHOLE_BELOW:
            return "the whole number has more than 64 bits; make it smaller, or put it in quotes to make it a text"
        return "bytes are no value of JSON; write a text" if isinstance(value, bytes) else None

    def _fault(self, path: list[Any], detail: str, line: int) -> None:
        self._faults.append(Fault(pointer=pointer_of(path), detail=detail, line=line))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
