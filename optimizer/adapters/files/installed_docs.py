"""Real text that is on every machine with the dependencies: the documentation of SciPy's public functions and classes.

``read_installed_docs`` gives each documented object once, as clean prose. ``docs_for`` turns them into the examples of
a Family: a family with a text output learns description > the author's own one-line summary, one with labels learns
documentation > topic. Of the parameters of these functions ``installed_parameters.py`` makes examples.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.adapters.files.installed_docs_text import clean_prose, cut_at_sentence, sections_of
from optimizer.core.base.errors import InvalidInput
from optimizer.ports import SourceRow

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedObject:
    """One public object: where it lives, its author's one-line summary,
    and its description as clean prose (may be empty).
    """

    name: str  # scipy.signal.find_peaks
    topic: str  # the subpackage: signal
    summary: str
    description: str


def read_installed_docs() -> Iterator[DocumentedObject]:
    """``installed_docstrings`` as prose."""
    for place, name, doc in installed_docstrings():
        summary, description = sections_of(doc, name)
        topic = place.split(".")[0]
        without_boilerplate = " ".join(_BOILERPLATE.sub("", clean_prose(description)).split())
        yield DocumentedObject(
            name=f"scipy.{place}.{name}",
            topic=topic,
            summary=clean_prose(summary),
            description=without_boilerplate,
        )


def installed_docstrings() -> Iterator[tuple[str, str, str]]:
    """(module, name, docstring) of every documented public object of SciPy once, in the order of its modules and names;
    what is re-exported elsewhere is skipped.

    The docstring is without its common indent.

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
    for doc in read_installed_docs():
        if parser == "text":
            yield _summary_example(doc, input_field, output_field)
        else:
            summary = doc.summary if doc.summary.endswith((".", "!", "?")) else doc.summary + "."
            document = cut_at_sentence(f"{summary} {doc.description}".strip(), MAX_CHARS)
            reason = None
            if doc.topic not in labels:
                reason = f"topic {doc.topic!r} is no label of this family"
            elif len(document) < MIN_CHARS:
                reason = f"documentation shorter than {MIN_CHARS} characters"
            yield SourceRow(
                where=doc.name, input={input_field: document}, expected={output_field: doc.topic}, rejected=reason
            )


def _summary_example(doc: DocumentedObject, input_field: str, output_field: str) -> SourceRow:
    document = cut_at_sentence(doc.description, MAX_CHARS)
    reason = None
    if len(document) < MIN_CHARS:
        reason = f"description shorter than {MIN_CHARS} characters"
    elif len(doc.summary) < MIN_SUMMARY_CHARS:
        reason = f"summary shorter than {MIN_SUMMARY_CHARS} characters"
    elif _plain(doc.summary) in _plain(document):
        reason = "the document contains its summary"
    return SourceRow(
        where=doc.name, input={input_field: document}, expected={output_field: doc.summary}, rejected=reason
    )


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
