"""From a numpydoc docstring to plain prose: what reads as text stays, markup, formulas, code and tables go."""

from __future__ import annotations

import re

_UNDERLINE = re.compile(r"^[-=]{3,}\s*$")
_SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*->.*)?$")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|etc|vs|resp|Eq|Eqs|Ref|Refs|Fig|No|approx|et al|Ch|Sec|pp?)|\b[A-Z])\.$"
)


def sections_of(doc: str, name: str) -> tuple[str, str]:
    """(one-line summary, extended description) of a cleaned docstring:
    what stands before the first underlined heading.
    """
    lines = doc.splitlines()
    end = (
        next((i for i in range(1, len(lines)) if _UNDERLINE.match(lines[i]) and lines[i - 1].strip()), len(lines) + 1)
        - 1
    )
    head = "\n".join(lines[: max(end, 0)]).strip("\n")
    paragraphs = re.split(r"\n\s*\n", head)
    while paragraphs and _is_signature(paragraphs[0], name):
        paragraphs.pop(0)
    while paragraphs and paragraphs[0].lstrip().startswith(".. "):  # a deprecation note before the summary
        paragraphs.pop(0)
    return (" ".join(paragraphs[0].split()), "\n\n".join(paragraphs[1:])) if paragraphs else ("", "")


def _is_signature(paragraph: str, name: str) -> bool:
    flat = " ".join(paragraph.split())
    return bool(_SIGNATURE.match(flat)) and flat.startswith((name, "scipy", "f(", "class "))


def clean_prose(text: str) -> str:
    """Running text in one line: no directive, formula, code, list marker, citation or role is left;
    a sentence that needs one goes with it.
    """
    paragraphs: list[str] = []
    # The paragraph before was a formula or code: a paragraph that goes on in lower case belongs to it.
    after_gap = False
    # Paragraphs at the left margin; None stands where a formula, code block, table or directive was.
    result: list[str | None] = []
    in_block = False
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        indented = lines[0][:1] == " "
        if in_block and indented:
            continue
        in_block = False
        first = lines[0].lstrip()
        if first.startswith(("..", ">>>", "+--", "===", "---", "|")):
            in_block = True
            result.append(None)
            continue
        directive = next((i for i, line in enumerate(lines) if line.lstrip().startswith((".. ", ">>>"))), None)
        if directive is not None:
            lines, in_block = lines[:directive], True
        opens_literal = lines[-1].rstrip().endswith("::")
        flat = " ".join(re.sub(r"^\s*(?:[-*•]|\d+[.)]|#\.)\s+", "", line).strip() for line in lines)
        result.append(flat.removesuffix("::").rstrip() if opens_literal else flat)
        if opens_literal or in_block:
            in_block = True
            result.append(None)
    for paragraph in result:
        if paragraph is None:
            if paragraphs and not re.search(r"[.!?)]$", paragraphs[-1]):
                paragraphs[-1] = " ".join(s for s in _sentences(paragraphs[-1]) if re.search(r"[.!?][\"')\]]*$", s))
            after_gap = True
            continue
        # A formula in TeX, a substitution, a web address or a leftover of markup: the sentence does not stand without
        # it.
        plain = " ".join(
            s for s in _sentences(_inline(paragraph)) if not bool(re.search(r"\\|\||`|https?://|::|>>>|__|\{|\}|\^", s))
        ).strip()
        if after_gap and plain[:1].islower():
            plain = " ".join(_sentences(plain)[1:])
        after_gap = False
        if plain:
            paragraphs.append(plain)
    return " ".join(" ".join(p for p in paragraphs if p).split())


def cut_at_sentence(text: str, limit: int) -> str:
    """At most ``limit`` characters, ending with a whole sentence where one ends in the second half, else
    with a whole word.
    """
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    ends = [
        m.end()
        for m in _SENTENCE_END.finditer(head)
        if m.end() <= limit and not _ABBREVIATION.search(head[: m.start() + 1])
    ]
    if ends and ends[-1] >= limit // 2:
        return text[: ends[-1]]
    return head.rsplit(" ", 1)[0].rstrip(" ,;:(")


def _inline(text: str) -> str:
    text = re.sub(
        r"\s*\((?:see|cf\.|from)?(?:\s*\[[\w\s,.-]*\]_,?)+\)", "", text, flags=re.IGNORECASE
    )  # citations in brackets
    text = re.sub(
        r"\b(in|see|See|from|of|to|by|and|on|also|Reference|Ref\.)\s+\[[\w\s,.-]*\]_", r"\1 \\cite", text
    )  # … as a noun
    text = re.sub(r"\s*\[[\w\s,.-]*\]_", "", text)  # … at the end of what they support
    text = re.sub(
        r":math:`([^`]*)`", lambda m: m[1] if re.fullmatch(r"[\w\s+\-*/=<>.,()\[\]]{1,40}", m[1]) else "\\math", text
    )
    text = re.sub(r":[\w:+-]+:`([^`<]*?)\s*<[^`>]*>`", r"\1", text)  # :ref:`text <target>`
    text = re.sub(r":[\w:+-]+:`~?([^`]*)`", lambda m: _last_part(m[1]), text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`__?", r"\1", text)
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r"`~?([^`]*)`_?_?", lambda m: _last_part(m[1]), text)
    text = re.sub(r"(?<!\w)\*\*([^*]+)\*\*(?!\w)|(?<!\w)\*([^*\s][^*]*)\*(?!\w)", lambda m: m[1] or m[2], text)
    text = re.sub(r"\\ ", "", text)
    return re.sub(r"\s+([.,;:])(?=\s|$)", r"\1", text)


def _last_part(name: str) -> str:
    """``scipy.signal.find_peaks`` reads as find_peaks: the path would give the topic away."""
    return name.rsplit(".", 1)[-1] if re.fullmatch(r"[\w.]+", name) and not name.endswith(".") else name


def _sentences(text: str) -> list[str]:
    sentences, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if _ABBREVIATION.search(text[: match.start() + 1]):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    rest = text[start:].strip()
    return [*sentences, rest] if rest else sentences
