"""What the product prints, for a first-time reader: words stand where a number would say little."""

from __future__ import annotations

import re

# as measured; README, Makefile and docs say it in these words
LENGTH = "under ten minutes on two cores"
SMALL_P = 0.001
_EVIDENCE = re.compile(
    r"evidence (?:is )?(?P<found>10\^\d+|[\d.,]*\d)(?P<against> against [^;]*?)?, (?P<enough>[\d.,]*\d) suffices"
)
_POWER = re.compile(r"\b10\^\d+\b")
_P = re.compile(r"\bp (?P<value>\d(?:\.\d+)?e-\d+|0\.0\d*)")


def in_words(text: str) -> str:
    """``evidence 10^87, 20.0 suffices`` becomes ``evidence strong enough; 20 suffices``,
    ``p 3e-12`` ``p below 0.001``; all else stays.
    """
    text = _EVIDENCE.sub(_strength, text)
    text = _POWER.sub("far more than enough", text)
    return _P.sub(lambda p: f"p below {SMALL_P:g}" if float(p["value"]) < SMALL_P else p[0], text)


def _strength(match: re.Match[str]) -> str:
    """Evidence that is below what suffices stays a number: how far off it is, is what a reader wants to know."""
    evidence, enough = match["found"], float(match["enough"].replace(",", ""))
    if "^" not in evidence and float(evidence.replace(",", "")) < enough:
        return match[0]
    return f"evidence{match['against'] or ''} strong enough; {enough:,.0f} suffices"
