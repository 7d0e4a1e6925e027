"""Named issues of an answer, found by plain text checks: no model is asked, and a check that is not sure says nothing.

Words are English; in other languages only ``empty``,
``cut_off`` and what compares tool results with the answer find anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import Knob
from optimizer.core.evaluation.metrics.support import names_in, numbers_in, supported_numbers
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.policy.answer_checks import (
    MATERIAL_WORDS,
    READ_CHARS,
    CheckedAnswer,
    holds_facts,
    incomplete_coverage,
    is_cut_off,
    is_empty,
    is_refusal,
    says_not_found,
    tool_results_ignored,
)
from optimizer.core.policy.attempts import FACTUAL

LARGEST_COUNT = 10  # smaller numbers count the answer's own parts
_MARKER = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s*$")


def factual_errors(answered: CheckedAnswer) -> bool:
    """Whether a text says a number above ten, or a name of two words or more, of which its material has nothing.

    Material are tools' results that tell something and inputs of 25 words or more; without them there is nothing to
    compare with, and no issue. A number of the material may be rounded to a whole one. Lines that end as no sentence
    does, such as headings, are not searched for names.
    """
    results = [text[:READ_CHARS] for _, text in answered.tool_results if holds_facts(text)]
    if answered.output.parser != "text":
        return False
    if not results and not any(len(text.split()) >= MATERIAL_WORDS for text in answered.inputs):
        return False
    source = "\n".join([*results, *answered.inputs])
    rounded = {round(number) for number in numbers_in(source)}
    numbers = [n for n in numbers_in(_MARKER.sub("", answered.text)) if n > LARGEST_COUNT and n not in rounded]
    if any(supported_numbers(None, format(number, "f"), {"source": source}) < 1 for number in numbers):
        return True
    known = set(words(source))
    sentences = [line for line in answered.text.splitlines() if _SENTENCE_END.search(line)]
    try:
        names = [name for line in sentences for name in names_in(line)]
    except ValueError:  # a script without capitals
        return False
    return any(len(name) > 1 and known.isdisjoint(form for word in name for form in words(word)) for name in names)


Then = Literal["retry", "escalate", "flag"]
Facts = Literal["words", "judge"]
THEN: tuple[Then, ...] = ("retry", "escalate", "flag")
BY_WORDS: Facts = "words"
BY_JUDGE: Facts = "judge"

CHECKS: Mapping[str, Callable[[CheckedAnswer], bool]] = {
    "empty": is_empty,
    "refused": is_refusal,
    "cut_off": is_cut_off,
    "not_found": says_not_found,
    "tool_results_ignored": tool_results_ignored,
    "incomplete_coverage": incomplete_coverage,
}
# Looked for where a policy names it alone: predictors and the gate's scorer ``checks`` read the others.
NAMED_CHECKS: Mapping[str, Callable[[CheckedAnswer], bool]] = {**CHECKS, FACTUAL: factual_errors}
ASK_AGAIN: Mapping[str, str] = {
    "empty": "Your answer was empty. Give an answer.",
    "refused": "Your answer was a refusal. The request is legitimate; answer it as well as you can.",
    "cut_off": "Your answer was cut off. Give a shorter one that is complete.",
    "not_found": (
        "You said that nothing was found, and the material above holds something about it. Read it again and answer"
        " from it."
    ),
    "tool_results_ignored": "Your answer did not use the tools' results above. Answer again from these results.",
    "incomplete_coverage": "Your answer covered only a part of what was asked. Answer again and cover every part.",
    "factual_errors": (
        "Your answer said a number or a name that the material above does not hold. Answer again, with nothing but what"
        " it says."
    ),
}

VALIDATE = Knob(
    name="validate",
    kind="list",
    meaning=(
        f"Issues looked for in each answer: {', '.join(NAMED_CHECKS)}; each further one finds more bad answers, and now"
        " and then a good one."
    ),
)
VALIDATE_THEN = Knob(
    name="validate.then",
    kind="text",
    default="flag",
    meaning=(
        "What follows an issue: flag (it is recorded only), retry (the same model is asked once more, with the issue"
        " named, and where the issue stays the next tier is: dearer), escalate (the next tier is asked at once: dearer"
        " still)."
    ),
)
VALIDATE_FACTS = Knob(
    name="validate.facts",
    kind="text",
    default=BY_WORDS,
    meaning=(
        "Who looks for factual_errors: words (numbers and names, without a model), judge (the family's judge is asked"
        " about each answer; one that no ratings vouch for is not asked: dearer, slower, finds more)."
    ),
)
KNOBS = (VALIDATE, VALIDATE_THEN, VALIDATE_FACTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    issues: tuple[str, ...]
    then: Then = "flag"
    facts: Facts = BY_WORDS

    @property
    def asks_judge(self) -> bool:
        return self.facts == BY_JUDGE

    @property
    def read(self) -> tuple[str, ...]:
        """The issues that are found by reading the text alone."""
        return tuple(issue for issue in self.issues if issue != FACTUAL) if self.asks_judge else self.issues


def read_validator(values: Mapping[str, Any], faults: list[Fault]) -> Validator | None:
    """The validator of well-typed knobs; None when it has no issues to find."""
    named: list[str] = []
    for i, issue in enumerate(values.get("validate", ())):
        if not isinstance(issue, str) or issue not in NAMED_CHECKS:
            faults.append(
                Fault(
                    pointer=pointer_of(["validate", i]),
                    detail=f"there is no issue {issue!r}; use {', '.join(NAMED_CHECKS)}",
                )
            )
        elif issue not in named:
            named.append(issue)
    then = values.get("validate.then", "flag")
    if then not in THEN:
        faults.append(
            Fault(pointer="/validate.then", detail=f"an issue is followed by {', '.join(THEN)}, not by {then!r}")
        )
    facts = values.get(VALIDATE_FACTS.name, BY_WORDS)
    if facts not in (BY_WORDS, BY_JUDGE):
        detail = f"facts are checked by {BY_WORDS} or {BY_JUDGE}, not by {facts!r}"
        faults.append(Fault(pointer=pointer_of([VALIDATE_FACTS.name]), detail=detail))
    elif facts == BY_JUDGE and FACTUAL not in named:
        detail = f"the judge looks for {FACTUAL}, which validate does not name; add it there"
        faults.append(Fault(pointer=pointer_of([VALIDATE_FACTS.name]), detail=detail))
    return Validator(issues=tuple(named), then=then, facts=facts) if named else None


def issues_in(answered: CheckedAnswer, named: tuple[str, ...] = tuple(CHECKS)) -> tuple[str, ...]:
    """Those of the named issues that the answer has. An answer that calls tools is not final, and has none."""
    return () if answered.tool_calls else tuple(issue for issue in named if NAMED_CHECKS[issue](answered))


def ask_again(issues: tuple[str, ...]) -> str:
    """What a model is told when it is asked once more."""
    return " ".join(ASK_AGAIN[issue] for issue in issues)
