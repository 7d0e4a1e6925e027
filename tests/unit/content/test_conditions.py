"""The condition language of policies: what can be written, what is refused and where, and what a missing value does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.content.core.policy.condition_text import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, MAX_VALUES
from optimizer.content.core.policy.conditions import InvalidCondition, compile_condition

NAMES = ("duration_seconds", "overall_quality", "content_type", "language", "is_live", "größe")
RECORD = dict(zip(NAMES, (45, 0.4, "news", "de", True, 7), strict=True))


def holds(text: str, record: dict[str, object] | None = None) -> bool:
    return compile_condition(text, NAMES).holds(RECORD if record is None else record)


def refusal(text: str) -> InvalidCondition:
    with pytest.raises(InvalidCondition) as error:
        compile_condition(text, NAMES)
    return error.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("duration_seconds > 60 or overall_quality <= .4", True),
        ("duration_seconds > 60 or content_type == 'news' and is_live", True),
        ("(duration_seconds > 60 or content_type == 'news') and not is_live", False),
        ("not (duration_seconds > 60 or overall_quality > 0.9)", True),
        ("not not is_live", True),
        ("30 < duration_seconds < 45 < größe", False),
        ("content_type not in ('news', \"talk\",)", False),
        ("not content_type in ('music',)", True),
        ("größe in [-1, 7.0, 8e0]", True),
        ("- 3 < größe", True),
        ("is_live == 1", True),
        ("(größe) == (7)", True),
        ("((größe)) in [7]", True),
        ("\n duration_seconds < 60\r\n\tand is_live ", True),
    ],
)
def test_a_condition_says_of_a_record_what_python_would_say(text: str, expected: bool) -> None:
    assert holds(text) is expected
    of_python = eval(" ".join(text.split()), {"true": True, "false": False}, dict(RECORD))  # this table's texts alone
    assert of_python == expected


@pytest.mark.parametrize("value", [[1], {"a": 1}, (), object(), b"news", 1 + 2j, np.array([1, 2])])
def test_values_of_other_kinds_cannot_be_told_and_raise_nothing(value: object) -> None:
    texts = "größe < 5|größe != 5|größe in [5]|größe not in ['a']|größe|größe != language|not größe == 'a'"
    for text in texts.split("|"):
        assert holds(text, {"größe": value, "language": "de"}) is False


def test_scalars_of_numpy_are_numbers_and_texts() -> None:
    record = {"größe": np.float32(0.5), "is_live": np.bool_(True), "duration_seconds": np.int64(3)}
    record["content_type"] = np.str_("news")
    assert holds("größe == 0.5 and is_live and duration_seconds in [3] and content_type == 'news'", record)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "empty"),
        ("duratoin_seconds < 60", 0, "did you mean duration_seconds"),
        ("is_live and speed > 3", 12, "Known: content_type, duration_seconds"),
        ("größe < 5 and grösse < 3", 14, "did you mean größe"),
        ("größe == '日本' and x", 18, "no variable is called 'x'"),
        ("größe <", 7, "ends where a variable, a value"),
        ("(größe < 5", 10, "closing bracket"),
        ("größe < 5)", 9, "where `and`, `or` or the end should stand"),
        ("größe < 5 is_live", 10, "where `and`, `or`"),
        ("< 5", 0, "where a variable"),
        ("größe = 5", 6, "equality is written =="),
        ("größe is 5", 6, "equality is written =="),
        ("größe < 5 && is_live", 10, "write `and`"),
        ("größe < 5 OR is_live", 10, "OR is written or"),
        ("!is_live", 0, "write `not`"),
        ("größe ≤ 5", 6, "write <="),
        ("größe == None", 9, "a missing value cannot be compared"),
        ("größe + 1 > 5", 6, "do not calculate"),
        ("-größe > 5", 0, "a minus stands before a number only"),
        ("is_live()", 7, "nothing can be called"),
        ("is_live[0]", 7, "nothing can be looked up"),
        ("is_live.__class__", 7, "has no parts"),
        ("__import__('os')", 0, "no variable is called"),
        ("[x for x in y]", 0, "where a variable"),
        ("(größe := 5) > 1", 7, "':' does not belong"),
        ("language == 'a", 12, "never closed"),
        ("language == “de”", 12, "straight quotes"),
        ("language == 'a\x00b'", 14, "only what can be printed"),
        ("größe <\x00 5", 7, "does not belong"),
        ("größe < 1_000", 9, "the number ends here"),
        ("größe < 007", 8, "does not begin with 0"),
        ("größe < 1e999", 8, "beyond 1e+15"),
        ("größe > -" + "9" * 400, 8, "beyond 1e+15"),
        ("1 < 2", 2, "two fixed values"),
        ("5", 0, "a value alone is no condition"),
        ("(größe < 5) == true", 0, "a condition cannot be compared"),
        ("true == (größe < 5)", 8, "a condition cannot be compared"),
        ("größe < 5 and größe == 'big'", 23, "compared with a text here and with a number at 8"),
        ("größe in [1, 'a']", 13, "compared with a text here"),
        ("language in 'de'", 12, "a list of values"),
        ("language in ('de')", 12, "is no list"),
        ("language in []", 12, "the list is empty"),
        ("language in [,]", 13, "a list holds"),
        ("language in ['de' 'en']", 18, "a comma or ]"),
        ("language in ['de', content_type]", 19, "a list holds"),
        ("'de' in ['de']", 5, "only a variable"),
        ("1 < größe in [7]", 10, "does not continue a comparison"),
        ("language not 'de'", 9, "`not in`"),
    ],
)
def test_what_is_refused_is_refused_at_its_character_with_a_reason(text: str, position: int, reason: str) -> None:
    error = refusal(text)
    assert (error.position, error.members["position"]) == (position, position)
    assert reason in error.reason
    assert error.reason in error.detail


@pytest.mark.parametrize("value", [None, 5, b"true", ["true"]])
def test_what_is_no_text_is_refused_too(value: object) -> None:
    with pytest.raises(InvalidCondition, match="a condition is a text") as error:
        compile_condition(value, NAMES)  # type: ignore[arg-type]
    assert error.value.position == 0


@pytest.mark.parametrize(
    ("at_the_limit", "beyond", "position"),
    [
        ("is_live" + " " * (MAX_LENGTH - 7), "is_live" + " " * (MAX_LENGTH - 6), MAX_LENGTH),
        ("(" * MAX_DEPTH + "is_live" + ")" * MAX_DEPTH, "(" * 200 + "is_live" + ")" * 200, MAX_DEPTH),
        ("not " * MAX_DEPTH + "is_live", "not " * (MAX_DEPTH + 1) + "is_live", 4 * MAX_DEPTH),
        ("is_live or " * (MAX_TERMS - 1) + "is_live", "is_live or " * MAX_TERMS + "is_live", 11 * MAX_TERMS),
        (f"größe in [{'1,' * MAX_VALUES}]", f"größe in [{'1,' * (MAX_VALUES + 1)}]", 9),
    ],
    ids=["length", "brackets", "not", "terms", "values"],
)
def test_limits_are_kept_to_the_last_character(at_the_limit: str, beyond: str, position: int) -> None:
    compile_condition(at_the_limit, NAMES)
    assert refusal(beyond).position == position


def test_a_long_text_is_shown_around_the_place_where_it_is_refused() -> None:
    error = refusal("is_live or " * 30 + "größe < nothing or is_live")
    assert error.position == 338
    assert "größe < nothing" in error.detail
    assert len(error.detail) < 400


def test_a_column_that_is_absent_or_of_the_other_kind_is_missing_in_every_row() -> None:
    texts, numbers = np.array(["a", "b"]), np.array([1.0, 2.0])
    dates = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    for columns in ({"language": texts}, {"größe": texts}, {"größe": dates}):
        for text in ("größe < 5", "not größe < 5", "größe != 5", "größe not in [5]"):
            found = compile_condition(text, NAMES).column(columns)
            assert (found.dtype, found.tolist()) == (np.dtype(bool), [False, False])
    both = compile_condition("größe != language", NAMES).column({"größe": numbers, "language": texts})
    assert both.tolist() == [False, False]


def test_a_constant_answers_for_every_row_and_for_no_column_at_all() -> None:
    assert compile_condition("true", NAMES).column({"language": np.array(["a", "b"])}).tolist() == [True, True]
    assert compile_condition("true", NAMES).column({}) is True


def test_the_page_shows_the_refusal_that_the_code_gives() -> None:
    with pytest.raises(InvalidCondition) as error:
        compile_condition("is_live and duratoin_seconds < 60", ["content_type", "duration_seconds", "is_live"])
    page = Path(__file__).parents[3] / "docs" / "reference" / "conditions.md"
    assert error.value.detail in page.read_text(encoding="utf-8")
