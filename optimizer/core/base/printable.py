"""Other people's words on a terminal: shown as text, never obeyed.

A terminal takes control characters inside a text for commands: they colour, move, erase, rename the window, on some
type for their user. Characters that turn the direction of writing show another text than the one that is stored.
"""

from __future__ import annotations

import re

_DIRECTION = "\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_DIRECTION}]")  # all but tab and line feed
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f{_DIRECTION}]")  # JSON escapes the others itself
_COLOUR_OR_UNSAFE = re.compile(rf"(\x1b\[[0-9;]*m)|{_UNSAFE.pattern}")
SHOWN = "\ufffd"
_NAME_AND_PASSWORD = re.compile(r"(?<=://)[^/\s\"'?#]*@")


def printable(text: str) -> str:
    """The text with U+FFFD in the place of each character that a terminal would obey;
    as long as before but for CR LF, which is LF.
    """
    return _UNSAFE.sub(SHOWN, text.replace("\r\n", "\n"))


def printable_lines(text: str) -> str:
    """The same for lines that this program has coloured already: sequences that choose a colour stay."""
    return _COLOUR_OR_UNSAFE.sub(lambda match: match[1] or SHOWN, text)


def printable_json(text: str) -> str:
    """A JSON text of the same value, whose strings hold none of these characters as such."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def without_passwords(text: str) -> str:
    """The text whose addresses say ``***`` in the place of a name and password."""
    return _NAME_AND_PASSWORD.sub("***@", text)
