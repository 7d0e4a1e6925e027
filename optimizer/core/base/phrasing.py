"""How numbers, dollars, times and corrections of a name are written for people, and how foreign texts reach a terminal.

A terminal obeys control characters inside a text: they colour, move, erase, rename the window, and on some terminals
type for the user. Characters that turn the direction of writing show another text than the one that is stored. So
foreign texts are shown as text, and never obeyed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from math import floor, log10

MAX_NAME = 60  # characters of an unknown name that are compared


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 block``, ``1,200 blocks``; ``many`` where the plural is not ``one`` and an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'word_count'?`` for a name that is near a known one; "" where none is near.

    Some .6 ms for 30 names, the same again at once.
    """
    close = _nearest(name[:MAX_NAME], tuple(known))
    return f"; did you mean {close!r}?" if close else ""


@lru_cache(maxsize=256)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def dollars(amount: float) -> str:
    """``$1.20``; of less than a cent two digits that count: ``$0.000023``."""
    if amount >= 0.01 or amount <= 0:
        return f"${amount:.4f}".removesuffix("00") if amount < 1 else f"${amount:,.2f}"
    return f"${amount:.{1 - floor(log10(amount))}f}"


def signed(value: float, digits: int = 3) -> str:
    """``+0.123``, ``-0.004``; without a sign where it rounds to nothing: ``0.000``."""
    shown = f"{value:+.{digits}f}"
    return shown if shown.strip("+-0.") else shown[1:]


def signed_interval(low: float, high: float, *, digits: int = 3) -> str:
    """``-0.012 to +0.040``."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def points_lost(loss: float) -> str:
    """A share in [-1, 1] as a verb: ``loses 1.23 points``; ``gains 3.67 points`` where it is negative.

    ``loses nothing`` below half a hundredth.
    """
    points = f"{abs(100 * loss):.2f}"
    if points == "0.00":
        return "loses nothing"
    return f"{'loses' if loss > 0 else 'gains'} {points} points"


def change_text(loss: float) -> str:
    """A share as a noun: ``a loss of 1.23 points``, ``a gain of 3.67 points``, ``no loss``."""
    verb, _, points = points_lost(loss).partition(" ")
    return "no loss" if points == "nothing" else f"a {'loss' if verb == 'loses' else 'gain'} of {points}"


def threshold(value: float) -> str:
    """A threshold as policies hold it, to six decimals: ``0.83``, ``0.999998``. Fewer would call different ones "1"."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def when(at: datetime) -> str:
    """The time in UTC, to the second. Values for programs stay ISO 8601."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def on_date(at: datetime | None) -> str:
    """`` on 2026-11-27 21:21:31 UTC``; "" where no time is known."""
    return f" on {when(at)}" if at is not None else ""


def span(hours: float) -> str:
    """``3.5 days``, ``2.0 hours``, ``1 minute``: as exact as one would say it."""
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else count(round(hours * 60), "minute")


_DIRECTION = "\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_DIRECTION}]")  # all but tab and line feed
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f{_DIRECTION}]")  # JSON escapes the others itself
_COLOUR_OR_UNSAFE = re.compile(rf"(\x1b\[[0-9;]*m)|{_UNSAFE.pattern}")
SHOWN = "\ufffd"
_NAME_AND_PASSWORD = re.compile(r"(?<=://)[^/\s\"'?#]*@")


def printable(text: str) -> str:
    """The text with U+FFFD in place of each character that a terminal would obey.

    It is as long as before, except that CR LF becomes LF.
    """
    return _UNSAFE.sub(SHOWN, text.replace("\r\n", "\n"))


def printable_lines(text: str) -> str:
    """As ``printable``, for lines that this program has coloured: sequences that choose a colour stay."""
    return _COLOUR_OR_UNSAFE.sub(lambda match: match[1] or SHOWN, text)


def printable_json(text: str) -> str:
    """A JSON text of the same value, whose strings hold none of these characters as such."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def without_passwords(text: str) -> str:
    """The text whose addresses say ``***`` in the place of a name and password."""
    return _NAME_AND_PASSWORD.sub("***@", text)
