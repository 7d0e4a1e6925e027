"""Signs that an input gives orders to the model. They are flagged; the input is never changed or refused.

Plain rules catch plain attempts, in English and, for the commonest one, German, French and Spanish. A text without a
sign is not proven harmless, and one with a sign may be harmless, such as a mail about prompts: people and dashboards
see it, and nothing else follows.

Source of the classes: OWASP Top 10 for LLM applications (2025), LLM01.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

Sign = Literal["override", "role", "disclose", "persona", "hidden_text", "not_read"]
# read of all texts of one request together, since its answer waits for it; the sign not_read says that there was more
MAX_CHARS = 20_000
_APART = "\n\x1f\n"  # between two texts: no rule reads over it

_TOLD = r"(?:instructions?|prompts?|rules?|directions?|guidelines?|commands?|context)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|foregoing|all|any|your|the|these|those|system|original|initial)"
_RULES: dict[Sign, tuple[str, ...]] = {
    "override": (
        rf"\b(?:ignore|disregard|forget|override|bypass|skip)\b(?: \w+){{0,2}}? {_BEFORE}(?: \w+){{0,3}}? {_TOLD}\b",
        r"\b(?:ignore|disregard|forget) (?:everything|all|anything)(?: \w+){0,3}?"
        rf" (?:above|before|previously|earlier|{_TOLD})\b",
        r"\b(?:your )?new (?:instructions?|task|role)(?: is| are)?:",
        r"\b(?:ignorier|vergiss|missachte)\w*(?: \w+){0,3}? (?:anweisung|regel|vorgabe|befehl)\w*",
        r"\b(?:ignore[zr]?|oublie[zr]?)(?: \w+){0,3}? (?:instructions?|consignes?|regles?|règles?)\b",
        r"\b(?:ignora|olvida)[rd]?(?: \w+){0,3}? (?:instrucciones|reglas|indicaciones)\b",
    ),
    "role": (
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>",
        r"\[/?inst\]|<</?sys>>|</?(?:system|assistant)(?:_prompt)?>",
        r"(?:^|\n) ?(?:#{2,} ?)?(?:system|assistant) ?(?:prompt|message)? ?:",
    ),
    "disclose": (
        rf"\b(?:reveal|show|print|repeat|output|display|tell|give|list|leak|write)\b(?: \w+){{0,4}}?"
        rf" (?:system|hidden|initial|original|secret|internal|own) (?:message|{_TOLD})\b",
        rf"\b(?:reveal|print|repeat|output|leak)\b(?: \w+){{0,3}}? your(?: \w+){{0,2}}? {_TOLD}\b",
        r"\bwhat (?:is|are|was|were) your (?:system|initial|original|hidden|secret) (?:prompt|instructions?|message"
        r"|rules?)\b",
        r"\b(?:repeat|print|output) (?:\w+ ){0,3}(?:text|words|everything|all) above\b",
    ),
    "persona": (
        r"\byou are now (?:dan\b|in \w+ mode|an? (?:unrestricted|uncensored|unfiltered|evil|different)\b|free\b)",
        r"\b(?:developer|god|jailbreak|sudo|dan|debug) mode\b|\bdo anything now\b|\bjailbr(?:eak|oken)\b",
        r"\b(?:no|without(?: any)?|free of(?: all| any)?) (?:restrictions?|filters?|limitations?|censorship"
        r"|safety guidelines?|content polic\w+)\b",
    ),
}
# A text without any of a sign's words is not searched for it: most inputs have none, and looking for a word is quick.
_WORDS: dict[Sign, tuple[str, ...]] = {
    "override": (
        "ignor",
        "disregard",
        "forget",
        "override",
        "bypass",
        "skip",
        "new ",
        "vergiss",
        "missacht",
        "oublie",
        "olvida",
    ),
    "role": ("<|", "inst]", "sys>", "system", "assistant"),
    "disclose": ("your", "system", "hidden", "initial", "original", "secret", "internal", "own ", "above"),
    "persona": ("you are now", " mode", "do anything now", "jailbr", "no ", "without", "free of"),
}
_COMPILED = {sign: re.compile("|".join(rules), re.IGNORECASE) for sign, rules in _RULES.items()}
_HIDDEN = re.compile("[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069]|[\u200b\u2060-\u2064\ufeff]{2,}")
_SPACES = re.compile(r"[^\S\n]+")


def injection_signs(texts: Iterable[str]) -> tuple[Sign, ...]:
    """Names of the signs in any of the texts, each once, in a fixed order; empty where there is none.

    ``override``: told to ignore its instructions; ``role``: marks of another speaker; ``disclose``: asked for its
    prompt; ``persona``: told to play a person without rules; ``hidden_text``: invisible characters; ``not_read``: over
    20,000 characters in all, of which the first and the last 10,000 were read.
    """
    signs: set[Sign] = set()
    text = _both_ends(_APART.join(texts), signs)
    plain = text
    if not text.isascii():  # ASCII hides nothing, and is normalised
        if _HIDDEN.search(text):
            signs.add("hidden_text")
        plain = _HIDDEN.sub("", unicodedata.normalize("NFKC", text))
    plain = _both_ends(_SPACES.sub(" ", plain), signs)  # normalised, one character may become eighteen
    lower, lines_joined = plain.lower(), plain.replace("\n", " ")
    for sign, words in _WORDS.items():
        for word in words:
            if word in lower:
                if _COMPILED[sign].search(plain if sign == "role" else lines_joined):
                    signs.add(sign)
                break
    return () if not signs else tuple(sign for sign in (*_COMPILED, "hidden_text", "not_read") if sign in signs)


def _both_ends(text: str, signs: set[Sign]) -> str:
    if len(text) <= MAX_CHARS:
        return text
    signs.add("not_read")
    return f"{text[: MAX_CHARS // 2]}{_APART}{text[-MAX_CHARS // 2 :]}"
