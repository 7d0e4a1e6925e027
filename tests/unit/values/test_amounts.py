from __future__ import annotations

import pytest

from optimizer.core.base.canonical import is_within


@pytest.mark.parametrize(
    ("value", "n"),
    [("abc", 4), (None, 1), ([], 1), ({"ab": [1, 2]}, 2 + 3 + 3 + 1 + 1)],
    ids=["a text", "nothing", "an empty list", "nested"],
)
def test_texts_count_by_their_characters_and_everything_else_as_one(value, n):
    assert is_within(value, n)
    assert not is_within(value, n - 1)


def test_a_large_value_is_looked_at_no_further_than_it_matters():
    class Endless(list):
        def __len__(self):
            return 3

        def __iter__(self):
            return iter([self, self, self])

    assert not is_within(Endless(), 1000)
