"""Conditions of policies: how fast they are, and what 10,000 hostile texts do to their reader.

    python bench/conditions.py [--texts 10000] [--seed 1] [--rounds 30]

Speed stands beside Python's own compiled `eval` of the same trusted text, which nobody may use on a text of somebody
else's: it is the yardstick for what the language costs. Columns stand beside the same comparison written by hand in
numpy. The hostile texts are made from the seed: changed conditions, brackets and operators by the thousand, calls,
attributes, comprehensions, format strings, huge numbers, odd characters. Each is read under an audit hook, which Python
calls for whatever is compiled, executed, imported or opened; CPU time is the thread's own. Beside it stands
`ast.parse`, which only parses.
"""

from __future__ import annotations

import argparse
import ast
import gc
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from common import Cell, ratio_interval, write_result

from optimizer.content.core.policy.conditions import Condition, InvalidCondition, compile_condition

NAMES = ("duration_seconds", "overall_quality", "content_type", "language", "is_live", "n_words", "größe")
TEXT = "duration_seconds < 60 and overall_quality < 0.5"
RECORDS = [
    {
        "duration_seconds": 30,
        "overall_quality": 0.4,
        "content_type": "news",
        "language": "de",
        "is_live": True,
        "n_words": 900,
    },
    {
        "duration_seconds": 90.5,
        "overall_quality": 0.8,
        "content_type": "talk",
        "language": "en",
        "is_live": False,
        "n_words": 20,
    },
    {"duration_seconds": None, "content_type": "music"},
    {},
]
VALID = (
    TEXT,
    "not (duration_seconds >= 60 or overall_quality > .7) and content_type in ['news', \"talk\"]",
    "0.1 <= overall_quality < 0.5 or is_live and language != 'de'",
    "n_words not in (1, 2, 3,) and not is_live == true",
    "größe > -1.5e3 or content_type == 'Größe 7'",
)
HOSTILE = (
    "__import__('os').system('id')",
    "().__class__.__base__.__subclasses__()",
    "open('/etc/passwd').read()",
    "[x for x in range(10**9)]",
    "(lambda: 1)()",
    "(y := 5)",
    "f'{__import__(\"os\")}'",
    "is_live.__globals__",
    "content_type.format(9**9**9)",
    "9**9**9**9",
    "'a' * 10**9",
    "{}.__class__",
    "is_live if is_live else exec('1')",
    "print(1)",
    "breakpoint()",
    "await is_live",
    "yield is_live",
    "*is_live,",
    "is_live[0:10]",
    "b'\\x00' in content_type",
    "0x" + "f" * 400,
    "1_000_000 < n_words",
    "1j < 2",
    "...",
    "not",
    "%s %n {0}",
    "'" + "{}" * 100 + "'.format(is_live)",
    "globals()['x']",
    "is_live;import os",
    "is_live\nimport os",
    "#coding: rot13",
    "$(id)",
    "`id`",
    "\N{FULLWIDTH LATIN SMALL LETTER E}val('1')",
    "is_live\u202e and",
    "is_live \u2028or is_live",
    "\ufeffis_live",
    "\ud800",
    "ﬁ == 1",
)
MANY = (
    "(",
    ")",
    "[",
    "(((",
    "not ",
    "-",
    "--",
    "~",
    "+",
    "<",
    "==",
    "is_live<",
    "is_live and ",
    "is_live or (",
    "1<",
    "9",
    "0.",
    "'",
    '"',
    "\\",
    ",",
)
MANY = (
    *MANY,
    "content_type in [",
    "[1,",
    "{",
    "lambda:",
    "a.",
    "x[",
    "é",
    "\x00",
    "\n",
    " ",
    "\t",
    "1 if ",
    "*",
    "**",
    "e9",
    "f'{",
    "#",
    "日本",
)
ODD = "\x00\n\r\t\x0b\x0c\x1b\x7f\xa0\u200b\u202e\u2028\ufeff\ud800\udfff😀é\"'\\()[]{}<>=!&|^~+-*/%.,:;#@$`?_09eEjxN"


