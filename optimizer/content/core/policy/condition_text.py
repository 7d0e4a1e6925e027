"""From the text of a condition to its tree: words and signs, grammar and limits.

A refusal names the position, and gives a hint where one is known. The grammar is a small part of Python's, read here
and not by Python: no text reaches its parser or compiler, and a position is a character of the text in every version of
Python. Work grows with the length of the text; the recursion is bounded by ``MAX_DEPTH``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from optimizer.core.base.errors import InvalidCondition

MAX_LENGTH = 500  # characters
MAX_SHOWN = 60  # characters of a token, and variables, in a message

NO_ARITHMETIC = "conditions compare, they do not calculate: let the record carry the result under a name of its own"
_PATTERN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<sign><=|>=|==|!=|<|>|\(|\)|\[|\]|,|-)""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in"}
_FLAGS = {"true", "True", "false", "False"}
_MEANT = {word: word.lower() for word in ("AND", "And", "OR", "Or", "NOT", "Not", "IN", "In", "TRUE", "FALSE")}
_MISSING = {"none", "null", "nil", "nan", "undefined"}
_HINTS = {
    **dict.fromkeys("+*/%^@~", NO_ARITHMETIC),
    "=": "equality is written ==",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or != between two values",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "−": "write the plain minus -",
    ".": "a variable has no parts; name it as it is declared",
    "{": "a list is written with square brackets",
    '"': "this quote is never closed",
    "'": "this quote is never closed",
    **dict.fromkeys("“”‘’„«»`", "write straight quotes"),
    "\\": "there are no escapes",
    "#": "there are no comments",
}


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is number, name, text, flag or end; for a sign and for and, or, not, in it is the sign or
    word itself.
    """

    kind: str
    text: str
    position: int


def tokens_of(text: str, names: Collection[str]) -> Iterator[Token]:
    """The tokens of ``text``, at last one of kind end.

    One pass. Raises InvalidCondition with the position of what does not belong.
    """
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            shown = quote_token(text[position])
            hint = _HINTS.get(text[position])
            raise InvalidCondition(
                text, position, f"{shown} does not belong in a condition" + (f": {hint}" if hint else "")
            )
        kind, token = str(match.lastgroup), match.group()
        if kind == "sign":
            yield Token(token, token, position)
        elif kind == "name":
            yield Token(_kind_of_word(text, token, position, names), token, position)
        elif kind != "space":
            end = position + len(token)
            follower = text[end : end + 1]
            if kind == "text" and not token.isprintable():
                odd = next(i for i, character in enumerate(token) if not character.isprintable())
                raise InvalidCondition(
                    text,
                    position + odd,
                    f"{quote_token(token[odd])} cannot stand in a text: only what can be printed does",
                )
            if kind == "number" and (follower.isalnum() or follower in {".", "_"}):
                raise InvalidCondition(
                    text, end, "the number ends here; write digits with one decimal point, and a space before a word"
                )
            if kind == "number" and re.match(r"0[0-9]", token):
                raise InvalidCondition(text, position, "a number does not begin with 0 and a digit")
            yield Token(kind, token, position)
        position = match.end()
    yield Token("end", "", len(text))


def _kind_of_word(text: str, word: str, position: int, names: Collection[str]) -> str:
    if word in _WORDS:
        return word
    if word in _FLAGS:
        return "flag"
    if word in names:
        return "name"
    raise InvalidCondition(text, position, _unknown(word, names))


