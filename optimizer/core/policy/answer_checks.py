"""The validator's checks, one function per issue: cheap, and silent where they are not sure.

tests/unit/policies/test_answer_checks.py is their table of cases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.family.rendering import parse_output, value_text
from optimizer.core.family.settings import Output

MATERIAL_WORDS = 25  # an input of that many words may contain answers
OPENING_CHARS = 300  # refusals and "not found" come at the start of an answer
READ_CHARS = 20_000  # of a tool's result and of an input: the rest is not read
SHORT_WORDS = 60  # a longer answer has said something beside that it found nothing
STEM_CHARS = 5
LEAST_FACTS = 3  # distinctive words without a number that a tool result needs to count

_REFUSALS = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)?\s*(?:(?:really|very|so|truly)\s+)?(?:sorry,?\s*(?:but\s+)?)?(?:(?:i|we)(?:'m"
    r"| am)?\s+)?"
    r"(?:can(?:not|'t| not)|won't|will not|(?:am |'m )?(?:unable|not able|not allowed|not permitted"
    r"|not comfortable)(?: to)?|must (?:decline|refuse)|refuse to|decline to)"
    r"(?:\s+(?:to|in good conscience|help(?:ing)?(?: you)?(?: with)?))*\s+"
    r"(?:help|assist|comply|fulfil+|do (?:that|this|so)|create|generate|engage|support|provide|produce|answer|discuss"
    r"|share|write|continue|participate|offer|respond|complete|with|that|this)\b"
    r"|^\W*(?:i'm |i am )?sorry,? (?:but )?(?:that(?:'s| is) (?:not )?something i|i can(?:not|'t)(?: (?:help|do|assist"
    r"|answer)|\W))"
    r"|\bas an ai(?: language)?(?: model| assistant)?,?\s+i\s+(?:can(?:not|'t)|am (?:not able|unable)|do(?:n't"
    r"| not) (?:have|feel|think))"
    r"|\b(?:it|this|that) (?:is|goes|would be) against (?:my|our) (?:\w+ )?(?:guideline|polic|rule|principle)"
    r"|\b(?:i|we)(?:'m| am|'re| are) not comfortable (?:discuss|shar|answer|writ|provid|help|creat|giv)ing\b"
    r"|\b(?:request|prompt|question|content)\b[^.]{0,40}\b(?:violates|against) (?:my|our|the"
    r"|openai's) (?:\w+ )?(?:polic|guideline|terms)",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"(?:\b(?:i|we)(?:'m|'ve)?\s+(?:\w+,?\s+){0,3}?|^\W*(?:\w+,?\s+)?)"  # not what a third person could not find
    r"(?:could(?:n't| not)|can(?:'t|not)|did(?:n't| not)|was(?:n't| not) able to|were(?:n't| not) able to|unable to"
    r"|failed to)\s+(?:seem to\s+)?(?:find|locate|see|identify|determine|retrieve)\b(?P<a>[^.!?\n]*)"
    r"|\b(?:there (?:is|was|are|were)(?: currently)?|i (?:have|found|see)|we (?:have|found)|found) (?:no|not any"
    r"|n't any)\s+(?:\w+\s+){0,2}?(?:information|info|results?|data|mention|details?|records?|matches|matching|answer"
    r"|evidence|documents?)\b(?P<b>[^.!?\n]*)"
    r"|\bthere (?:is|was|are|were) (?:no|nothing)\b(?P<h>[^.!?\n]{0,60}?)\b(?:listed|available|found|mentioned|shown"
    r"|stated|in the (?:results?|text|document|article|context|data))\b"
    r"|\bnothing (?:about|on|regarding)\b(?P<i>[^.!?\n]{0,60}?)\b(?:stated|mentioned|said|found|given)\b"
    r"|^\W*no (?:\w+\s+){0,2}?(?:information|results?|data|mention|details?|records?|matches)\b(?P<c>[^.!?\n]*)"
    r"|\b(?:text|document|context|passage|article|material|source|sources|information|results?"
    r"|data)\b[^.!?\n]{0,30}\b(?:does|do|did)(?:n't| not) (?:mention|contain|provide|include|specify|say|state|give"
    r"|cover|address|list)\b(?P<d>[^.!?\n]*)"
    r"|^(?P<e>[^.!?\n]{0,120}?)\b(?:is|are|was|were)(?:n't| not) (?:mentioned|specified|provided|stated|given|listed"
    r"|available|included|found)\b(?P<f>[^.!?\n]*)"
    r"|\bi (?:do(?:n't| not) (?:have|know|see)|have no)\s+(?:\w+\s+){0,3}?(?:information|info|data|details?|records?"
    r"|access|idea)\b(?P<g>[^.!?\n]*)",
    re.IGNORECASE,
)
_ITEMS = re.compile(
    r"\b(?:list|name|give|write|suggest|provide|propose|state|find|show)(?: me| us)?(?: the| at least| exactly"
    r"| your)?(?: top| first| best| main)?\s+"
    r"(?P<n>\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)\s+(?!(?:words?|sentences?|lines?|paragraphs?"
    r"|characters?|chars|letters|minutes?|hours?|percent|times?|days?|line|sentence|paragraph|word|page|pages|letter"
    r"|or)\b)[a-z]",
    re.IGNORECASE,
)
_NUMBERS = {
    name: n for n, name in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2)
}
_LISTED = re.compile(r"^[ \t]*(?:[-*•·]|\(?\d{1,2}[.)]|\(?[a-h][.)])\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*\(?(\d{1,2})[.)][ \t]+\S.*\?[ \t]*$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?\n;,]+[.!?\n;,]*")
_WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,:]\d+)*")
_ENDS = tuple(".!?…。！？\"'”’»)]}>`*|:;")
_COMMON_WORDS = """
about above after again against also although another answer anything around based because been before being below
between both cannot could couldn didn does doesn doing done down during each either else every find found from further
given give have having here hers information into itself just know like made make many might more most much must
neither none nothing only other ours over please provided question regarding related relevant result results said same
shall should show since some something such sure tell text than that their them then there these they this those
through under unfortunately until used using very want were what when where which while whose will with within without
would your document context passage material data details detail mention specific requested name names value values
type types true false null status code items item list count total success error message object string number
"""
_COMMON = frozenset(_COMMON_WORDS.split())
# Stems of words that say where nothing was found.
_SAYING = frozenset(("avail", "menti", "provi", "inclu", "speci", "state"))
_IDS = re.compile(r"\"\w{0,40}id\"\s*:\s*(?:\"[^\"\n]{0,80}\"|\d+)", re.IGNORECASE)
_NOTHING = re.compile(
    r"\b(?:no (?:results?|matches|data|records?|documents?|information|entries|hits)|not found|nothing found|error"
    r"|exception|timed? ?out|failed|unavailable|forbidden|denied)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAnswer:
    """An answer and its inputs."""

    text: str
    finish_reason: str = "stop"
    tool_calls: bool = False
    output: Output = field(default_factory=Output)
    input: Mapping[str, Any] = field(default_factory=dict)  # what the application sent, without few-shot examples
    tool_results: Sequence[tuple[str, str]] = ()  # (name, text) of those behind the last user message

    @property
    def inputs(self) -> list[str]:
        return [value_text(value)[:READ_CHARS] for value in self.input.values()]


def is_empty(answered: CheckedAnswer) -> bool:
    """No character that says anything: white space and punctuation only."""
    return not any(unicodedata.category(c)[0] not in "PZC" for c in answered.text)


def is_refusal(answered: CheckedAnswer) -> bool:
    """The model says that it will not or may not; a family whose labels or fields can be read has its answer."""
    if answered.output.parser != "text" and parse_output(answered.output, answered.text).error is None:
        return False
    return (
        _REFUSALS.search(_plain(answered.text)[:OPENING_CHARS]) is not None
        and says_not_found_words(answered.text) is None
    )


def is_cut_off(answered: CheckedAnswer) -> bool:
    """The provider reports the limit, and the answer is neither readable as declared nor at the end of a sentence."""
    if answered.finish_reason != "length":
        return False
    if answered.output.parser not in ("text", "list"):
        return parse_output(answered.output, answered.text).error is not None
    return not answered.text.rstrip().endswith(_ENDS)


def says_not_found(answered: CheckedAnswer) -> bool:
    """A short answer says that nothing was found, though the material has the words in question; silent without
    material.
    """
    phrase = says_not_found_words(answered.text)
    if phrase is None or len(answered.text.split()) > SHORT_WORDS:
        return False
    results = [text for _, text in answered.tool_results if _facts(text)]
    long = [text for text in answered.inputs if len(text.split()) >= MATERIAL_WORDS]
    if not results and not long:
        return False
    wanted = _stems(phrase) - _SAYING or _stems(" ".join(text for text in answered.inputs if text not in long))
    if not wanted:
        return bool(results)
    asked_apart = len(answered.inputs) > 1
    if any(_covered(wanted, text, times=1) for text in results):
        return True
    # The question may be in the same text as the material, and then has its words once without being an answer.
    return any(_covered(wanted, text, times=1 if asked_apart else 2) for text in long)


def says_not_found_words(text: str) -> str | None:
    """What an answer says it has not found, possibly nothing in particular; None where it says no such thing."""
    match = _NOT_FOUND.search(_plain(text)[:OPENING_CHARS])
    return None if match is None else " ".join(part for part in match.groups() if part)


def tool_results_ignored(answered: CheckedAnswer) -> bool:
    """Tools gave facts, and the answer holds none of any of them."""
    facts = [result for _, text in answered.tool_results if (result := _facts(text))]
    return bool(facts) and bool(answered.text.strip()) and not any(_uses(answered.text, result) for result in facts)


def holds_facts(tool_result: str) -> bool:
    """Whether a tool's result tells something that an answer could use: no error, no "no results", no bare ok."""
    return bool(_facts(tool_result))


