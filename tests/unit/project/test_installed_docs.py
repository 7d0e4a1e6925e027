"""The documentation of SciPy as examples: clean text, no giveaways, every object once."""

from __future__ import annotations

import re
from functools import cache

import pytest

from optimizer.adapters.files.installed_docs import (
    MAX_CHARS,
    PUBLIC,
    clean_prose,
    cut_at_sentence,
    docs_for,
    sections_of,
)
from optimizer.adapters.files.sources import TYPES, parameters_for
from optimizer.core.base.errors import InvalidInput
from optimizer.ports import SourceRow
from tests.cases import named

pytest.importorskip("scipy", reason="SciPy is not installed")


@cache
def read(parser: str) -> tuple[SourceRow, ...]:
    labels = tuple({place.split(".")[0] for place in PUBLIC})
    return tuple(docs_for(input_field="document", output_field="answer", parser=parser, labels=labels))


def taken(parser: str) -> tuple[SourceRow, ...]:
    return tuple(r for r in read(parser) if r.rejected is None)


@named(
    ("text", "expected"),
    {
        "roles and code become their words": ("Uses `~scipy.fft.fft` on ``x``.", "Uses fft on x."),
        "function role and emphasis": ("See :func:`scipy.linalg.inv` and *this* **one**.", "See inv and this one."),
        "a citation goes, with a sentence that leans on it": ("Fast [1]_. It was shown in [2]_.", "Fast."),
        "reference with text": ("A :ref:`guide <the-guide>` helps.", "A guide helps."),
        "a plain symbol may stay": ("Here :math:`n` is a number.", "Here n is a number."),
        "a formula takes its sentence along": ("First. Here :math:`\\frac{a}{b}` is. Last.", "First. Last."),
        "a formula block and its where-clause": (
            "It solves\n\n.. math::\n\n   x = \\frac{1}{2}\n\nwhere x is big. It is stable.",
            "It is stable.",
        ),
        "code blocks go": ("Example::\n\n    >>> f(1)\n    2\n\nAfter it.", "After it."),
        "directives go with their body": (".. versionadded:: 1.2\n   New.\n\nText stays.", "Text stays."),
        "list markers go": ("It knows\n\n- one\n- two", "It knows one two"),
    },
)
def test_markup_becomes_prose(text: str, expected: str) -> None:
    assert clean_prose(text) == expected


def test_the_summary_is_the_first_paragraph_and_the_description_ends_before_the_parameters() -> None:
    doc = "gamma(z, out=None)\n\nGamma function\nof z.\n\nIt grows fast.\n\nParameters\n----------\nz : array"
    assert sections_of(doc, "gamma") == ("Gamma function of z.", "It grows fast.")


@named(
    ("text", "limit", "expected"),
    {
        "short text stays": ("Short.", 10, "Short."),
        "cut after a sentence": ("One two three. Four five six.", 20, "One two three."),
        "cut after a word": ("A. Then a very long sentence follows here", 24, "A. Then a very long"),
        "an abbreviation ends no sentence": ("It uses e.g. a tree. Then more words", 16, "It uses e.g. a"),
    },
)
def test_long_documents_end_with_a_sentence_or_a_word(text: str, limit: int, expected: str) -> None:
    assert cut_at_sentence(text, limit) == expected


def test_every_object_is_read_once_and_private_or_deprecated_places_are_not() -> None:
    names = [row.where for row in read("text")]
    assert len(names) == len(set(names))
    assert not [n for n in names if any(part.startswith("_") for part in n.split("."))]
    assert "scipy.linalg.inv" in names
    assert "scipy.linalg.basic.inv" not in names


@pytest.mark.parametrize("parser", ["text", "label"])
def test_documents_are_clean_short_and_many(parser: str) -> None:
    rows = taken(parser)
    assert len(rows) >= 560, "fewer give no 100 holdout examples"
    for row in rows:
        document = row.input["document"]
        assert len(document) <= MAX_CHARS
        assert not re.search(r":\w+:`|\.\. \w+::|\\[a-z]+|>>>|\]_", document), row.where


def test_no_document_contains_its_own_summary() -> None:
    for row in taken("text"):
        assert row.expected["answer"].lower().rstrip(".") not in row.input["document"].lower(), row.where


def test_topics_are_subpackages_and_documents_do_not_spell_their_path() -> None:
    rows = taken("label")
    assert {r.expected["answer"] for r in rows} >= {"linalg", "stats", "signal", "special", "sparse", "optimize"}
    assert not [r.where for r in rows if f"scipy.{r.expected['answer']}" in r.input["document"]]


def test_a_topic_that_is_no_label_of_the_family_is_refused_with_its_reason() -> None:
    rows = list(docs_for(input_field="document", output_field="topic", parser="label", labels=("linalg",)))
    assert {r.expected["topic"] for r in rows if r.rejected is None} == {"linalg"}
    assert any("no label of this family" in (r.rejected or "") for r in rows)


def test_a_family_with_json_output_is_told_to_bring_a_file() -> None:
    with pytest.raises(InvalidInput, match="file of your own"):
        next(docs_for(input_field="document", output_field="x", parser="json", labels=()))


@cache
def parameters() -> tuple[SourceRow, ...]:
    return tuple(parameters_for(input_field="parameter", output_field="type", labels=("array", "bool", "int")))


def test_parameters_are_clean_short_and_many_and_none_twice() -> None:
    rows = [row for row in parameters() if row.rejected is None]
    texts = [row.input["parameter"] for row in rows]
    assert len(texts) == len(set(texts)) >= 900
    assert max(map(len, texts)) <= 300
    assert {row.expected["type"] for row in rows} == {"array", "bool", "int"}
    assert not [text for text in texts if re.search(r":\w+:`|\.\. \w+::|>>>|\]_", text)]


def test_a_parameter_has_the_type_that_its_author_wrote_and_stands_in_the_group_of_its_name() -> None:
    found = {row.where: row for row in parameters()}
    row = found["scipy.linalg.inv, overwrite_a"]
    assert row.input["parameter"].startswith("overwrite_a. ")
    assert (row.expected["type"], row.group) == ("bool", "overwrite_a")


def test_what_may_be_of_several_types_or_of_no_label_is_not_taken_and_says_why() -> None:
    reasons = {row.rejected for row in parameters() if row.rejected is not None}
    assert "of several types, or of one that is not told apart here" in reasons
    assert "type 'callable' is no label of this family" in reasons
    assert set(TYPES) == {"array", "bool", "callable", "float", "int", "str"}
