"""Early exits: at each checkpoint the first condition that counts and is true ends the processing of an item."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from optimizer.content.core.policy.condition_text import MAX_SHOWN, quote_token
from optimizer.content.core.policy.conditions import Condition, compile_condition
from optimizer.content.core.records.fields import BY_NAME, CHECKPOINTS, known_at
from optimizer.core.base.errors import Fault, InvalidCondition, pointer_of
from optimizer.core.base.knob import Knob, is_share
from optimizer.core.base.phrasing import did_you_mean

BARE_CONFIDENCE = 1.0  # of a condition that is declared as a bare text
ENTRY_KEYS = ("name", "enabled", "condition", "confidence", "reason")

_WORD = re.compile(r"\w+")
_FEWER = "raising it ends fewer items early: slower, and fewer good items are lost"
KNOBS: tuple[Knob, ...] = (
    Knob(name="exit.enabled", kind="flag", default=True, meaning="off: no item ends early."),
    Knob(
        name="exit.min_confidence",
        kind="share",
        default=0.80,
        meaning=(
            "Declared confidence from which a condition counts, at checkpoints that have no number of their own;"
            f" {_FEWER}."
        ),
    ),
    *(
        knob
        for checkpoint in CHECKPOINTS
        for knob in (
            Knob(
                name=f"exit.{checkpoint}.enabled",
                kind="flag",
                default=True,
                meaning=f"off: no item ends early at {checkpoint}.",
            ),
            Knob(
                name=f"exit.{checkpoint}.min_confidence",
                kind="share",
                meaning=(
                    f"Declared confidence from which a condition counts at {checkpoint}; {_FEWER}. Left out:"
                    " `exit.min_confidence`."
                ),
            ),
            Knob(
                name=f"exit.{checkpoint}.conditions",
                kind="list",
                meaning=(
                    f"Conditions at {checkpoint}, the first true one that counts wins; a longer list ends more items"
                    " early."
                ),
            ),
        )
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """One condition with the confidence that was declared with it, from 0 to 1."""

    condition: Condition
    confidence: float = BARE_CONFIDENCE
    name: str = ""
    reason: str = ""
    enabled: bool = True

    @property
    def why(self) -> str:
        return self.reason or self.name or self.condition.text


def first_exit(values: Mapping[str, Any], exits: Sequence[Exit]) -> Exit | None:
    """The first of ``exits`` whose condition holds; None where none does. ``exits`` are those that count."""
    return next((rule for rule in exits if rule.condition.holds(values)), None)


def counting(exits: Sequence[Exit], min_confidence: float) -> tuple[Exit, ...]:
    """The conditions that are enabled and sure enough, in their order."""
    return tuple(rule for rule in exits if rule.enabled and rule.confidence >= min_confidence)


def read_exits(entries: Any, checkpoint: str, at: Sequence[Any]) -> tuple[tuple[Exit, ...], list[Fault]]:
    """The conditions of a checkpoint, and everything wrong with them.

    Args:
        entries: a list of texts, or of mappings with ``condition`` and, as wanted, name, enabled, confidence and
            reason.
        at: path of the list, for the faults' pointers.
    """
    if not isinstance(entries, list | tuple):
        return (), [
            Fault(
                pointer=pointer_of(at),
                detail=f'conditions are a list, such as ["duration_seconds < 60"], not {entries!r}',
            )
        ]
    exits: list[Exit] = []
    faults: list[Fault] = []
    for i, entry in enumerate(entries):
        plain: Any = {"condition": entry} if isinstance(entry, str) else entry
        entry_faults = list(_entry_faults(plain, [*at, i]))
        text_at = pointer_of([*at, i] if isinstance(entry, str) else [*at, i, "condition"])
        condition = None
        if isinstance(plain, Mapping) and isinstance(plain.get("condition"), str):
            try:
                condition = cached_condition(plain["condition"], checkpoint)
            except InvalidCondition as wrong:
                entry_faults.append(Fault(pointer=text_at, detail=_fault_text(wrong, plain["condition"], checkpoint)))
        faults += entry_faults
        if condition is not None and not entry_faults:
            exits.append(
                Exit(
                    condition=condition,
                    confidence=float(plain.get("confidence", BARE_CONFIDENCE)),
                    name=plain.get("name", ""),
                    reason=plain.get("reason", ""),
                    enabled=plain.get("enabled", True),
                )
            )
    return tuple(exits), faults


@lru_cache(maxsize=4096)
def cached_condition(text: str, checkpoint: str) -> Condition:
    """The compiled condition; the same text is compiled once. Raises InvalidCondition."""
    return compile_condition(text, known_at(checkpoint))


def _entry_faults(entry: Any, at: list[Any]) -> Iterator[Fault]:
    if not isinstance(entry, Mapping):
        yield Fault(
            pointer=pointer_of(at), detail=f"a condition is a text, or a mapping with `condition`, not {entry!r}"
        )
        return
    for key in entry:
        if key not in ENTRY_KEYS:
            hint = did_you_mean(str(key), ENTRY_KEYS) or f"; known here: {', '.join(ENTRY_KEYS)}"
            yield Fault(pointer=pointer_of([*at, key]), detail=f"unknown key {key!r}{hint}")
    if not isinstance(entry.get("condition"), str):
        yield Fault(
            pointer=pointer_of([*at, "condition"]),
            detail='the condition is missing; write it as a text, such as "word_count < 50"',
        )
    confidence = entry.get("confidence", BARE_CONFIDENCE)
    if not is_share(confidence):
        yield Fault(
            pointer=pointer_of([*at, "confidence"]), detail=f"a confidence is a number from 0 to 1, not {confidence!r}"
        )
    if not isinstance(entry.get("enabled", True), bool):
        yield Fault(pointer=pointer_of([*at, "enabled"]), detail=f"enabled is true or false, not {entry['enabled']!r}")
    for key in ("name", "reason"):
        if not isinstance(entry.get(key, ""), str):
            yield Fault(pointer=pointer_of([*at, key]), detail=f"{key} is a text, not {entry[key]!r}")


def _fault_text(wrong: InvalidCondition, text: str, checkpoint: str) -> str:
    """The fault with its position.

    Of a name that is known only later, or misspelt from one, that is the reason: what is near it here is not meant.
    """
    word_match = _WORD.match(text, wrong.position)
    word = word_match.group() if word_match else ""
    known = known_at(checkpoint)
    close = (
        difflib.get_close_matches(word[:MAX_SHOWN], BY_NAME, n=1)
        if word_match and "no variable is called" in wrong.reason
        else []
    )
    if close and close[0] not in known:
        later = BY_NAME[close[0]]
        meant = "" if word == later.name else f"no variable is called {quote_token(word)}; did you mean {later.name}? "
        since = f"{later.name} is known from {later.known_from} on, not yet at {checkpoint}; move the condition there"
        wrong = InvalidCondition(text, wrong.position, meant + since)
    return wrong.detail.rstrip(".")
