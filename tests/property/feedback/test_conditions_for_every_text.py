"""Whatever the text, a condition is refused at a place in it, or means what Kleene's logic and Python's grammar say."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import example, given, settings, strategies as st

from optimizer.content.core.policy.conditions import InvalidCondition, compile_condition
from tests.examples import n_examples

COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
KINDS = {"length": "number", "quality": "number", "live": "number", "topic": "text", "language": "text"}
numbers = (
    st.sampled_from([0, 1, -1, 60, 0.5, -0.25, 1e3])
    | st.integers(-1000, 1000)
    | st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
)
words = st.sampled_from(["", "news", "talk", "Größe 7", "a'b"]) | st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6
)
words = words.filter(lambda word: not ("'" in word and '"' in word))
VALUES = {"number": numbers, "text": words}


def written(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return repr(value)


@st.composite
def terms(draw: st.DrawFn) -> tuple[Any, ...]:
    name = draw(st.sampled_from(sorted(KINDS)))
    values = VALUES[KINDS[name]]
    match draw(st.sampled_from(["value", "turned", "name", "among", "chain", "alone", "constant"])):
        case "value":
            return ("compare", ("name", name), draw(st.sampled_from(sorted(COMPARE))), ("value", draw(values)))
        case "turned":
            return ("compare", ("value", draw(values)), draw(st.sampled_from(sorted(COMPARE))), ("name", name))
        case "name":
            return (
                "compare",
                ("name", name),
                draw(st.sampled_from(sorted(COMPARE))),
                ("name", draw(st.sampled_from(sorted(KINDS)))),
            )
        case "among":
            return ("among", name, draw(st.lists(values, min_size=1, max_size=3)), draw(st.booleans()))
        case "chain":
            signs = st.sampled_from(sorted(COMPARE))
            return ("chain", draw(values), draw(signs), name, draw(signs), draw(values))
        case "alone" if KINDS[name] == "number":
            return ("alone", name)
    return ("constant", draw(st.booleans()))


trees = st.recursive(
    terms(),
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), inner, inner)
        | st.tuples(st.just("and"), inner, inner, inner)
    ),
    max_leaves=6,
)


def text_of(tree: Any) -> str:
    match tree:
        case ("name", name):
            return str(name)
        case ("value", value):
            return written(value)
        case ("compare", left, sign, right):
            return f"{text_of(left)} {sign} {text_of(right)}"
        case ("among", name, values, inside):
            return f"{name} {'in' if inside else 'not in'} [{', '.join(map(written, values))}]"
        case ("chain", low, first, name, second, high):
            return f"{written(low)}{first}{name}{second}{written(high)}"
        case ("alone", name):
            return str(name)
        case ("constant", value):
            return "true" if value else "False"
        case ("not", inner):
            return f"not ({text_of(inner)})"
        case (word, *parts):
            return f" {word}\n".join(f"({text_of(part)})" for part in parts)
    raise AssertionError(tree)


def known(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, bool | int | float) and value == value)


def kleene(tree: Any, record: Mapping[str, Any]) -> bool | None:
    """True, False or None (cannot tell), by the definition: node by node, ``not`` where it stands."""

    def compared(left: Any, sign: str, right: Any) -> bool | None:
        if not known(left) or not known(right) or isinstance(left, str) is not isinstance(right, str):
            return None
        return bool(COMPARE[sign](left, right))

    def all_of(found: list[bool | None]) -> bool | None:
        return False if False in found else None if None in found else True

    def denied(found: bool | None) -> bool | None:
        return None if found is None else not found

    match tree:
        case ("compare", left, sign, right):
            sides = [record.get(value) if kind == "name" else value for kind, value in (left, right)]
            return compared(sides[0], sign, sides[1])
        case ("among", name, values, inside):
            found = denied(all_of([compared(record.get(name), "!=", value) for value in values]))
            return found if inside else denied(found)
        case ("chain", low, first, name, second, high):
            return all_of([compared(low, first, record.get(name)), compared(record.get(name), second, high)])
        case ("alone", name):
            return compared(record.get(name), "!=", 0)
        case ("constant", value):
            return bool(value)
        case ("not", inner):
            return denied(kleene(inner, record))
        case ("and", *parts):
            return all_of([kleene(part, record) for part in parts])
        case ("or", *parts):
            return denied(all_of([denied(kleene(part, record)) for part in parts]))
    raise AssertionError(tree)


present = {"number": numbers, "text": words}
of_its_kind = st.fixed_dictionaries({}, optional={name: st.none() | present[kind] for name, kind in KINDS.items()})
anything = st.none() | st.booleans() | numbers | st.just(float("nan")) | words
records = of_its_kind | st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, anything))


@given(trees, records)
def test_a_condition_holds_where_kleenes_logic_says_true(tree, record):
    condition = compile_condition(text_of(tree), KINDS)
    assert condition.holds(record) is (kleene(tree, record) is True)


@given(trees, records)
def test_a_condition_and_its_opposite_never_both_hold(tree, record):
    text = text_of(tree)
    assert not (
        compile_condition(text, KINDS).holds(record) and compile_condition(f"not ({text})", KINDS).holds(record)
    )


@given(trees, st.lists(records, min_size=1, max_size=8))
def test_columns_of_objects_say_of_each_row_what_its_record_says(tree, rows):
    condition = compile_condition(text_of(tree), KINDS)
    columns = {name: np.array([row.get(name) for row in rows] + [None], dtype=object)[:-1] for name in KINDS}
    assert condition.column(columns).tolist() == [condition.holds(row) for row in rows]


@given(trees, st.data())
def test_columns_of_numbers_and_texts_say_of_each_row_what_its_record_says(tree, data):
    condition = compile_condition(text_of(tree), KINDS)
    n = data.draw(st.integers(1, 6))
    rows = {
        name: data.draw(st.lists(values, min_size=n, max_size=n))
        for name, values in (
            ("length", st.integers(-100, 100)),
            ("quality", st.floats(-2, 2, width=32) | st.just(float("nan"))),
            ("live", st.booleans()),
            ("topic", words),
            ("language", st.sampled_from([1.5, 0.0])),
        )
    }
    columns = {name: np.array(values, dtype=np.float32 if name == "quality" else None) for name, values in rows.items()}
    del columns["language"], rows["language"]
    if data.draw(st.booleans()):
        columns["language"], rows["language"] = np.arange(n), list(range(n))
    expected = [condition.holds({name: values[i] for name, values in rows.items()}) for i in range(n)]
    assert condition.column(columns).tolist() == expected


WORDS = (
    "length topic and or not in is if else lambda None true < <= == != = ( ) [ ] , - + . 5 0.5 1e5 1e999 007 __class__"
    " f'{x}' := # \\"
)
pieces = st.sampled_from([*WORDS.split(), "'a'", '"b"', "'", "\n", "\x00", "ﬁ", "é", "\u202e"])


def refusal(text: str) -> InvalidCondition | None:
    try:
        compile_condition(text, KINDS)
    except InvalidCondition as error:
        return error
    return None


@given(st.text(max_size=80) | st.lists(pieces, max_size=14).map(" ".join) | st.lists(pieces, max_size=14).map("".join))
@settings(max_examples=n_examples(80))
@example("length < 5 # and more")
@example("(" * 499)
@example("\ud800")
def test_any_text_is_read_or_refused_at_a_place_in_it_with_a_reason(text):
    if (error := refusal(text)) is not None:
        assert 0 <= error.position <= len(text)
        assert error.reason
        return
    condition = compile_condition(text, KINDS)
    assert condition.holds({}) in (True, False)
    allowed = (ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop)
    allowed = (*allowed, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List)
    read = ast.parse("(" + text.replace("\n", " ").replace("\r", " ") + ")", mode="eval")
    assert all(isinstance(node, allowed) for node in ast.walk(read)), (
        "what is accepted is Python, and the small part of it that is meant"
    )


@given(trees, st.data())
def test_a_character_put_into_a_condition_never_breaks_the_reader(tree, data):
    text = text_of(tree)
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.characters()) + text[at + data.draw(st.integers(0, 2)) :]
    error = refusal(text)
    assert error is None or 0 <= error.position <= len(text)


@given(trees)
def test_what_is_read_keeps_its_text(tree):
    text = text_of(tree)
    assert compile_condition(text, KINDS).text == text
