from __future__ import annotations

from re import _constants, _parser  # type: ignore[attr-defined]

import pytest

from optimizer.core.family.masking import (
    BLOCK,
    BUILT_IN_PATTERNS,
    BUILT_IN_RULES,
    MAX_RUNS,
    CardRow,
    IbanRow,
    Masker,
    numbers_in,
    runs_of,
)

N = 3000


def counted(kind):
    class Counted(kind):
        n_asked = 0

        def longest(self, start, ends):
            ends = list(ends)
            self.n_asked += len(ends)
            return super().longest(start, ends)

    return Counted


@pytest.mark.parametrize(
    ("kind", "groups"),
    [
        pytest.param(CardRow, ["1"] * N, id="one digit each"),
        pytest.param(CardRow, list("12345678901234567890" * (N // 20)), id="digits of which every tenth run is a card"),
        pytest.param(CardRow, ["4", "11"] * (N // 2), id="short groups"),
        pytest.param(CardRow, ["1234567"] * N, id="a table of numbers"),
        pytest.param(CardRow, ["1" * N], id="one long group"),
        pytest.param(IbanRow, list("aa11" * (N // 4)), id="letters and digits, one each"),
        pytest.param(IbanRow, ["aa11"] * N, id="every group begins an account's number"),
        pytest.param(IbanRow, ["DE89"] + ["word"] * N, id="words behind one that begins a number"),
    ],
)
def test_a_row_of_any_length_asks_for_a_fixed_number_of_runs_from_each_group(kind, groups):
    row = counted(kind)("".join(groups))
    list(runs_of(groups, row))
    assert row.n_asked <= MAX_RUNS * len(groups)


@pytest.mark.parametrize("name", BUILT_IN_RULES)
def test_no_built_in_pattern_goes_back_into_an_unbounded_repetition(name):
    def unbounded(items):
        for op, argument in items:
            if op in (_constants.MAX_REPEAT, _constants.MIN_REPEAT) and argument[1] == _constants.MAXREPEAT:
                yield str(op)
            for part in argument if isinstance(argument, tuple) else ():
                for inner in part if isinstance(part, list) else [part]:
                    if isinstance(inner, _parser.SubPattern):
                        yield from unbounded(inner)

    assert list(unbounded(_parser.parse(BUILT_IN_PATTERNS[name].pattern))) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("4111 1111 1111 1111 22x", "[card] 22x"),
        ("4.4111111111111111", "4.4111111111111111"),
        ("1-" * N, "1-" * N),
        ("aa11 " * N, "aa11 " * N),
        ("aa11 " * N + "de89 3704 0044 0532 0130 00 now", "aa11 " * N + "[iban] now"),
        ("0-" * N + "4111-1111-1111-1111", "0-" * (N - 3) + "[card]"),  # noughts before it change no sum
    ],
    ids=["digits that touch a letter", "decimals", "ones", "heads", "an account behind a long row", "a card behind it"],
)
def test_what_stands_in_a_long_row_is_told_apart(text, masked):
    assert Masker(["card", "iban"]).mask(text) == masked


def test_a_number_that_lies_across_two_blocks_is_found_and_no_block_is_larger_than_the_others():
    read = []

    class Counted(CardRow):
        def __init__(self, digits):
            read.append(len(digits))
            super().__init__(digits)

    before = "0-" * (BLOCK - 2)
    row = before + "4111-1111-1111-1111" + "-7" * 3 * BLOCK
    start = len(before) - 6  # noughts before it change no sum, and three more are still a card's length
    assert (start, len(before) + 19) in list(numbers_in(row, Counted))
    assert max(read) <= (BLOCK + 19) * 4
