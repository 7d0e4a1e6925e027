"""Conditions of a policy, such as ``duration_seconds < 60 and overall_quality < 0.5``, for one record or for columns.

A variable that is missing (absent, None, NaN) or of the other kind (a text where a number is compared) makes its
comparison *cannot tell*, under ``not`` too, and a condition holds only where it is known to: Kleene's three-valued
logic. When the text is read, every ``not`` is carried out on the comparisons below it. The rest is monotone, so a
comparison that cannot tell may answer "no", and the whole is exactly Kleene's "true". That is why the same tree serves
records and columns.

docs/reference/conditions.md has the grammar; ``condition_text.py`` reads it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.content.core.policy.condition_text import (
    ComparisonNode,
    Constant,
    Junction,
    Literal,
    Membership,
    Name,
    Tree,
    Value,
    read_condition,
)
from optimizer.core.base.errors import InvalidCondition

__all__ = ["Condition", "InvalidCondition", "compile_condition"]

Holds = Callable[[Mapping[str, Any]], bool]
Column = Callable[[Mapping[str, Any]], Any]

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MIRRORED: Mapping[str, str] = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_NUMBERS: frozenset[type] = frozenset({int, float, bool})
_TEXTS: frozenset[type] = frozenset({str})
_NUMBER_DTYPES, _TEXT_DTYPES = "biuf", "U"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that was read. Two are equal when their texts are."""

    text: str
    holds: Holds = field(compare=False, repr=False)
    """``holds(record)``: whether it is known to hold of one record (a mapping from variable to number, text, bool
    or None).
    """
    _column: Column = field(compare=False, repr=False)

    def column(self, columns: Mapping[str, Any]) -> Any:
        """``holds`` of every row at once: an array of bool.

        Args:
            columns: arrays of numpy, of one length, by variable; one that is absent is missing in every row. NaN is a
                missing number. An array of objects may hold None, numbers and texts; it is slower, one Python
                comparison per row.
        Returns:
            An array of bool; a plain bool where ``columns`` is empty.
        """
        column = self._column(columns)
        like = next(iter(columns.values()), None)
        return _as_bools([column] * len(like), like) if isinstance(column, bool) and like is not None else column


def compile_condition(text: str, names: Collection[str]) -> Condition:
    """Reads a condition over the variables ``names``.

    Args:
        text: at most 500 characters, as docs/reference/conditions.md says; ``true`` always holds.
        names: the variables that may occur.
    Raises:
        InvalidCondition: with ``position`` (0 to the length of the text) and ``reason``;
            nothing else, whatever the text.
    """
    tree = read_condition(text, names if isinstance(names, set | frozenset | Mapping) else frozenset(names))
    return Condition(text=text, holds=_holds(tree), _column=_column(tree))


def _holds(tree: Tree) -> Holds:
    match tree:
        case Constant(holds):
            return lambda record: holds
        case Junction(parts, every):
            joined, holders = all if every else any, [_holds(part) for part in parts]
            return lambda record: joined(holds(record) for holds in holders)
        case Membership(name, values, inside):
            return _among(name, frozenset(values), inside)
        case ComparisonNode(Literal() as left, sign, right):
            return _holds(ComparisonNode(right, _MIRRORED[sign], left))
        case ComparisonNode(Name(name), sign, Literal(value)):
            return _beside_value(name, sign, value)
        case ComparisonNode(Name(left), sign, Name(right)):
            return _beside_name(left, sign, right)
    raise AssertionError(tree)


def _beside_value(name: str, sign: str, value: Value) -> Holds:
    compare = _COMPARE[sign]
    kinds = _TEXTS if isinstance(value, str) else _NUMBERS

    def holds(record: Mapping[str, Any]) -> bool:
        reading = record.get(name)
        if type(reading) not in kinds:
            reading = _plain(reading)
            if type(reading) not in kinds:
                return False
        return bool(compare(reading, value)) and reading == reading  # NaN != 1, but cannot tell

    return holds


