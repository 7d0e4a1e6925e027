"""YAML files within bounds: the largest size, and the most values that aliases may expand to.

An alias costs nothing while it is only read, since both places share one value. But code that walks over the values
meets them once for each place, so ten lines of ten aliases each stand for ten thousand million values. They are counted
on the nodes, each of which is visited once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.scanner import RoundTripScanner, Scanner, ScannerError

from optimizer.core.base.errors import InvalidInput

MAX_FILE_BYTES = 1024 * 1024
MAX_VALUES = 100_000
MAX_BRACKETS = 200  # inside one another
COLON_IN_TEXT = "mapping values are not allowed here"  # the reader's own words
ENDLESS = "this alias stands inside what it stands for, so the text would never end; write out what is meant"


class YamlTooLarge(ValueError):
    """A text of too many bytes, or one whose aliases stand for too many values; says what to do."""


class _Shallow:
    """A scanner that stops at brackets too deep: each one that is open costs it time at every token that follows."""

    def fetch_flow_collection_start(self, *args: Any, **kwargs: Any) -> None:
        scanner: Any = self
        if scanner.flow_level >= MAX_BRACKETS:
            raise ScannerError(
                None,
                None,
                f"more than {MAX_BRACKETS} brackets stand open inside one another; write it flatter",
                scanner.reader.get_mark(),
            )
        super().fetch_flow_collection_start(*args, **kwargs)  # type: ignore[misc]


class _SafeScanner(_Shallow, Scanner):
    pass


class _LinesScanner(_Shallow, RoundTripScanner):
    pass


def safe_yaml(*, pure: bool = False) -> Any:
    """A reader of plain data."""
    yaml = YAML(typ="safe", pure=pure)
    yaml.Scanner = _SafeScanner
    return yaml


def read_text(file: Path) -> str:
    """The file's text. Of one that is too large only as much is read as shows it.

    Raises:
        YamlTooLarge, OSError, UnicodeDecodeError
    """
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise YamlTooLarge(
            f"the file has {file.stat().st_size:,} bytes, and {MAX_FILE_BYTES:,} are the most that is read; make it"
            " shorter"
        )
    return data.decode("utf-8-sig")  # some editors put a byte order mark before the first line


def check_aliases(root: Node | None) -> None:
    """Raises YamlTooLarge for a document that stands for too many values once its aliases are written out."""
    n = _size_of(root, {}) if root is not None else 0
    if n > MAX_VALUES:
        line = root.start_mark.line + 1 if root is not None and root.start_mark is not None else 1
        about = f"{n:,}" if n < 10**12 else f"some 10^{len(str(n)) - 1}"
        raise YamlTooLarge(
            f"with its aliases written out the document from line {line} on holds {about} values, and"
            f" {MAX_VALUES:,} are the most that is read; write out what is meant, without aliases of aliases"
        )


def _size_of(node: Node, sizes: dict[int, int]) -> int:
    """The number of values of the expanded node."""
    if id(node) not in sizes:
        sizes[id(node)] = 0  # not known yet: a node that comes back here contains itself
        inside = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        is_scalar = not isinstance(node, MappingNode | SequenceNode)
        sizes[id(node)] = 1 if is_scalar else 1 + sum(_size_of(part, sizes) for part in inside)
    elif not sizes[id(node)]:
        raise YamlTooLarge(ENDLESS)
    return sizes[id(node)]


def load_file(path: Path, advice: str, *, with_lines: bool = False) -> Any:
    """What a file of settings holds.

    Args:
        advice: ends the sentence of a fault: what to do.
        with_lines: mappings and lists remember their lines.
    Raises:
        InvalidInput: it cannot be read, is no YAML, or goes beyond the bounds.
    """
    try:
        text = read_text(path)
        check_aliases(safe_yaml().compose(text))
        reader = safe_yaml()
        if with_lines:
            reader = YAML()
            reader.Scanner = _LinesScanner
        return reader.load(text)
    except MarkedYAMLError as error:
        line, what = yaml_fault(error)
        why = f"line {line}: {what}"
    except RecursionError:
        why = "its values are nested too deeply"
    except (YAMLError, OSError, ValueError) as error:
        why = " ".join(str(error).split())
    raise InvalidInput(f"{path} cannot be read: {why}. {advice}")


def yaml_fault(error: MarkedYAMLError) -> tuple[int | None, str]:
    """The line, from 1, and what stands there, without values, of which one may be secret."""
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or "").partition(" with value ")[0]  # of a key that stands twice
    what = " ".join(part for part in (error.context, problem) if part)
    quotes = "; a text that holds a colon and a space wants quotes" if what == COLON_IN_TEXT else ""
    return mark.line + 1 if mark else None, what + quotes


def plain(value: Any) -> Any:
    """What was loaded with its lines, as plain data; keys are texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def line_of(entries: Any, *path: Any) -> int | None:
    """1-based line of the deepest part of ``path`` in what was loaded with its lines."""
    line, node = None, entries
    for part in path:
        positions = getattr(getattr(node, "lc", None), "data", None) or {}
        if part not in positions:
            break
        line, node = positions[part][0] + 1, node[part]
    return line
