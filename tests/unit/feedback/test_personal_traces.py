"""By what a person's data is known elsewhere: names of rows and words in a row, kept as digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from optimizer.adapters.personal_places import LineFiles, LogFiles, files_below
from optimizer.core.feedback.personal_traces import (
    GONE,
    LEAST_CHARS,
    LEAST_WORDS,
    OWN_WORDS,
    WINDOW,
    PersonalTraces,
    unescaped,
)

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
        pytest.param([SHORT, "en"], f"He wrote: {SHORT}", True, id="without what says nothing beside it"),
    ],
)
def test_a_short_request_is_known_by_all_that_it_says(request_: list[str], text: str, shown: bool) -> None:
    known = traces(requests=[request_], corrections=())
    assert known.are_shown_in(text) is shown
    assert not traces(requests=[[SHORT]], corrections=()).are_quoted_in(text), "no prompt goes because of it"


IBAN = "IBAN DE89zqfour0532 was charged twice"


@pytest.mark.parametrize(
    ("request_", "text", "quoted", "doubtful"),
    [
        pytest.param(["Where is Jane Doe"], "Such as: where is Jane Doe?", True, False, id="four words"),
        pytest.param(["Where is Jane Doe"], "Where is Jane", False, False, id="a part of them"),
        pytest.param(["DE89zqfour0532"], f"{IBAN}.", True, False, id="a word that names something"),
        pytest.param([IBAN, "en"], f"Never say {IBAN}", True, False, id="beside a text that says nothing"),
        pytest.param([IBAN, "in plain English"], f"Never say {IBAN}", False, False, id="one of two texts"),
        pytest.param([IBAN, "in plain English"], f"{IBAN}: in plain English", True, False, id="both of them"),
        pytest.param(["yes please, thanks"], "Say yes please. Thanks", False, True, id="three common words"),
        pytest.param(["how do I do"], "Ask: how do I do?", False, True, id="four that are very short"),
        pytest.param(["yes please"], "Say yes please", False, False, id="two common words"),
        pytest.param(["top 10 in 2026"], "The top 10 in 2026", True, False, id="four words with numbers"),
        pytest.param(["top 10"], "the top 10", False, False, id="a number that names nothing"),
        pytest.param(["我的订单"], "请问我的订单在哪里", False, True, id="four characters without spaces are no words"),
    ],
)
def test_a_short_request_that_says_enough_quotes_the_person_and_another_is_in_doubt(request_, text, quoted, doubtful):
    known = traces(requests=[request_], corrections=())
    assert (known.are_quoted_in(text), known.doubtful.are_quoted_in(text)) == (quoted, doubtful)


def test_a_short_correction_is_the_persons_own_where_it_names_something() -> None:
    known = traces(corrections=["Jane paid from DE89zqfour0532", "85171300", "other complaint about delivery"])
    assert known.are_quoted_in("such as: Jane paid from DE89zqfour0532")
    assert not known.are_quoted_in("85171300, or other complaint about delivery"), "labels are the family's"


WORDS = st.text(st.characters(codec="utf-8", categories=("Ll", "Lu", "Nd")), min_size=1, max_size=9)


@given(st.lists(WORDS, min_size=1, max_size=WINDOW - 1), st.text(), st.text())
def test_a_whole_short_request_is_found_wherever_it_stands_or_says_too_little(said, before, behind):
    text = " ".join(said)
    known = PersonalTraces.loaded(PersonalTraces.of(UNIT, requests=[[text]]).dumped())
    around = f"{before} {text}. {behind}"
    says_enough = len(said) >= OWN_WORDS and len(text) >= LEAST_CHARS
    says_something = len(said) >= LEAST_WORDS or len(text) >= LEAST_CHARS
    assert known.are_quoted_in(around) or not says_enough
    assert known.are_shown_in(around) or not says_something
    assert known.are_quoted_in(around) or known.doubtful.are_quoted_in(around) or not says_something
    assert not known.without_quotes_of([around]).are_shown_in(around)


def test_what_a_family_says_itself_is_its_own() -> None:
    own = traces(requests=[[SAID], [IBAN], [SHORT]]).without_quotes_of(
        [f"You read letters such as: {SAID}", f"Or: {IBAN}; {SHORT}"]
    )
    assert not own.are_shown_in(f"{IBAN}, {SHORT}")
    assert not own.are_quoted_in(SAID)
    assert own.are_quoted_in("say that it is a parcel from the far north")


def test_a_value_loses_its_texts_and_names_and_keeps_its_form() -> None:
    known = traces()
    value = {"in_4711": [SAID, "in_4711", 3, None, {"k": "nothing of it"}]}
    alias = known.alias("in_4711")
    assert known.without(value, shows=known.are_quoted_in) == {alias: [GONE, alias, 3, None, {"k": "nothing of it"}]}
    assert alias == traces().alias("in_4711") != "in_4711"


def test_texts_that_show_the_person_together_are_taken_out_together() -> None:
    known = traces(requests=[[IBAN, "in plain English"]])
    value = {"note": "stays", "input": {"text": IBAN, "style": "in plain English", "n": 2}}
    left = {"note": "stays", "input": {"text": GONE, "style": GONE, "n": 2}}
    assert known.without(value, shows=known.are_quoted_in) == left


def test_they_are_the_same_after_a_kill_and_hold_no_text() -> None:
    rows = {"examples": [("triage", "co_f9")], "interactions": [("triage", "1")]}
    known = traces(requests=[[SAID], [SHORT], [IBAN]], **rows)
    written = known.dumped()
    assert PersonalTraces.loaded(written) == known
    assert b"parcel" not in written
    assert b"Jane" not in written
    assert b"zqfour" not in written
    assert known.joined(PersonalTraces.of(UNIT, names=["in_2"])).names == known.names | {"in_2"}
    with pytest.raises(ValueError, match="no traces"):
        PersonalTraces.loaded(b"{}")


def test_of_a_file_of_lines_only_the_person_s_own_go_whatever_ends_the_others(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(f'"{text}"\r\r\n'.encode() for text in ("one", "two", SAID, "four")))
    LineFiles(files=lambda: [file]).clear(traces())
    assert file.read_bytes() == b'"one"\r\r\n"two"\r\r\n"four"\r\r\n'


def test_a_log_that_is_rotated_meanwhile_loses_the_person_s_lines_and_no_other(tmp_path: Path) -> None:
    log, older, oldest = (tmp_path / f"gateway.log{end}" for end in ("", ".1", ".2"))
    line = f'{{"event": "{SAID}"}}\n'
    log.write_text(f'{{"n": 1}}\n{line}', encoding="utf-8")
    older.write_text(f'{line}{{"n": 0}}\n', encoding="utf-8")

    class RotatesMeanwhile:
        def are_shown_in(self, text: str) -> bool:
            if SAID in text and not oldest.exists():
                older.replace(oldest)
                log.replace(older)
                log.write_text('{"n": 2}\n{"n": 3, "event": "a line that is long enough to be written over"}\n' + line)
            return SAID in text

    LogFiles(files=files_below(tmp_path)).clear(RotatesMeanwhile())  # type: ignore[arg-type]
    files = [
        [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()] for file in (oldest, older, log)
    ]
    assert [row["n"] for rows in files for row in rows if "n" in row] == [0, 1, 2, 3]
    assert [row["event"] for rows in files for row in rows if "n" not in row] == [GONE] * 3


def test_both_halves_of_an_escaped_character_are_read_as_one() -> None:
    assert unescaped(json.dumps("𠮷野")) == '"𠮷野"'


LINES = json.dumps({"t": SAID.replace(", ", "\n")}), SAID.replace("!", "&#33;"), rf"\u004d{SAID[1:]}"


@pytest.mark.parametrize("line", LINES)
def test_escapes_are_read_as_what_they_stand_for(line: str) -> None:
    assert traces().are_quoted_in(unescaped(line))
