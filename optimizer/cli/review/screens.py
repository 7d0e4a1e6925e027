"""Reviews one after the other: a screen for each, answered by one key.

An answer is sent when the next one is given, so that the last can be taken back.
"""

from __future__ import annotations

import json
import os
import sys
import termios
import tty
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import typer

from optimizer.cli.output import console, say
from optimizer.core.base.errors import DetentError, InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.feedback.reported import typed_value
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER, RELEASE

SKIP, UNDO, STOP, TYPED = "s", "z", "q", "e"
GRADES = {"1": "useless", "2": "poor", "3": "half", "4": "good", "5": "as good as can be"}
MOST_LABELS = 9  # that have a key
Send = Callable[..., object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOption:
    """What a key stands for: ``means`` in words, and what is sent."""

    means: str
    answer: str
    expected: Any = None
    as_answered: bool = False


@dataclass(kw_only=True)
class Summary:
    """What one sitting did. ``answered``: the reviews as they are now. Mutable: it grows as answers are sent."""

    answered: list[Mapping[str, Any]] = field(default_factory=list)
    n_refused: int = 0


def choices_of(kind: str, family: Family | None) -> dict[str, AnswerOption]:
    """Key -> choice. A label of the family has a key where there are few; any other output is typed."""
    if kind == RATE_ANSWER:
        grades = {key: AnswerOption(means=grade, answer=f"{(int(key) - 1) / 4:g}") for key, grade in GRADES.items()}
        return {**grades, "u": AnswerOption(means="cannot be told", answer="unrated")}
    keep_back = AnswerOption(means="keep it out of every prompt", answer="keep_back")
    if kind != LABEL_INTERACTION:
        return {"r": AnswerOption(means="release it", answer=RELEASE), "k": keep_back}
    right = AnswerOption(means="it was right", answer=RELEASE, as_answered=True)
    labels = (family.output.labels or ()) if family is not None else ()
    if 0 < len(labels) <= MOST_LABELS:
        by_label = {
            str(n): AnswerOption(means=label, answer=RELEASE, expected=label) for n, label in enumerate(labels, start=1)
        }
        return {"a": right, **by_label, "k": keep_back}
    return {"a": right, TYPED: AnswerOption(means="type what is right", answer=RELEASE), "k": keep_back}


def ask_each(
    rows: Sequence[Mapping[str, Any]],
    families: Mapping[str, Family | None],
    *,
    send: Send,
    read_key: Callable[[], str],
) -> Summary:
    """Until all were shown or the person stops; what cannot be sent is told and stays open.

    Args:
        rows: as ``detent review list`` has them.
        send: an answer with ``expected`` and ``as_answered``.
    """
    summary, note = Summary(), ""
    steps: list[tuple[Mapping[str, Any], AnswerOption | None]] = []  # not sent: at most one answer, and skips behind it
    place = 0

    def send_steps() -> str:
        """What was refused; "" where nothing was."""
        last_step = next(((row, choice) for row, choice in steps if choice is not None), None)
        steps.clear()
        if last_step is None:
            return ""
        row, choice = last_step
        try:
            send(row["id"], choice.answer, expected=choice.expected, as_answered=choice.as_answered)
        except DetentError as refused:
            summary.n_refused += 1
            return f"{row['id']} stays open: {refused.detail}"
        summary.answered.append(
            {"id": row["id"], "family": row["family"], "kind": row["kind"], "answer": choice.answer}
        )
        return ""

    while True:
        choices: dict[str, AnswerOption] = {}
        if place < len(rows):
            row = rows[place]
            choices = choices_of(row["kind"], families.get(row["family"]))
            _show(row, choices, f"{place + 1} of {len(rows)}", note)
        elif any(choice is not None for _, choice in steps):
            say(f"{note}\nThat was the last one. {UNDO} takes your last answer back; any other key sends it.")
        else:
            break
        key, note = _key(read_key), ""
        if key == UNDO:
            if steps:
                steps.pop()
                place -= 1
            else:
                note = "Nothing to take back: an answer that was sent stays."
        elif place >= len(rows) or key == STOP:
            break
        elif key == SKIP:
            steps.append((row, None))
            place += 1
        elif key in choices:
            try:
                choice = choices[key] if key != TYPED else _typed(families.get(row["family"]), choices[key])
            except (InvalidInput, typer.Abort) as problem:
                note = problem.detail if isinstance(problem, InvalidInput) else ""
                continue
            note = send_steps()
            steps.append((row, choice))
            place += 1
        else:
            note = f"{key!r} stands for nothing here."
    if refused := send_steps():
        say(refused, style="red")
    return summary


def read_key_press() -> str:
    """One key of the terminal, without Enter; what was typed ahead is kept. Raises EOFError where it is gone."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        typed = os.read(terminal, 1)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    if not typed:
        raise EOFError
    return typed.decode(errors="replace")


def _key(read_key: Callable[[], str]) -> str:
    """A terminal that went away, or Ctrl-C, stops as ``q`` does: what was answered is sent."""
    try:
        return read_key().lower()
    except (KeyboardInterrupt, EOFError, OSError, termios.error):
        return STOP


def _typed(family: Family | None, choice: AnswerOption) -> AnswerOption:
    text = typer.prompt("It should have been", err=True)
    parser = family.output.parser if family is not None else "text"
    return replace(choice, expected=typed_value(parser, text))


def _show(row: Mapping[str, Any], choices: Mapping[str, AnswerOption], where: str, note: str) -> None:
    out = console(stderr=True)
    out.clear()
    out.print(f"{where}   {row['family']}   {row['kind'].replace('_', ' ')}   {row['id']}", style="bold", markup=False)
    for name, value in (
        ("Why", row["why"]),
        ("Input", row["input"]),
        ("Answered", row["output"]),
        ("Expected", row["expected"]),
    ):
        if value not in (None, ""):
            out.print(f"\n{name}", style="dim", markup=False)
            out.print(_text(value), markup=False)
    keys = {**{key: choice.means for key, choice in choices.items()}, SKIP: "skip", UNDO: "undo", STOP: "stop"}
    out.print("\n" + "   ".join(f"[{key}] {means}" for key, means in keys.items()), style="bold", markup=False)
    if note:
        out.print(note, style="red", markup=False)


def _text(value: Any) -> str:
    """A single field without its name, several each with it."""
    if isinstance(value, Mapping):
        if len(value) == 1:
            return _text(next(iter(value.values())))
        return "\n".join(f"{name}: {_text(part)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
