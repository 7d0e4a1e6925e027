"""The labels of a sheet: how frequent each is, which look like a slip of another, and which the prompt names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

LEAST_SIMILARITY = 0.75  # by difflib, in [0, 1], between a rare label and a frequent one
MOST_RARE = 0.1  # such a slip is at most a tenth as frequent as what was meant
LEAST_WORD = 4  # letters of a word in which one slip is a slip: "in" and "on" are two words
MOST_WORDS = 4  # of what a prompt may mean as a label
N_SHOWN = 30
_AROUND = " \t\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb[]<>*."
_SEPARATORS = r"[\s_\-\u2010-\u2013]+"
_BULLET = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+(.*)")
_END_OF_ITEM = re.compile(r":\s|\s[-–—=]\s|[(\n]|$")
_END_OF_SENTENCE = re.compile(r"[.!?:](?:\s|$)|\n")
_BETWEEN = re.compile(r"\s*[,;|/]\s*(?:(?:or|and)\s+)?|\s+(?:or|and)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlike:
    """``rare`` may be ``common``, misspelt or written otherwise."""

    rare: str
    n_rare: int
    common: str
    n_common: int

    @property
    def same(self) -> bool:
        """Apart in case and white space alone, which count as one where an answer is read."""
        return _same(self.rare, self.common)

    @property
    def text(self) -> str:
        return f"{self.rare!r} ({self.n_rare}) looks like {self.common!r} ({self.n_common})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsInPrompt:
    """How the labels of a sheet and those of its prompt differ."""

    unnamed: tuple[str, ...]  # of the sheet, and not in the prompt
    spelled: Mapping[str, str]  # label of the sheet > as the prompt writes it, where an answer so written is not read
    unknown: tuple[str, ...]  # labels in a list of the prompt that no row has


def look_alikes(counts: Mapping[str, int]) -> list[LookAlike]:
    """Labels that differ in case, white space, underscores, hyphens or one slip, and rare ones nearly like a frequent
    one.

    The rarer of each pair is named once.

    Args:
        counts: label -> number of rows.
    """
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    pairs = []
    for at, rare in enumerate(ordered):
        alike: Iterable[Callable[[str, str], bool]] = (_same, lambda a, b: _joined(a) == _joined(b), _is_one_slip)
        matches = (common for test in alike for common in ordered[:at] if test(rare, common))
        common = next(matches, None) or _nearest(rare, ordered[:at], counts)
        if common is not None:
            pairs.append(LookAlike(rare=rare, n_rare=counts[rare], common=common, n_common=counts[common]))
    return pairs


def labels_in_prompt(prompt: str, labels: Iterable[str]) -> LabelsInPrompt:
    """The labels that only the prompt or only the sheet has.

    A text of the prompt counts as a label where it stands in one list with at least two labels of the sheet: between
    commas, or one a line.
    """
    unnamed, spelled, known = [], dict[str, str](), {_joined(label) for label in labels}
    for label in labels:
        words = map(re.escape, re.split(_SEPARATORS, label.strip()))
        mentions = re.findall(rf"(?<!\w){'[ _-]?'.join(words)}(?!\w)", " ".join(prompt.split()), re.IGNORECASE)
        if not mentions:
            unnamed.append(label)
        elif not any(_same(label, text) for text in mentions):
            spelled[label] = mentions[0]
    unknown = dict[str, None]()
    for items in _lists(prompt, known):
        if sum(_joined(item) in known for item in items) >= 2:
            unknown |= dict.fromkeys(item for item in items if _joined(item) not in known)
    return LabelsInPrompt(unnamed=tuple(unnamed), spelled=spelled, unknown=tuple(unknown))


def counts_text(counts: Mapping[str, int]) -> str:
    """Every label with its rows, the most frequent first: ``card 233, refund 12``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ordered) - N_SHOWN} more" if len(ordered) > N_SHOWN else ""
    return ", ".join(f"{label} {n}" for label, n in ordered[:N_SHOWN]) + more


def _lists(prompt: str, known: set[str]) -> Iterator[list[str]]:
    """The lists of the prompt, item by item: its bullets, and each sentence with separators."""
    bullets = [match.group(1) for line in prompt.splitlines() if (match := _BULLET.match(line))]
    yield _items([re.split(_END_OF_ITEM, bullet, maxsplit=1)[0] for bullet in bullets])
    for sentence in re.split(_END_OF_SENTENCE, prompt):
        first, *others = re.split(_BETWEEN, sentence)
        if others:  # the first and the last item may be part of the sentence around the list
            ends, begins = first.split(), others[-1].split()
            tails = (" ".join(ends[at:]) for at in range(len(ends)))
            heads = (" ".join(begins[:n]) for n in range(len(begins), 0, -1))
            first = next((text for text in tails if _joined(text) in known), "")
            others[-1] = next((text for text in heads if _joined(text) in known), others[-1])
        yield _items([first, *others])


def _items(texts: Iterable[str]) -> list[str]:
    stripped = (text.strip(_AROUND) for text in texts)
    return [text for text in stripped if text and "{" not in text and len(text.split()) <= MOST_WORDS]


def _same(a: str, b: str) -> bool:
    return " ".join(a.split()).casefold() == " ".join(b.split()).casefold()


def _joined(label: str) -> str:
    return re.sub(_SEPARATORS, "", label.strip(_AROUND)).casefold()


def _is_one_slip(a: str, b: str) -> bool:
    """One letter more, less, other or swapped with its neighbour, in one word; another digit is another label."""
    words, of_other = (re.split(_SEPARATORS, label.strip().casefold()) for label in (a, b))
    apart = [(one, other) for one, other in zip(words, of_other, strict=False) if one != other]
    if len(words) != len(of_other) or len(apart) != 1:
        return False
    short, long = sorted(apart[0], key=len)
    at = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    rest, of_long = short[at:], long[at:]
    if len(short) < len(long):
        is_slip = rest == of_long[1:]
    else:
        is_slip = rest[1:] == of_long[1:] or rest[1::-1] + rest[2:] == of_long
    return is_slip and len(short) >= LEAST_WORD and not re.search(r"\d", rest[:1] + of_long[:1])


def _nearest(rare: str, others: list[str], counts: Mapping[str, int]) -> str | None:
    frequent = [c for c in others if counts[rare] <= MOST_RARE * counts[c]]
    similarity = {c: SequenceMatcher(None, _joined(rare), _joined(c), autojunk=False).ratio() for c in frequent}
    best = max(similarity, key=lambda c: similarity[c], default=None)
    return best if best is not None and similarity[best] >= LEAST_SIMILARITY else None
