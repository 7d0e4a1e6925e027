"""Real text that is on every machine with the dependencies: the documentation of SciPy's public functions and classes.

``docs_for`` turns each documented object once into an example of a Family, as clean prose: what reads as text stays,
markup, formulas, code and tables go. A family with a text output learns description > the author's own one-line
summary, one with labels learns documentation > topic, which is the subpackage. ``parameters_for`` of ``sources.py``
makes examples of these functions' parameters.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator

from optimizer.core.base.errors import InvalidInput
from optimizer.ports import SourceRow

_UNDERLINE = re.compile(r"^[-=]{3,}\s*$")
_SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*->.*)?$")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|etc|vs|resp|Eq|Eqs|Ref|Refs|Fig|No|approx|et al|Ch|Sec|pp?)|\b[A-Z])\.$"
)


def sections_of(doc: str, name: str) -> tuple[str, str]:
    """(one-line summary, extended description) of a cleaned docstring: the text before the first underlined heading."""
    lines = doc.splitlines()
    end = (
        next((i for i in range(1, len(lines)) if _UNDERLINE.match(lines[i]) and lines[i - 1].strip()), len(lines) + 1)
        - 1
    )
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines[: max(end, 0)]).strip("\n"))
    begins = (name, "scipy", "f(", "class ")
    while paragraphs and _SIGNATURE.match(flat := " ".join(paragraphs[0].split())) and flat.startswith(begins):
        paragraphs.pop(0)
    while paragraphs and paragraphs[0].lstrip().startswith(".. "):  # a deprecation note before the summary
        paragraphs.pop(0)
    return (" ".join(paragraphs[0].split()), "\n\n".join(paragraphs[1:])) if paragraphs else ("", "")


def clean_prose(text: str) -> str:
    """Running text in one line, without directives, formulas, code, list marks, citations or roles.

    A sentence that needs one is left out with it.
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
        if lines[0].lstrip().startswith(("..", ">>>", "+--", "===", "---", "|")):
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
    """At most ``limit`` characters: up to a whole sentence if one ends in the second half, else up to a whole word."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    ends = [
        m.end()
        for m in _SENTENCE_END.finditer(head)
        if m.end() <= limit and not _ABBREVIATION.search(head[: m.start() + 1])
    ]
    return text[: ends[-1]] if ends and ends[-1] >= limit // 2 else head.rsplit(" ", 1)[0].rstrip(" ,;:(")


def _inline(text: str) -> str:
    # Citations in brackets.
    text = re.sub(r"\s*\((?:see|cf\.|from)?(?:\s*\[[\w\s,.-]*\]_,?)+\)", "", text, flags=re.IGNORECASE)
    # … as a noun.
    text = re.sub(r"\b(in|see|See|from|of|to|by|and|on|also|Reference|Ref\.)\s+\[[\w\s,.-]*\]_", r"\1 \\cite", text)
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


MAX_CHARS = 600  # a document is cut at the end of a sentence, else of a word, within this length
MIN_CHARS = 40  # shorter texts say no more than their summary
MIN_SUMMARY_CHARS = 15
# Public places of SciPy's own API reference;
# deprecated namespaces (scipy.stats.mvn, scipy.linalg.basic, …) are not among them.
PUBLIC = (
    *("cluster.hierarchy", "cluster.vq", "constants", "differentiate", "fft", "integrate", "interpolate", "io"),
    *(
        "linalg",
        "ndimage",
        "optimize",
        "signal",
        "signal.windows",
        "sparse",
        "sparse.csgraph",
        "sparse.linalg",
        "spatial",
    ),
    *(
        "spatial.distance",
        "spatial.transform",
        "special",
        "stats",
        "stats.contingency",
        "stats.qmc",
        "stats.mstats",
        "odr",
    ),
)


def installed_docstrings() -> Iterator[tuple[str, str, str]]:
    """(module, name, docstring) of every documented public object of SciPy, once, in order of modules and names.

    Objects that are re-exported elsewhere are skipped. The docstring is without its common indent.

    Raises:
        InvalidInput: SciPy is not installed.
    """
    seen: set[int] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in PUBLIC:
            try:
                module = importlib.import_module("scipy." + place)
            except ImportError as e:
                raise InvalidInput(
                    "The source 'installed-docs' reads SciPy's documentation, and SciPy is not installed here."
                ) from e
            names = getattr(module, "__all__", None) or dir(module)
            for name in sorted([n for n in names if not n.startswith("_")]):
                member = getattr(module, name, None)
                if member is None or inspect.ismodule(member) or not callable(member) or id(member) in seen:
                    continue
                seen.add(id(member))
                doc = getattr(member, "__doc__", None)
                if (
                    isinstance(doc, str)
                    and doc.strip()
                    and not (inspect.isclass(member) and issubclass(member, BaseException))
                ):
                    yield place, name, inspect.cleandoc(doc)


def docs_for(*, input_field: str, output_field: str, parser: str, labels: tuple[str, ...]) -> Iterator[SourceRow]:
    """Rows for a family with one text input; ``parser`` text gives summaries, label gives topics.

    Raises:
        InvalidInput: the family has another kind of output.
    """
    if parser not in ("text", "label"):
        raise InvalidInput(
            "The source 'installed-docs' holds summaries (for a text output) and topics (for a label output); this"
            f" family's output is {parser!r}. Import a file of your own instead."
        )
    for place, name, doc in installed_docstrings():
        head, body = sections_of(doc, name)
        where, summary = f"scipy.{place}.{name}", clean_prose(head)
        description = " ".join(_BOILERPLATE.sub("", clean_prose(body)).split())
        if parser == "text":
            document = cut_at_sentence(description, MAX_CHARS)
            reason = None
            if len(document) < MIN_CHARS:
                reason = f"description shorter than {MIN_CHARS} characters"
            elif len(summary) < MIN_SUMMARY_CHARS:
                reason = f"summary shorter than {MIN_SUMMARY_CHARS} characters"
            elif _plain(summary) in _plain(document):
                reason = "the document contains its summary"
            yield SourceRow(
                where=where, input={input_field: document}, expected={output_field: summary}, rejected=reason
            )
        else:
            topic = place.split(".")[0]
            sentence = summary if summary.endswith((".", "!", "?")) else summary + "."
            document = cut_at_sentence(f"{sentence} {description}".strip(), MAX_CHARS)
            reason = None
            if topic not in labels:
                reason = f"topic {topic!r} is no label of this family"
            elif len(document) < MIN_CHARS:
                reason = f"documentation shorter than {MIN_CHARS} characters"
            yield SourceRow(where=where, input={input_field: document}, expected={output_field: topic}, rejected=reason)


# Said in the same words of every distribution, or of every function of linalg: it would make a hundred documents alike.
_BOILERPLATE = re.compile(
    r"As an instance of the rv_(?:continuous|discrete) class,.*?(?:particular distribution\.|$)"
    r"|Array argument\(s\) of this function may have [^.]*\.(?: In this case, the array is treated as [^.]*\.)?"
    r"|The documentation is written assuming array arguments are of specified [^.]*\.(?: However, [^.]*\.)?(?: In this"
    r" case, [^.]*\.)?"
    r"|Note that calls with zero-size batches [^.]*\."
    r"|The (?:location|scale) \(\w+\) keyword specifies [^.]*\.|Continuous distributions have [^.]*\.",
    re.DOTALL,
)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