def incomplete_coverage(answered: CheckedAnswer) -> bool:
    """The answer leaves something out.

    Of several tools' results one is used and another is not; fewer items are listed than were asked for; or fewer
    questions are answered than were numbered.
    """
    if not answered.text.strip():
        return False
    facts = [result for _, text in answered.tool_results if (result := _facts(text))]
    shared = set.intersection(*facts) if len(facts) > 1 else set()
    own = [result - shared for result in facts]
    used = [_uses(answered.text, result) for result in own if result]
    if any(used) and not all(used):
        return True
    question_text = "\n".join(text for text in answered.inputs if len(text.split()) <= 4 * MATERIAL_WORDS)
    if answered.output.parser == "list":
        value = parse_output(answered.output, answered.text).value
        n_listed = len(value) if isinstance(value, list) else 0
    else:
        n_listed = len(_LISTED.findall(answered.text))
    for wanted in _ITEMS.finditer(question_text):
        n = _NUMBERS.get(wanted.group("n").lower()) or int(wanted.group("n"))
        if n > 1 and 0 < n_listed < n:
            return True
    questions = set(_NUMBERED.findall(question_text))
    n_parts = max(n_listed, len([part for part in _SENTENCE.findall(answered.text) if part.strip()]))
    return len(questions) > 1 and n_parts < len(questions)