def _among(name: str, values: frozenset[Value], inside: bool) -> Holds:
    kinds = _TEXTS if any(isinstance(value, str) for value in values) else _NUMBERS

    def holds(record: Mapping[str, Any]) -> bool:
        reading = _plain(record.get(name))
        return type(reading) in kinds and (reading in values) is inside and reading == reading

    return holds


def _beside_name(left: str, sign: str, right: str) -> Holds:
    compare = _COMPARE[sign]

    def holds(record: Mapping[str, Any]) -> bool:
        a, b = _plain(record.get(left)), _plain(record.get(right))
        if (type(a) in _NUMBERS and type(b) in _NUMBERS) or (type(a) is str and type(b) is str):
            return bool(compare(a, b)) and a == a and b == b
        return False

    return holds


def _plain(value: Any) -> Any:
    """A number or text of Python's own, also of numpy's scalars and of subclasses; None for everything else."""
    if type(value) in _NUMBERS or type(value) is str:
        return value
    if getattr(value, "shape", None) == ():  # a scalar of numpy, by what it has in common with arrays
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None


def _column(tree: Tree) -> Column:
    match tree:
        case Constant(holds):
            return lambda columns: holds
        case Junction(parts, every):
            return _joined_columns([_column(part) for part in parts], every)
        case Membership(name, values, inside):
            return _term(
                [name], [_dtypes(values[0])], _holds(tree), _among_column(values, inside), nan_holds=not inside
            )
        case ComparisonNode(Literal() as left, sign, right):
            return _column(ComparisonNode(right, _MIRRORED[sign], left))
        case ComparisonNode(Name(name), sign, Literal(value)):
            compare = _COMPARE[sign]
            return _term(
                [name], [_dtypes(value)], _holds(tree), lambda column: compare(column, value), nan_holds=sign == "!="
            )
        case ComparisonNode(Name(left), sign, Name(right)):
            return _term(
                [left, right], [_NUMBER_DTYPES, _TEXT_DTYPES], _holds(tree), _COMPARE[sign], nan_holds=sign == "!="
            )
    raise AssertionError(tree)


def _dtypes(value: Value) -> str:
    return _TEXT_DTYPES if isinstance(value, str) else _NUMBER_DTYPES


def _joined_columns(parts: Sequence[Column], every: bool) -> Column:
    def joined(columns: Mapping[str, Any]) -> Any:
        column = parts[0](columns)
        for part in parts[1:]:
            column = column & part(columns) if every else column | part(columns)
        return column

    return joined


def _among_column(values: Sequence[Value], inside: bool) -> Callable[[Any], Any]:
    def among(column: Any) -> Any:
        matches = column == values[0]
        for value in values[1:]:
            matches = matches | (column == value)
        return matches if inside else ~matches

    return among


def _term(
    names: Sequence[str], dtypes: Sequence[str], of_record: Holds, of_columns: Callable[..., Any], *, nan_holds: bool
) -> Column:
    """One comparison on columns.

    ``dtypes``: the groups of kinds within which it can be told. ``nan_holds``: numpy calls the comparison true of NaN,
    of which it cannot be told.
    """

    def term(columns: Mapping[str, Any]) -> Any:
        operands: list[Any] = [columns.get(name) for name in names]
        if any(column is None for column in operands):
            return False
        kinds = {column.dtype.kind for column in operands}
        if not kinds.isdisjoint("OT"):
            rows = zip(*(column.tolist() for column in operands), strict=True)
            return _as_bools([of_record(dict(zip(names, row, strict=True))) for row in rows], operands[0])
        if not any(kinds.issubset(group) for group in dtypes):
            return False
        exact = [column.astype("f8", copy=False) if column.dtype.kind == "f" else column for column in operands]
        result = of_columns(*exact)
        for column in exact if nan_holds else ():
            result = result & (column == column)
        return result

    return term


def _as_bools(values: list[bool], like: Any) -> Any:
    """``values`` as an array of bool of the length of ``like``, without importing numpy."""
    booleans = like == None  # noqa: E711  # elementwise, for every kind of array
    booleans[:] = values
    return booleans