def _unknown(word: str, names: Collection[str]) -> str:
    if word in ("is", "Is", "IS"):
        return "equality is written =="
    if word in _MEANT:
        return f"{word} is written {_MEANT[word]}"
    if word.lower() in _MISSING:
        return (
            "a missing value cannot be compared: a comparison with one never holds, so nothing need be written for it"
        )
    close = get_close_matches(word[:MAX_SHOWN], names, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    if not names:
        return f"no variable is called {quote_token(word)}, and none is declared"
    shown = ", ".join(sorted(names)[:MAX_SHOWN]) + (", …" if len(names) > MAX_SHOWN else "")
    return f"no variable is called {quote_token(word)}{meant or '.'} Known: {shown}"


def quote_token(token: str) -> str:
    """``token`` as a message shows it: in ASCII quotes, shortened, what cannot be printed by its code."""
    return repr(token if len(token) <= MAX_SHOWN else token[:MAX_SHOWN] + "…")


MAX_DEPTH = 16  # brackets and `not` within one another
MAX_TERMS = 40  # comparisons
MAX_VALUES = 100  # in one list
MAX_NUMBER = 1e15  # below 2^53, so that whole numbers and floats compare alike

Value = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Name:
    """A variable of the record."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true or false, and where it stands."""

    value: Value
    position: int


@dataclass(frozen=True, slots=True)
class ComparisonNode:
    """``left operator right``, at least one of them a Name."""

    left: Name | Literal
    operator: str
    right: Name | Literal


@dataclass(frozen=True, slots=True)
class Membership:
    """``name in values``, or its opposite."""

    name: str
    values: tuple[Value, ...]
    inside: bool


@dataclass(frozen=True, slots=True)
class Constant:
    holds: bool


@dataclass(frozen=True, slots=True)
class Junction:
    """All of ``parts`` (``and``), or any of them (``or``)."""

    parts: tuple[Tree, ...]
    every: bool


Tree = ComparisonNode | Membership | Constant | Junction
Node = Tree | Name | Literal

OPPOSITE: Mapping[str, str] = {"<": ">=", ">=": "<", "<=": ">", ">": "<=", "==": "!=", "!=": "=="}


def read_condition(text: str, names: Collection[str]) -> Tree:
    """The tree of a condition, every ``not`` carried out on the comparisons below it. Raises InvalidCondition."""
    if not isinstance(text, str):
        raise InvalidCondition("", 0, f"a condition is a text, not {type(text).__name__}; put it in quotes")
    if len(text) > MAX_LENGTH:
        raise InvalidCondition(
            text,
            MAX_LENGTH,
            f"it has {len(text)} characters, and {MAX_LENGTH} are allowed; split it into several conditions",
        )
    return _ConditionReader(text, names).whole()


def opposite(tree: Tree) -> Tree:
    """What holds where ``tree`` is known not to hold (De Morgan), so that no tree needs a node for ``not``."""
    match tree:
        case ComparisonNode():
            return ComparisonNode(tree.left, OPPOSITE[tree.operator], tree.right)
        case Membership():
            return Membership(tree.name, tree.values, not tree.inside)
        case Constant():
            return Constant(not tree.holds)
    return Junction(tuple(opposite(part) for part in tree.parts), not tree.every)


class _ConditionReader:
    """Recursive descent: each method reads one rule of the grammar and leaves ``self.token`` behind it."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.tokens = tokens_of(text, names)
        self.token = next(self.tokens)
        self.depth = self.n_terms = 0
        self.kinds: dict[str, Literal] = {}

    def step(self) -> Token:
        """The present token; moves to the next, and stays at the end."""
        present = self.token
        self.token = next(self.tokens, present)
        return present

    def fail(self, position: int, reason: str) -> NoReturn:
        raise InvalidCondition(self.text, position, reason)

    def whole(self) -> Tree:
        if self.token.kind == "end":
            self.fail(0, "it is empty; write a comparison such as `quality < 0.5`, or leave the condition out")
        tree = self.condition(0, self.either())
        if self.token.kind != "end":
            self.unexpected("`and`, `or` or the end")
        return tree

    def either(self) -> Node:
        return self.joined("or", lambda: self.joined("and", self.denied))

    def joined(self, word: str, part: Callable[[], Node]) -> Node:
        start = self.token.position
        first = part()
        if self.token.kind != word:
            return first
        parts = [self.condition(start, first)]
        while self.token.kind == word:
            self.step()
            start = self.token.position
            parts.append(self.condition(start, part()))
        return Junction(tuple(parts), word == "and")

    def denied(self) -> Node:
        if self.token.kind != "not":
            return self.compared()
        self.deeper(self.step())
        inner = opposite(self.condition(self.token.position, self.denied()))
        self.depth -= 1
        return inner

    def compared(self) -> Node:
        start = self.token.position
        left = self.value()
        if self.token.kind in ("in", "not"):
            return self.member(left)
        parts = []
        while self.token.kind in OPPOSITE:
            operator = self.step()
            right_start = self.token.position
            right = self.value()
            parts.append(self.comparison(self.operand(start, left), operator, self.operand(right_start, right)))
            left, start = right, right_start
        if not parts:
            return left
        if self.token.kind in ("in", "not"):
            self.fail(self.token.position, "`in` does not continue a comparison; join the two by `and`")
        return parts[0] if len(parts) == 1 else Junction(tuple(parts), True)

    def comparison(self, left: Name | Literal, operator: Token, right: Name | Literal) -> ComparisonNode:
        self.counted(operator.position)
        if isinstance(left, Literal) and isinstance(right, Literal):
            self.fail(operator.position, "it compares two fixed values, so the outcome never changes; name a variable")
        for this, that in ((left, right), (right, left)):
            if isinstance(this, Name) and isinstance(that, Literal):
                self.one_kind(this, that)
        return ComparisonNode(left, operator.text, right)

    def member(self, left: Node) -> Tree:
        """``in [..]`` or ``not in [..]``, after ``left``."""
        first = self.step()
        if first.kind == "not" and self.step().kind != "in":
            self.fail(first.position, "after a value comes a comparison or `not in`")
        if not isinstance(left, Name):
            self.fail(first.position, "only a variable can be looked for in a list")
        self.counted(first.position)
        if self.token.kind not in ("[", "("):
            self.unexpected('a list of values, such as ["news", "talk"],')
        opening = self.step()
        closing = {"[": "]", "(": ")"}[opening.kind]
        values: list[Value] = []
        comma = True
        while self.token.kind != closing:
            if not comma:
                self.unexpected(f"a comma or {closing}")
            start = self.token.position
            value = self.value() if self.token.kind in ("number", "text", "flag", "-") else None
            if not isinstance(value, Literal):
                self.fail(start, f"a list holds numbers, texts, true or false, and ends with {closing}")
            self.one_kind(left, value)
            values.append(value.value)
            if comma := self.token.kind == ",":
                self.step()
        self.step()
        if not values:
            self.fail(opening.position, "the list is empty, so the outcome never changes")
        if len(values) > MAX_VALUES:
            self.fail(opening.position, f"the list has {len(values)} values, and {MAX_VALUES} are allowed")
        if opening.kind == "(" and len(values) == 1 and not comma:
            self.fail(opening.position, "one value in round brackets is no list; write square brackets")
        return Membership(left.name, tuple(values), first.kind == "in")

    def value(self) -> Node:
        """A variable, a value, or an expression in brackets."""
        match self.token.kind:
            case "name":
                return Name(self.step().text)
            case "flag":
                token = self.step()
                return Literal(token.text.lower() == "true", token.position)
            case "text":
                token = self.step()
                return Literal(token.text[1:-1], token.position)
            case "number" | "-":
                return self.number()
            case "(":
                return self.in_brackets()
        self.unexpected("a variable, a value, `not` or a bracket")

    def number(self) -> Literal:
        first = self.token
        sign = -1 if self.token.kind == "-" and self.step() else 1
        if self.token.kind != "number":
            self.fail(first.position, f"a minus stands before a number only: {NO_ARITHMETIC}")
        text = self.step().text
        size = float(text)
        if not size <= MAX_NUMBER:
            self.fail(first.position, f"the number is beyond {MAX_NUMBER:g}")
        return Literal(sign * (int(text) if text.isdigit() else size), first.position)

    def in_brackets(self) -> Node:
        self.deeper(self.step())
        inner = self.either()
        if self.token.kind != ")":
            self.unexpected("`and`, `or` or a closing bracket")
        self.step()
        self.depth -= 1
        return inner

    def operand(self, position: int, node: Node) -> Name | Literal:
        if isinstance(node, Name | Literal):
            return node
        self.fail(position, "a condition cannot be compared; join conditions by `and` and `or`")

    def condition(self, position: int, node: Node) -> Tree:
        """A variable alone asks whether it is true, that is a number other than 0."""
        if isinstance(node, Name):
            self.counted(position)
            return ComparisonNode(node, "!=", Literal(0, position))
        if isinstance(node, Literal):
            if not isinstance(node.value, bool):
                self.fail(node.position, "a value alone is no condition; compare a variable with it")
            return Constant(node.value)
        return node

    def one_kind(self, name: Name, value: Literal) -> None:
        """Refuses a condition that compares one variable with a number in one place and with a text in another."""
        first = self.kinds.setdefault(name.name, value)
        if isinstance(first.value, str) is not isinstance(value.value, str):
            here, there = ("a text", "a number") if isinstance(value.value, str) else ("a number", "a text")
            self.fail(
                value.position,
                f"{name.name} is compared with {here} here and with {there} at {first.position}; no value is both",
            )

    def counted(self, position: int) -> None:
        self.n_terms += 1
        if self.n_terms > MAX_TERMS:
            self.fail(
                position, f"it has more than {MAX_TERMS} comparisons; use `in` with a list, or several conditions"
            )

    def deeper(self, token: Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(token.position, f"brackets and `not` stand more than {MAX_DEPTH} deep here; write it flatter")

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        if token.kind == "end":
            self.fail(token.position, f"the condition ends where {wanted} should follow")
        why = {"(": "; nothing can be called", "[": "; nothing can be looked up", "-": f"; {NO_ARITHMETIC}"}.get(
            token.kind, ""
        )
        self.fail(token.position, f"here stands {quote_token(token.text)}, where {wanted} should stand{why}")
