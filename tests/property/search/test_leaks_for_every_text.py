"""Whatever a sealed text says, however a proposal writes it: eight of its words in a row are found, seven are not."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from optimizer.core.family.variant import Variant
from optimizer.core.search.leaks import WINDOW, LeakCheck, fingerprints

SEALED_WORDS = [f"{stem}{ending}" for stem in ("amber", "boat", "cedar", "Ärger", "été", "ночь") for ending in "abcd"]
OTHER_WORDS = [f"plain{n}" for n in range(40)]
GLUE = st.sampled_from([" ", "  ", "\n", ", ", "; ", " - ", '" ', " (", ") ", "…", "\t* ", " / ", " \u200b"])

sealed = st.lists(st.sampled_from(SEALED_WORDS), min_size=WINDOW, max_size=30, unique=True)
around = st.lists(st.sampled_from(OTHER_WORDS), max_size=20)


@st.composite
def written(draw: st.DrawFn, words: list[str]) -> str:
    """The words in any case, with any white space and punctuation between them."""
    cases = draw(st.lists(st.sampled_from([str.upper, str.lower, str.title, str]), min_size=len(words)))
    glue = draw(st.lists(GLUE, min_size=len(words), max_size=len(words)))
    return "".join(case(word) + between for case, word, between in zip(cases, words, glue, strict=False))


def check_of(hidden: str, *, own: str = "", shown: str = "") -> LeakCheck:
    def nothing(counts: Any) -> None: ...

    return LeakCheck([own], hidden=lambda: fingerprints(hidden), shown=lambda: fingerprints(shown), refused=nothing)


def proposal(text: str) -> Variant:
    return Variant(messages=({"role": "system", "content": text}, {"role": "user", "content": "{{document}}"}))


@given(st.data())
def test_eight_words_in_a_row_are_found_however_they_are_written(data: st.DataObject) -> None:
    words = data.draw(sealed)
    at = data.draw(st.integers(0, len(words) - WINDOW))
    quoted = [*data.draw(around), *words[at : at + WINDOW], *data.draw(around)]
    assert check_of(" ".join(words)).leaks("p", proposal(data.draw(written(quoted))))


@given(st.data())
def test_seven_words_in_a_row_are_not(data: st.DataObject) -> None:
    words = data.draw(sealed)
    at = data.draw(st.integers(0, len(words) - WINDOW + 1))
    quoted = [*data.draw(around), *words[at : at + WINDOW - 1], *data.draw(around)]
    assert not check_of(" ".join(words)).leaks("p", proposal(data.draw(written(quoted))))


@given(st.data())
def test_what_is_said_openly_may_be_said_again(data: st.DataObject) -> None:
    words = data.draw(sealed)
    text, openly = data.draw(written(words)), data.draw(written([*data.draw(around), *words]))
    is_own = data.draw(st.booleans())
    check = check_of(" ".join(words), **{"own" if is_own else "shown": openly})
    assert not check.leaks("p", proposal(text))


@given(sealed, sealed)
def test_the_fingerprints_are_those_of_the_words_in_a_row_and_of_nothing_else(one: list[str], other: list[str]) -> None:
    def rows(words: list[str]) -> set[str]:
        return {" ".join(words[i : i + WINDOW]).casefold() for i in range(len(words) - WINDOW + 1)}

    shared = fingerprints(" ".join(one)) & fingerprints(" ".join(other))
    assert len(shared) == len(rows(one) & rows(other))