def hostile_texts(n: int, seed: int) -> Iterator[str]:
    """``n`` different texts."""
    rng = random.Random(seed)
    makers: tuple[Callable[[random.Random], str], ...] = (
        _changed,
        _changed,
        _changed,
        _piled,
        _quoted_in,
        _soup,
        _noise,
        _nested,
    )
    seen = set(HOSTILE)
    yield from HOSTILE
    while len(seen) < n:
        text = rng.choice(makers)(rng)
        if text not in seen:
            seen.add(text)
            yield text


def _changed(rng: random.Random) -> str:
    """A valid condition in which some characters were put in, taken out, doubled or exchanged."""
    text = rng.choice(VALID)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        until = min(len(text), at + rng.randint(0, 6))
        text = text[:at] + rng.choice([rng.choice(ODD), "", text[at:until] * 2, rng.choice(HOSTILE)]) + text[until:]
    return text


def _piled(rng: random.Random) -> str:
    """One piece again and again, up to a hundred thousand characters, before or after something valid."""
    piece = rng.choice(MANY)
    pile = piece * max(1, int(10 ** rng.uniform(0.5, 5)) // len(piece))
    return rng.choice(
        [pile, pile[: 480 // len(piece) * len(piece)], pile[:450] + " is_live", "is_live and " + pile[:450]]
    )


def _quoted_in(rng: random.Random) -> str:
    """Something hostile in the place of a value, a variable or a part."""
    hostile, valid = rng.choice(HOSTILE), rng.choice(VALID)
    return rng.choice(
        [
            f"{hostile} < 5",
            f"n_words < {hostile}",
            f"({valid}) and {hostile}",
            f"content_type == '{hostile}'",
            f"content_type in [{hostile}]",
            f"not {hostile} or {valid}",
            f"content_type in ['a', {hostile!r}]",
        ]
    )


def _soup(rng: random.Random) -> str:
    words = (
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "for",
        "lambda",
        "None",
        "True",
        "false",
        "<",
        "<=",
        "==",
        "(",
        ")",
        "[",
        "]",
        ",",
    )
    return rng.choice([" ", ""]).join(rng.choices((*words, "-", "5", ".5", "'a'", *NAMES), k=rng.randint(1, 60)))


def _noise(rng: random.Random) -> str:
    return "".join(chr(rng.randrange(rng.choice([128, 256, 0x3000, 0x110000]))) for _ in range(rng.randint(0, 500)))


def _nested(rng: random.Random) -> str:
    depth = rng.randint(1, 120)
    opening, closing = rng.choice(
        [("(", ")"), ("not (", ")"), ("[", "]"), ("(is_live and ", ")"), ("-(", ")"), ("f(", ")"), ("a[", "]")]
    )
    return (
        opening * depth
        + rng.choice(["is_live", "1", "", "x"])
        + closing * rng.choice([depth, depth, depth - 1, depth + 1])
    )


class Audit:
    """Counts Python's audit events while it is switched on; a hook cannot be taken away again."""

    def __init__(self) -> None:
        self.on, self.events = False, list[str]()
        sys.addaudithook(lambda event, _: self.events.append(event) if self.on else None)


def read_hostile(texts: list[str]) -> list[Cell]:
    audit = Audit()
    times, valid, faults, outside = [], 0, 0, 0
    gc.collect()
    gc.disable()
    for text in texts:
        found: Condition | InvalidCondition | None = None
        audit.on = True
        start = time.thread_time_ns()
        try:
            found = compile_condition(text, NAMES)
            for record in RECORDS:
                found.holds(record)
        except InvalidCondition as error:
            found = error
        except BaseException as error:  # counted: there must be none
            audit.on = False
            print(f"{type(error).__name__} for {text[:80]!r}")
        times.append((time.thread_time_ns() - start) / 1e6)
        audit.on = False
        match found:
            case Condition():
                valid += 1
            case InvalidCondition() if not (0 <= found.position <= len(text) and found.reason):
                outside += 1
            case None:
                faults += 1
    gc.enable()
    parsed = [_parse_time(text) for text in texts]
    n = len(texts)
    other = "ast.parse of the same text"
    shares = [(valid, "hostile texts: harmless and valid"), (n - valid - faults, "hostile texts: refused")]
    none = [
        (outside, "refused without a reason, or at a place outside the text"),
        (faults, "any other exception"),
        (len(audit.events), "audit events (compiled, executed, imported, opened)"),
    ]
    print("audit events:", sorted(set(audit.events)))
    return [
        *[
            Cell(case=c, ours=v, other=None, other_name="", ratio=None, low=None, high=None, unit="texts", n=n)
            for v, c in shares + none
        ],
        _time_cell("CPU of one hostile text, median", times, parsed, other, 50),
        _time_cell("CPU of one hostile text, 99 in 100", times, parsed, other, 99),
        _time_cell("CPU of one hostile text, longest", times, parsed, other, 100),
    ]


def _time_cell(case: str, ours: list[float], other: list[float], name: str, percentile: int) -> Cell:
    a, b = float(np.percentile(ours, percentile)), float(np.percentile(other, percentile))
    return Cell(case=case, ours=a, other=b, other_name=name, ratio=a / b, low=None, high=None, unit="ms", n=len(ours))


def _parse_time(text: str) -> float:
    start = time.thread_time_ns()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    return (time.thread_time_ns() - start) / 1e6


def speed(rounds: int) -> list[Cell]:
    condition = compile_condition(TEXT, NAMES)
    code = compile(TEXT, "<trusted>", "eval")
    yardstick = "eval of the trusted text, compiled before (unsafe)"
    cells = [
        _beside(
            f"one record, {what}",
            lambda r=record: condition.holds(r),
            other,
            yardstick if other else "",
            20_000,
            rounds,
        )
        for what, record, other in (
            ("both comparisons", RECORDS[0], lambda: eval(code, {}, RECORDS[0])),
            ("first comparison says no", RECORDS[1], lambda: eval(code, {}, RECORDS[1])),
            ("variables missing", RECORDS[3], None),
        )
    ]
    cells.append(
        _beside(
            "reading the text",
            lambda: compile_condition(TEXT, NAMES),
            lambda: compile(TEXT, "<trusted>", "eval"),
            "compile",
            500,
            rounds,
        )
    )
    rng = np.random.default_rng(1)
    n = 1_000_000
    columns = {"duration_seconds": rng.uniform(0, 200, n), "overall_quality": rng.uniform(0, 1, n)}
    columns["overall_quality"][rng.random(n) < 0.1] = np.nan

    def by_hand() -> object:
        return (columns["duration_seconds"] < 60) & (columns["overall_quality"] < 0.5)

    assert np.array_equal(condition.column(columns), by_hand())
    cells.append(
        _beside(
            "columns of 10^6 records",
            lambda: condition.column(columns),
            by_hand,
            "by hand in numpy",
            1,
            rounds,
            1e3,
            "ms",
        )
    )
    return cells


def _beside(
    case: str,
    ours: Callable[[], object],
    other: Callable[[], object] | None,
    name: str,
    n: int,
    rounds: int,
    scale: float = 1e6,
    unit: str = "us",
) -> Cell:
    """Time of one call, in turns with the other; the calling of an empty function is taken off
    where calls are counted in microseconds.
    """
    mine, theirs = [], []
    for _ in range(rounds):
        empty = _timed(lambda: None, n) if unit == "us" else 0.0
        mine.append((_timed(ours, n) - empty) * scale)
        theirs.append((_timed(other, n) - empty) * scale if other else float("nan"))
    a, b = float(np.median(mine)), float(np.median(theirs))
    if other is None:
        return Cell(
            case=case, ours=a, other=None, other_name="", ratio=None, low=None, high=None, unit=unit, n=n * rounds
        )
    low, high = ratio_interval(mine, theirs, np.median)
    return Cell(case=case, ours=a, other=b, other_name=name, ratio=a / b, low=low, high=high, unit=unit, n=n * rounds)


def _timed(call: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    write_result("conditions", [*speed(given.rounds), *read_hostile(list(hostile_texts(given.texts, given.seed)))])


if __name__ == "__main__":
    main()
