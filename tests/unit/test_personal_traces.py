"""By what a person's data is known elsewhere: names of rows and words in a row, kept as digests."""

from __future__ import annotations

import json

import pytest

from optimizer.core.feedback.personal_traces import GONE, PersonalTraces, unescaped

UNIT = "a1" * 32
SAID = "My parcel never came, and nobody at the shop answers!"
SHORT = "lost again, Jane"


def traces(**more: object) -> PersonalTraces:
    known = {"names": ["in_4711"], "requests": [[SAID]], "corrections": ["say that it is a parcel from the far north"]}
    return PersonalTraces.of(UNIT, **{**known, "others": ["The parcel of Jane waits at the depot in town"], **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "quoted", "shown"),
    [
        pytest.param(SAID, True, True, id="what they wrote"),
        pytest.param("PARCEL never came and  nobody at the shop -- says one.", True, True, id="eight words of it"),
        pytest.param("parcel never came and nobody at the", False, False, id="seven"),
        pytest.param("Say: that it is a parcel from the far north", True, True, id="a correction"),
        pytest.param("the parcel of jane waits at the depot in town", False, True, id="what a model answered them"),
        pytest.param("GET /v1/interactions/in_4711 200", False, True, id="a row's name within a line"),
        pytest.param("in_47112", False, False, id="another row's"),
        pytest.param(f'{{"unit_hmac":"{UNIT}"}}', False, True, id="the unit's HMAC"),
    ],
)
def test_a_text_quotes_the_person_by_eight_words_and_shows_them_by_more(text: str, quoted: bool, shown: bool) -> None:
    assert (traces().are_quoted_in(text), traces().are_shown_in(text)) == (quoted, shown)


@pytest.mark.parametrize(
    ("request_", "text", "shown"),
    [
        pytest.param([SHORT], "system: Lost again, Jane -> delivery", True, id="the whole of a short request"),
        pytest.param([SHORT], "lost again", False, id="a part of it"),
        pytest.param(["yes"], "yes, yes", False, id="a word that stands everywhere"),
        pytest.param([SHORT, "in plain English"], "in plain English: hello", False, id="one of its two texts"),
        pytest.param([SHORT, "in plain English"], f"in plain English: {SHORT}", True, id="both of them"),
        pytest.param([SAID, "in plain English"], "in plain English: hello", False, id="beside a long one"),
    ],
)
def test_a_short_request_is_known_by_all_that_it_says(request_: list[str], text: str, shown: bool) -> None:
    assert traces(requests=[request_], corrections=()).are_shown_in(text) is shown
    assert not traces(requests=[[SHORT]], corrections=()).are_quoted_in(text), "no prompt goes because of it"


def test_what_a_family_says_itself_is_its_own() -> None:
    own = traces().without_quotes_of([f"You read letters such as: {SAID}"])
    assert not own.are_quoted_in(SAID)
    assert own.are_quoted_in("say that it is a parcel from the far north")


def test_a_value_loses_its_texts_and_names_and_keeps_its_form() -> None:
    known = traces()
    value = {"in_4711": [SAID, "in_4711", 3, None, {"k": "nothing of it"}]}
    alias = known.alias("in_4711")
    assert known.without(value, shows=known.are_quoted_in) == {alias: [GONE, alias, 3, None, {"k": "nothing of it"}]}
    assert alias == traces().alias("in_4711") != "in_4711"


def test_they_are_the_same_after_a_kill_and_hold_no_text() -> None:
    known = traces(requests=[[SAID], [SHORT]])
    written = known.dumped()
    assert PersonalTraces.loaded(written) == known
    assert b"parcel" not in written
    assert b"Jane" not in written
    assert known.joined(PersonalTraces.of(UNIT, names=["in_2"])).names == known.names | {"in_2"}
    with pytest.raises(ValueError, match="no traces"):
        PersonalTraces.loaded(b"{}")


LINES = json.dumps({"t": SAID.replace(", ", "\n")}), SAID.replace("!", "&#33;"), rf"\u004d{SAID[1:]}"


@pytest.mark.parametrize("line", LINES)
def test_escapes_are_read_as_what_they_stand_for(line: str) -> None:
    assert traces().are_quoted_in(unescaped(line))
