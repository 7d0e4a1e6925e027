"""The one way from a Variant to a model's messages, and from its text to a value and back: all scoring, serving,
export.

``parsers.py`` has the ways to read an answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import (
    MAX_NAME_CHARS,
    Fault,
    InvalidInput,
    faults_text,
    first_alike,
    pointer_of,
    shorten,
)
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.parsers import fold_label, parser_of
from optimizer.core.family.settings import Output
from optimizer.core.family.variant import CHAT_ROLES, VARIABLE, FewShot, Message, Variant, turn_faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAnswer:
    """``value`` where the text could be read, else ``error`` with the reason."""

    value: Any = None
    error: str | None = None


def parse_output(output: Output, text: str) -> ParsedAnswer:
    """Reads the model's text by the parser that the Family declares.

    Never raises: a text that cannot be read is the model's failure and is scored as such.
    """
    try:
        return ParsedAnswer(value=parser_of(output).read(text, output))
    except ValueError as unreadable:
        return ParsedAnswer(error=str(unreadable))
    except InvalidInput as broken:
        return ParsedAnswer(error=broken.detail)


def expected_value(output: Output, expected: Mapping[str, Any]) -> Any:
    """The part of an Example's ``expected`` that the output is compared with. Raises InvalidInput where
    it is missing.
    """
    if output.field not in expected:
        raise InvalidInput(
            f"The expected output has no {output.field!r}, only {', '.join(expected) or 'nothing'}. "
            f"Name the field as the family's output.field does, or change output.field."
        )
    return expected[output.field]


def with_own_labels(output: Output, expected: Mapping[str, Any]) -> dict[str, Any]:
    """An expected output whose labels are written as the family spells them, so that one label is one class wherever
    examples are counted and shown. What is no label stays as it is, also where a model's answer would be read as one:
    "no payment" is not payment.
    """
    labels = right_labels(output, expected) if output.parser == "label" else []
    if not labels:
        return dict(expected)
    return {**expected, output.field: labels if isinstance(expected[output.field], list) else labels[0]}


def right_labels(output: Output, expected: Mapping[str, Any]) -> list[Any]:
    """The labels each of which is right, as the family spells them; none where nothing is expected."""
    value = expected.get(output.field)
    if value in (None, ""):
        return []
    spelled = {fold_label(label): label for label in output.labels or ()}
    write = parser_of(output).write
    return [spelled.get(fold_label(write(one)), one) for one in (value if isinstance(value, list) else [value])]


def expected_text(output: Output, expected: Mapping[str, Any]) -> str:
    """An expected output as an assistant message: reading it back with ``parse_output`` gives the expected value."""
    return parser_of(output).write(expected_value(output, expected))


def shown_text(output: Output, expected: Mapping[str, Any]) -> str:
    """An expected output as a few-shot example shows it; raises InvalidInput where the Example has nothing to show."""
    if output.shown is None:
        return expected_text(output, expected)
    if expected.get(output.shown) in (None, "", []):
        raise InvalidInput(
            f"The expected output has no {output.shown!r}, which output.shown names, so it shows no answer. It can be"
            f" scored all the same."
        )
    return parser_of(output).write(expected[output.shown])


MAX_CHARS = 16 * 1024 * 1024  # of a prompt: more than any body, so only repetition of a value gets there
# Only so many unknown inputs get a suggestion, so that a record of a million names is answered at once.
MAX_HINTS = 10


class PromptTooLong(InvalidInput):
    """Values that the prompt repeats so often that it would not fit into memory."""


def render(
    variant: Variant,
    variables: Mapping[str, Any],
    history: Sequence[Message] = (),
    *,
    declared: Collection[str] | None = None,
) -> list[Message]:
    """``fill(render_open(variant), variables, history)``: what the model is sent, byte for byte the same everywhere."""
    return fill(render_open(variant), variables, history, declared=declared)


def render_open(variant: Variant) -> list[Message]:
    """Messages with the examples in place as user/assistant pairs; ``{{variables}}`` and {role: history} stay open.

    The examples stand at the first {role: examples}; without one, before the last user message, and before a history
    that stands directly before it. An example's user message is the Variant's last user message filled with the
    example's input.

    Raises:
        InvalidInput: an example lacks an input of the prompt.
        PromptTooLong: the examples fill more than MAX_CHARS.
    """
    messages = [dict(m) for m in variant.messages]
    if not messages:  # a policy alone
        return []
    at = next((i for i, m in enumerate(messages) if m["role"] == "examples"), None)
    template = messages[_last_user(messages)]["content"]
    length = _Length()
    pairs = [message for example in variant.examples for message in _pair(template, example, length)]
    if at is not None:
        return messages[:at] + pairs + [m for m in messages[at + 1 :] if m["role"] != "examples"]
    at = _last_user(messages)
    if at and messages[at - 1]["role"] == "history":
        at -= 1
    return messages[:at] + pairs + messages[at:]


def fill(
    messages: Sequence[Message],
    variables: Mapping[str, Any],
    history: Sequence[Message] = (),
    *,
    declared: Collection[str] | None = None,
) -> list[Message]:
    """Open messages with every variable replaced once, left to right: a ``{{name}}`` inside a value stays as it is.

    Texts go in as they are, other values as JSON; null is no value. Earlier turns stand where {role: history} stands,
    else before the last user message, after the examples.

    Args:
        declared: names that may be given although these messages do not use them (a Family's inputs); None: none but
            the used ones.
    Returns:
        The messages; none where there are none, for a policy alone: its variables are a record, of which any part may
        be missing.
    Raises:
        InvalidInput: names every variable that is missing or unknown, and every turn of the history that is no chat
            message.
        PromptTooLong: the messages would have more than MAX_CHARS together.
    """
    if not messages:
        _check_record(variables, declared, history)
        return []
    used = variables_in(messages)
    known = dict.fromkeys([*used, *(declared or ())])
    wanted = f"the prompt asks for {', '.join(known) or 'none'}"
    faults = [
        Fault(
            pointer=pointer_of(["variables", n]),
            detail=f"variable {n!r} is {'null' if n in variables else 'missing'}; the prompt asks for it",
        )
        for n in used
        if variables.get(n) is None
    ]
    faults += first_alike(
        [n for n in variables if n not in known],
        lambda n: Fault(
            pointer=pointer_of(["variables", n]),
            detail=f"variable {shorten(n, MAX_NAME_CHARS)!r} is unknown; {wanted}",
        ),
        "variables are unknown",
    )
    faults += _history_faults(history)
    if faults:
        raise InvalidInput(f"Cannot fill in the prompt: {faults_text(faults, places=False)}.", faults)
    turns = [dict(turn) for turn in history]
    has_slot = any(m["role"] == "history" for m in messages)
    last = _last_user(messages)
    length, n_of_turns = _Length(), sum(len(value_text(turn)) for turn in turns)
    filled: list[Message] = []
    for i, message in enumerate(messages):
        if message["role"] == "history" or (i == last and not has_slot):
            length.add(n_of_turns)
            filled += turns
        if message["role"] != "history":
            filled.append({**message, "content": _substitute(message["content"], variables, length)})
    return filled


def variables_in(messages: Sequence[Message]) -> list[str]:
    """Names of the variables that are open in them, each once, in the order of their first places."""
    return list(dict.fromkeys(name for m in messages for name in VARIABLE.findall(m.get("content") or "")))


def _check_record(variables: Mapping[str, Any], inputs: Collection[str] | None, history: Sequence[Message]) -> None:
    """For a policy alone, which has no prompt: the variables are a record, each an input of the family
    (None: unknown).
    """
    unknown = [name for name in variables if name not in inputs] if inputs is not None else []
    first, listed = unknown[:1], f"; its inputs are {', '.join(inputs or ()) or 'none'}"
    hints = {name: did_you_mean(name, inputs or ()) for name in unknown[:MAX_HINTS]}

    def fault(name: str) -> Fault:
        hint = hints.get(name) or (listed if name in first else "")
        return Fault(
            pointer=pointer_of(["variables", name]),
            detail=f"the family has no input {shorten(name, MAX_NAME_CHARS)!r}{hint}",
        )

    faults = first_alike(unknown, fault, "are no inputs of the family")
    faults += _history_faults(history)
    if faults:
        text = faults_text(faults, places=False)
        raise InvalidInput(f"This record cannot be judged: {text}" + ("" if text.endswith("?") else "."), faults)


def long_inputs(family: Family, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the texts that are longer than their input's ``max_chars``."""
    return tuple(
        name
        for name, declared in family.inputs.items()
        if declared.max_chars is not None
        and isinstance(value := variables.get(name), str)
        and len(value) > declared.max_chars
    )


def is_refused(family: Family, variables: Mapping[str, Any]) -> bool:
    """Whether serving refuses them, since a text is too long for its input."""
    return any(family.inputs[name].too_long == "refuse" for name in long_inputs(family, variables))


def clip_inputs(family: Family, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with each text cut to its input's ``max_chars``; search and serving cut alike.

    Inputs whose longer texts serving refuses stay whole.
    """
    clipped = dict(variables)
    for name in long_inputs(family, variables):
        if family.inputs[name].too_long == "cut":
            clipped[name] = clipped[name][: family.inputs[name].max_chars]
    return clipped


def limit_inputs(family: Family | None, variables: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The variables of a request as ``clip_inputs`` has them, and the names of those that were cut.

    Without a family nothing has a limit.

    Raises:
        InvalidInput: names every text that is longer than its input takes.
    """
    long = long_inputs(family, variables) if family is not None else ()
    if family is None or not long:
        return dict(variables), ()
    faults = [
        Fault(
            pointer=pointer_of(["variables", name]),
            detail=(
                f"{name!r} has {len(variables[name]):,} characters, and the family takes {declared.max_chars:,}"
                f" (inputs.{name}.max_chars in its file); send a shorter text"
            ),
        )
        for name in long
        if (declared := family.inputs[name]).too_long == "refuse"
    ]
    if faults:
        raise InvalidInput(f"The input is too long: {faults_text(faults, places=False)}.", faults)
    return clip_inputs(family, variables), long


def few_shot(family: Family, example: Example, output: str | None = None) -> FewShot:
    """An Example as a Variant may hold it: declared inputs only, cut as in serving, and the output as the model writes
    it.

    Args:
        output: in place of the Example's own.
    Raises:
        InvalidInput: no output is given, and the Example has none to show, or a label that the family has no more.
    """
    if output is None:
        output = shown_text(family.output, example.expected)
        if family.output.labels and family.output.shown is None and parse_output(family.output, output).error:
            raise InvalidInput(f"Example {example.id!r} shows no label of {family.name}.")
    return FewShot(id=example.id, input=clip_inputs(family, family.declared_inputs(example.input)), output=output)


def value_text(value: Any) -> str:
    """A value as a prompt shows it: text as it is, anything else as JSON with sorted keys."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def input_text(input: Mapping[str, Any]) -> str:
    """All that a request says, in the order of its inputs' names."""
    return "\n".join(value_text(input[name]) for name in sorted(input))


def _pair(template: str, example: FewShot, length: _Length) -> tuple[Message, Message]:
    missing = [n for n in dict.fromkeys(VARIABLE.findall(template)) if n not in example.input]
    if missing:
        raise InvalidInput(
            f"Example {example.id!r} lacks {', '.join(missing)}, which the prompt asks for. Leave it out of the"
            " variant, or complete its input."
        )
    question = _substitute(template, example.input, length)
    if VARIABLE.search(question):
        raise InvalidInput(
            f"Example {example.id!r} makes a {{{{variable}}}} when it is put into the prompt. Leave it out of the"
            " variant."
        )
    return {"role": "user", "content": question}, {"role": "assistant", "content": example.output}


class _Length:
    """Characters of a prompt that is being made."""

    def __init__(self) -> None:
        self._n = 0

    def add(self, n: int) -> None:
        """Raises PromptTooLong before anything so long is made."""
        self._n += n
        if self._n > MAX_CHARS:
            detail = f"would have more than {MAX_CHARS:,} characters: a value stands in it too often, or is too long"
            raise PromptTooLong(
                f"Cannot fill in the prompt: it {detail}.", [Fault(pointer="/variables", detail=detail)]
            )


def _substitute(template: str, values: Mapping[str, Any], length: _Length) -> str:
    names = VARIABLE.findall(template)
    texts = {name: value_text(values[name]) for name in dict.fromkeys(names)}
    length.add(len(template) + sum(len(texts[name]) for name in names))
    return VARIABLE.sub(lambda m: texts[m.group(1)], template)


def _last_user(messages: Sequence[Message]) -> int:
    return max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)


def _history_faults(history: Sequence[Message]) -> list[Fault]:
    wrong = [i for i, turn in enumerate(history) if any(True for _ in turn_faults(turn))]
    needed = f"is no chat message; give role ({', '.join(CHAT_ROLES)}) and content (a text, or parts)"
    return first_alike(
        wrong,
        lambda i: Fault(pointer=f"/history/{i}", detail=f"turn {i} of the history {needed}"),
        "turns are no chat messages",
    )