def _plain(text: str) -> str:
    return text.strip().replace("\u2019", "'").replace("\u2018", "'")


def _stems(text: str) -> set[str]:
    """Words that mean something by themselves, cut so that forms of one word are equal; numbers as they are."""
    words = {word.casefold() for word in _WORD.findall(text)}
    return {
        word[:STEM_CHARS] if word.isalpha() else word
        for word in words
        if not word.isalpha() or (len(word) > 3 and word not in _COMMON)
    }


def _covered(wanted: set[str], text: str, *, times: int) -> bool:
    """Whether the text has most of the wanted words, each so many times."""
    words = [word.casefold() for word in _WORD.findall(text[:READ_CHARS])]
    stems = [word[:STEM_CHARS] if word.isalpha() else word for word in words]
    return 2 * sum(1 for stem in wanted if stems.count(stem) >= times) > len(wanted)


def _facts(tool_result: str) -> set[str]:
    """What a tool's result tells that an answer could use; empty for errors, "no results" and a bare ok."""
    tool_result = _IDS.sub(" ", tool_result[:READ_CHARS])  # the number of a booking need not be told
    if len(tool_result) < 400 and _NOTHING.search(tool_result):
        return set()
    stems = _stems(tool_result)
    numbers = {stem for stem in stems if not stem.isalpha() and stem not in ("0", "1")}
    return stems if numbers or len(stems) >= LEAST_FACTS else set()


def _uses(text: str, facts: set[str]) -> bool:
    """Whether the text has one fact; a number also in another notation (21.4 as 21, 1,000 as 1000) or spelled out."""
    stems = _stems(text)
    if stems & facts:
        return True
    numbers = {_digits(stem) for stem in stems if not stem.isalpha()}
    words = {word.casefold() for word in _WORD.findall(text)}
    numbers |= {str(n) for name, n in _NUMBERS.items() if name in words} | ({"1"} if "one" in words else set())
    wanted = [stem for stem in facts if not stem.isalpha()]
    return any(_digits(stem) in numbers or _rounded(stem) in numbers for stem in wanted)


def _digits(number: str) -> str:
    return number.replace(",", "").rstrip(".")


def _rounded(number: str) -> str | None:
    try:
        return str(round(float(_digits(number))))
    except ValueError:
        return None


def uses_tools(output: Output, input: Mapping[str, Any], tools: Sequence[str], text: str) -> bool | None:
    """Whether an answer says something of what the tools found, and not that nothing was found.

    Args:
        tools: the inputs that hold what tools found.
    Returns:
        None: the tools found nothing that an answer could use, such as an error or an empty list.
    """
    results = [(name, value_text(input[name])) for name in tools if name in input]
    if not any(holds_facts(result) for _, result in results):
        return None
    others = {name: value for name, value in input.items() if name not in tools}
    answered = CheckedAnswer(text=text, output=output, input=others, tool_results=results)
    return not (is_empty(answered) or tool_results_ignored(answered) or says_not_found(answered))
