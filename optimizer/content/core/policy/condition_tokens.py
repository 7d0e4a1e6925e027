"""The words and signs of a condition.

Whatever else stands in the text is refused here, with a hint where one is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

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
    """``kind`` is number, name, text, flag or end; for a sign and for and, or, not,
    in it is the sign or word itself.
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
            shown = quoted(text[position])
            raise InvalidCondition(
                text, position, f"{shown} does not belong in a condition" + _hint(_HINTS.get(text[position]))
            )
        kind, token = str(match.lastgroup), match.group()
        if kind == "sign":
            yield Token(token, token, position)
        elif kind == "name":
            yield Token(_kind_of_word(text, token, position, names), token, position)
        elif kind != "space":
            _check_value(text, kind, token, position)
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
        return f"no variable is called {quoted(word)}, and none is declared"
    shown = ", ".join(sorted(names)[:MAX_SHOWN]) + (", …" if len(names) > MAX_SHOWN else "")
    return f"no variable is called {quoted(word)}{meant or '.'} Known: {shown}"


def _check_value(text: str, kind: str, token: str, position: int) -> None:
    end = position + len(token)
    follower = text[end : end + 1]
    if kind == "text" and not token.isprintable():
        odd = next(i for i, character in enumerate(token) if not character.isprintable())
        raise InvalidCondition(
            text, position + odd, f"{quoted(token[odd])} cannot stand in a text: only what can be printed does"
        )
    if kind == "number" and (follower.isalnum() or follower in {".", "_"}):
        raise InvalidCondition(
            text, end, "the number ends here; write digits with one decimal point, and a space before a word"
        )
    if kind == "number" and re.match(r"0[0-9]", token):
        raise InvalidCondition(text, position, "a number does not begin with 0 and a digit")


def quoted(token: str) -> str:
    """``token`` as a message shows it: in ASCII quotes, shortened, what cannot be printed by its code."""
    return repr(token if len(token) <= MAX_SHOWN else token[:MAX_SHOWN] + "…")


def _hint(hint: str | None) -> str:
    return f": {hint}" if hint else ""
